"""Tables and figures of what the printed tables say again, from the frames beside this module, without captions."""

from collections.abc import Callable
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from repro.cmr.frames import T_MAX
from repro.cmr.rederived.frames import PRINTED, REFIT
from repro.laws import ratio_label
from repro.show import charts, style
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

_LAMBDA = "Lagrange multiplier \u03bb"
_TICKS = [100, 200, 500, 1000, 2000, 5000]


def comparison(frame: pd.DataFrame) -> Styler:
    """Printed beside recomputed, with the difference; from `frames.comparison`."""
    rows = frame.assign(difference=frame["recomputed"] - frame["printed"])
    for column, formats in (("printed", _VALUES), ("recomputed", _VALUES), ("difference", _DIFFERENCES)):
        rows[column] = [formats[unit](value) for value, unit in zip(rows[column], frame["unit"], strict=True)]
    return styled(rows[["what", "difference", "printed", "recomputed", "where"]], {}, "not printed", index=False)


def turns(frame: pd.DataFrame) -> Styler:
    """T0 of Table 4's curves beside Table 5's curve inverted; from `frames.turns`."""
    sizes = style.in_order(frame["size"])
    named = frame.assign(R=[ratio_label(r) for r in frame["ratio"]])
    wide = named.pivot(index="R", columns="size", values=["t", "inverted"])
    columns = pd.MultiIndex.from_product([sizes, ["t", "inverted"]])
    wide = wide.swaplevel(axis=1).reindex(index=[ratio_label(r) for r in sorted(set(frame["ratio"]))], columns=columns)
    wide = wide.rename(columns={"t": "Table 4", "inverted": "Table 5"}, level=1)
    return styled(wide, lambda t: f"{t:,.1f}" if np.isfinite(t) else "", NO_TURN, index=True)


def multipliers(frame: pd.DataFrame) -> Any:
    """T0 of Table 4's curves against the multiplier, a panel for each size; dashed: Table 5's curve inverted."""
    rows, log = style.labelled(frame), {"type": "log", "nice": False}
    key, sizes = charts.Key.ratios(style.ratios_of(rows)), style.in_order(rows["size"])
    ends = {"t": ("T0 from Table 4", ".1f"), "inverted": ("T0 from Table 5", ".1f")}
    tips = style.tips(mixture="Domain share R", lagrange=("Multiplier", ",.0f"), **ends)
    cells = []
    for place, size in enumerate(sizes):
        own, title = rows[rows["size"] == size], None if place % 2 else "T0 (units of 0.2B tokens)"
        x = charts.x("lagrange:Q", _LAMBDA if place >= 2 else None, scale=log, values=_TICKS)
        printed, inverted = (charts.y(f"{name}:Q", title, scale=log | {"padding": 8}) for name in ends)
        layers = charts.lines(own, x, printed, key, tips=tips, dots=18, beside=inverted)
        cells.append(charts.layered(layers, height=170, title=size))
    return charts.panels(
        cells, "Turning points against the Lagrange multiplier, with the turning points that Table 5 implies"
    )


def critical_ratio(frame: pd.DataFrame, turns: pd.DataFrame) -> Any:
    """Figure 5 from Table 5 (solid), and from Equation 8 refitted to the turning points of Table 4 (dashed).

    turns: size, ratio, t; the turning points within the range drawn are marked.
    """
    key, last = charts.Key.sizes(frame), float(frame["t"].max())
    x = charts.x("t:Q", "T (units of 0.2B tokens)", [0, last])
    y = charts.y("ratio:Q", "Critical mixture ratio (domain share)", [0, 0.8], format=".0%")
    look: dict[str, Any] = {"symbolStrokeWidth": 2, "symbolSize": 400, "labelLimit": 300}
    dash = charts.by(alt.StrokeDash, "source", {PRINTED: [1, 0], REFIT: [5, 4]}, **look)
    tips = style.tips(size="Model size", t=("T", ".0f"), ratio=("Ratio", ".1%"))
    place, turned = frame.groupby(["size", "source"], sort=False).cumcount(), turns[turns["t"] <= last]
    layers = [
        style.rule("x", T_MAX),
        *charts.lines(frame.assign(hover=place % 5 == 0), x, y, key, dash, tips=tips),
        *charts.points(turned[["size", "ratio", "t"]], x, y, key, tips=tips, size=60, shape="diamond"),
    ]
    text = "Critical mixture ratio against tokens, as printed and refitted, for each model size"
    return charts.figure(layers, text, height=340)
