"""Intervals: the critical ratio by both of its conditions, and the bars of turning points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.show import style

ROUTES = {
    "by turning point": ("critical_ratio", "turning", "#3f86e8", "circle"),
    "by tolerance": ("tolerance_ratio", "tolerance", "#d0641f", "diamond"),
}
APART = 0.011  # how far sizes are moved apart on the axis of ratios, so that their bars do not cover each other


def critical_ratio_intervals(frame: pd.DataFrame, *, by: str = "size") -> Any:
    """The critical ratio at the end of the run by both of its conditions, each with its 95% interval.

    Args:
        frame: columns size or domain, critical_ratio, tolerance_ratio (NaN where there is none), turning_lower,
            turning_upper, tolerance_lower, tolerance_upper (NaN where there is no interval).
        by: the column that names the rows, "size" or "domain".

    """
    rows = pd.concat([_route(frame, by, name) for name in ROUTES], ignore_index=True)
    names, routes = style.in_order(frame[by]), list(ROUTES)
    x = alt.X(
        "value:Q",
        title="Critical mixture ratio at the end of training (domain share)",
        axis=alt.Axis(format=".0%"),
        scale=alt.Scale(domain=[0, 1], nice=False),
    )
    y = alt.Y("name:N", title="Model size" if by == "size" else "Domain", sort=names)
    place = alt.YOffset("route:N", sort=routes, scale=alt.Scale(paddingOuter=0.6))
    key = alt.Legend(title=None, orient="top", symbolOpacity=1)
    colour = alt.Color(
        "route:N", sort=routes, legend=key, scale=alt.Scale(domain=routes, range=[ROUTES[r][2] for r in routes])
    )
    shape = alt.Shape(
        "route:N", sort=routes, legend=key, scale=alt.Scale(domain=routes, range=[ROUTES[r][3] for r in routes])
    )
    tips = [
        style.word("name", "Model size" if by == "size" else "Domain"),
        style.word("route", "Critical ratio"),
        style.number("value", "Value", ".1%"),
        style.number("low", "Lower end", ".1%"),
        style.number("high", "Upper end", ".1%"),
    ]
    there, known = rows.dropna(subset="value"), rows.dropna(subset=["value", "low", "high"])
    bars = alt.Chart(style.inline(known)).mark_rule(strokeWidth=2)
    dots = alt.Chart(style.inline(there)).mark_point(filled=True, size=70, opacity=1)
    none = alt.Chart(style.inline(rows[rows["value"].isna()].assign(says="does not exist")))
    words = none.mark_text(align="left", dx=5, fontSize=10.5)
    layers = [
        bars.encode(alt.X("low:Q"), alt.X2("high:Q"), y, place, colour),
        dots.encode(x, y, place, colour, shape, tooltip=tips),
        words.encode(y=y, yOffset=place, x=alt.value(0), color=colour, text="says:N"),
    ]
    chart = alt.layer(*layers).properties(width=560, height=alt.Step(15))
    return style.finish(chart, f"Critical mixture ratio by turning point and by tolerance, with intervals, by {by}")


def _route(frame: pd.DataFrame, by: str, route: str) -> pd.DataFrame:
    value, ends = ROUTES[route][:2]
    return pd.DataFrame({
        "name": frame[by], "route": route, "value": frame[value], "low": frame[f"{ends}_lower"],
        "high": frame[f"{ends}_upper"],
    })  # fmt: skip


def apart(rows: pd.DataFrame, sizes: Sequence[str]) -> pd.DataFrame:
    """The rows with ``ratio`` moved a little by size, around where it is."""
    steps = {size: (place - (len(sizes) - 1) / 2) * APART for place, size in enumerate(sizes)}
    return rows.assign(ratio=rows["ratio"] + rows["size"].map(steps).astype(float))


def bars(rows: pd.DataFrame, limits: Sequence[float], x: alt.X, colour: alt.Color, shown: Any) -> list[Any]:
    """Intervals upright within ``limits``: one that is open above goes on to the edge and ends in an arrow.

    rows: columns size, ratio, lower, upper (infinite where open). The vertical axis is that of ``drawn``.
    """
    known = rows.dropna(subset=["lower", "upper"])
    cut = known.assign(
        low=known["lower"].clip(*limits), high=known["upper"].clip(*limits), open=np.isinf(known["upper"])
    )
    if cut.empty:
        return []
    cut = cut[["size", "ratio", "low", "high", "open"]]
    rules = alt.Chart(style.inline(cut)).mark_rule(strokeWidth=1.5)
    heads = alt.Chart(style.inline(cut[cut["open"]])).mark_point(shape="triangle-up", filled=True, size=40)
    return [
        rules.encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), colour, opacity=shown),
        heads.encode(x, colour, y=alt.value(2), opacity=shown),
    ]
