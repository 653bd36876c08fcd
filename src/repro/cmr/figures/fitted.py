"""Figures of a reader's own losses, in the unit of their tokens: small still panels, one model size at a time.

Beside their own columns, frames may have ``low`` and ``high``: 95% intervals, drawn as bars or as a band.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.laws import ratio_label
from repro.show import style
from repro.show.report import WIDTH

HEIGHT = 230
T = "Tokens T"
R = "Domain share R"


def loss_against_tokens(
    measured: pd.DataFrame, fitted: pd.DataFrame, turns: pd.DataFrame, t_max: float, *, loss: str
) -> Any:
    """Increment of one loss ("general" or "domain") against tokens: points, Equation 6, turning points, T_max.

    Args:
        measured: columns ratio, tokens, value.
        fitted: the same, along the laws; they may go beyond T_max.
        turns: columns ratio, tokens, value; low and high are of ``tokens``. Only those in sight are drawn.
        t_max: where training ends, in tokens.
        loss: what the values are of, for the title.

    """
    last = float(fitted["tokens"].max())
    x = _tokens(last)
    y = alt.Y("value:Q", title=f"Δ {loss} loss", scale=alt.Scale(zero=False, padding=8))
    colour = _ratios(style.ratios_of(measured))
    dots, lines = (alt.Chart(style.inline(style.labelled(frame))).encode(x, y, colour) for frame in (measured, fitted))
    layers: list[Any] = [
        style.rule("x", t_max),
        dots.mark_circle(size=14, opacity=0.55),
        lines.mark_line(strokeWidth=1.8),
    ]
    seen = style.labelled(turns[turns["tokens"] <= last])
    if len(seen):
        layers.append(_bars(seen, last).encode(y=y, color=colour))
        marks = alt.Chart(style.inline(seen)).mark_point(shape="diamond", filled=True, size=75, opacity=1)
        layers.append(marks.encode(x, y, colour))
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    text = f"Increment of the {loss} loss against tokens with the fitted laws, a line for each ratio"
    return style.finish(chart, text)


def loss_against_ratio(points: pd.DataFrame, law: pd.DataFrame, *, loss: str, limit: float | None = None) -> Any:
    """One loss at T_max against R, with L(R) and its band; ``limit`` is the highest loss that is tolerated.

    points and law (which may have no rows) have columns ratio, value.
    """
    x = style.ratio_axis([0.0, 0.25, 0.5, 0.75, 1.0])
    y = alt.Y("value:Q", title=f"{loss.capitalize()} loss", scale=alt.Scale(zero=False, padding=8))
    layers: list[Any] = [] if limit is None else [style.rule("y", limit)]
    if len(law):
        layers += [*_band(law, x), alt.Chart(style.inline(law)).mark_line(color=style.GREY).encode(x, y)]
    layers.append(
        alt.Chart(style.inline(points)).mark_circle(size=60, color=style.RATIO_RAMP[0], opacity=1).encode(x, y)
    )
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    return style.finish(chart, f"The {loss} loss at the end of training against the domain share, with the law L(R)")


def ratio_against_tokens(turns: pd.DataFrame, law: pd.DataFrame, t_max: float) -> Any:
    """Each ratio at its turning point, with Equation 8 and its band, and T_max.

    turns: columns ratio, tokens; low and high are of ``tokens``. law (which may have no rows): tokens, ratio.
    """
    last = 1.08 * float(max([t_max, *turns["tokens"], *law["tokens"]]))
    x, y = _tokens(last), alt.Y("ratio:Q", title=R, scale=alt.Scale(domain=[0, 1.03], nice=False))
    layers: list[Any] = [style.rule("x", t_max)]
    if len(law):
        layers += [*_band(law, x), alt.Chart(style.inline(law)).mark_line(color=style.GREY, clip=True).encode(x, y)]
    colour = style.RATIO_RAMP[0]
    if len(turns):
        layers.append(_bars(turns, last).encode(y=y, color=alt.value(colour)))
    layers.append(
        alt.Chart(style.inline(turns))
        .mark_point(shape="diamond", filled=True, size=75, opacity=1)
        .encode(x, y, color=alt.value(colour))
    )
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    return style.finish(chart, "Domain share against the tokens at which its general loss turns, with Equation 8")


def _tokens(last: float) -> alt.X:
    # 2G for two billion; below a thousand the numbers themselves, where "500m" would be read as millions.
    axis = alt.Axis(format="~s" if last >= 1000 else "~g", tickCount=5)
    return alt.X("tokens:Q", title=T, axis=axis, scale=alt.Scale(domain=[0, last], nice=False))


def _ratios(ratios: list[float]) -> alt.Color:
    labels = [ratio_label(ratio) for ratio in ratios]
    key = alt.Legend(title=R, orient="top", columns=6, symbolType="stroke", symbolStrokeWidth=4, symbolOpacity=1)
    scale = alt.Scale(domain=labels, range=style.ramp(style.RATIO_RAMP, len(labels)))
    return alt.Color("mixture:N", scale=scale, sort=labels, legend=key)


def _bars(turns: pd.DataFrame, last: float) -> Any:
    """Intervals of turning points, cut at the edge of the panel; one that is open goes on to it."""
    known = turns.dropna(subset=["low"])
    cut = known.assign(low=known["low"].clip(0, last), high=known["high"].fillna(np.inf).clip(0, last))
    bars = alt.Chart(style.inline(cut)).mark_rule(strokeWidth=2, opacity=0.8)
    return bars.encode(alt.X("low:Q", scale=alt.Scale(domain=[0, last], nice=False)), alt.X2("high:Q"))


def _band(law: pd.DataFrame, x: alt.X) -> list[Any]:
    if not {"low", "high"} <= set(law.columns):
        return []
    rows = alt.Chart(style.inline(law.dropna(subset=["low", "high"])))
    return [rows.mark_area(color=style.GREY, opacity=0.2, clip=True).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"))]
