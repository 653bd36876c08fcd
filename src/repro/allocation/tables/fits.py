"""Tables of Equations 1 and 2 on scores, from the frames of `frames`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from repro.laws.allocation import NAME as EQUATION_1
from repro.show.tables import Format, styled
from repro.show.words import FRACTION, between, millions, p_value

NO_PEAK = "Equation 1 has no peak here, or no interval was asked for"
NONE = "not printed, or not computed"


def optima(frame: pd.DataFrame) -> Styler:
    """The peaks refitted, with 95% intervals, beside the paper's; from `frames.optima`."""
    shown = pd.DataFrame({
        "benchmark": frame["benchmark"],
        "best SFT tokens": frame["sft_tokens"].map(millions, na_action="ignore"),
        "95% interval": between(frame["low"], frame["high"], millions),
        "the paper's": frame["printed_tokens"].map(millions, na_action="ignore"),
        "best CPT fraction": frame["cpt_fraction"],
        "the paper's fraction": frame["printed_fraction"],
        "highest score at": frame["highest_score"],
    })  # fmt: skip
    return styled(shown, dict.fromkeys(shown.columns[4:], FRACTION), NO_PEAK, index=False)


def flatness(frame: pd.DataFrame) -> Styler:
    """The test of equal scores; from `frames.flatness`."""
    names = {
        "benchmark": "benchmark",
        "items": "items",
        "error": "standard error of a score",
        "statistic": "chi-square",
        "df": "degrees of freedom",
        "p_value": "p",
    }
    shown = frame[list(names)].rename(columns=names)
    formats: dict[str, Format] = {
        "items": "{:,.0f}", "standard error of a score": "{:.1%}", "chi-square": "{:.1f}",
        "degrees of freedom": "{:.0f}", "p": p_value,
    }  # fmt: skip
    return styled(shown, formats, NONE, index=False)


def rivals(frame: pd.DataFrame) -> Styler:
    """Akaike's criterion above the best law's, and the error of allocations left out; from `frames.rivals`.

    Errors are in points, or nats a byte where the frame's metric is the log-likelihood. An infinite criterion, where
    there are too few scores for a law's parameters, is a dash.
    """
    metrics = frame.get("metric", pd.Series("accuracy", frame.index))
    errors = [_error(float(error), metric) for error, metric in zip(frame["loo"], metrics, strict=True)]
    columns = {"benchmark": frame["benchmark"]} | ({"metric": frame["metric"]} if "metric" in frame else {})
    shown = pd.DataFrame(columns | {
        "law": frame["law"].replace(EQUATION_1, "Equation 1"),
        "parameters": frame["parameters"],
        "criterion": frame["criterion"],
        "above the best": frame["delta_aicc"].astype(float).replace(np.inf, np.nan),
        "error when left out": errors,
    })  # fmt: skip
    return styled(shown, {"above the best": "{:.1f}"}, "too few scores for so many parameters", index=False)


def _error(value: float, metric: str) -> str | None:
    if not np.isfinite(value):
        return None
    return f"{value:.3f} nats/byte" if metric == "log-likelihood" else f"{100 * value:.1f} points"


def budgets(frame: pd.DataFrame) -> Styler:
    """Equation 2 against Table 4, in SFT tokens and in fractions; from `frames.budgets`."""
    shown = pd.DataFrame({
        "budget": frame["budget"],
        "peak": frame["source"],
        "predicted SFT tokens": frame["predicted_tokens"].map(millions, na_action="ignore"),
        "best tested SFT tokens": frame["tested_tokens"].map(millions, na_action="ignore"),
        "tested against predicted": frame["token_error"],
        "predicted fraction": frame["predicted"],
        "95% interval": between(frame["low"], frame["high"], FRACTION.format),
        "as printed": frame["printed"],
        "best tested fraction": frame["tested"],
        "difference": frame["error"],
    })  # fmt: skip
    formats = {
        "tested against predicted": "{:+.0%}", "predicted fraction": FRACTION, "as printed": "{:.6f}",
        "best tested fraction": "{:.6f}", "difference": "{:+.6f}",
    }  # fmt: skip
    return styled(shown, formats, NONE, index=False)
