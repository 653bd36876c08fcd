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
from repro.show import style
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
    return styled(rows.drop(columns="unit"), {}, "not printed", index=False)


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
    rows = style.labelled(frame)
    ratios, sizes, pick = style.ratios_of(rows), style.in_order(rows["size"]), style.picked("mixture")
    panels = [_panel(rows[rows["size"] == size], ratios, pick, place) for place, size in enumerate(sizes)]
    text = "Turning points against the Lagrange multiplier, with the turning points that Table 5 implies"
    return style.finish(style.grid(panels, columns=2), text)


def _panel(rows: pd.DataFrame, ratios: list[float], pick: alt.Parameter, place: int) -> Any:
    title = _LAMBDA if place >= 2 else None
    x = alt.X("lagrange:Q", title=title, axis=alt.Axis(values=_TICKS), scale=alt.Scale(type="log", nice=False))
    scale = alt.Scale(type="log", nice=False, padding=8)
    y = alt.Y("t:Q", title="T0 (units of 0.2B tokens)" if place % 2 == 0 else None, scale=scale)
    colour, opacity = style.ratio_colour(ratios), style.faded(pick)
    tips = style.tips(
        mixture="Domain share R", lagrange=("Multiplier", ",.0f"), t=("T0 from Table 4", ".1f"),
        inverted=("T0 from Table 5", ".1f"),
    )  # fmt: skip
    base = alt.Chart(style.inline(rows[["mixture", "lagrange", "t", "inverted"]])).encode(x, colour, opacity)
    line = base.mark_line(strokeWidth=2, point={"size": 18, "filled": True}).encode(y, tooltip=tips).add_params(pick)
    aim = base.mark_line(strokeWidth=1.2, strokeDash=[4, 3]).encode(alt.Y("inverted:Q", scale=scale))
    return alt.layer(aim, line).properties(title=str(rows["size"].iloc[0]), width=style.PANEL, height=170)


def critical_ratio(frame: pd.DataFrame, turns: pd.DataFrame) -> Any:
    """Figure 5 from Table 5 (solid), and from Equation 8 refitted to the turning points of Table 4 (dashed).

    turns: size, ratio, t; the turning points within the range drawn are marked.
    """
    sizes, pick, last = style.in_order(frame["size"]), style.picked("size"), float(frame["t"].max())
    x = alt.X("t:Q", title="T (units of 0.2B tokens)", scale=alt.Scale(domain=[0, last], nice=False))
    axis, scale = alt.Axis(format=".0%"), alt.Scale(domain=[0, 0.8], nice=False)
    y = alt.Y("ratio:Q", title="Critical mixture ratio (domain share)", axis=axis, scale=scale)
    colour, opacity = style.size_colour(sizes), style.faded(pick)
    key = alt.Legend(title=None, orient="top", symbolStrokeWidth=2, symbolSize=400, labelLimit=300)
    dash = alt.StrokeDash("source:N", scale=alt.Scale(domain=[PRINTED, REFIT], range=[[1, 0], [5, 4]]), legend=key)
    tips = style.tips(size="Model size", t=("T", ".0f"), ratio=("Ratio", ".1%"))
    lines = alt.Chart(style.inline(frame)).mark_line(strokeWidth=2, clip=True)
    lines = lines.encode(x, y, colour, dash, opacity, tooltip=tips).add_params(pick, style.zoom())
    dots = alt.Chart(style.inline(turns[turns["t"] <= last][["size", "ratio", "t"]]))
    marks = dots.mark_point(filled=True, size=60, shape="diamond", clip=True).encode(x, y, colour, opacity)
    chart = alt.layer(style.rule("x", T_MAX), lines, marks.encode(tooltip=tips)).properties(width=600, height=340)
    return style.finish(chart, "Critical mixture ratio against tokens, as printed and refitted, for each model size")
