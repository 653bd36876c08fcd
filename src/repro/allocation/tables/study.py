"""Tables of our own study: every score of every allocation, and comparisons item by item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from scipy.stats import spearmanr

from repro.allocation.results import ACCURACY, LIKELIHOOD, chance
from repro.show.style import in_order
from repro.show.tables import Format, styled
from repro.show.words import FRACTION, p_value, short_tokens, with_error

_ALLOCATION = ("SFT tokens", "CPT tokens", "CPT fraction")
_PAIRED = {
    "name": "comparison", "benchmark": "benchmark", "metric": "metric", "first": "SFT alone", "second": "with CPT",
    "difference": "difference", "interval": "95% interval", "p_value": "p", "items": "items",
}  # fmt: skip
LONGEST = 220  # characters of an example that are shown
NEARLY_ALL = 0.999  # fractions above need seven digits
_UNITS = {ACCURACY: "accuracy (%)", LIKELIHOOD: "log-likelihood (nats/byte)"}


def study_scores(frame: pd.DataFrame) -> Styler:
    """Table 6 for our runs: a row for each allocation, the fewest SFT tokens first, a column for each score.

    frame: sft_tokens, cpt_tokens, benchmark, metric, score, se (standard error; NaN where there is none); seed where
    there are several. One row for each score. Raises ValueError if an allocation has two scores of the same benchmark
    and metric (and seed).
    """
    seeds = ["seed"] if "seed" in frame and frame["seed"].nunique() > 1 else []
    text = [_score(*row) for row in zip(frame["metric"], frame["score"], frame["se"], strict=True)]
    named = frame.assign(text=pd.Series(text, frame.index, dtype=object))
    wide = named.pivot(index=["sft_tokens", "cpt_tokens", *seeds], columns=["benchmark", "metric"], values="text")
    order = [
        (name, metric)
        for name in in_order(frame["benchmark"])
        for metric in in_order(frame["metric"])
        if (name, metric) in wide
    ]
    table = wide.index.to_frame(index=False)
    total = table["sft_tokens"] + table["cpt_tokens"]
    table.insert(2, "cpt_fraction", table["cpt_tokens"] / total.where(total > 0))
    table = pd.concat([table, wide[order].reset_index(drop=True)], axis=1)
    # Enough digits to tell fractions apart that all begin with the same nines.
    inner = table["cpt_fraction"][table["cpt_fraction"].between(0, 1, inclusive="neither")]
    fraction = FRACTION if len(inner) and inner.max() > NEARLY_ALL else "{:.4f}"
    heads = [("allocation", title) for title in (*_ALLOCATION, *seeds)]
    table.columns = pd.MultiIndex.from_tuples([*heads, *((name, _UNITS[metric]) for name, metric in order)])
    formats: dict[tuple[str, str], Format] = dict(zip(heads, (short_tokens, short_tokens, fraction), strict=False))
    return styled(table, formats, "not run, or no tokens at all", index=False)


def _score(metric: str, score: float, se: float) -> str | None:
    return with_error(score, se, ".1f", 100) if metric == ACCURACY else with_error(score, se, ".3f")


def cpt_steps(frame: pd.DataFrame) -> Styler:
    """Table A.1, printed or ours: scores after more or less CPT, and a test that all are equal; `Results.cpt_steps`."""
    table = pd.DataFrame({
        "benchmark": frame["benchmark"], "metric": frame["metric"].map(_UNITS),
        "CPT steps": [f"{steps:,.0f}" for steps in frame["cpt_steps"]],
        "score \u00b1 standard error": [
            _score(*row) for row in zip(frame["metric"], frame["score"], frame["se"], strict=True)
        ],
        "all equal? p": frame["p_value"],
    })  # fmt: skip
    return styled(table, {"all equal? p": p_value}, "not run, or nothing to test", index=False)


def paired(frame: pd.DataFrame) -> Styler:
    """SFT alone against the same after CPT; from `Results.ablation`. Differences in accuracy are points."""
    ends = zip(frame["metric"], frame["difference"], frame["low"], frame["high"], strict=True)
    words = pd.DataFrame([_difference(*row) for row in ends], columns=["difference", "interval"], index=frame.index)
    for name in ("first", "second"):
        words[name] = [_score(*row, np.nan) for row in zip(frame["metric"], frame[name], strict=True)]
    table = frame.assign(**words.astype(object))[list(_PAIRED)].rename(columns=_PAIRED)
    return styled(table, {"items": "{:,.0f}", "p": p_value}, "does not apply, or not computed", index=False)


def _difference(metric: str, value: float, low: float, high: float) -> tuple[str | None, str | None]:
    form, scale, unit = ("+z.1f", 100, " points") if metric == ACCURACY else ("+z.3f", 1, "")
    interval = None if low != low or high != high else f"{scale * low:{form}} to {scale * high:{form}}"
    return None if value != value else f"{scale * value:{form}}{unit}", interval


def contents(frame: pd.DataFrame) -> Styler:
    """What each domain holds and what was left out of it; from `results.contents`."""
    table = pd.DataFrame({
        "domain": frame["domain"], "part": frame["part"], "items": frame["items"], "characters": frame["characters"],
        "left out": frame["dropped"].where(frame["why"] != ""), "because": frame["why"].where(frame["why"] != ""),
    })  # fmt: skip
    formats: dict[str, Format] = {"items": "{:,.0f}", "characters": short_tokens, "left out": "{:,.0f}"}
    return styled(table, formats, "nothing is left out, or it is not text", index=False)


def exposure(frame: pd.DataFrame) -> Styler:
    """How much training shows of right and of wrong choices; from `Study.exposure`."""
    names = {"where": "found among", "right": "right choices", "wrong": "wrong choices"}
    table = frame.rename(columns=names)
    return styled(table, dict.fromkeys(("right choices", "wrong choices"), "{:.0%}"), "not known", index=False)


def examples(frame: pd.DataFrame) -> Styler:
    """A pair and a question of each benchmark; from `results.examples`. Long texts are cut."""
    table = pd.DataFrame({
        "domain": frame["domain"],
        "used for": frame["use"],
        "prompt": frame["prompt"].map(_cut),
        "right answer": frame["answer"].map(_cut),
        "wrong choices": frame["others"].where(frame["others"] != "").map(_cut, na_action="ignore"),
    })  # fmt: skip
    return styled(table, {}, "no choices are given", index=False)


def _cut(text: str) -> str:
    short = " ".join(text.split())
    return short if len(short) <= LONGEST else short[: LONGEST - 1] + "\u2026"


def base_scores(frame: pd.DataFrame) -> Styler:
    """The base model's scores with chance and ceiling; from `Study.base_scores`."""
    wide = frame.pivot(index=["domain", "benchmark"], columns="metric", values=["score", "se"]).reset_index()
    asked = frame.groupby(["domain", "benchmark"])["n_items"].max()
    guessed = [chance(name) for name in wide["benchmark"]]
    accuracy, likely = (
        [with_error(*pair, form, scale) for pair in zip(wide["score", metric], wide["se", metric], strict=True)]
        for metric, form, scale in ((ACCURACY, ".1f", 100.0), (LIKELIHOOD, ".3f", 1.0))
    )
    table = pd.DataFrame({
        "domain": wide["domain"], "benchmark": wide["benchmark"],
        "questions": [asked[place] for place in zip(wide["domain"], wide["benchmark"], strict=True)],
        "accuracy (%)": accuracy,
        "chance (%)": [None if share is None else f"{100 * share:.0f}" for share in guessed],
        "ceiling (%)": "100",
        "log-likelihood (nats/byte)": likely,
    })  # fmt: skip
    return styled(table, {"questions": "{:,.0f}"}, "not run, or not known", index=False)


def tokens(frame: pd.DataFrame) -> Styler:
    """Tokens trained on with and without sharing; from `results.tokens`."""
    total = frame.drop(columns="phase").sum().to_frame().T.assign(phase="both")
    rows = pd.concat([frame, total], ignore_index=True)
    table = pd.DataFrame({
        "phase": rows["phase"], "trained on": rows["trained"], "each by itself": rows["naive"],
        "times": rows["naive"] / rows["trained"].where(rows["trained"] > 0), "seconds": rows["seconds"],
    })  # fmt: skip
    formats: dict[str, Format] = dict.fromkeys(("trained on", "each by itself", "seconds"), "{:,.0f}")
    formats["times"] = "{:.1f}"
    return styled(table, formats, "nothing is trained", index=False)


def drifts(phases: pd.DataFrame, floor: pd.DataFrame, scores: pd.DataFrame, examples: int) -> Styler:
    """Drift of each phase over all splits, beside what another seed moves and its rank correlation with the score.

    phases: from `Study.drift`. floor: from `Study.drift_floor`. scores: from `StudyResults.score_line`. examples: that
    each drift is measured on.
    """
    both = phases.merge(scores[["domain", "sft_tokens", "score"]], on=["domain", "sft_tokens"], how="left")
    seeds = floor.set_index(["domain", "phase"])["drift"]
    rows = [
        {
            "domain": place[0], "phase": place[1], "examples": examples, "splits": part["drift"].count(),
            "least drift": part["drift"].min(), "most drift": part["drift"].max(), "another seed": seeds.get(place),
            "rank correlation with the score": _rank_correlation(part.dropna(subset=["drift", "score"])),
        }
        for place, part in both.groupby(["domain", "phase"], sort=False)
    ]  # fmt: skip
    table = pd.DataFrame(rows).astype({"another seed": float})
    formats: Mapping[Any, str] = dict.fromkeys(table.columns[4:7], "{:.4f}") | {table.columns[7]: "{:+.2f}"}
    return styled(table, formats, "not measured, or too few splits", index=False)


def _rank_correlation(rows: pd.DataFrame) -> float:
    varied = len(rows) > 3 and min(np.ptp(rows["drift"]), np.ptp(rows["score"])) > 0
    return float(spearmanr(rows["drift"], rows["score"]).statistic) if varied else float("nan")
