"""Turning points, and the critical mixture ratio against tokens (Figures 5 and 6 of paper A) and with its intervals."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.cmr.frames import FIGURE_5, T_MAX, DomainResults, Results
from repro.show import charts, style

ROUTES = {"by turning point": ("critical_ratio", "turning"), "by tolerance": ("tolerance_ratio", "tolerance")}
_COLOURS = dict(zip(ROUTES, ("#3f86e8", "#d0641f"), strict=True))
_SHAPES = dict(zip(ROUTES, ("circle", "diamond"), strict=True))
APART = 0.011  # how far sizes are moved apart on the axis of ratios, so that their bars do not cover each other
LINE = 0.034  # of the axis of ratios: labels are at least that far from each other

EPSILONS = tuple(k / 100 for k in range(1, 16))  # tolerances, nats per token

_STATUS = {"inside": "inside the run", "extrapolated": "extrapolated", "none": "no turning point"}
_ENDS = {"low": ("Lower end", ".1%"), "high": ("Upper end", ".1%")}
_RING: dict[str, Any] = {"size": 75, "filled": False, "strokeWidth": 2}
_AT_ONCE = "falls from the start"
_CROSS = "M-0.7,-0.7L0.7,0.7M-0.7,0.7L0.7,-0.7"
_FORMS = dict(zip((*_STATUS.values(), _AT_ONCE), ("circle", "square", _CROSS, "triangle-down"), strict=True))
_TITLE = "Turning point T0 (CPT tokens, run ends at 100)"
_SHARE = "Critical mixture ratio (domain share)"
_EARLIEST = 0.005  # share of T_max below which a turn is drawn at the lower edge of the logarithmic axis


def critical_ratio(results: Results) -> Any:
    """Figures 5 and 6: the critical mixture ratio against T (Equation 8), with its value at the end of the run.

    Points are turning points, (T0, R): what the law was fitted to.
    """
    curves, points = results.ratio_curves(FIGURE_5), results.turning_points()
    key = charts.Key.sizes(pd.concat([points[["size"]], curves[["size"]]]))
    last = float(curves["t"].max()) if len(curves) else T_MAX
    turned = style.labelled(points[points["t"].notna() & (points["t"] <= last)])
    shares = [*curves["ratio"], *turned["ratio"]]
    if "high" in curves:
        shares += [*curves.loc[curves["t"] == T_MAX, "high"].dropna()]
    top = min(1.03, max(shares, default=1.0) * 1.1)
    x = charts.x("t:Q", results.t_title, [0, last])
    y = charts.y("ratio:Q", _SHARE, [0, top], format=".0%")
    tips = style.tips(size="Model size", t=("T", ".0f"), ratio=("Ratio", ".1%"))
    rows = curves.assign(hover=curves.groupby("size", sort=False).cumcount() % 5 == 0)
    turned, marked = turned[["size", "ratio", "mixture", "t"]], [*tips[:2], *style.tips(mixture="T0 of R")]
    layers = [
        style.rule("x", T_MAX),
        *charts.lines(rows, x, y, key, style.extrapolated(), alt.Detail("kind:N"), tips=tips, band=0.16),
        *charts.points(turned, x, y, key, tips=marked, size=65, shape="diamond"),
        *_labels(curves, x, y, key),
    ]
    return charts.figure(layers, "Critical mixture ratio against tokens, a curve for each model size", height=360)


def turning_points(results: Results) -> Any:
    """Turning point T0 against R for every size; a cross at the top where a trajectory has none.

    Where there are intervals, they are drawn as bars, and sizes are moved apart a little.
    """
    points, earliest = results.turning_points(), _EARLIEST * T_MAX
    status = points["status"].map(_STATUS).mask(points["t"] < earliest, _AT_ONCE)
    rows = style.labelled(points.assign(status=status, drawn=points["t"].clip(lower=earliest)))
    sizes, key, x = style.in_order(rows["size"]), charts.Key.sizes(rows), style.ratio_axis(style.ratios_of(rows))
    known = rows["lower"].notna().any()
    numbers = {"lower": ("Lower end", ".1f"), "upper": ("Upper end (none: open)", ".1f")} if known else {}
    if known:
        steps = {size: (place - (len(sizes) - 1) / 2) * APART for place, size in enumerate(sizes)}
        rows = rows.assign(ratio=rows["ratio"] + rows["size"].map(steps).astype(float))
    turned, lost = rows[rows["t"].notna()], rows["t"].isna()
    shape = charts.by(alt.Shape, "status", _FORMS, rows["status"])
    tips = style.tips(size="Model size", mixture="Domain share R", t=("T0", ".1f"), status="Status", **numbers)
    ends = rows[["lower", "upper"]].to_numpy(float)
    seen = [*turned["drawn"], T_MAX, *np.maximum(ends[np.isfinite(ends)], earliest)]
    low, high = min(seen) * 0.8, max(seen) * 1.2
    limits = [low, high * (high / low) ** (0.22 if lost.any() else 0.05)]
    # Crosses stand in a row for each size, as far from the top.
    top = [limits[1] * (limits[0] / limits[1]) ** (0.026 + 0.038 * sizes.index(size)) for size in rows["size"]]
    rows = rows.assign(drawn=rows["drawn"].mask(lost, top))
    y = charts.y("drawn:Q", _TITLE, limits, scale={"type": "log"})
    layers = [style.rule("y", T_MAX), *charts.lines(turned, x, y, key, zoom=False, strokeWidth=1.5)]
    layers += [*_open_bars(rows, limits, x, key), *charts.points(rows, x, y, key, shape, tips=tips, **_RING)]
    text = "Turning point of the general loss against the domain share, a line for each model size"
    return charts.figure(layers, text, height=340)


def critical_ratio_intervals(*results: Results) -> Any:
    """The critical ratio at the end of the run by both of its conditions, each with its 95% interval.

    A row for each size of our results on one domain; of several, a row for the smallest size on each.
    """
    by, rows_each = ("size", None) if len(results) == 1 else ("domain", 1)
    frame = pd.concat([side.critical_ratios()[:rows_each] for side in results], ignore_index=True)
    rows = pd.concat([_route(frame, by, name) for name in ROUTES], ignore_index=True)
    title = {"size": "Model size", "domain": "Domain"}[by]
    x = charts.x("value:Q", "Critical mixture ratio at the end of training (domain share)", [0, 1], format=".0%")
    y = charts.y("name:N", title, sort=style.in_order(frame[by]))
    place = alt.YOffset("route:N", sort=list(ROUTES), scale=alt.Scale(paddingOuter=0.6))
    colour = charts.by(alt.Color, "route", _COLOURS, columnPadding=24)
    tips = style.tips(name=title, route="Critical ratio", value=("Value", ".1%"), **_ENDS)
    there = rows.dropna(subset="value")
    *bars, dots = charts.points(there, x, y, colour, place, tips=tips, along="x", bar=2, size=70)
    none = alt.Chart(style.inline(rows[rows["value"].isna()].assign(says="does not exist")))
    words = none.mark_text(align="left", dx=5, fontSize=10.5).encode(y, place, colour, x=alt.value(0), text="says:N")
    layers = [*bars, dots.encode(charts.by(alt.Shape, "route", _SHAPES, columnPadding=24)), words]
    text = f"Critical mixture ratio by turning point and by tolerance, with intervals, by {by}"
    return charts.figure(layers, text, 560, alt.Step(15))


def tolerances(results: DomainResults) -> Any:
    """The critical ratio against the tolerance: by it (solid, with its interval), and by turning point (dashed)."""
    rows = results.tolerances(EPSILONS).drop(columns="binds")
    rows = rows.rename(columns={"tolerance_lower": "low", "tolerance_upper": "high"})
    key, x = charts.Key.sizes(rows), charts.x("epsilon:Q", "Tolerance \u03b5 (nats/token)", scale={"nice": False})
    solid, dashed = (
        charts.y(f"{name}:Q", _SHARE, [0, 1], format="%") for name in ("tolerance_ratio", "critical_ratio")
    )
    ends = _ENDS | {"critical_ratio": ("By turning point", ".1%")}
    tips = style.tips(size="Model size", epsilon=("Tolerance", ".2f"), tolerance_ratio=("By tolerance", ".1%"), **ends)
    layers = [
        style.rule("x", results.epsilon),
        *charts.lines(rows, x, solid, key, tips=tips, dots=18, band=0.16, beside=dashed),
    ]
    text = "Critical mixture ratio against the tolerance, a solid line by tolerance and a dashed one by turning point"
    return charts.figure(layers, text, height=300)


def _labels(curves: pd.DataFrame, x: alt.X, y: alt.Y, key: charts.Key) -> list[Any]:
    """A ring where each curve reaches the end of the run, its value beside it, spread so that none overlap."""
    rows = curves.loc[curves["t"] == T_MAX, ["size", "t", "ratio"]].sort_values("ratio", kind="stable")
    rows = rows.assign(at=style.apart(rows["ratio"], LINE, 1.0 + LINE), says=rows["ratio"].map("{:.1%}".format))
    rings = charts.points(rows, x, y, key, **_RING | {"size": 45})
    words = alt.Chart(style.inline(rows)).mark_text(align="left", dx=3, dy=10, fontSize=10, fontWeight="bold")
    return [*rings, words.encode(x, alt.Y("at:Q"), key.colour, key.faded(), text="says:N")] if len(rows) else []


def _open_bars(rows: pd.DataFrame, limits: Sequence[float], x: alt.X, key: charts.Key) -> list[Any]:
    """Intervals upright within ``limits``: one that is open above goes on to the edge and ends in an arrow.

    rows: columns size, ratio, lower, upper (infinite where open).
    """
    known = rows.dropna(subset=["lower", "upper"])
    ends = {"low": known["lower"].clip(*limits), "high": known["upper"].clip(*limits)}
    cut = known[["size", "ratio"]].assign(**ends, open=np.isinf(known["upper"].astype(float)))
    heads = alt.Chart(style.inline(cut[cut["open"]])).mark_point(shape="triangle-up", filled=True, size=40)
    channels = (x, key.colour, key.faded())
    rules = [each.mark_rule(strokeWidth=1.5) for each in style.intervals(cut, alt.Y(), *channels)]
    return [*rules, heads.encode(*channels, y=alt.value(2))] if rules else []


def _route(frame: pd.DataFrame, by: str, route: str) -> pd.DataFrame:
    value, ends = ROUTES[route]
    columns = {by: "name", value: "value", f"{ends}_lower": "low", f"{ends}_upper": "high"}
    return frame[list(columns)].rename(columns=columns).assign(route=route)
