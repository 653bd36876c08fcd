"""General loss against domain loss along training: Figures 1, 2 and 8 of paper A."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.cmr.figures import parts
from repro.cmr.frames import RUN, Results
from repro.laws import ratio_label
from repro.show import charts, style

_WIDE, _HIGH = style.PANEL, 190  # of a panel


def trade_off(results: Results) -> Any:
    """Figure 1: every size and ratio in the plane of the two increments, following training; dashed: the tolerance. A
    row for each size: small ratios on the left, at their own scale, all on the right, or one panel (:func:`_split`).
    """
    rows = parts.Rows.of(results.curves(RUN), results.turning_points())
    sizes, key = style.in_order(rows.drawn["size"]), charts.Key.ratios(style.ratios_of(rows.drawn))
    cells = {f"{size}, {name}": mine for size in sizes for name, mine in _split(rows.where("size", size))}
    text = "General against domain loss increment, a row for each model size, a line for each ratio"
    return charts.panels(_planes(cells, key, results.epsilon), text)


def cross_sections(results: Results) -> Any:
    """Figure 8: the trade-off cut at each ratio, coloured by size."""
    rows = parts.Rows.of(results.curves(RUN), results.turning_points())
    there = [ratio_label(ratio) for ratio in style.ratios_of(rows.drawn)]
    cells = {f"R = {label}": rows.where("mixture", label) for label in there}
    text = "General against domain loss increment, a panel for each ratio, a line for each model size"
    return charts.panels(_planes(cells, charts.Key.sizes(rows.drawn), None), text)


def _split(rows: parts.Rows) -> list[tuple[str, parts.Rows]]:
    """The panels of one size: the small ratios, if they are some but not all, and all."""
    small, every = rows.small(), ("all ratios", rows)
    if len(small.drawn) in (0, len(rows.drawn)):
        return [every]
    return [(f"up to {ratio_label(parts.SMALL)}", small), every]


def _planes(cells: Mapping[str, parts.Rows], key: charts.Key, epsilon: float | None) -> list[Any]:
    """The trade-off plane of each of the rows, by its title, with a line at ``epsilon`` if that is within it."""
    return [
        _plane(rows, key, epsilon, title, style.DOMAIN if place >= len(cells) - 2 else None)
        for place, (title, rows) in enumerate(cells.items())
    ]


def _plane(rows: parts.Rows, key: charts.Key, epsilon: float | None, title: str, x_title: str | None) -> Any:
    across, up = rows.span("domain"), rows.span("general")
    x = charts.x("domain:Q", x_title, across, tickCount=5, labelSeparation=8)
    y = charts.y("general:Q", style.GENERAL, up)
    zero = style.rule("y", 0.0, (1, 3)).encode(charts.y("at:Q", style.GENERAL, up))
    limit = [style.rule("y", epsilon)] if epsilon is not None and epsilon <= up[1] else []
    layers = rows.layers(x, y, key, _marks(rows, across, up), alt.Order("t:Q"), alt.Detail(["size:N", "mixture:N"]))
    return charts.layered([zero, *limit, *layers], _WIDE, _HIGH, title)


def _marks(rows: parts.Rows, x_span: Sequence[float], y_span: Sequence[float]) -> pd.DataFrame:
    """Arrow heads turned along the end of each trajectory as drawn, and turning points."""
    ends = parts.ends(rows.drawn)
    across = (ends["domain"] - ends["from_domain"]) / (x_span[1] - x_span[0]) * _WIDE
    up = (ends["general"] - ends["from_general"]) / (y_span[1] - y_span[0]) * _HIGH
    angle = np.degrees(np.arctan2(across.astype(float), up.astype(float)))
    return pd.concat([ends.assign(angle=angle), rows.turns], ignore_index=True)
