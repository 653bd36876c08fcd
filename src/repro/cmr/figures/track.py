"""A panel of a loss increment against training tokens, as `tokens` puts them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from repro.cmr.figures import parts
from repro.show import style

_FIELDS = ["size", "mixture", "t", "general", "domain", "kind", "hover"]
# Ticks of the symmetric logarithmic axis, which near zero would otherwise be crowded or bare.
_TICKS = [s * v for v in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0) for s in (-1, 1)] + [0.0]


@dataclass(frozen=True)
class Track:
    """One panel of an increment against T: lines (dashed: extrapolated), measured dots, turning points."""

    rows: parts.Rows
    colour: alt.Color
    pick: alt.Parameter
    loss: str = "general"
    title: str = ""
    width: int = style.PANEL
    height: int = 180
    x_title: str | None = None
    y_title: str | None = None
    t_max: float | None = None
    symmetric_log: bool = False
    limits: Sequence[float] | None = None
    ticks: int = 6
    y_labels: bool = True

    def chart(self, zoom: str) -> Any:
        """The panel; ``zoom`` names its drag-and-scroll selection, unique in the figure."""
        x = alt.X(
            "t:Q",
            title=self.x_title,
            axis=alt.Axis(tickCount=self.ticks),
            scale=alt.Scale(nice=False, zero=True),
        )
        y = alt.Y(f"{self.loss}:Q", title=self.y_title, axis=self._y_axis(), scale=self._y_scale())
        base = alt.Chart(style.inline(self.rows.drawn[_FIELDS])).encode(x, y, self.colour)
        shown = style.faded(self.pick)
        layers: list[Any] = [] if self.t_max is None else [style.rule("x", self.t_max)]
        layers += _bands(self.rows.drawn, x, self.colour, self.loss)
        if len(self.rows.dots):
            seen = alt.Chart(style.inline(self.rows.dots)).mark_circle(size=11, aria=False)
            layers.append(seen.encode(x, y, self.colour, opacity=style.faded(self.pick, 0.6), tooltip=parts.tooltips()))
        split = alt.when("datum.kind == 'extrapolated'").then(alt.value([5, 4])).otherwise(alt.value([1, 0]))
        line = base.mark_line(strokeWidth=2).encode(
            opacity=shown, detail=["size:N", "mixture:N", "kind:N"], strokeDash=split
        )
        line = line.add_params(self.pick, style.zoom(zoom))
        hover = base.transform_filter("datum.hover").mark_point(size=70, opacity=0, aria=False)
        layers += [line, hover.encode(tooltip=parts.tooltips())]
        if len(self.rows.turns):
            marks = alt.Chart(style.inline(self.rows.turns)).mark_point(filled=True, size=75)
            tips = [style.word("mark", "Mark"), *parts.tooltips()]
            layers.append(marks.encode(x, y, self.colour, parts.mark_shape(parts.TURN), opacity=shown, tooltip=tips))
        return alt.layer(*layers).properties(width=self.width, height=self.height, title=self.title)

    def _y_scale(self) -> alt.Scale:
        if self.symmetric_log:
            return alt.Scale(type="symlog", constant=0.01, nice=False)
        if self.limits is not None:
            return alt.Scale(domain=list(self.limits), nice=False)
        return alt.Scale(zero=False)

    def _y_axis(self) -> alt.Axis:
        if self.symmetric_log:
            return alt.Axis(values=_TICKS, format="~g")
        return alt.Axis(tickCount=self.ticks, labels=self.y_labels)


def _bands(drawn: pd.DataFrame, x: alt.X, colour: alt.Color, loss: str) -> list[alt.Chart]:
    """An interval around each line, where the frame has columns ``<loss>_low`` and ``<loss>_high``."""
    low, high = f"{loss}_low", f"{loss}_high"
    if low not in drawn or high not in drawn:
        return []
    rows = drawn.dropna(subset=[low, high])[["size", "mixture", "t", low, high]]
    area = alt.Chart(style.inline(rows)).mark_area(opacity=0.18, line=False)
    return [area.encode(x, alt.Y(f"{low}:Q"), alt.Y2(f"{high}:Q"), colour, detail=["size:N", "mixture:N"])]


def joined(rows: parts.Rows) -> parts.Rows:
    """The last fitted row repeated as the first extrapolated one, so that there is no gap."""
    drawn = rows.drawn
    fitted = drawn[drawn["kind"] == "fitted"]
    last = fitted.loc[fitted.groupby(parts.KEYS, sort=False)["t"].idxmax()]
    beyond = {tuple(key) for key in drawn.loc[drawn["kind"] == "extrapolated", parts.KEYS].to_numpy()}
    keep = [tuple(key) in beyond for key in last[parts.KEYS].to_numpy()]
    seams = last[keep].assign(kind="extrapolated", hover=False)
    return rows._replace(drawn=pd.concat([drawn, seams]).sort_values("t", kind="stable"))
