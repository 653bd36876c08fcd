"""Tables of what the printed tables say again; from the frames beside this module. Captions are left to the page."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from repro.laws import ratio_label
from repro.show.style import in_order
from repro.show.tables import styled

NO_TURN = "does not turn within ten runs, or is never critical on Table 5's curve"


def comparison(frame: pd.DataFrame) -> Styler:
    """Printed beside recomputed, with the difference; from `frames.comparison`."""
    shown = pd.DataFrame({
        "where": frame["where"],
        "what": frame["what"],
        "printed": [_value(v, u) for v, u in zip(frame["printed"], frame["unit"], strict=True)],
        "recomputed": [_value(v, u) for v, u in zip(frame["recomputed"], frame["unit"], strict=True)],
        "difference": [
            _difference(b - a, u) for a, b, u in zip(frame["printed"], frame["recomputed"], frame["unit"], strict=True)
        ],
    })  # fmt: skip
    return styled(shown, {}, "not printed", index=False)


def _value(value: float, unit: str) -> str:
    return {"error": f"{value:.4%}", "share": f"{value:.2%}", "tokens": f"{value / 1e9:.0f}B"}[unit]


def _difference(value: float, unit: str) -> str:
    return {
        "error": f"{100 * value:+.4f} points", "share": f"{100 * value:+.2f} points", "tokens": f"{value / 1e9:+.0f}B",
    }[unit]  # fmt: skip


def turns(frame: pd.DataFrame) -> Styler:
    """T0 of Table 4's curves beside Table 5's curve inverted; from `frames.turns`."""
    sizes = in_order(frame["size"])
    named = frame.assign(R=[ratio_label(r) for r in frame["ratio"]])
    wide = named.pivot(index="R", columns="size", values=["t", "inverted"])
    columns = pd.MultiIndex.from_product([sizes, ["t", "inverted"]])
    wide = wide.swaplevel(axis=1).reindex(index=[ratio_label(r) for r in sorted(set(frame["ratio"]))], columns=columns)
    wide = wide.rename(columns={"t": "Table 4", "inverted": "Table 5"}, level=1)
    return styled(wide, lambda t: f"{t:,.1f}" if np.isfinite(t) else "", NO_TURN, index=True)


def prediction(frame: pd.DataFrame) -> Styler:
    """The quarter of Table 2, measured, printed and refitted, with relative errors; from `frames.prediction`."""
    shown = pd.DataFrame({
        "model size": frame["size"],
        "measured": frame["measured"],
        "predicted, printed": frame["printed"],
        "error": frame["printed"] / frame["measured"] - 1,
        "predicted, refitted": frame["refitted"],
        "error, refitted": frame["refitted"] / frame["measured"] - 1,
    })  # fmt: skip
    formats = {column: "{:+.3%}" if "error" in column else "{:.4f}" for column in shown.columns[1:]}
    return styled(shown, formats, "not printed", index=False)


def quality(frame: pd.DataFrame) -> Styler:
    """Medians of Table 3 beside those of our fits; from `frames.quality`."""
    shown = frame[["loss", "metric"]].copy()
    shown["printed"], shown["ours"] = _quality(frame, "printed"), _quality(frame, "ours")
    return styled(shown, {}, "not run or not printed", index=False)


def _quality(frame: pd.DataFrame, column: str) -> list[str | None]:
    return [
        None if np.isnan(value) else f"{value:.2e}" if metric == "MSE" else f"{value:.4f}"
        for value, metric in zip(frame[column].astype(float), frame["metric"], strict=True)
    ]
