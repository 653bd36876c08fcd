"""What `repro fit` answers with: tables as text, numbers as JSON, and a report as one HTML file that needs nothing from
outside. Its charts are still pictures: they need no script, and read on white and on dark.
"""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jinja2
import pandas as pd
import vl_convert

from repro.fit import DRAWS
from repro.laws import Fit, ratio_label
from repro.output import safe

NONE = "\u2013"
WIDTH = 340  # pixels of a chart's panel: fits a telephone, and two go side by side on a page
FEW_DRAWS = 100  # below it the 2.5% at either end are no more than two draws


@dataclass(frozen=True)
class Table:
    """Text cells under a head, the first column aligned left, others right."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """The table for a terminal."""
        rows = [self.head, *self.rows]
        first, *others = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = [self.caption]
        for label, *cells in rows:
            line = "  ".join([label.ljust(first), *(c.rjust(width) for c, width in zip(cells, others, strict=True))])
            lines.append(f"  {line.rstrip()}")
        return "\n".join(lines)


def tables(template: str, **values: Any) -> list[Table]:
    """The tables that a template writes: lines of caption, head and rows, a tab between cells, an empty line after."""
    blocks = page(template, **values).strip("\n").split("\n\n")
    lines = ([tuple(line.split("\t")) for line in block.splitlines()] for block in blocks)
    return [Table(caption, head, tuple(rows)) for (caption,), head, *rows in lines]


def contract(template: str, **values: Any) -> str:
    """The answer as the JSON that a template writes, which ends in a newline; what is no finite number is null."""
    content = plain(json.loads(page(template, **values)))
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def page(template: str, **values: Any) -> str:
    """What a template writes: a report as HTML, tables or JSON. Values are `safe`, and in HTML escaped; a chart is one
    that is finished (`style.finish`).
    """
    blocks: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    blocks["finalize"] = lambda value: safe(value) if type(value) is str else value
    loader = jinja2.PackageLoader("repro.fit", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=template.endswith(".html"), **blocks)
    environment.filters |= {"picture": _picture, "description": lambda chart: chart.description}
    environment.filters |= {"number": number, "interval": interval, "fit_json": fit_json, "ratio_label": ratio_label}
    environment.filters |= {"ends": ends, "fields": asdict}
    environment.policies["json.dumps_kwargs"] = {}  # keys in their order
    return environment.get_template(template).render(values)


def _picture(chart: Any) -> str:
    """A chart as the data URI of an SVG; as an image, since inline SVGs would share their clip-path ids."""
    still = vl_convert.vegalite_to_svg(chart.to_dict())
    return f"data:image/svg+xml;base64,{base64.b64encode(still.encode()).decode()}"


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


def plain(value: Any) -> Any:
    """The same for JSON: numbers as Python's own, None for those that are not finite, lists for tuples."""
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def ends(result: Any) -> tuple[float, float] | None:
    """The interval of a result that exists; what has no value has none."""
    return None if result.value is None else result.interval


def intervals(table: pd.DataFrame) -> dict[str, list[float | None]]:
    """The rows of ``conf_int()``, by parameter; an end that is not finite, because the interval is open, is None."""
    ends: dict[str, list[float | None]] = plain(table.T.to_dict("list"))
    return ends


def as_text(tables: Iterable[Table], warnings: Sequence[str]) -> str:
    """What the command prints."""
    listed = ["\n".join(["Warnings", *(f"  - {warning}" for warning in warnings)])] if warnings else []
    return safe("\n\n".join([*map(str, tables), *listed]), keep="\n")


def rough(draws: int) -> tuple[str, ...]:
    """A note where there are intervals from few draws."""
    if not 0 < draws < FEW_DRAWS:
        return ()
    return (f"95% intervals from {draws} draw{'s' if draws > 1 else ''} are rough; {DRAWS:,} is the default",)


def fit_json(fit: Fit | None, *, drawn: bool) -> dict[str, Any] | None:
    """A fit's parameters, 95% intervals (None unless ``drawn``), goodness and warnings; None for no fit."""
    if fit is None:
        return None
    ends = intervals(fit.conf_int()) if drawn else None
    open_ended = [name for name, each in (ends or {}).items() if None in each]
    undetermined = [f"{name}: the data set no finite limit to its interval" for name in open_ended]
    goodness = {"sse": fit.sse, "rse": fit.rse, "r2": fit.r2, "n": fit.n}
    return {"params": fit.params, "ci": ends, **goodness, "warnings": [*fit.warnings, *undetermined]}
