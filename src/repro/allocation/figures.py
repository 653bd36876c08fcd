"""Figures of paper B as functions of the frames of `frames`, drawn as those of paper A are."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.show import style

FITTED, PRINTED = "peak of Equation 1", "peak in the paper"
_MARKS = {FITTED: style.DOMAIN_RAMP[1], PRINTED: style.DOMAIN_RAMP[3]}
_TESTED = {"predicted": style.DOMAIN_RAMP[3], "tested best": style.DOMAIN_RAMP[2]}
_TOKENS = "SFT tokens (logarithmic)"


def scores_and_law(points: pd.DataFrame, curves: pd.DataFrame, optima: pd.DataFrame) -> Any:
    """Figure 1: the scores with their binomial errors, Equation 1 with its band, its peak with the interval.

    The height of a panel is that of the scores and their errors: a band that leaves it has no limit there (between
    allocations far apart nothing keeps a narrow peak down).

    Args:
        points: benchmark, sft_tokens, cpt_fraction, score, low, high.
        curves: the same along the law; low and high NaN where there are no draws.
        optima: benchmark, sft_tokens, low, high (NaN where there is none), printed_tokens.

    """
    names = style.in_order(points["benchmark"])
    panels = []
    for place, name in enumerate(names):
        seen, law, best = (frame[frame["benchmark"] == name] for frame in (points, curves, optima))
        panel = _panel(seen, law, best, f"zoom_{place}", titled=place >= len(names) - 2)
        panels.append(panel.properties(title=name, width=style.PANEL, height=180))
    text = "Scores against SFT tokens with Equation 1, its band, and the peak fitted and printed"
    return style.finish(style.grid(panels, columns=2), text)


def _panel(points: pd.DataFrame, curve: pd.DataFrame, best: pd.DataFrame, zoom: str, *, titled: bool) -> Any:
    x = _token_axis(points["sft_tokens"], titled)
    y = _score_axis(points)
    line = alt.Chart(style.inline(curve)).mark_line(color=style.GREY, strokeWidth=1.8, clip=True)
    layers: list[Any] = [*_strip(best, x), *_spans(curve, x, y, "area"), line.encode(x, y)]
    marks = pd.concat([
        best[["sft_tokens"]].assign(mark=FITTED),
        best[["printed_tokens"]].rename(columns={"printed_tokens": "sft_tokens"}).assign(mark=PRINTED),
    ]).dropna()  # fmt: skip
    layers += [_rules(marks, x, _MARKS), *_spans(points, x, y, "rule")]
    dots = alt.Chart(style.inline(points)).mark_circle(size=45, color=style.DOMAIN_RAMP[0], opacity=1)
    layers.append(dots.encode(x, y, tooltip=_tips()).add_params(style.zoom(zoom)))
    return alt.layer(*layers)


def budgets(points: pd.DataFrame, marks: pd.DataFrame) -> Any:
    """Table 4 drawn twice: against the CPT fraction, where all differences look small, and against SFT tokens.

    Args:
        points: budget (text), cpt_fraction, sft_tokens, score, low, high.
        marks: budget, mark ("predicted" | "tested best"), cpt_fraction, sft_tokens.

    """
    panels: list[Any] = []
    rows = style.in_order(points["budget"])
    for place, budget in enumerate(rows):
        seen, own = (frame[frame["budget"] == budget] for frame in (points, marks))
        last = place == len(rows) - 1
        axes = (
            _fraction_axis(last), _token_axis(pd.concat([seen["sft_tokens"], own["sft_tokens"]]), last),
        )  # fmt: skip
        for x, scale in zip(axes, ("CPT fraction", "SFT tokens"), strict=True):
            panel = _tested(seen, own, x, f"zoom_{len(panels)}")
            panels.append(panel.properties(title=f"{budget}, by {scale}", width=style.PANEL, height=150))
    text = "Scores at other budgets by CPT fraction and by SFT tokens, with the best predicted and tested"
    return style.finish(style.grid(panels, columns=2), text)


def _tested(points: pd.DataFrame, marks: pd.DataFrame, x: alt.X, zoom: str) -> Any:
    y = _score_axis(points)
    dots = alt.Chart(style.inline(points)).mark_circle(size=45, color=style.DOMAIN_RAMP[0], opacity=1)
    dots = dots.encode(x, y, tooltip=_tips()).add_params(style.zoom(zoom))
    return alt.layer(_rules(marks, x, _TESTED), *_spans(points, x, y, "rule"), dots)


def _rules(marks: pd.DataFrame, x: alt.X, colours: dict[str, str]) -> Any:
    """Lines across the panel, named in the legend."""
    key = alt.Legend(title=None, orient="top", symbolType="stroke", symbolStrokeWidth=3)
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    dash = alt.StrokeDash("mark:N", scale=alt.Scale(domain=list(colours), range=[[1, 0], [5, 3]]), legend=key)
    lines = alt.Chart(style.inline(marks)).mark_rule(strokeWidth=1.8)
    tips = [
        style.word("mark", "Line"),
        *(style.number(field, title, form) for field, title, form in _PLACES if field in marks),
    ]
    return lines.encode(x, alt.Color("mark:N", scale=scale, legend=key), dash, tooltip=tips)


def _strip(best: pd.DataFrame, x: alt.X) -> list[Any]:
    """The interval of the peak as a strip."""
    there = best.dropna(subset=["low", "high"])
    if there.empty:
        return []
    rows = there[["low", "high"]].rename(columns={"low": "sft_tokens"})
    return [alt.Chart(style.inline(rows)).mark_rect(color=_MARKS[FITTED], opacity=0.14).encode(x, alt.X2("high:Q"))]


def _spans(frame: pd.DataFrame, x: alt.X, y: alt.Y, form: str) -> list[Any]:
    """A grey band ("area") or error bars ("rule") between low and high."""
    there = frame.dropna(subset=["low", "high"])
    if there.empty:
        return []
    base = alt.Chart(style.inline(there))
    area = base.mark_area(color=style.GREY, opacity=0.2, clip=True)
    drawn = area if form == "area" else base.mark_rule(color=style.GREY)
    low = y.copy()
    low.shorthand = "low:Q"
    return [drawn.encode(x, low, alt.Y2("high:Q"))]


def _score_axis(points: pd.DataFrame) -> alt.Y:
    """Wide enough for the scores and their error bars."""
    every = points[["score", "low", "high"]].to_numpy(float)
    low, high = float(np.nanmin(every)), float(np.nanmax(every))
    margin = 0.06 * (high - low)
    scale = alt.Scale(domain=[low - margin, high + margin], nice=False)
    return alt.Y("score:Q", title="Score", axis=alt.Axis(format="%"), scale=scale)


def _token_axis(tokens: pd.Series, titled: bool) -> alt.X:
    ends = [float(tokens.min()) / 1.08, float(tokens.max()) * 1.08]
    scale = alt.Scale(type="log", domain=ends, nice=False)
    return alt.X(
        "sft_tokens:Q", title=_TOKENS if titled else None, axis=alt.Axis(format="~s", tickCount=5), scale=scale
    )


def _fraction_axis(titled: bool) -> alt.X:
    axis = alt.Axis(format=".4f", tickCount=5)
    title = "CPT fraction" if titled else None
    return alt.X("cpt_fraction:Q", title=title, axis=axis, scale=alt.Scale(zero=False, padding=8))


_PLACES = (("sft_tokens", "SFT tokens", ",.0f"), ("cpt_fraction", "CPT fraction", ".7f"))


def _tips() -> list[alt.Tooltip]:
    return [*(style.number(*place) for place in _PLACES), style.number("score", "Score", ".2%")]
