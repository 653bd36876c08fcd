"""Tables of Equations 1 and 2 on scores, the printed ones or ours."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from repro.allocation.frames import Results
from repro.allocation.published import Paper
from repro.laws.allocation import NAME as EQUATION_1
from repro.show.tables import Format, styled
from repro.show.words import between, p_value, short_tokens

NONE = "not printed, or not computed"


def optima(results: Results) -> Styler:
    """The peaks of Equation 1 with 95% intervals, the peaks that the paper gives beside them where it does, and the
    test that scores have no slope in ln S.
    """
    rows = results.optima
    table = pd.DataFrame({
        "benchmark": rows["benchmark"], "metric": rows["metric"],
        "peak shown": rows["peak_shown"].map({True: "yes", False: "no"}),
        "best SFT tokens": rows["sft_tokens"].map(short_tokens, na_action="ignore"),
        "95% interval": between(rows["low"], rows["high"], short_tokens),
        "the paper's": rows.get("printed_tokens", rows["low"]).map(short_tokens, na_action="ignore"),
        "highest score at": rows["highest"].map(short_tokens, na_action="ignore"),
        "all equal? p (Holm)": rows["p_value_holm"], "no slope? p (Holm)": rows["slope_p_holm"],
    })  # fmt: skip
    if "printed_tokens" in rows:
        table = table.drop(columns=["metric", *table.columns[-2:]])  # `flatness` has the tests
    else:
        table = table.drop(columns="the paper's")
    formats: dict[str, Format] = {name: p_value for name in table.columns if name.endswith("(Holm)")}
    return styled(table, formats, "Equation 1 has no peak here, or the test does not apply", index=False)


def flatness(paper: Paper) -> Styler:
    """The test of equal scores, and the slope of the scores in ln S with its test."""
    names = {
        "benchmark": "benchmark",
        "items": "items",
        "error": "standard error of a score",
        "statistic": "chi-square",
        "df": "degrees of freedom",
        "p_value": "p",
        "p_value_holm": "p (Holm)",
        "slope": "points for each unit of ln S",
        "slope_p": "p of the slope",
        "slope_p_holm": "p of the slope (Holm)",
        "slope_p_without": "without the fewest tokens",
    }
    formats: dict[str, Format] = dict.fromkeys(names.values(), p_value)
    formats |= {
        "items": "{:,.0f}", "standard error of a score": "{:.1%}", "chi-square": "{:.1f}",
        "degrees of freedom": "{:.0f}", "points for each unit of ln S": "{:+.1f}", "benchmark": str,
    }  # fmt: skip
    rows = paper.flatness.assign(slope=100 * paper.flatness["slope"])
    return styled(rows[list(names)].rename(columns=names), formats, NONE, index=False)


def alternatives(results: Results) -> Styler:
    """Equation 1 beside its alternatives: the criterion above the best law's, and the error when left out.

    Errors are in points, or nats a byte for the log-likelihood. An infinite criterion, where there are too few scores
    for a law's parameters, is a dash.
    """
    rows = results.alternatives
    errors = [_error(float(error), metric) for error, metric in zip(rows["loo"], rows["metric"], strict=True)]
    table = pd.DataFrame({
        "benchmark": rows["benchmark"],
        **({"metric": rows["metric"]} if len(results.metrics) > 1 else {}),
        "law": rows["law"].replace(EQUATION_1, "Equation 1"),
        "parameters": rows["parameters"],
        "criterion": rows["criterion"],
        "above the best": rows["delta_aicc"].astype(float).replace(np.inf, np.nan),
        "error when left out": errors,
    })  # fmt: skip
    return styled(table, {"above the best": "{:.1f}"}, "too few scores for so many parameters", index=False)


def _error(value: float, metric: str) -> str | None:
    if not np.isfinite(value):
        return None
    if metric == "log-likelihood":
        return f"{value:.3f} nats/byte"
    return f"{100 * value:.1f} points" if value <= 1 else "over 100 points"
