"""Tables of what the printed tables say again; from the frames beside this module. Captions are left to the page."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from repro.laws import ratio_label
from repro.show.style import in_order
from repro.show.tables import styled

# How a number of each unit is written, and a difference of two.
_VALUES: dict[str, Callable[[float], str]] = {
    "error": "{:.4%}".format, "share": "{:.2%}".format, "tokens": lambda value: f"{value / 1e9:.0f}B",
}  # fmt: skip
_DIFFERENCES: dict[str, Callable[[float], str]] = {
    "error": lambda value: f"{100 * value:+.4f} points", "share": lambda value: f"{100 * value:+.2f} points",
    "tokens": lambda value: f"{value / 1e9:+.0f}B",
}  # fmt: skip
NO_TURN = "does not turn within ten runs, or is never critical on Table 5's curve"


def comparison(frame: pd.DataFrame) -> Styler:
    """Printed beside recomputed, with the difference; from `frames.comparison`."""
    rows = frame.assign(difference=frame["recomputed"] - frame["printed"])
    for column, formats in (("printed", _VALUES), ("recomputed", _VALUES), ("difference", _DIFFERENCES)):
        rows[column] = [formats[unit](value) for value, unit in zip(rows[column], frame["unit"], strict=True)]
    return styled(rows.drop(columns="unit"), {}, "not printed", index=False)


def turns(frame: pd.DataFrame) -> Styler:
    """T0 of Table 4's curves beside Table 5's curve inverted; from `frames.turns`."""
    sizes = in_order(frame["size"])
    named = frame.assign(R=[ratio_label(r) for r in frame["ratio"]])
    wide = named.pivot(index="R", columns="size", values=["t", "inverted"])
    columns = pd.MultiIndex.from_product([sizes, ["t", "inverted"]])
    wide = wide.swaplevel(axis=1).reindex(index=[ratio_label(r) for r in sorted(set(frame["ratio"]))], columns=columns)
    wide = wide.rename(columns={"t": "Table 4", "inverted": "Table 5"}, level=1)
    return styled(wide, lambda t: f"{t:,.1f}" if np.isfinite(t) else "", NO_TURN, index=True)
