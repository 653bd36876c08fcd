"""Tables of Equations 1 and 2 on scores, the printed ones or ours."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from repro.allocation import published
from repro.allocation.frames import Results
from repro.allocation.published import Paper
from repro.laws.allocation import NAME as EQUATION_1
from repro.show.tables import Format, styled
from repro.show.words import FRACTION, between, millions, p_value, short_tokens

NO_PEAK = "Equation 1 has no peak here, or no interval was asked for"
NONE = "not printed, or not computed"


def printed_optima(paper: Paper) -> Styler:
    """The peaks of Equation 1 on the printed scores, with 95% intervals, beside the peaks that the paper gives."""
    rows = paper.optima
    table = pd.DataFrame({
        "benchmark": rows["benchmark"],
        "peak shown": rows["peak_shown"].map({True: "yes", False: "no"}),
        "best SFT tokens": rows["sft_tokens"].map(millions, na_action="ignore"),
        "95% interval": between(rows["low"], rows["high"], millions),
        "the paper's": rows["printed_tokens"].map(millions, na_action="ignore"),
        "best CPT fraction": rows["cpt_fraction"],
        "the paper's fraction": rows["printed_fraction"],
        "highest score at": 1 - rows["highest"] / published.value("budget"),
    })  # fmt: skip
    return styled(table, dict.fromkeys(table.columns[5:], FRACTION), NO_PEAK, index=False)


def optima(results: Results) -> Styler:
    """The peaks of Equation 1 with 95% intervals, and beside each the test of equal scores."""
    rows = results.optima
    table = pd.DataFrame({
        "benchmark": rows["benchmark"], "metric": rows["metric"],
        "peak shown": rows["peak_shown"].map({True: "yes", False: "no"}),
        "best SFT tokens": rows["sft_tokens"].map(short_tokens, na_action="ignore"),
        "95% interval": between(rows["low"], rows["high"], short_tokens),
        "best CPT fraction": rows["cpt_fraction"],
        "interval of it": between(rows["cpt_low"], rows["cpt_high"], "{:.3f}".format),
        "highest score at": rows["highest"].map(short_tokens, na_action="ignore"),
        "all equal? p": rows["p_value"], "all equal? p (Holm)": rows["p_value_holm"],
        "no slope? p": rows["slope_p"], "no slope? p (Holm)": rows["slope_p_holm"],
    })  # fmt: skip
    formats: dict[str, Format] = {"best CPT fraction": "{:.3f}"} | dict.fromkeys(table.columns[-4:], p_value)
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
    return f"{value:.3f} nats/byte" if metric == "log-likelihood" else f"{100 * value:.1f} points"


def warnings(results: Results) -> Styler:
    """What the analysis of each benchmark warns of."""
    return styled(results.warnings, {}, "nothing", index=False)


def budgets(paper: Paper) -> Styler:
    """Equation 2 against Table 4, in SFT tokens and in fractions."""
    rows = paper.predictions
    table = pd.DataFrame({
        "budget": rows["budget"],
        "peak": rows["source"],
        "predicted SFT tokens": rows["predicted_tokens"].map(millions, na_action="ignore"),
        "best tested SFT tokens": rows["tested_tokens"].map(millions, na_action="ignore"),
        "tested against predicted": rows["token_error"],
        "predicted fraction": rows["predicted"],
        "95% interval": between(rows["low"], rows["high"], FRACTION.format),
        "as printed": rows["printed"],
        "best tested fraction": rows["tested"],
        "difference": rows["error"],
    })  # fmt: skip
    formats = {
        "tested against predicted": "{:+.0%}", "predicted fraction": FRACTION, "as printed": "{:.6f}",
        "best tested fraction": "{:.6f}", "difference": "{:+.6f}",
    }  # fmt: skip
    return styled(table, formats, NONE, index=False)
