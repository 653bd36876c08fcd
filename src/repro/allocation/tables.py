"""Every table of paper B, and those of our own study, as pandas Stylers: functions of `Results` or of a frame.

First what the paper prints, with the set-up of CPT and SFT beside our parameters; then Equations 1 and 2 on scores, the
printed ones or ours; then our own study. Every fraction here rounds to 1, so SFT tokens come first. What does not exist
is a dash that says why under the pointer; captions are left to the page.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pandas.io.formats.style import Styler

from repro.allocation import published
from repro.allocation.frames import Results
from repro.allocation.published import Paper
from repro.allocation.results import ACCURACY, LIKELIHOOD, chance
from repro.params import AllocationParams
from repro.show.style import in_order
from repro.show.tables import DASH, Columns, Format, declared, listed, styled, two_lines
from repro.show.words import FRACTION, between, short_tokens, with_error

NOT_PRINTED = "not printed"
PUBLISHED = "as published, not run here"
_TOKENS = {"total_tokens": "tokens in total", "cpt_tokens": "CPT tokens", "sft_tokens": "SFT tokens"}
RECIPES = yaml.safe_load(Path(__file__).with_name("recipes.yaml").read_text(encoding="utf-8"))
MODES = RECIPES["adapters"]
FIRST = ("Total training steps", "Global batch size", "Sequence length", "LoRA rank", "Replay")  # of a set-up
_ALLOCATION = ("SFT tokens", "CPT tokens", "CPT fraction")
LISTED = declared(__file__)
LONGEST = 220  # characters of an example that are shown
NEARLY_ALL = 0.999  # fractions above need seven digits
_UNITS = {ACCURACY: "accuracy (%)", LIKELIHOOD: "log-likelihood (nats/byte)"}


def printed_scores() -> Styler:
    """Table 6 as printed, in percent, with the SFT tokens that its fractions leave."""
    rows, budget = published.table("6"), published.value("budget")
    shares = {name: 100 / which.out_of * rows[which.column] for name, which in published.BENCHMARKS.items()}
    rows = rows.assign(sft=published.sft_tokens(rows["cpt_fraction"], budget), **shares)
    columns: Columns = {"sft": ("SFT tokens", short_tokens), "cpt_fraction": ("CPT fraction", FRACTION)}
    return listed(rows, {**columns, **{name: (f"{name} (%)", "{:.2f}") for name in shares}}, NOT_PRINTED)


def other_models() -> Styler:
    """Table 5: published scores of other models, none of them run here, and by how much the paper's split is higher.

    The difference is given in points and relative to the other model: what the abstract calls an 11.6% improvement over
    Code Llama is one of points.
    """
    rows = published.table("5")
    ours = rows[rows["model"] == "Our Split"].set_index("benchmark")["score"]
    own = rows["benchmark"].map(ours).mask(rows["model"] == "Our Split")
    table = pd.DataFrame({
        ("model", "domain"): rows["domain"],
        ("model", "name"): rows["model"].replace("Our Split", "the paper's split"),
        **{(PUBLISHED, title): rows[column].replace("N/A", None) for column, title in _TOKENS.items()},
        (PUBLISHED, "benchmark"): rows["benchmark"],
        (PUBLISHED, "score (%)"): rows["score"],
        ("the paper's split is higher by", "points"): own - rows["score"],
        ("the paper's split is higher by", "relative"): own / rows["score"] - 1,
    })  # fmt: skip
    formats = dict(zip(table.columns[-3:], ("{:.1f}", "{:+.1f}", "{:+.1%}"), strict=True))
    return styled(table, formats, "not printed, or the paper's split itself", index=False)


def printed_drift() -> Styler:
    """Drift as far as the text has numbers of it (Figures 2 and 3 print none); from `published.drift`."""
    rows = published.drift()
    ends = zip(rows["low"], rows["high"], strict=True)
    rows["drift"] = [f"{a:g}" if a == b else f"{a:g} to {b:g}" for a, b in ends]
    rows["between"] = between(rows["cpt_from"], rows["cpt_to"], "{:g}".format)
    return listed(rows, *LISTED["printed_drift"])


def recipes(params: AllocationParams) -> tuple[dict[str, str], dict[str, str]]:
    """The set-up of CPT and of SFT, aspect by aspect; an aspect is spelt as the tables spell it."""
    words = {
        "given": params,
        "domains": "; ".join(domain.name for domain in params.domains),
        "steps": params.budget // (params.cpt_batch * params.cpt_length),
        "replay": float(params.lora_replay_share),
        "adapter": MODES[params.sft_adapter],
        "prompt": "the model's chat template" if params.chat_template else "plain",
        "seeds": ", ".join(map(str, params.seeds)),
    }
    aspects = (RECIPES[phase] | RECIPES["both"] for phase in ("cpt", "sft"))
    cpt, sft = ({aspect: text.format(**words) for aspect, text in texts.items()} for texts in aspects)
    return cpt, sft


def set_up(cpt: Mapping[str, str], sft: Mapping[str, str]) -> Styler:
    """Tables A.2 and A.3, and beside each of them what is done here: our set-up by the paper's aspects ("LoRA rank");
    other aspects get a row of their own. What is the same in both phases is left out; `FIRST` comes first.
    """
    columns: dict[str, Mapping[str, str]] = {}
    for name, printed, ours in (("CPT", published.table("A.2"), cpt), ("SFT", published.table("A.3"), sft)):
        columns[f"{name}, the paper's"] = {row["aspect"]: _noted(row) for row in printed.to_dict("records")}
        columns[f"{name}, here"] = ours
    phases = [(columns[f"{name}, the paper's"], columns[f"{name}, here"]) for name in ("CPT", "SFT")]
    every = dict.fromkeys([*FIRST, *(aspect for column in columns.values() for aspect in column)])
    aspects = [name for name in every if any(printed.get(name) != ours.get(name) for printed, ours in phases)]
    table = pd.DataFrame(
        {"aspect": aspects} | {name: [column.get(aspect) for aspect in aspects] for name, column in columns.items()}
    )
    return styled(table, dict.fromkeys(columns, two_lines), "not printed, or does not apply here", index=False)


def _noted(row: Mapping[Any, Any]) -> str:
    """The value, its note beneath; the value is a dash where the text at hand has lost it."""
    value, note = (text if isinstance(text, str) else None for text in (row["value"], row["note"]))
    return f"{value or DASH}\n{note}" if note else value or DASH


def optima(results: Results) -> Styler:
    """The peaks of Equation 1 with 95% intervals, the peaks that the paper gives beside them where it does, and the
    test that scores have no slope in ln S.
    """
    rows = results.optima
    shown = rows.assign(peak_shown=rows["peak_shown"].map({True: "yes", False: "no"}))
    shown["interval"] = between(rows["low"], rows["high"], short_tokens)
    if "printed_tokens" in rows:  # of the paper, `flatness` has the tests
        shown = shown.drop(columns=["metric", "p_value_holm", "slope_p_holm"])
    return listed(shown, *LISTED["optima"])


def flatness(paper: Paper) -> Styler:
    """The slope of the scores in ln S with its test, and the test of equal scores."""
    rows = paper.flatness.assign(slope=100 * paper.flatness["slope"])
    return listed(rows, *LISTED["flatness"])


def alternatives(results: Results) -> Styler:
    """Equation 1 beside its alternatives: the criterion above the best law's, and the error when left out.

    Errors are in points, or nats a byte for the log-likelihood. An infinite criterion, where there are too few scores
    for a law's parameters, is a dash.
    """
    rows = results.alternatives
    delta = rows["delta_aicc"].astype(float).replace(np.inf, np.nan)
    rows = rows.assign(delta=delta)
    rows["error"] = list(map(_error, rows["loo"].astype(float), rows["metric"]))
    return listed(rows if len(results.metrics) > 1 else rows.drop(columns="metric"), *LISTED["alternatives"])


def _error(value: float, metric: str) -> str | None:
    if not np.isfinite(value):
        return None
    if metric == "log-likelihood":
        return f"{value:.3f} nats/byte"
    return f"{100 * value:.1f} points" if value <= 1 else "over 100 points"


def study_scores(frame: pd.DataFrame) -> Styler:
    """Table 6 for our runs: a row for each allocation, the fewest SFT tokens first, a column for each score.

    frame: sft_tokens, cpt_tokens, benchmark, metric, score, se (standard error; NaN where there is none); seed where
    there are several. One row for each score. Raises ValueError if an allocation has two scores of the same benchmark
    and metric (and seed).
    """
    seeds = ["seed"] if "seed" in frame and frame["seed"].nunique() > 1 else []
    named = frame.copy()
    named["text"] = _scores(frame)
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


def _scores(frame: pd.DataFrame) -> list[str | None]:
    return [_score(*row) for row in zip(frame["metric"], frame["score"], frame["se"], strict=True)]


def _score(metric: str, score: float, se: float) -> str | None:
    return with_error(score, se, ".1f", 100) if metric == ACCURACY else with_error(score, se, ".3f")


def cpt_steps(frame: pd.DataFrame) -> Styler:
    """Table A.1, printed or ours: scores after more or less CPT, and a test that all are equal; `Results.cpt_steps`."""
    rows = frame.assign(metric=frame["metric"].map(_UNITS))
    rows["score"] = _scores(frame)
    return listed(rows, *LISTED["cpt_steps"])


def paired(frame: pd.DataFrame) -> Styler:
    """SFT alone against the same after CPT; from `Results.ablation`. Differences in accuracy are points."""
    ends = zip(frame["metric"], frame["difference"], frame["low"], frame["high"], strict=True)
    words = pd.DataFrame([_difference(*row) for row in ends], columns=["difference", "interval"], index=frame.index)
    for name in ("first", "second"):
        words[name] = [_score(*row, np.nan) for row in zip(frame["metric"], frame[name], strict=True)]
    return listed(frame.assign(**words.astype(object)), *LISTED["paired"])


def _difference(metric: str, value: float, low: float, high: float) -> tuple[str | None, str | None]:
    form, scale, unit = ("+z.1f", 100, " points") if metric == ACCURACY else ("+z.3f", 1, "")
    interval = None if low != low or high != high else f"{scale * low:{form}} to {scale * high:{form}}"
    return None if value != value else f"{scale * value:{form}}{unit}", interval


def contents(frame: pd.DataFrame) -> Styler:
    """What each domain holds and what was left out of it; from `results.contents`."""
    out = frame["why"] != ""
    rows = frame.assign(dropped=frame["dropped"].where(out), why=frame["why"].where(out))
    return listed(rows, *LISTED["contents"])


def exposure(frame: pd.DataFrame) -> Styler:
    """How much training shows of right and of wrong choices; from `Study.exposure`."""
    return listed(frame, *LISTED["exposure"])


def examples(frame: pd.DataFrame) -> Styler:
    """A pair and a question of each benchmark; from `results.examples`. Long texts are cut."""
    texts = frame[["prompt", "answer", "others"]]
    short = texts.where(texts != "").map(_cut, na_action="ignore")
    return listed(frame.assign(**short), *LISTED["examples"])


def _cut(text: str) -> str:
    short = " ".join(text.split())
    return short if len(short) <= LONGEST else short[: LONGEST - 1] + "\u2026"


def base_scores(frame: pd.DataFrame) -> Styler:
    """The base model's scores with chance and ceiling; from `Study.base_scores`."""
    keys, known = ["domain", "benchmark"], frame.copy()
    known["text"] = _scores(frame)
    wide = known.pivot(index=keys, columns="metric", values="text").reindex(columns=[ACCURACY, LIKELIHOOD])
    rows = wide.assign(questions=frame.groupby(keys)["n_items"].max(), ceiling="100").reset_index()
    rows["chance"] = 100 * rows["benchmark"].map(chance).astype(float)
    return listed(rows, *LISTED["base_scores"])


def tokens(frame: pd.DataFrame) -> Styler:
    """Tokens trained on with and without sharing; from `results.tokens`."""
    total = frame.drop(columns="phase").sum().to_frame().T.assign(phase="both")
    rows = pd.concat([frame, total], ignore_index=True)
    rows["times"] = rows["naive"] / rows["trained"].where(rows["trained"] > 0)
    return listed(rows, *LISTED["tokens"])


def head_starts(frame: pd.DataFrame) -> Styler:
    """Loss of SFT after each amount of CPT, at the first step and at the last that SFT alone reached too; from
    `results.tuning`.
    """
    alone = frame.loc[frame["cpt_tokens"] == 0, ["domain", "step", "loss"]]
    both = frame.merge(alone, on=["domain", "step"], suffixes=("", "_alone")).sort_values("step")
    ends = both.groupby(["domain", "cpt_tokens"]).agg(
        first=("loss", "first"), step=("step", "last"), last=("loss", "last"), alone=("loss_alone", "last")
    )
    return listed(ends.reset_index(), *LISTED["head_starts"])


def drifts(phases: pd.DataFrame, floor: pd.DataFrame, examples: int) -> Styler:
    """Drift of each phase over all splits, beside what another seed moves.

    phases: from `Study.drift`. floor: from `Study.drift_floor`. examples: that each drift is measured on.
    """
    seeds = floor.set_index(["domain", "phase"])["drift"]
    grouped = phases.groupby(["domain", "phase"], sort=False)
    rows = grouped["drift"].agg(splits="count", least="min", most="max").assign(examples=examples, seed=seeds)
    return listed(rows.reset_index(), *LISTED["drifts"])
