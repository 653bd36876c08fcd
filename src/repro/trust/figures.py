"""Figures on the trust that fits deserve, as functions of frames."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.show import charts, style
from repro.trust.frames import CELLS, Surface
from repro.trust.recovered import GOAL, MAIN, NOMINAL, SHARES

HELD, MISSED = "truth inside", "truth outside, or no interval"
_HELD = {HELD: "#3f86e8", MISSED: "#e2622f"}
_BANDS = {
    "in the 95% region": "#e2622f",
    "to 2 times the least": "#8a70e6",
    "to 4 times": "#3f86e8",
    "more": style.GREY,
}
_MARK = "#14171c"  # on the cells, which are coloured on either ground


def surfaces(surfaces: Sequence[Surface]) -> Any:
    """The residual sum of squares of the token law over its two exponents, one panel for each curve."""
    if not surfaces:
        return charts.nothing("No curve has more points than the token law has parameters")
    cells = [_surface(surface, titled=place == 0) for place, surface in enumerate(surfaces)]
    return charts.panels(
        cells, "Residual sum of squares over both exponents of the general loss, with the minimum and the 95% region"
    )


def _surface(surface: Surface, *, titled: bool) -> Any:
    half = (surface.fit.law.nonlinear[0].high - surface.fit.law.nonlinear[0].low) / CELLS / 2
    cells, (inside, twice, four, more), ends = surface.cells, _BANDS, [0, 1.02]
    within, excess = cells["within"], cells["excess"]
    rows = pd.DataFrame({
        "s2": cells["s2"], "s3": cells["s3"], "excess": excess, "left": cells["s2"] - half, "right": cells["s2"] + half,
        "bottom": cells["s3"] - half, "top": cells["s3"] + half,
        "band": np.select([within, excess <= 2, excess <= 4], [inside, twice, four], more),
    })  # fmt: skip
    tips = style.tips(s2=("s2", ".2f"), s3=("s3", ".2f"), excess=("Times the least", ".2f"))
    squares = alt.Chart(style.inline(rows)).mark_rect(opacity=0.85).encode(
        charts.x("left:Q", "Smaller exponent, s2", ends), alt.X2("right:Q"),
        charts.y("bottom:Q", "Larger exponent, s3" if titled else None, ends), alt.Y2("top:Q"),
        charts.by(alt.Color, "band", _BANDS, title="Residual sum of squares", columns=4), tooltip=tips,
    )  # fmt: skip
    least = pd.DataFrame([surface.fit.params])[["s2", "s3"]].assign(excess=1.0)
    x, y = alt.X("s2:Q"), alt.Y("s3:Q")
    look: dict[str, Any] = {"shape": "diamond", "size": 130, "stroke": "white", "strokeWidth": 1.5}
    layers = [squares, *charts.points(least, x, y, _MARK, tips=tips, **look)]
    return charts.layered(layers, style.PANEL, style.PANEL, surface.label)


def intervals(recovered: pd.DataFrame) -> Any:
    """Every interval of the three main quantities against the truth, in order of truth; misses stand out."""
    cells = [_caterpillar(recovered[recovered["quantity"] == name], name) for name in MAIN]
    text = "Intervals of simulated studies in order of their truth, those that miss it in another colour"
    return charts.panels(cells, text, columns=1)


def _caterpillar(rows: pd.DataFrame, name: str) -> Any:
    shares = name in SHARES
    every = rows[["truth", "lower", "upper"]].to_numpy(float)
    low, high = every[np.isfinite(every)].min(), every[np.isfinite(every)].max()
    limits = [0.0, min(1.03, 1.05 * high)] if shares else [low / 1.1, high * 1.1]
    drawn = rows.sort_values("truth", ignore_index=True)
    drawn = drawn.assign(
        rank=drawn.index + 1, inside=np.where(drawn["covered"], HELD, MISSED), lower=drawn["lower"].clip(*limits),
        upper=drawn["upper"].clip(*limits),
    )[["rank", "truth", "estimate", "lower", "upper", "inside"]]  # fmt: skip
    x = charts.x("rank:Q", None, [0, len(drawn) + 1]).axis(None)
    title, form = ("Domain share R", ".1%") if shares else ("SFT tokens", ",.0f")
    kind, labels = ("linear", "%") if shares else ("log", "~s")
    y = charts.y("truth:Q", title, limits, scale={"type": kind}, format=labels, tickCount=5)
    colour = charts.by(alt.Color, "inside", _HELD, symbolType="stroke", symbolStrokeWidth=4)
    tips = style.tips(**{f: (f.capitalize(), form) for f in ("truth", "estimate", "lower", "upper")})
    layers = []
    for inside, bar, size, hue in ((HELD, 1.5, 9, style.GREY), (MISSED, 3.0, 30, _HELD[MISSED])):
        own = drawn[drawn["inside"] == inside]
        between = style.intervals(own, y, x, colour, tips, ends=("lower", "upper"))
        layers += [each.mark_rule(opacity=0.85, strokeWidth=bar) for each in between]
        layers += charts.points(own, x, y, hue, tips=tips, size=size)
    return charts.layered(layers, charts.WIDE, 150, f"{name}: 95% intervals, and the truth")


def coverage(frame: pd.DataFrame) -> Any:
    """How often the truth is inside, with the Wilson interval of that share, beside the goal; from `recovered`."""
    least = min(0.8, float(frame["low"].min()) - 0.02)
    x = charts.x("covered:Q", "Share of studies with the truth inside", [least, 1.0], format=".0%", tickCount=5)
    y = charts.y("quantity:N", sort=list(frame["quantity"]), labelLimit=230)
    ends = {"low": ("From", ".1%"), "high": ("To", ".1%")}
    tips = style.tips(quantity="Interval of", covered=("Truth inside", ".1%"), **ends)
    goal = style.intervals(pd.DataFrame({"low": [GOAL[0]], "high": [GOAL[1]]}), x)
    band = [layer.mark_rect(color=style.GREY, opacity=0.18) for layer in goal]
    rows = frame[["quantity", "covered", "low", "high"]]
    dots = charts.points(rows, x, y, _HELD[HELD], tips=tips, along="x", bar=2, size=80)
    text = "Coverage of each kind of interval with its own uncertainty, and the nominal 95%"
    return charts.figure([*band, style.rule("x", NOMINAL), *dots], text, 430, 26 * len(frame))
