"""A report as one HTML file that asks for nothing outside itself, and its tables as text for the terminal.

Charts are still pictures: they need no script, print as they look, and their colours read on white and on dark.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import vl_convert

NONE = "\u2013"
WIDTH = 340  # pixels of a chart's panel: fits a telephone, and two go side by side on a page


@dataclass(frozen=True)
class Table:
    """Text cells under a head: the first column, and the last where it holds ``words``, aligned left, others right.

    ``folded`` tables open at a click in a report.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: bool = False
    folded: bool = False

    def __str__(self) -> str:
        """The table for a terminal."""
        every = [self.head, *self.rows]
        widths = [max(len(row[place]) for row in every) for place in range(len(self.head))]
        first, *others = widths
        lines = [
            "  ".join([row[0].ljust(first), *(cell.rjust(w) for cell, w in zip(row[1:], others, strict=True))]).rstrip()
            for row in every
        ]
        return "\n".join([self.caption, *(f"  {line}" for line in lines)])


@dataclass(frozen=True)
class Figure:
    """An altair chart, finished (`style.finish`), and what it shows in words."""

    caption: str
    chart: Any

    @property
    def description(self) -> str:
        """What a screen reader says."""
        return str(self.chart.to_dict().get("description", self.caption))

    @property
    def picture(self) -> str:
        """The chart as the data URI of an SVG; as an image, since inline SVGs would share their clip-path ids."""
        still = vl_convert.vegalite_to_svg(self.chart.to_dict())
        return f"data:image/svg+xml;base64,{base64.b64encode(still.encode()).decode()}"


@dataclass(frozen=True)
class Section:
    """A heading with figures and tables below it."""

    title: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Report:
    """What was found (``results``), what to beware of, what was assumed (name, in words), then the sections."""

    title: str
    lead: str
    results: tuple[Table, ...]
    warnings: tuple[str, ...]
    assumed: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]

    def html(self) -> str:
        """The page; every text in it is escaped."""
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("repro.show", "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        return environment.get_template("report.html").render(report=self)


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "\u221e" if value > 0 else "-\u221e"
    if 1e4 <= abs(value) < 1e7:  # where exponents are harder to read than the digits
        return f"{float(f'{value:.{digits}g}'):,.0f}"
    return f"{value:.{digits}g}"


def interval(ends: Sequence[float | None] | None, digits: int = 4) -> str:
    """An interval as "low to high", with a dash for an end or an interval that does not exist."""
    return NONE if ends is None else f"{number(ends[0], digits)} to {number(ends[1], digits)}"
