"""The forms that figures take: lines over x by group, points with intervals, and panels of these. A figure is a frame,
its axes (`x`, `y`), its colours (`Key`, `by`), a form (`lines`, `points`: a list of layers, so that a figure can put
others before and after) and its words (`figure`, `panels`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import altair as alt
import numpy as np
import pandas as pd

from repro.show import style

WIDE = 600
_HEADROOM = 0.06  # of the span of the values, at both ends of an axis


class Key(NamedTuple):
    """Colours of groups whose legend is a switch: what is picked there stays, the rest is faint."""

    colour: alt.Color
    pick: alt.Parameter

    @classmethod
    def sizes(cls, frame: pd.DataFrame) -> Key:
        """By model size, in the order of the frame's column size."""
        return cls(style.size_colour(style.in_order(frame["size"])), style.picked("size"))

    @classmethod
    def ratios(cls, ratios: Sequence[float]) -> Key:
        """By mixture ratio, from the text column mixture."""
        return cls(style.ratio_colour(ratios), style.picked("mixture"))

    def faded(self, opacity: float = 1.0) -> alt.OpacityValue:
        """The opacity of what is picked (all, if nothing is)."""
        return alt.OpacityValue.from_dict(style.either(self.pick, opacity, 0.08))


Look = Key | alt.Color | str  # a string is the one colour of all
by = style.by


def x(field: str, title: Any = None, domain: Sequence[float] | None = None, **axis: Any) -> alt.X:
    """The axis across: from one end of ``domain`` to the other where it is given. axis: properties of the axis, and
    ``sort``, the order of names, and ``scale``, a mapping of the scale's properties.
    """
    return alt.X(field, **_axis(title, domain, **axis))


def y(field: str, title: Any = None, domain: Sequence[float] | None = None, **axis: Any) -> alt.Y:
    """The upright axis; arguments are those of :func:`x`."""
    return alt.Y(field, **_axis(title, domain, **axis))


def _axis(
    title: Any, domain: Sequence[float] | None, *, sort: Any = alt.Undefined, scale: Mapping[str, Any] = {}, **axis: Any
) -> dict[str, Any]:
    within: dict[str, Any] = ({"domain": list(domain), "nice": False} if domain is not None else {}) | dict(scale)
    return {"title": title, "sort": sort} | ({"scale": alt.Scale(**within)} if within else {}) | (
        {"axis": alt.Axis(**axis)} if axis else {})  # fmt: skip


def limits(frame: pd.DataFrame, *columns: str) -> list[float]:
    """Axis limits around all values of those columns that the frame has, with a margin; 0 to 1 where there is none."""
    every = frame[[column for column in columns if column in frame]].to_numpy(float)
    every = every[np.isfinite(every)]
    if not len(every):
        return [0.0, 1.0]
    low, high = float(every.min()), float(every.max())
    margin = _HEADROOM * (high - low) or 0.02 * abs(high) or 0.02
    return [low - margin, high + margin]


def lines(
    rows: pd.DataFrame,
    x: alt.X,
    y: alt.Y,
    look: Look,
    *channels: Any,
    tips: Sequence[alt.Tooltip] = (),
    dots: float = 0,
    ends: Sequence[str] = ("low", "high"),
    band: float = 0.18,
    beside: alt.Y | None = None,
    zoom: bool = True,
    **mark: Any,
) -> list[alt.Chart]:
    """Lines over x, one for each group, on the bands between the columns ``ends`` where rows have them.

    The tooltip sits on dots of that size, or without dots on the rows whose column hover is true. channels: others of
    the line. band: the opacity of the bands. beside: another column of rows, drawn as thin dashed lines. zoom: whether
    dragging moves the panel. mark: properties of the line.
    """
    base = alt.Chart(style.inline(rows)).encode(x, y, _colour(look))
    line = base.mark_line(**{"strokeWidth": 2, **mark}).encode(_faded(look), *channels)
    line = line.add_params(*([look.pick] if isinstance(look, Key) else []), *([style.zoom()] if zoom else []))
    between = style.intervals(rows, y, x, _colour(look), _faded(look, band), ends=ends)
    layers = [each.mark_area(line=False, aria=False) for each in between]
    if beside is not None:
        layers.append(base.mark_line(strokeWidth=1.2, strokeDash=[4, 3]).encode(beside, _faded(look)))
    layers.append(line)
    if dots:
        layers.append(base.mark_circle(size=dots, aria=False).encode(_faded(look), tooltip=list(tips)))
    elif tips:
        unseen = base.transform_filter("datum.hover").mark_point(opacity=0, size=70, aria=False)
        layers.append(unseen.encode(tooltip=list(tips)))
    return layers


def points(
    rows: pd.DataFrame,
    x: alt.X,
    y: alt.Y,
    look: Look,
    *channels: Any,
    tips: Sequence[alt.Tooltip] = (),
    along: str = "y",
    bar: float = 1.6,
    offset: float = 0,
    opacity: float = 1.0,
    clip: bool = False,
    zoom: bool = False,
    **mark: Any,
) -> list[alt.Chart]:
    """Points with bars between the columns low and high where rows have them; the points are the last layer.

    along: the axis of the bars, "x" for names at the side, each with its interval. channels: others of bars and points,
    such as where several of one name stand. bar: the width of the bars. offset: pixels to the right. clip: what leaves
    the panel. zoom: whether dragging moves the panel, where no line does that already. mark: properties of the points.
    """
    both: dict[str, Any] = ({"xOffset": offset} if offset else {}) | ({"clip": True} if clip else {})
    shared = [_colour(look), _faded(look, opacity), *channels]
    seen = alt.Chart(style.inline(rows)).mark_point(**{"filled": True, "size": 55, **both, **mark})
    seen = seen.encode(x, y, *shared, tooltip=list(tips))
    value, place = (x, y) if along == "x" else (y, x)
    bars = [each.mark_rule(strokeWidth=bar, **both) for each in style.intervals(rows, value, place, *shared)]
    return [*bars, seen.add_params(style.zoom()) if zoom else seen]


def joined(rows: pd.DataFrame, x: alt.X, y: alt.Y, look: Look, **points_: Any) -> list[alt.Chart]:
    """Points with their intervals (:func:`points`), those of them whose column joined is true joined by lines."""
    *bars, dots = points(rows, x, y, look, bar=1.3, **points_)
    return [*bars, *lines(rows[rows["joined"]], x, y, look, ends=("", "")), dots]


def _colour(look: Look) -> Any:
    if isinstance(look, Key):
        return look.colour
    return alt.ColorValue(look) if isinstance(look, str) else look


def _faded(look: Look, opacity: float = 1.0) -> alt.OpacityValue:
    return look.faded(opacity) if isinstance(look, Key) else alt.OpacityValue(opacity)


def layered(layers: Sequence[Any], width: Any = style.PANEL, height: Any = 180, title: str = "") -> Any:
    """Layers as one panel."""
    return alt.layer(*layers).properties(width=width, height=height, **({"title": title} if title else {}))


def figure(layers: Sequence[Any], text: str, width: Any = WIDE, height: Any = 320) -> Any:
    """Layers as a figure of one panel; ``text`` is what a screen reader says."""
    return style.finish(layered(layers, width, height), text)


def panels(cells: Sequence[Any], text: str, columns: int = 2, spacing: int = 14) -> Any:
    """Panels as a figure, ``columns`` in a row; ``text`` is what a screen reader says."""
    return style.finish(style.grid(cells, columns, spacing), text)


def empty(text: str, width: float = style.PANEL, height: float = 60) -> Any:
    """A panel that says why it is empty."""
    words = alt.Chart(alt.InlineData(values=cast(Any, [{"says": text}])))
    words = words.mark_text(color=style.GREY, fontSize=12, tooltip=None).encode(text="says:N")
    return words.properties(width=width, height=height)


def nothing(text: str) -> Any:
    """A figure that says why there is nothing to draw."""
    return style.finish(empty(text, 500), text)
