"""Tables as paper B prints them: Table 6, the SFT-only ablation, other models, CPT steps, and the set-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from statsmodels.stats.proportion import proportions_chisquare, test_proportions_2indep

from repro.allocation import published
from repro.show.tables import DASH, Format, styled, two_lines
from repro.show.words import FRACTION, between, p_value, short_tokens, with_error

NOT_PRINTED = "not printed"
UNPAIRED = (
    "both scores are taken as independent samples of the benchmark's items, because answers to single items are not "
    "printed; a comparison item by item could be sharper"
)
PUBLISHED = "as published, not run here"
_TOKENS = {"total_tokens": "tokens in total", "cpt_tokens": "CPT tokens", "sft_tokens": "SFT tokens"}


def sft_ablation(printed: pd.DataFrame) -> Styler:
    """One of Tables 1-3: scores with CPT and SFT beside those of SFT alone, and whether they differ.

    The standard error and p (Wald test of two proportions) are binomial and unpaired: :data:`UNPAIRED`. ChemBench4K's
    number of items is assumed: see `published.BENCHMARKS`.

    Args:
        printed: `published.table("1")`, "2" or "3".

    """
    rows = [
        _ablation(name, which, row)
        for name, which in published.BENCHMARKS.items()
        if f"{which.column}_sft_only" in printed
        for row in printed.to_dict("records")
    ]
    formats: dict[str, Format] = {
        "CPT fraction": FRACTION, "CPT and SFT (%)": "{:.2f}", "SFT only (%)": "{:.2f}",
        "difference (points)": "{:+.2f}", "standard error": "{:.2f}", "p, unpaired": p_value,
    }  # fmt: skip
    return styled(pd.DataFrame(rows), formats, NOT_PRINTED, index=False)


def _ablation(name: str, which: published.Benchmark, row: Mapping[Any, Any]) -> dict[str, Any]:
    both, only = (row[column] / which.out_of for column in (which.column, f"{which.column}_sft_only"))
    n = which.items
    test = test_proportions_2indep(both * n, n, only * n, n, method="wald")
    return {
        "benchmark": name,
        "CPT fraction": row["cpt_fraction"],
        "paper's peak": "yes" if row["mark"] == "P" else "",
        "CPT and SFT (%)": 100 * both,
        "SFT only (%)": 100 * only,
        "difference (points)": round(100 * (both - only), 2) + 0.0,  # no minus before a zero
        "standard error": 100 * float(np.sqrt(test.variance)),
        "p, unpaired": float(test.pvalue),
    }


def printed_scores() -> Styler:
    """Table 6 as printed, in percent, with the SFT tokens that its fractions leave."""
    printed = published.table("6")
    shares = {name: 100 / which.out_of * printed[which.column] for name, which in published.BENCHMARKS.items()}
    table = pd.DataFrame({
        "SFT tokens": published.sft_tokens(printed["cpt_fraction"], published.value("budget")).map(short_tokens),
        "CPT fraction": printed["cpt_fraction"],
        **{f"{name} (%)": share for name, share in shares.items()},
    })  # fmt: skip
    formats: dict[str, Format] = {"CPT fraction": FRACTION, **{f"{name} (%)": "{:.2f}" for name in shares}}
    return styled(table, formats, NOT_PRINTED, index=False)


def printed_budgets() -> Styler:
    """Table 4 as printed, in percent, with the SFT tokens that its fractions leave."""
    printed = published.other_budgets()
    names = {size: name for name, size in published.BUDGETS.items()}
    table = pd.DataFrame({
        "budget": printed["budget"].map(names),
        "SFT tokens": printed["sft_tokens"].map(short_tokens),
        "CPT fraction": printed["cpt_fraction"],
        f"{published.CODING} (%)": 100 * printed["score"],
        "best tested": printed["best"].map({True: "yes", False: ""}),
    })  # fmt: skip
    formats: dict[str, Format] = {"CPT fraction": FRACTION, f"{published.CODING} (%)": "{:.2f}"}
    return styled(table, formats, NOT_PRINTED, index=False)


def cpt_steps(frame: pd.DataFrame) -> Styler:
    """Table A.1, the score by number of CPT steps, and in the last row the chi-square test that all are equal.

    Args:
        frame: cpt_steps, score (share), n_items; or `published.table("A.1")`. NaN rows are shown and not tested.

    """
    which = published.BENCHMARKS["ChemBench4K"]
    rows = frame
    if "score" not in frame:
        rows = frame.assign(score=frame[which.column] / which.out_of, n_items=which.items)
    errors = np.sqrt(rows["score"] * (1 - rows["score"]) / rows["n_items"])
    scores = [with_error(*pair, ".2f", 100) for pair in zip(rows["score"], errors, strict=True)]
    steps = [f"{number:,.0f}" for number in rows["cpt_steps"]]
    table = pd.DataFrame({"CPT steps": steps, "score \u00b1 standard error (%)": scores})
    table.loc[len(table)] = ["all equal?", _equal(rows.dropna(subset=["score"]))]
    return styled(table, {}, "not run", index=False)


def _equal(rows: pd.DataFrame) -> str | None:
    """The test of equal proportions in words; None with fewer than two of them, or without any spread to test."""
    if len(rows) < 2 or rows["score"].mean() in (0, 1):
        return None
    statistic, p, _ = proportions_chisquare(rows["score"] * rows["n_items"], rows["n_items"])
    value = p_value(p)
    return f"chi-square {statistic:.1f}, df {len(rows) - 1}, p {value if value.startswith('below') else '= ' + value}"


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


def set_up(cpt: Mapping[str, str] | None = None, sft: Mapping[str, str] | None = None) -> Styler:
    """Tables A.2 and A.3 side by side, and beside each of them what is done here.

    Args:
        cpt: our set-up of CPT by the paper's aspects ("LoRA rank"); other aspects get a row of their own at the end.
        sft: the same for SFT.

    """
    columns: dict[str, Mapping[str, str]] = {}
    for name, printed, ours in (("CPT", published.table("A.2"), cpt), ("SFT", published.table("A.3"), sft)):
        columns[f"{name}, the paper's"] = {row["aspect"]: _noted(row) for row in printed.to_dict("records")}
        if ours is not None:
            columns[f"{name}, here"] = ours
    aspects = list(dict.fromkeys(aspect for column in columns.values() for aspect in column))
    table = pd.DataFrame(
        {"aspect": aspects} | {name: [column.get(aspect) for aspect in aspects] for name, column in columns.items()}
    )
    return styled(table, dict.fromkeys(columns, two_lines), "not printed, or does not apply here", index=False)


def _noted(row: Mapping[Any, Any]) -> str:
    """The value, its note beneath; the value is a dash where the text at hand has lost it."""
    value, note = (text if isinstance(text, str) else None for text in (row["value"], row["note"]))
    return f"{value or DASH}\n{note}" if note else value or DASH


def printed_drift(frame: pd.DataFrame | None = None) -> Styler:
    """Drift as far as the text has numbers of it (Figures 2 and 3 print none); from `published.drift`."""
    rows = published.drift() if frame is None else frame
    table = pd.DataFrame({
        "domain": rows["domain"], "models": rows["models"], "category of data": rows["category"],
        "between CPT fractions": between(rows["cpt_from"], rows["cpt_to"], "{:g}".format),
        "drift": [f"{a:g}" if a == b else f"{a:g} to {b:g}" for a, b in zip(rows["low"], rows["high"], strict=True)],
        "where": rows["where"],
    })  # fmt: skip
    return styled(table, {}, "said of all fractions", index=False)


def cpt_data() -> Styler:
    """Table A.4, the clusters of CPT text, and how much of each the budget of 30B tokens is."""
    rows = published.table("A.4")
    table = pd.DataFrame({
        "ClimbLab cluster": rows["cluster"], "tokens": 1e9 * rows["tokens_billions"],
        "the budget is": published.value("budget") / 1e9 / rows["tokens_billions"], "main topics": rows["topics"],
    })  # fmt: skip
    return styled(table, {"tokens": short_tokens, "the budget is": "{:.0%}"}, NOT_PRINTED, index=False)


def sft_data() -> Styler:
    """Table A.5, the sets of SFT pairs, and how much of each the most SFT tokens of Table 6 (2.4M) are."""
    rows, most = published.table("A.5"), published.value("sft_high")
    table = pd.DataFrame({
        "data set": rows["dataset"], "domain": rows["domain"], "tokens": rows["tokens"],
        f"{short_tokens(most)} tokens are": most / rows["tokens"],
    })  # fmt: skip
    return styled(table, {"tokens": "{:,.0f}", table.columns[3]: "{:.1%}"}, NOT_PRINTED, index=False)
