"""Turning points, and the critical mixture ratio against tokens (Figures 5 and 6 of paper A) and with its intervals."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.cmr.frames import FIGURE_5, T_MAX, DomainResults, Results
from repro.show import style

ROUTES = {
    "by turning point": ("critical_ratio", "turning", "#3f86e8", "circle"),
    "by tolerance": ("tolerance_ratio", "tolerance", "#d0641f", "diamond"),
}
APART = 0.011  # how far sizes are moved apart on the axis of ratios, so that their bars do not cover each other
LINE = 0.034  # of the axis of ratios: labels are at least that far from each other

EPSILONS = tuple(k / 100 for k in range(1, 16))  # tolerances, nats per token

_CROSS = "M-0.7,-0.7L0.7,0.7M-0.7,0.7L0.7,-0.7"
_STATUS = {"inside": "inside the run", "extrapolated": "extrapolated", "none": "no turning point"}
_TITLE = "Turning point T0 (CPT tokens, run ends at 100)"
_AT_ONCE = "falls from the start"
_EARLIEST = 0.005  # share of T_max below which a turn is drawn at the lower edge of the logarithmic axis


def critical_ratio(results: Results) -> Any:
    """Figures 5 and 6: the critical mixture ratio against T (Equation 8), with its value at the end of the run.

    Points are turning points, (T0, R): what the law was fitted to.
    """
    curves, points = results.ratio_curves(FIGURE_5), results.turning_points()
    sizes = style.in_order([*points["size"], *curves["size"]])
    pick, last = style.picked("size"), float(curves["t"].max()) if len(curves) else T_MAX
    turned = style.labelled(points[points["t"].notna() & (points["t"] <= last)])
    shares = [*curves["ratio"], *turned["ratio"]]
    if "high" in curves:
        shares += [*curves.loc[curves["t"] == T_MAX, "high"].dropna()]
    top = min(1.03, max(shares, default=1.0) * 1.1)
    x = alt.X("t:Q", title=results.t_title, scale=alt.Scale(domain=[0, last], nice=False))
    share, limits = alt.Axis(format=".0%"), alt.Scale(domain=[0, top], nice=False)
    y = alt.Y("ratio:Q", title="Critical mixture ratio (domain share)", axis=share, scale=limits)
    colour, opacity = style.size_colour(sizes), style.faded(pick)
    tips = style.tips(size="Model size", t=("T", ".0f"), ratio=("Ratio", ".1%"))
    place = curves.groupby("size", sort=False).cumcount()
    base = alt.Chart(style.inline(curves.assign(hover=place % 5 == 0))).encode(x, y, colour)
    ends = curves.reindex(columns=["size", "t", "low", "high"])
    line = base.mark_line(strokeWidth=2, clip=True)
    line = line.encode(opacity, style.extrapolated(), detail=["size:N", "kind:N"])
    dots = alt.Chart(style.inline(turned[["size", "ratio", "mixture", "t"]]))
    dots = dots.mark_point(filled=True, size=65, shape="diamond", clip=True)
    layers = [
        style.rule("x", T_MAX),
        *style.band(ends, "y", x, colour, style.faded(pick, 0.16), clip=True),
        line.add_params(pick, style.zoom()),
        style.hover(base, tips, size=60, clip=True),
        dots.encode(x, y, colour, opacity, tooltip=[*tips[:2], *style.tips(mixture="T0 of R")]),
        *_labels(curves, x, y, colour, opacity),
    ]
    chart = alt.layer(*layers).properties(width=600, height=360)
    return style.finish(chart, "Critical mixture ratio against tokens, a curve for each model size")


def turning_points(results: Results) -> Any:
    """Turning point T0 against R for every size; a cross at the top where a trajectory has none.

    Where there are intervals, they are drawn as bars, and sizes are moved apart a little.
    """
    points = results.turning_points()
    rows = style.labelled(points.assign(status=points["status"].map(_STATUS), drawn=points["t"]))
    at_once = rows["t"] < _EARLIEST * T_MAX
    rows = rows.assign(status=rows["status"].mask(at_once, _AT_ONCE), drawn=rows["t"].clip(lower=_EARLIEST * T_MAX))
    sizes, pick = style.in_order(rows["size"]), style.picked("size")
    x = style.ratio_axis(style.ratios_of(rows))
    known = rows["lower"].notna().any()
    if known:
        steps = {size: (place - (len(sizes) - 1) / 2) * APART for place, size in enumerate(sizes)}
        rows = rows.assign(ratio=rows["ratio"] + rows["size"].map(steps).astype(float))
    turned, lost = rows[rows["t"].notna()], rows[rows["t"].isna()]
    colour, opacity = style.size_colour(sizes), style.faded(pick)
    key = alt.Legend(title=None, orient="top", symbolOpacity=1)
    words = [word for word in [*_STATUS.values(), _AT_ONCE] if (rows["status"] == word).any()]
    forms = dict(zip([*_STATUS.values(), _AT_ONCE], ["circle", "square", _CROSS, "triangle-down"], strict=True))
    shape = alt.Shape("status:N", scale=alt.Scale(domain=words, range=[forms[word] for word in words]), legend=key)
    tips = style.tips(size="Model size", mixture="Domain share R", t=("T0", ".1f"), status="Status")
    seen = [*turned["drawn"], T_MAX]
    ends = rows[["lower", "upper"]].to_numpy(float)
    seen += [*np.maximum(ends[np.isfinite(ends)], _EARLIEST * T_MAX)]
    low, high = min(seen) * 0.8, max(seen) * 1.2
    limits = [low, high * (high / low) ** (0.22 if len(lost) else 0.05)]
    y = alt.Y("drawn:Q", title=_TITLE, scale=alt.Scale(type="log", domain=limits, nice=False))
    base = alt.Chart(style.inline(turned)).encode(x, y, colour)
    layers: list[Any] = [style.rule("y", T_MAX), base.mark_line(strokeWidth=1.5).encode(opacity).add_params(pick)]
    if known:
        layers += _open_bars(rows, limits, x, colour, opacity)
        tips += style.tips(lower=("Lower end", ".1f"), upper=("Upper end (none: open)", ".1f"))
    layers.append(base.mark_point(size=75, strokeWidth=2).encode(shape, opacity, tooltip=tips))
    for place, size in enumerate(sizes):
        none = alt.Chart(style.inline(lost[lost["size"] == size])).mark_point(size=55, strokeWidth=2)
        layers.append(none.encode(x, colour, shape, opacity, y=alt.value(9 + 13 * place), tooltip=tips))
    chart = alt.layer(*layers).properties(width=600, height=340)
    return style.finish(chart, "Turning point of the general loss against the domain share, a line for each model size")


def critical_ratio_intervals(*results: Results) -> Any:
    """The critical ratio at the end of the run by both of its conditions, each with its 95% interval.

    A row for each size of our results on one domain; of several, a row for the smallest size on each.
    """
    by, rows_each = ("size", None) if len(results) == 1 else ("domain", 1)
    frame = pd.concat([side.critical_ratios()[:rows_each] for side in results], ignore_index=True)
    rows = pd.concat([_route(frame, by, name) for name in ROUTES], ignore_index=True)
    title, routes = {"size": "Model size", "domain": "Domain"}[by], list(ROUTES)
    shares = "Critical mixture ratio at the end of training (domain share)"
    x = alt.X("value:Q", title=shares, axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1], nice=False))
    y = alt.Y("name:N", title=title, sort=style.in_order(frame[by]))
    place = alt.YOffset("route:N", sort=routes, scale=alt.Scale(paddingOuter=0.6))
    key = alt.Legend(title=None, orient="top", symbolOpacity=1, columnPadding=24)
    _, _, colours, shapes = (list(column) for column in zip(*ROUTES.values(), strict=True))
    colour = alt.Color("route:N", sort=routes, legend=key, scale=alt.Scale(domain=routes, range=colours))
    shape = alt.Shape("route:N", sort=routes, legend=key, scale=alt.Scale(domain=routes, range=shapes))
    ends = {"low": ("Lower end", ".1%"), "high": ("Upper end", ".1%")}
    tips = style.tips(name=title, route="Critical ratio", value=("Value", ".1%"), **ends)
    there = rows.dropna(subset="value")
    dots = alt.Chart(style.inline(there)).mark_point(filled=True, size=70, opacity=1)
    none = alt.Chart(style.inline(rows[rows["value"].isna()].assign(says="does not exist")))
    words = none.mark_text(align="left", dx=5, fontSize=10.5)
    layers = [
        *style.bars(there, "x", y, place, colour, strokeWidth=2),
        dots.encode(x, y, place, colour, shape, tooltip=tips),
        words.encode(y=y, yOffset=place, x=alt.value(0), color=colour, text="says:N"),
    ]
    chart = alt.layer(*layers).properties(width=560, height=alt.Step(15))
    return style.finish(chart, f"Critical mixture ratio by turning point and by tolerance, with intervals, by {by}")


def tolerances(results: DomainResults) -> Any:
    """The critical ratio against the tolerance: by it (solid, with its interval), and by turning point (dashed)."""
    rows = results.tolerances(EPSILONS).rename(columns={"tolerance_lower": "low", "tolerance_upper": "high"})
    pick, limits = style.picked("size"), alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("epsilon:Q", title="Tolerance \u03b5 (nats/token)", scale=alt.Scale(nice=False))
    y = alt.Y(
        "tolerance_ratio:Q", title="Critical mixture ratio (domain share)", axis=alt.Axis(format="%"), scale=limits
    )
    colour, opacity = style.size_colour(style.in_order(rows["size"])), style.faded(pick)
    ends = {"low": ("Lower end", ".1%"), "high": ("Upper end", ".1%"), "critical_ratio": ("By turning point", ".1%")}
    tips = style.tips(size="Model size", epsilon=("Tolerance", ".2f"), tolerance_ratio=("By tolerance", ".1%"), **ends)
    base = alt.Chart(style.inline(rows.drop(columns="binds"))).encode(x, colour, opacity)
    line = base.mark_line(strokeWidth=2, point={"size": 18, "filled": True}).encode(y, tooltip=tips)
    dashed = base.mark_line(strokeWidth=1.2, strokeDash=[4, 3]).encode(alt.Y("critical_ratio:Q", scale=limits))
    bands = style.band(rows[["size", "epsilon", "low", "high"]], "y", x, colour, style.faded(pick, 0.16))
    chart = alt.layer(style.rule("x", results.epsilon), *bands, dashed, line.add_params(pick, style.zoom()))
    text = "Critical mixture ratio against the tolerance, a solid line by tolerance and a dashed one by turning point"
    return style.finish(chart.properties(width=600, height=300), text)


def _labels(curves: pd.DataFrame, x: alt.X, y: alt.Y, colour: alt.Color, opacity: Any) -> list[alt.Chart]:
    """A ring where each curve reaches the end of the run, its value beside it, spread so that none overlap."""
    rows = curves.loc[curves["t"] == T_MAX, ["size", "t", "ratio"]].sort_values("ratio", kind="stable")
    rows = rows.assign(at=style.apart(rows["ratio"], LINE, 1.0 + LINE), says=rows["ratio"].map("{:.1%}".format))
    base = alt.Chart(style.inline(rows))
    ring = base.mark_point(size=45, strokeWidth=2, clip=True).encode(x, y, colour, opacity)
    words = base.mark_text(align="left", dx=3, dy=10, fontSize=10, fontWeight="bold", clip=True)
    return [ring, words.encode(x, alt.Y("at:Q"), colour, opacity, text="says:N")] if len(rows) else []


def _open_bars(rows: pd.DataFrame, limits: Sequence[float], *channels: Any) -> list[Any]:
    """Intervals upright within ``limits``: one that is open above goes on to the edge and ends in an arrow.

    rows: columns size, ratio, lower, upper (infinite where open). channels: those of ratio, size and opacity.
    """
    known = rows.dropna(subset=["lower", "upper"])
    ends = {"low": known["lower"].clip(*limits), "high": known["upper"].clip(*limits)}
    cut = known[["size", "ratio"]].assign(**ends, open=np.isinf(known["upper"]))
    heads = alt.Chart(style.inline(cut[cut["open"]])).mark_point(shape="triangle-up", filled=True, size=40)
    rules = style.bars(cut, "y", *channels, strokeWidth=1.5)
    return [*rules, heads.encode(*channels, y=alt.value(2))] if rules else []


def _route(frame: pd.DataFrame, by: str, route: str) -> pd.DataFrame:
    value, ends = ROUTES[route][:2]
    columns = {by: "name", value: "value", f"{ends}_lower": "low", f"{ends}_upper": "high"}
    return frame[list(columns)].rename(columns=columns).assign(route=route)
