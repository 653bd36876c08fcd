"""General loss against domain loss along training: Figures 1, 2 and 8 of paper A."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.cmr.figures import parts
from repro.cmr.frames import RUN, Results
from repro.laws import ratio_label
from repro.show import style

_WIDE, _HIGH = style.PANEL, 190  # of a panel
_FIELDS = ["size", "mixture", "t", "general", "domain", "hover"]


def trade_off(results: Results) -> Any:
    """Figure 1: every size and ratio in the plane of the two increments, following training; dashed: the tolerance. A
    row for each size: small ratios on the left, at their own scale, all on the right, or one panel (:func:`_split`).
    """
    rows = parts.Rows.of(results.curves(RUN), results.turning_points())
    colour, pick = style.ratio_colour(style.ratios_of(rows.drawn)), style.picked("mixture")
    sizes = style.in_order(rows.drawn["size"])
    panels = [(size, *panel) for size in sizes for panel in _split(rows.where("size", size))]
    cells: list[Any] = []
    for size, name, mine in panels:
        titled = len(cells) >= len(panels) - 2
        panel = _plane(mine, colour, pick, f"zoom_{len(cells)}", epsilon=results.epsilon, titled=titled)
        cells.append(panel.properties(title=f"{size}, {name}"))
    text = "General against domain loss increment, a row for each model size, a line for each ratio"
    return style.finish(style.grid(cells, columns=2), text)


def cross_sections(results: Results) -> Any:
    """Figure 8: the trade-off cut at each ratio, coloured by size."""
    rows = parts.Rows.of(results.curves(RUN), results.turning_points())
    there = [ratio_label(ratio) for ratio in style.ratios_of(rows.drawn)]
    colour, pick = style.size_colour(style.in_order(rows.drawn["size"])), style.picked("size")
    cells: list[Any] = []
    for place, label in enumerate(there):
        panel = _plane(rows.where("mixture", label), colour, pick, f"zoom_{place}", titled=place >= len(there) - 2)
        cells.append(panel.properties(title=f"R = {label}"))
    text = "General against domain loss increment, a panel for each ratio, a line for each model size"
    return style.finish(style.grid(cells, columns=2), text)


def _split(rows: parts.Rows) -> list[tuple[str, parts.Rows]]:
    """The panels of one size: the small ratios, if they are some but not all, and all."""
    small, every = rows.small(), ("all ratios", rows)
    if len(small.drawn) in (0, len(rows.drawn)):
        return [every]
    return [(f"up to {ratio_label(parts.SMALL)}", small), every]


def _plane(
    rows: parts.Rows,
    colour: alt.Color,
    pick: alt.Parameter,
    zoom: str,
    *,
    epsilon: float | None = None,
    titled: bool,
) -> Any:
    """One panel of the trade-off plane; ``zoom`` is a name, unique in the figure, for its drag-and-scroll selection."""
    x_span, y_span = rows.span("domain"), rows.span("general")
    title, axis = style.DOMAIN if titled else None, alt.Axis(tickCount=5, labelSeparation=8)
    x = alt.X("domain:Q", title=title, axis=axis, scale=_scale(x_span))
    y = alt.Y("general:Q", title=style.GENERAL, scale=_scale(y_span))
    base = alt.Chart(style.inline(rows.drawn[_FIELDS])).encode(x, y, colour)
    opacity = style.faded(pick)
    path = base.mark_line(strokeWidth=2, clip=True).add_params(pick, style.zoom(zoom))
    path = path.encode(opacity, order="t:Q", detail=["size:N", "mixture:N"])
    layers = [style.rule("y", 0.0, (1, 3)).encode(y=alt.Y("at:Q", scale=_scale(y_span)))]
    if epsilon is not None and epsilon <= y_span[1]:
        layers.append(style.rule("y", epsilon))
    layers += rows.seen(x, y, colour, style.faded(pick, 0.55), size=9, clip=True)
    layers += [path, style.hover(base, parts.tooltips(), size=70, clip=True, aria=False)]
    marks = alt.Chart(style.inline(_marks(rows, x_span, y_span))).mark_point(filled=True, size=75, clip=True)
    shape, turned = parts.mark_shape(parts.END, parts.TURN), alt.Angle("angle:Q", scale=None)
    tips = [*style.tips(mark="Mark"), *parts.tooltips()]
    layers.append(marks.encode(x, y, colour, shape, opacity, turned, tooltip=tips))
    return alt.layer(*layers).properties(width=_WIDE, height=_HIGH)


def _marks(rows: parts.Rows, x_span: Sequence[float], y_span: Sequence[float]) -> pd.DataFrame:
    """Arrow heads turned along the end of each trajectory as drawn, and turning points."""
    ends = parts.ends(rows.drawn)
    across = (ends["domain"] - ends["from_domain"]) / (x_span[1] - x_span[0]) * _WIDE
    up = (ends["general"] - ends["from_general"]) / (y_span[1] - y_span[0]) * _HIGH
    angle = np.degrees(np.arctan2(across.astype(float), up.astype(float)))
    marks = pd.concat([ends.assign(angle=angle), rows.turns.assign(angle=0.0)], ignore_index=True)
    return marks[["size", "mixture", "t", "general", "domain", "mark", "angle"]]


def _scale(limits: Sequence[float]) -> alt.Scale:
    return alt.Scale(domain=list(limits), nice=False, zero=False)
