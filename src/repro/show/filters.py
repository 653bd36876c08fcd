"""A table that its reader filters: whole without scripts, with a menu for each property where they run."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Menus are made here, and not in the table's HTML, so that without scripts there is none that does nothing.
SCRIPT = """(() => {
  const box = document.currentScript?.parentElement;
  if (!box) return;
  const rows = [...box.querySelectorAll("tbody tr")], menus = {}, bar = document.createElement("p");
  const count = document.createElement("output");
  const show = () => {
    const fits = (row) => Object.entries(menus).every(([name, menu]) => ["", row.dataset[name]].includes(menu.value));
    for (const row of rows) row.hidden = !fits(row);
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  for (const [name, title] of Object.entries(JSON.parse(box.dataset.by))) {
    const label = document.createElement("label"), menu = (menus[name] = document.createElement("select"));
    menu.append(new Option("all", ""));
    for (const value of new Set(rows.map((row) => row.dataset[name]))) menu.append(new Option(value, value));
    menu.addEventListener("change", show);
    label.append(`${title} `, menu);
    bar.append(label, " ");
  }
  bar.append(count);
  box.prepend(bar);
  show();
})();"""


@dataclass(frozen=True)
class Filtered:
    """heads: of the columns, as text. rows: cells as HTML. by: the title of each property (lower-case letters) that
    there is a menu for. keys: the properties of each row.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    by: Mapping[str, str]
    keys: Sequence[Mapping[str, str]]

    def _repr_html_(self) -> str:
        heads = "".join(f'<th scope="col">{html.escape(head)}</th>' for head in self.heads)
        body = "".join(map(_row, self.rows, self.keys))
        return (
            f'<div class="filtered" data-by="{html.escape(json.dumps(dict(self.by)), quote=True)}">'
            '<div class="scrolled" tabindex="0" role="region" aria-label="table">'
            f'<table class="dataframe"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
            f"<script>{SCRIPT}</script></div>"
        )


def _row(cells: Sequence[str], keys: Mapping[str, str]) -> str:
    data = "".join(f' data-{name}="{html.escape(value, quote=True)}"' for name, value in keys.items())
    return f"<tr{data}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
