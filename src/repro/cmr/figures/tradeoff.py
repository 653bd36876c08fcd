"""General loss against domain loss along training: Figures 1, 2 and 8 of paper A."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.cmr.figures import parts
from repro.cmr.frames import RUN, Results
from repro.laws import ratio_label
from repro.show import style

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
        plane = Plane(mine, colour, pick, f"{size}, {name}", epsilon=results.epsilon, titled=titled)
        cells.append(plane.chart(f"zoom_{len(cells)}"))
    text = "General against domain loss increment, a row for each model size, a line for each ratio"
    return style.finish(style.grid(cells, columns=2), text)


def cross_sections(results: Results, ratios: Sequence[float] | None = None) -> Any:
    """Figure 8: the trade-off cut at each ratio (all unless given), coloured by size. Raises ValueError if none of the
    ratios is in the curves.
    """
    rows = parts.Rows.of(results.curves(RUN), results.turning_points())
    there = [ratio_label(ratio) for ratio in style.ratios_of(rows.drawn)]
    wanted = there if ratios is None else [label for label in map(ratio_label, ratios) if label in there]
    if not wanted:
        raise ValueError(f"none of these ratios was run; there are {', '.join(there)}")
    colour, pick = style.size_colour(style.in_order(rows.drawn["size"])), style.picked("size")
    cells: list[Any] = []
    for place, label in enumerate(wanted):
        titled = place >= len(wanted) - 2
        plane = Plane(rows.where("mixture", label), colour, pick, f"R = {label}", titled=titled)
        cells.append(plane.chart(f"zoom_{place}"))
    text = "General against domain loss increment, a panel for each ratio, a line for each model size"
    return style.finish(style.grid(cells, columns=2), text)


def _split(rows: parts.Rows) -> list[tuple[str, parts.Rows]]:
    """The panels of one size: the small ratios, if they are some but not all, and all."""
    small, every = rows.small(), ("all ratios", rows)
    if len(small.drawn) in (0, len(rows.drawn)):
        return [every]
    return [(f"up to {ratio_label(parts.SMALL)}", small), every]


@dataclass(frozen=True)
class Plane:
    """One panel of the trade-off plane: its rows, how they are coloured and how large it is."""

    rows: parts.Rows
    colour: alt.Color
    pick: alt.Parameter
    title: str
    width: int = style.PANEL
    height: int = 190
    epsilon: float | None = None
    titled: bool = True

    def chart(self, zoom: str) -> Any:
        """The panel; ``zoom`` is a name, unique in the figure, for its drag-and-scroll selection."""
        x_span, y_span = self.rows.span("domain"), self.rows.span("general")
        title, axis = style.DOMAIN if self.titled else None, alt.Axis(tickCount=5, labelSeparation=8)
        x = alt.X("domain:Q", title=title, axis=axis, scale=_scale(x_span))
        y = alt.Y("general:Q", title=style.GENERAL, scale=_scale(y_span))
        base = alt.Chart(style.inline(self.rows.drawn[_FIELDS])).encode(x, y, self.colour)
        opacity = style.faded(self.pick)
        path = base.mark_line(strokeWidth=2, clip=True).add_params(self.pick, style.zoom(zoom))
        path = path.encode(opacity, order="t:Q", detail=["size:N", "mixture:N"])
        layers = [style.rule("y", 0.0, (1, 3)).encode(y=alt.Y("at:Q", scale=_scale(y_span)))]
        if self.epsilon is not None and self.epsilon <= y_span[1]:
            layers.append(style.rule("y", self.epsilon))
        layers += self.rows.seen(x, y, self.colour, style.faded(self.pick, 0.55), size=9, clip=True)
        layers += [path, style.hover(base, parts.tooltips(), size=70, clip=True, aria=False)]
        marks = alt.Chart(style.inline(self._marks(x_span, y_span))).mark_point(filled=True, size=75, clip=True)
        shape, turned = parts.mark_shape(parts.END, parts.TURN), alt.Angle("angle:Q", scale=None)
        tips = [*style.tips(mark="Mark"), *parts.tooltips()]
        layers.append(marks.encode(x, y, self.colour, shape, opacity, turned, tooltip=tips))
        return alt.layer(*layers).properties(width=self.width, height=self.height, title=self.title)

    def _marks(self, x_span: Sequence[float], y_span: Sequence[float]) -> pd.DataFrame:
        """Arrow heads turned along the end of each trajectory as drawn, and turning points."""
        ends = parts.ends(self.rows.drawn)
        across = (ends["domain"] - ends["from_domain"]) / (x_span[1] - x_span[0]) * self.width
        up = (ends["general"] - ends["from_general"]) / (y_span[1] - y_span[0]) * self.height
        angle = np.degrees(np.arctan2(across.astype(float), up.astype(float)))
        marks = pd.concat([ends.assign(angle=angle), self.rows.turns.assign(angle=0.0)], ignore_index=True)
        return marks[["size", "mixture", "t", "general", "domain", "mark", "angle"]]


def _scale(limits: Sequence[float]) -> alt.Scale:
    return alt.Scale(domain=list(limits), nice=False, zero=False)
