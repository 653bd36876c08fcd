"""How every chart looks: colours, labels, and the pieces that figures share. Charts are transparent and must read on
white and on dark, so every colour has a middle lightness (``tests/show/test_style.py`` checks the contrast).
"""

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import altair as alt
import numpy as np
import pandas as pd
import yaml

from repro.laws import ratio_label
from repro.output import safe

T = TypeVar("T", bound=Hashable)
C = TypeVar("C", alt.Color, alt.Shape, alt.StrokeDash)

THEME: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("theme.yaml").read_text(encoding="utf-8"))
GREY = THEME["title"]["color"]
# Ordered from cold to warm; blue to amber stays ordered for colour-blind readers too.
RATIO_RAMP = ("#3f86e8", "#8a70e6", "#c356b8", "#e04f78", "#e2622f", "#b98400")
# A ratio has one colour in the whole book: the paper's six that of the ramp, any other one between its neighbours'.
RATIO_COLOURS = ((0, 1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4, 1), ("#1a97a5", *RATIO_RAMP))
SIZE_RAMP = ("#7a7fe0", "#1f94b8", "#2d9a63", "#b98400")
DOMAIN_RAMP = ("#3f86e8", "#d0641f", "#2d9a63", "#c356b8")
GENERAL = "Δ general loss (nats/token)"
DOMAIN = "Δ domain loss (nats/token)"
PANEL = 285
_ZOOM = "zoom"
_STROKES: dict[str, Any] = {"direction": "horizontal", "symbolType": "stroke", "symbolStrokeWidth": 4}


def ramp(anchors: Sequence[str], count: int) -> list[str]:
    """``count`` colours (at least one) evenly spaced along the line through ``anchors`` (hex), both ends included."""
    return _between(list(np.linspace(0, len(anchors) - 1, max(count, 1))), range(len(anchors)), anchors)


def _between(at: Sequence[float], places: Sequence[float], anchors: Sequence[str]) -> list[str]:
    """The colours at these places of a line that has the ``anchors`` (hex) at ``places``, ascending."""
    rgb = np.array([[int(a[i : i + 2], 16) for i in (1, 3, 5)] for a in anchors], dtype=float)
    channels = np.array([np.interp(at, places, channel) for channel in rgb.T])
    return ["#" + "".join(f"{round(value):02x}" for value in colour) for colour in channels.T]


def in_order(values: Iterable[T]) -> list[T]:
    """The distinct values in the order they first appear: for sizes, smallest model first."""
    return list(dict.fromkeys(values))


def ratios_of(frame: pd.DataFrame) -> list[float]:
    """The distinct mixture ratios of a frame, ascending."""
    return sorted(set(frame["ratio"].astype(float)))


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a text column ``mixture`` beside its numeric ``ratio``."""
    return frame.assign(mixture=[ratio_label(r) for r in frame["ratio"]])


def inline(frame: pd.DataFrame) -> alt.InlineData:
    """The rows as values inside the chart: 6 significant digits, missing as null. Unlike altair's own way, this takes
    more than 5,000 rows; that limit can only be lifted for the whole process.
    """
    # A tuple, because altair copies every list in a chart again at each step of putting panels together.
    records = tuple({key: _plain(value) for key, value in row.items()} for row in frame.to_dict("records"))
    return alt.InlineData(values=cast(Any, records))


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return None if pd.isna(value) else safe(value)


def by(channel: type[C], field: str, names: Mapping[str, Any], there: Iterable[Any] | None = None, **legend: Any) -> C:
    """The channel by a text field: names to colours, shapes or dashes. The legend has the names that are ``there``
    (default: all); ``legend`` holds its other properties.
    """
    shown = [name for name in names if there is None or name in set(there)]
    key = alt.Legend(**{"title": None, "orient": "top", "symbolOpacity": 1, **legend})
    scale = alt.Scale(domain=shown, range=[names[name] for name in shown])
    return channel(f"{field}:N", sort=shown, scale=scale, legend=key)


def ratio_colour(ratios: Sequence[float]) -> alt.Color:
    """Colour by ``mixture``, the legend in numeric order; the same ratio has the same colour in every figure."""
    names = dict(zip(map(ratio_label, ratios), _between(ratios, *RATIO_COLOURS), strict=True))
    return by(alt.Color, "mixture", names, title="Domain share R", **_STROKES)


def size_colour(sizes: Sequence[str]) -> alt.Color:
    """Colour by ``size``, the legend in ascending order."""
    names = dict(zip(sizes, ramp(SIZE_RAMP, len(sizes)), strict=False))  # a ramp has a colour at least
    return by(alt.Color, "size", names, title="Model size", **_STROKES)


def ratio_axis(ratios: Sequence[float], *, titled: bool = True) -> alt.X:
    """The mixture ratio across, from 0 to 1, with ticks at ``ratios`` written as fractions."""
    named = " : ".join(f"abs(datum.value - {r:.6f}) < 1e-4 ? '{ratio_label(r)}'" for r in ratios)
    axis = alt.Axis(values=list(ratios), labelExpr=f"{named} : datum.label" if named else "datum.label")
    scale = alt.Scale(domain=[0, 1.03], nice=False)
    return alt.X("ratio:Q", title="Domain share R" if titled else None, axis=axis, scale=scale)


def picked(field: str) -> alt.Parameter:
    """A selection driven by clicking the legend of ``field`` (shift-click adds, double click clears)."""
    return alt.selection_point(name=f"pick_{field}", fields=[field], bind="legend")


def zoom() -> alt.Parameter:
    """Drag moves a panel, shift and wheel zoom it (a bare wheel scrolls the page), double click resets."""
    return alt.selection_interval(name=_ZOOM, bind="scales", zoom="wheel![event.shiftKey]")


def _numbered(parameter: Any, place: int) -> Any:
    if not str(parameter.name).startswith(_ZOOM):
        return parameter
    own = parameter.copy()
    own.name = f"{parameter.name}_{place}"
    return own


def extrapolated(dash: Sequence[int] = (5, 4)) -> alt.StrokeDashValue:
    """Lines dashed where ``kind`` is "extrapolated", else whole."""
    return alt.StrokeDashValue.from_dict(either("datum.kind == 'extrapolated'", list(dash), [1, 0]))


def either(test: str | alt.Parameter, then: Any, otherwise: Any) -> dict[str, Any]:
    return dict(alt.when(test).then(alt.value(then)).otherwise(alt.value(otherwise)))


def tips(**fields: str | tuple[str, str]) -> list[alt.Tooltip]:
    """The lines of a tooltip, from field to title; a numeric field has its format beside the title."""
    return [
        alt.Tooltip(f"{name}:N", title=how)
        if isinstance(how, str)
        else alt.Tooltip(f"{name}:Q", title=how[0], format=how[1])
        for name, how in fields.items()
    ]


def intervals(
    rows: pd.DataFrame, along: alt.X | alt.Y, *channels: Any, ends: Sequence[str] = ("low", "high")
) -> list[alt.Chart]:
    """What is between the columns ``ends`` (lower, upper), to be marked as areas, rules or rectangles: a list of one
    layer; empty if no row has both, and without the rows that lack one. along: the axis of the interval, a channel with
    its title and scale. channels: the others, such as the place across and the colour.
    """
    low, high = ends
    known = rows.dropna(subset=[low, high]) if {low, high} <= set(rows.columns) else rows.iloc[:0]
    axis = along.copy()
    axis.shorthand = f"{low}:Q"
    other = alt.X2(f"{high}:Q") if isinstance(axis, alt.X) else alt.Y2(f"{high}:Q")
    return [alt.Chart(inline(known)).encode(axis, other, *channels)] if len(known) else []


def apart(at: Iterable[float], step: float, top: float) -> list[float]:
    """Places of labels, given in ascending order, moved up from each other by at least ``step``, and down again until
    the last is so far below ``top``.
    """
    moved: list[float] = []
    for value in at:
        moved.append(max(value, moved[-1] + step) if moved else value)
    for place in reversed(range(len(moved))):
        top = moved[place] = min(moved[place], top - step)
    return moved


def rule(axis: str, value: float, dash: Sequence[int] = (4, 3)) -> Any:
    """A dashed grey line across the panel at ``value`` of axis ``x`` or ``y``."""
    encoding = alt.X("at:Q") if axis == "x" else alt.Y("at:Q")
    data = alt.InlineData(values=cast(Any, [{"at": value}]))
    return alt.Chart(data).mark_rule(color=GREY, strokeDash=list(dash), strokeWidth=1.3).encode(encoding)


def grid(charts: Sequence[Any], columns: int, spacing: int = 14) -> Any:
    """The charts side by side, ``columns`` in a row, as one chart that shares legends and legend clicks; each panel has
    a :func:`zoom` of its own.
    """
    for place, chart in enumerate(charts):
        own = chart.params if isinstance(chart.params, list) else []
        chart.params = [_numbered(each, place) for each in own] or alt.Undefined
    with warnings.catch_warnings():
        # The panels share one legend selection on purpose; altair warns each time it finds it again.
        warnings.filterwarnings("ignore", message="Automatically deduplicated selection parameter")
        return alt.concat(*charts, columns=columns, spacing=spacing)


def finish(chart: Any, description: str) -> Any:
    """The theme of a whole chart: transparent ground, grey type, light grid; ``description`` is for screen readers."""
    return chart.properties(description=description, config=THEME)
