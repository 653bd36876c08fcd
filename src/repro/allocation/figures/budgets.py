"""Scores at other budgets: Table 4 of paper B, drawn against both scales."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from repro.allocation.figures import parts
from repro.allocation.figures.axis import TokenAxis
from repro.show import style

_TESTED = {"predicted": style.DOMAIN_RAMP[3], "tested best": style.DOMAIN_RAMP[2]}


def budgets(points: pd.DataFrame, marks: pd.DataFrame) -> Any:
    """Table 4 drawn twice: against the CPT fraction, where all differences look small, and against SFT tokens.

    Args:
        points: budget (text), cpt_fraction, sft_tokens, score, low, high.
        marks: budget, mark ("predicted" | "tested best"), cpt_fraction, sft_tokens.

    """
    if points.empty:
        return style.nothing("No other budget was run with these parameters")
    panels: list[Any] = []
    rows = style.in_order(points["budget"])
    for place, budget in enumerate(rows):
        seen, own = (frame[frame["budget"] == budget] for frame in (points, marks))
        last = place == len(rows) - 1
        tokens = TokenAxis.of(seen["sft_tokens"], own["sft_tokens"])
        both = ((_fraction_axis(last), "CPT fraction"), (tokens.x(titled=last), "SFT tokens"))
        for x, scale in both:
            panel = _tested(tokens.placed(seen), tokens.placed(own), x, f"zoom_{len(panels)}")
            panels.append(panel.properties(title=f"{budget}, by {scale}", width=style.PANEL, height=150))
    text = "Scores at other budgets by CPT fraction and by SFT tokens, with the best predicted and tested"
    return style.finish(style.grid(panels, columns=2), text)


def _tested(points: pd.DataFrame, marks: pd.DataFrame, x: alt.X, zoom: str) -> Any:
    y = parts.score_axis(parts.limits(points))
    dots = alt.Chart(style.inline(points)).mark_circle(size=45, color=style.DOMAIN_RAMP[0], opacity=1)
    tips = [*parts.places(points), style.number("score", "Score", ".2%")]
    dots = dots.encode(x, y, tooltip=tips).add_params(style.zoom(zoom))
    return alt.layer(parts.rules(marks, x, _TESTED), *parts.spans(points, x, y, "rule"), dots)


def _fraction_axis(titled: bool) -> alt.X:
    axis = alt.Axis(format=".4f", tickCount=5)
    title = "CPT fraction" if titled else None
    return alt.X("cpt_fraction:Q", title=title, axis=axis, scale=alt.Scale(zero=False, padding=8))
