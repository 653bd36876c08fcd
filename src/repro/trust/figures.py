"""Figures on the trust that fits deserve, as functions of frames."""

from collections.abc import Sequence
from typing import Any, cast

import altair as alt
import numpy as np
import pandas as pd

from repro.show import style
from repro.trust.frames import CELLS, Surface
from repro.trust.recovered import GOAL, MAIN, NOMINAL, SHARES

HELD, MISSED = "truth inside", "truth outside, or no interval"
_HELD_COLOURS = ("#3f86e8", "#e2622f")
_BANDS = ("in the 95% region", "to 2 times the least", "to 4 times", "more")
_BAND_COLOURS = ("#e2622f", "#8a70e6", "#3f86e8", style.GREY)
_MARK = "#14171c"  # on the cells, which are coloured on either ground


def surfaces(surfaces: Sequence[Surface]) -> Any:
    """The residual sum of squares of the token law over its two exponents, one panel for each curve."""
    if not surfaces:
        return style.nothing("No curve has more points than the token law has parameters")
    panels = [_surface(surface, titled=place == 0) for place, surface in enumerate(surfaces)]
    text = "Residual sum of squares over both exponents of the general loss, with the minimum and the 95% region"
    return style.finish(style.grid(panels, columns=2), text)


def _surface(surface: Surface, *, titled: bool) -> Any:
    half = (surface.fit.law.nonlinear[0].high - surface.fit.law.nonlinear[0].low) / CELLS / 2
    excess = surface.cells["excess"]
    band = np.select([surface.cells["within"], excess <= 2, excess <= 4], _BANDS[:3], _BANDS[3])
    cells = surface.cells[["s2", "s3", "excess"]].assign(band=band)
    scale = alt.Scale(domain=[0, 1.02], nice=False)
    key = alt.Legend(title="Residual sum of squares", orient="top", symbolOpacity=1, columns=4)
    colour = alt.Color("band:N", scale=alt.Scale(domain=list(_BANDS), range=list(_BAND_COLOURS)), legend=key)
    tips = style.tips(s2=("s2", ".2f"), s3=("s3", ".2f"), excess=("Times the least", ".2f"))
    edges = {
        name: f"datum.{exponent} {sign} {half:.6f}"
        for exponent, ends in (("s2", ("left", "right")), ("s3", ("bottom", "top")))
        for name, sign in zip(ends, "-+", strict=True)
    }
    squares = alt.Chart(style.inline(cells)).transform_calculate(**edges).mark_rect(opacity=0.85)
    squares = squares.encode(
        alt.X("left:Q", title="Smaller exponent, s2", scale=scale), alt.X2("right:Q"),
        alt.Y("bottom:Q", title="Larger exponent, s3" if titled else None, scale=scale), alt.Y2("top:Q"),
        colour, tooltip=tips,
    )  # fmt: skip
    least = pd.DataFrame([surface.fit.params])[["s2", "s3"]].assign(excess=1.0)
    look: dict[str, Any] = {"shape": "diamond", "color": _MARK, "stroke": "white", "strokeWidth": 1.5}
    mark = alt.Chart(style.inline(least)).mark_point(filled=True, size=130, opacity=1, **look)
    mark = mark.encode(alt.X("s2:Q", scale=scale), alt.Y("s3:Q", scale=scale), tooltip=tips)
    return alt.layer(squares, mark).properties(title=surface.label, width=style.PANEL, height=style.PANEL)


def intervals(recovered: pd.DataFrame) -> Any:
    """Every interval of the three main quantities against the truth, in order of truth; misses stand out."""
    panels = [_caterpillar(recovered[recovered["quantity"] == name], name) for name in MAIN]
    text = "Intervals of simulated studies in order of their truth, those that miss it in another colour"
    return style.finish(style.grid(panels, columns=1), text)


def _caterpillar(rows: pd.DataFrame, name: str) -> Any:
    shares = name in SHARES
    every = rows[["truth", "lower", "upper"]].to_numpy(float)
    low, high = every[np.isfinite(every)].min(), every[np.isfinite(every)].max()
    limits = [0.0, min(1.03, 1.05 * high)] if shares else [low / 1.1, high * 1.1]
    drawn = rows.sort_values("truth", ignore_index=True)
    drawn = drawn.assign(
        rank=drawn.index + 1, inside=np.where(drawn["covered"], HELD, MISSED),
        lower=drawn["lower"].clip(lower=limits[0]), upper=drawn["upper"].clip(upper=limits[1]),
    )  # fmt: skip
    x = alt.X("rank:Q", title=None, axis=None, scale=alt.Scale(domain=[0, len(drawn) + 1], nice=False))
    scale = alt.Scale(domain=limits, nice=False, type="linear" if shares else "log")
    axis = alt.Axis(format="%" if shares else "~s", tickCount=5)
    title = "Domain share R" if shares else "SFT tokens"
    key = alt.Legend(title=None, orient="top", symbolOpacity=1, symbolType="stroke", symbolStrokeWidth=4)
    colour = alt.Color("inside:N", scale=alt.Scale(domain=[HELD, MISSED], range=list(_HELD_COLOURS)), legend=key)
    form = ".1%" if shares else ",.0f"
    tips = [style.number(f, f.capitalize(), form) for f in ("truth", "estimate", "lower", "upper")]
    base = alt.Chart(style.inline(drawn[["rank", "truth", "estimate", "lower", "upper", "inside"]]))
    held = f"datum.inside == '{HELD}'"
    wide = alt.when(held).then(alt.value(1.5)).otherwise(alt.value(3))
    known, y = base.transform_filter("datum.lower !== null"), alt.Y(title=title, axis=axis, scale=scale)
    bars = style.bars(known, y, x, colour, tips, ends=("lower", "upper"), opacity=0.85)
    dots = base.mark_circle(opacity=1).encode(
        x, alt.Y("truth:Q", scale=scale), tooltip=tips,
        color=alt.when(held).then(alt.value(style.GREY)).otherwise(alt.value(_HELD_COLOURS[1])),
        size=alt.when(held).then(alt.value(9)).otherwise(alt.value(30)),
    )  # fmt: skip
    layers = [*(bar.encode(strokeWidth=wide) for bar in bars), dots]
    return alt.layer(*layers).properties(title=f"{name}: 95% intervals, and the truth", width=600, height=150)


def coverage(frame: pd.DataFrame) -> Any:
    """How often the truth is inside, with the Wilson interval of that share, beside the goal; from `recovered`."""
    least = min(0.8, float(frame["low"].min()) - 0.02)
    scale = alt.Scale(domain=[least, 1.0], nice=False)
    y = alt.Y("quantity:N", sort=list(frame["quantity"]), title=None, axis=alt.Axis(labelLimit=230))
    ends = {"low": ("From", ".1%"), "high": ("To", ".1%")}
    tips = style.tips(quantity="Interval of", covered=("Truth inside", ".1%"), **ends)
    axis = alt.Axis(format=".0%", tickCount=5)
    x = alt.X("low:Q", title="Share of studies with the truth inside", axis=axis, scale=scale)
    goal = alt.InlineData(values=cast(Any, [{"from": GOAL[0], "to": GOAL[1]}]))
    band = alt.Chart(goal).mark_rect(color=style.GREY, opacity=0.18)
    band = band.encode(alt.X("from:Q", scale=scale), alt.X2("to:Q"))
    rows = frame[["quantity", "covered", "low", "high"]]
    bars = style.bars(rows, x, y, strokeWidth=2, color=_HELD_COLOURS[0])
    dots = alt.Chart(style.inline(rows)).mark_circle(size=80, color=_HELD_COLOURS[0], opacity=1)
    dots = dots.encode(alt.X("covered:Q", scale=scale), y, tooltip=tips)
    chart = alt.layer(band, style.rule("x", NOMINAL), *bars, dots).properties(width=430, height=26 * len(frame))
    return style.finish(chart, "Coverage of each kind of interval with its own uncertainty, and the nominal 95%")
