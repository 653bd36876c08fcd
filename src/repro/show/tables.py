"""What tables have in common: escaped text, the same HTML every time, gaps that say why; and one to be filtered."""

import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pandas.io.formats.style import Styler

from repro.output import safe
from repro.show.words import p_value, short_tokens

HERE = Path(__file__).parent
DASH = "\u2014"
Table = Styler.from_custom_template(str(HERE), html_table="table.tpl")  # heads with their scope
Format = str | Callable[[Any], str]
Columns = Mapping[str, Format | tuple[str, Format]]  # what :func:`listed` says of each column


def declared(module: str) -> dict[str, tuple[Columns, str]]:
    """The last two arguments of :func:`listed` for each table that the YAML beside a module declares, by its name."""
    tables = yaml.safe_load(Path(module).with_suffix(".yaml").read_text(encoding="utf-8"))
    return {name: (table["columns"], table["why"]) for name, table in tables.items()}


def with_intervals(values: pd.Series, frame: pd.DataFrame, name: str, form: Format, ends: Format) -> pd.Series:
    """Each of ``values``, rows of ``frame``, as text for :func:`two_lines`, by ``form``; None where there is no value.
    On the second line is the interval, the columns <name>_lower and <name>_upper by ``ends``, where both exist and are
    not NaN.
    """
    write, limit = (way.format if isinstance(way, str) else way for way in (form, ends))
    none = pd.Series(float("nan"), index=frame.index)
    rows = zip(values, frame.get(f"{name}_lower", none), frame.get(f"{name}_upper", none), strict=True)
    texts = ((write(v), f"\n({limit(a)} to {limit(b)})" if a == a and b == b else "", v == v) for v, a, b in rows)
    return pd.Series([text + interval if there else None for text, interval, there in texts], frame.index, dtype=object)


def two_lines(text: str) -> str:
    """Escaped text as HTML, a second line in small type below the first: a format for :func:`styled`."""
    first, _, second = text.partition("\n")
    return f"{first} <br><small>{second}</small>" if second else first


# As data name them.
FORMATS: Mapping[Format, Format] = {"{tokens}": short_tokens, "{p}": p_value, "{two lines}": two_lines}


def listed(frame: pd.DataFrame, columns: Columns, why: str) -> Styler:
    """The columns that are declared, in that order, without those that the frame lacks; otherwise as :func:`styled`.

    columns: for each its readers' title, or its format (a string with braces, or a function), or both, or "" for
    neither. Without a title it is the column's name, underscores written as spaces.
    """
    titles: dict[str, str] = {}
    formats: dict[str, Format] = {}
    for name in filter(frame.columns.__contains__, columns):
        how = columns[name] or ""
        title, form = how if isinstance(how, (tuple, list)) else (how, None) if _is_title(how) else ("", how)
        titles[name] = str(title or name.replace("_", " "))
        formats |= {titles[name]: FORMATS.get(form, form)} if form else {}
    rows = frame[list(titles)].set_axis(list(titles.values()), axis=1).reset_index(drop=True)
    return styled(rows, formats, why, index=False)


def _is_title(how: Format) -> bool:
    return isinstance(how, str) and "{" not in how


def styled(
    frame: pd.DataFrame,
    formats: Mapping[Any, Format] | Format,
    why: str,
    *,
    index: bool,
    notes: pd.DataFrame | None = None,
) -> Styler:
    """The frame as a Styler that gives the same HTML every time (no random ids). A missing value is a dash, with
    ``why`` under the pointer; for the others, ``notes``, a frame of the same shape, has the text there.
    """
    frame = frame.map(lambda value: safe(value, keep="\n") if isinstance(value, str) else value)
    styler = Table(frame).format(formats, na_rep=DASH, escape="html")  # type: ignore[arg-type]
    styler = styler.format_index(escape="html", axis=0).format_index(escape="html", axis=1)
    missing = frame.isna()
    if missing.any(axis=None) or notes is not None:
        reasons = missing.map(lambda gap: why if gap else "").astype(str)
        titles = reasons if notes is None else notes.where(~missing, reasons)
        styler = styler.set_tooltips(titles, as_title_attribute=True)
    numbers = frame.map(lambda value: "number" if isinstance(value, Number) else "")  # no line break after a sign
    styler = styler.set_td_classes(numbers).set_table_attributes('class="dataframe"').set_uuid("t")
    return styler if index else styler.hide(axis="index")


@dataclass(frozen=True)
class Filtered:
    """A table that its reader filters: whole without scripts; where they run, they make a menu for each property.

    heads: of the columns, as text. rows: cells as HTML. by: the title of each property (lower-case letters) that there
    is a menu for. keys: the properties of each row. csv: the same as data, for programs that read the notebook.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    by: Mapping[str, str]
    keys: Sequence[Mapping[str, str]]
    csv: str = ""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/csv": self.csv} if self.csv else {}

    def _repr_html_(self) -> str:
        heads = "".join(f'<th scope="col">{html.escape(head)}</th>' for head in self.heads)
        body = "".join(map(_row, self.rows, self.keys))
        script = (HERE / "filters.js").read_text(encoding="utf-8").rstrip()
        return (
            f'<div class="filtered" data-by="{html.escape(json.dumps(dict(self.by)), quote=True)}">'
            '<div class="scrolled" tabindex="0" role="region" aria-label="table">'
            f'<table class="dataframe"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
            f"<script>{script}</script></div>"
        )


def _row(cells: Sequence[str], keys: Mapping[str, str]) -> str:
    data = "".join(f' data-{name}="{html.escape(value, quote=True)}"' for name, value in keys.items())
    return f"<tr{data}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
