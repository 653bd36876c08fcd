"""Trajectories of general and domain loss: which rows become lines, dots and marks, and their layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from repro.show import charts, style

TURN = "turning point T0"
END = "end of run"
KEYS = ["size", "ratio"]
SMALL = 1 / 2  # the largest ratio of the panels that leave the steep curves out
# A head pointing up; an equilateral triangle would look the same in three directions.
SHAPES = {END: "M0,-1L0.75,0.9L0,0.5L-0.75,0.9Z", TURN: "diamond"}
_INCREMENTS = {"general": ("General increment", "+.4f"), "domain": ("Domain increment", "+.4f")}
_TIPS = style.tips(size="Model size", mixture="Domain share R", t=("T", ".1f"), **_INCREMENTS)
_FIELDS = ["size", "mixture", "t", "general", "domain"]


class Rows(NamedTuple):
    """What is drawn of some trajectories: rows of lines, of measured dots and of turning points."""

    drawn: pd.DataFrame
    dots: pd.DataFrame
    turns: pd.DataFrame

    @classmethod
    def of(cls, curves: pd.DataFrame, points: pd.DataFrame) -> Rows:
        """The rows of a frame of curves and one of turning points, as `Results` gives them."""
        drawn = lines(curves)
        return cls(drawn, style.labelled(curves[curves["kind"] == "measured"]), turns(points, drawn))

    def where(self, field: str, value: str) -> Rows:
        """The rows whose text ``field`` ("size" or "mixture") has this value."""
        return Rows(*(frame[frame[field] == value] for frame in self))

    def small(self) -> Rows:
        """The rows with a ratio of at most `SMALL`."""
        return Rows(*(frame[frame["ratio"] <= SMALL + 1e-9] for frame in self))

    def span(self, column: str) -> list[float]:
        """Axis limits around the lines and dots of one increment, with a margin."""
        return charts.limits(pd.concat([self.drawn, self.dots]), column)

    def layers(
        self,
        x: alt.X,
        y: alt.Y,
        key: charts.Key,
        marks: pd.DataFrame,
        *of_lines: Any,
        ends: Sequence[str] = ("low", "high"),
    ) -> list[Any]:
        """The points measured, the lines on the bands between the columns ``ends``, and marks: rows with a column mark
        (`TURN` or `END`) and angle, in degrees. of_lines: other channels of the lines.
        """
        dots = charts.points(self.dots[_FIELDS], x, y, key, tips=_TIPS, size=10, aria=False, opacity=0.6)
        fields = [column for column in (*_FIELDS, "kind", "hover", *ends) if column in self.drawn]
        path = charts.lines(self.drawn[fields], x, y, key, *of_lines, tips=_TIPS, ends=ends)
        shape = charts.by(
            alt.Shape, "mark", SHAPES, marks["mark"], symbolFillColor=style.GREY, symbolStrokeColor=style.GREY
        )
        turned = alt.Angle("angle:Q", scale=None)
        tips = [style.word("mark", "Mark"), *_TIPS]
        drawn = charts.points(marks[[*_FIELDS, "mark", "angle"]], x, y, key, shape, turned, tips=tips, size=75)
        return [*(dots if len(self.dots) else []), *path, *(drawn if len(marks) else [])]


def small_of(curves: pd.DataFrame, size: str) -> pd.DataFrame:
    """The rows of one size with a ratio of at most `SMALL`; with any ratio, if none is so small. Raises ValueError if
    there is nothing to draw for this size.
    """
    mine = curves[curves["size"] == size]
    if mine.empty:
        raise ValueError(f"no curves for size {size!r}; there are {', '.join(style.in_order(curves['size']))}")
    small = mine[mine["ratio"] <= SMALL + 1e-9]
    return mine if small.empty else small


def lines(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows to draw as lines: the fit where a trajectory has one, else its measurements, in order of t.

    Adds ``mixture`` (label of the ratio) and ``hover`` (every eighth row or so, where tooltips sit).
    """
    has_fit = set(map(tuple, curves.loc[curves["kind"] == "fitted", KEYS].to_numpy()))
    fitted = [tuple(key) in has_fit for key in curves[KEYS].to_numpy()]
    drawn = curves[(curves["kind"] != "measured") | ~np.array(fitted, dtype=bool)]
    drawn = style.labelled(drawn).sort_values("t", kind="stable")
    place = drawn.groupby(KEYS, sort=False).cumcount()
    count = drawn.groupby(KEYS, sort=False)["t"].transform("size")
    every = np.maximum(count // 10, 1)
    return drawn.assign(hover=(place % every == 0) | (place == count - 1))


def turns(points: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """The turning points that exist on the trajectories drawn, up to the last t drawn."""
    trajectories = set(zip(drawn["size"], drawn["mixture"], strict=True))
    there = style.labelled(points[points["t"].notna() & (points["t"] <= float(drawn["t"].max()))])
    keep = [key in trajectories for key in zip(there["size"], there["mixture"], strict=True)]
    return there.loc[keep].assign(mark=TURN, angle=0.0)


def ends(drawn: pd.DataFrame) -> pd.DataFrame:
    """The last row of every trajectory, with the increments one step (a twentieth of the run) before."""
    last = []
    for _, part in drawn.groupby(KEYS, sort=False):
        before = part.iloc[max(len(part) - 1 - max(len(part) // 20, 1), 0)]
        row = part.iloc[-1].to_dict()
        last.append(row | {"from_general": before["general"], "from_domain": before["domain"], "mark": END})
    return pd.DataFrame(last)
