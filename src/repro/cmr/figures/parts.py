"""Pieces the figures are put together from: which rows become lines, dots and marks, and panels of them.

A ``curves`` frame has columns size, ratio, t, general, domain, kind ("measured" | "fitted" | "extrapolated");
a ``points`` frame of turning points has size, ratio, t (NaN where there is none), general, domain, status.
"""

from __future__ import annotations

from typing import NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from repro.laws import ratio_label
from repro.show import style

TURN = "turning point T0"
END = "end of run"
KEYS = ["size", "ratio"]
# A head pointing up; an equilateral triangle would look the same in three directions.
_ARROW = "M0,-1L0.75,0.9L0,0.5L-0.75,0.9Z"


class Rows(NamedTuple):
    """What is drawn of some trajectories: rows of lines, of measured dots and of turning points."""

    drawn: pd.DataFrame
    dots: pd.DataFrame
    turns: pd.DataFrame

    @classmethod
    def of(cls, curves: pd.DataFrame, points: pd.DataFrame | None, *, extrapolated: bool) -> Rows:
        """The rows of a curves frame and, where given, of its turning points."""
        drawn = lines(curves, extrapolated)
        return cls(drawn, dots(curves), turns(points, drawn))

    def where(self, field: str, value: str) -> Rows:
        """The rows whose text ``field`` ("size" or "mixture") has this value."""
        return Rows(*(frame[frame[field] == value] for frame in self))

    def up_to(self, largest: float | None) -> Rows:
        """The rows with a ratio of at most ``largest``."""
        return Rows(*(up_to(frame, largest) for frame in self))

    def span(self, column: str) -> list[float]:
        """Axis limits around the lines and dots of one increment."""
        return span(pd.concat([self.drawn[column], self.dots[column]]).astype(float))


def up_to(curves: pd.DataFrame, largest: float | None) -> pd.DataFrame:
    """The rows with a ratio of at most ``largest`` (all, if None)."""
    return curves if largest is None else curves[curves["ratio"] <= largest + 1e-9]


def of_size(curves: pd.DataFrame, size: str, largest: float | None) -> pd.DataFrame:
    """The rows of one size with a ratio of at most ``largest``; with any ratio, if none is so small.

    Raises:
        ValueError: if there is nothing to draw for this size.

    """
    mine = curves[curves["size"] == size]
    if mine.empty:
        raise ValueError(f"no curves for size {size!r}; there are {', '.join(style.in_order(curves['size']))}")
    small = up_to(mine, largest)
    return mine if small.empty else small


def lines(curves: pd.DataFrame, extrapolated: bool = True) -> pd.DataFrame:
    """The rows to draw as lines: the fit where a trajectory has one, else its measurements, in order of t.

    Adds ``mixture`` (label of the ratio) and ``hover`` (every eighth row or so, where tooltips sit).
    """
    has_fit = set(map(tuple, curves.loc[curves["kind"] == "fitted", KEYS].to_numpy()))
    fitted = [tuple(key) in has_fit for key in curves[KEYS].to_numpy()]
    drawn = curves[(curves["kind"] != "measured") | ~np.array(fitted, dtype=bool)]
    if not extrapolated:
        drawn = drawn[drawn["kind"] != "extrapolated"]
    drawn = style.labelled(drawn).sort_values("t", kind="stable")
    place = drawn.groupby(KEYS, sort=False).cumcount()
    count = drawn.groupby(KEYS, sort=False)["t"].transform("size")
    every = np.maximum(count // 10, 1)
    return drawn.assign(hover=(place % every == 0) | (place == count - 1))


def dots(curves: pd.DataFrame) -> pd.DataFrame:
    """The measured rows, labelled, for small dots beside the fitted lines."""
    return style.labelled(curves[curves["kind"] == "measured"])


def turns(points: pd.DataFrame | None, curves: pd.DataFrame, t_end: float | None = None) -> pd.DataFrame:
    """The turning points that exist on the trajectories drawn, up to ``t_end`` (default: last t drawn)."""
    columns = [*KEYS, "t", "general", "domain"]
    if points is None:
        return pd.DataFrame(columns=[*columns, "mixture", "mark"])
    drawn = {(size, ratio_label(ratio)) for size, ratio in curves[KEYS].itertuples(index=False)}
    last = float(curves["t"].max()) if t_end is None else t_end
    found = style.labelled(points[points["t"].notna() & (points["t"] <= last)])
    keep = [key in drawn for key in zip(found["size"], found["mixture"], strict=True)]
    return found.loc[keep, [*columns, "mixture"]].assign(mark=TURN)


def ends(drawn: pd.DataFrame) -> pd.DataFrame:
    """The last row of every trajectory, with the increments one step (a twentieth of the run) before."""
    last = []
    for _, part in drawn.groupby(KEYS, sort=False):
        before = part.iloc[max(len(part) - 1 - max(len(part) // 20, 1), 0)]
        row = part.iloc[-1].to_dict()
        last.append(row | {"from_general": before["general"], "from_domain": before["domain"], "mark": END})
    return pd.DataFrame(last)


def span(values: pd.Series, pad: float = 0.06) -> list[float]:
    """Axis limits around the finite values, with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = (high - low or 1.0) * pad
    return [low - margin, high + margin]


def mark_shape(*marks: str) -> alt.Shape:
    """Shapes of the given marks on a trajectory (`END`, `TURN`), with their legend."""
    shapes = {END: _ARROW, TURN: "diamond"}
    scale = alt.Scale(domain=list(marks), range=[shapes[mark] for mark in marks])
    key = alt.Legend(
        title=None, orient="top", symbolFillColor=style.GREY, symbolStrokeColor=style.GREY, symbolOpacity=1
    )
    return alt.Shape("mark:N", scale=scale, legend=key)


def tooltips() -> list[alt.Tooltip]:
    """What every trajectory says under the pointer."""
    increments = {"general": ("General increment", "+.4f"), "domain": ("Domain increment", "+.4f")}
    return style.tips(size="Model size", mixture="Domain share R", t=("T", ".1f"), **increments)
