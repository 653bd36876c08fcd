"""Sphinx extension: what the book makes of the outputs of its notebooks' cells.

A chart's data and its still picture become files beside the pages: the data are read when the chart is drawn, the
picture only where scripts are off. Each captioned figure and table gets links to its numbers and to the code that
drew it.
"""

import base64
import hashlib
import importlib
import inspect
import io
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import nbformat
import pandas as pd
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from repro.publish.site import HERE

CHARTS, NUMBERS, CODE = "charts", "numbers", "code"  # folders of the site
CHART = re.compile(
    r'<div class="vega-figure"><img (?P<still>[^>]*)src="data:image/svg\+xml;base64,(?P<picture>[\w+/=]+)"/>'
    r'<script type="application/json" class="vega-data">(?P<data>.*?)</script></div>',
    re.DOTALL,
)
SIZE = re.compile(r'width="([\d.]+)" height="([\d.]+)"')
FIELD = re.compile(r"(?=</?(?:br|small|span|d[dlt]|p|summary|details)\b)")  # in a cell, what would run together
CALL = re.compile(r"\b\w+(?:\.\w+)+(?=[(,])")
NO_DRAWING = "repro.show.display"  # its functions only choose what is drawn
_modules: set[str] = set()  # that links lead to


class Outputs(SphinxPostTransform):
    """Charts as files, links in captions."""

    default_priority = 900  # after what is glued is in its place
    formats = ("html",)

    def run(self, **_: Any) -> None:
        root = "../" * self.env.docname.count("/")
        sources = _sources(Path(self.env.doc2path(self.env.docname)))
        for figure in self.document.findall(nodes.figure):
            captions = [child for child in figure if isinstance(child, nodes.caption)]
            if captions and (name := next(iter(figure["names"]), "")) in sources:
                shown = "".join(raw.astext() for raw in figure.findall(nodes.raw))
                captions[0] += [nodes.Text(" "), self._links(name, shown, sources[name], root)]
        for raw in list(self.document.findall(nodes.raw)):
            if CHART.search(raw.astext()):
                raw[:] = [nodes.Text(CHART.sub(lambda match: self._chart(match, root), raw.astext()))]

    def _write(self, folder: str, name: str, text: str) -> str:
        path = Path(self.app.outdir, folder, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return f"{folder}/{name}"

    def _chart(self, match: re.Match[str], root: str) -> str:
        name = hashlib.sha256(match["data"].encode()).hexdigest()[:16]
        self._write(CHARTS, f"{name}.js", f'vegaFigure("{name}", {_brief(match["data"])});\n')
        still = self._write(CHARTS, f"{name}.svg", drawing := base64.b64decode(match["picture"]).decode())
        picture = f'<noscript><img {match["still"]}src="{root}{still}"/></noscript>'
        room = "--wide: {}; --high: {}".format(*SIZE.findall(drawing)[0])
        return f'<div class="vega-figure" data-chart="{name}" style="{room}">{picture}</div>'

    def _links(self, name: str, shown: str, source: str, root: str) -> nodes.inline:
        links = nodes.inline("", classes=["sources"])
        page, label = f"_sources/{self.env.docname}.ipynb", "notebook"
        if function := _function(source):
            module, line = function.__module__, inspect.getsourcelines(function)[1]
            _modules.add(module)
            page, label = f"{CODE}/{module}.html#line-{line}", f"{module.removeprefix('repro.')}.{function.__name__}"
        ledger = Path(self.env.srcdir) / HERE
        if table := ledger.read_text() if 'class="filtered"' in shown and ledger.exists() else _numbers(shown):
            csv = self._write(NUMBERS, f"{name}.csv", table)
            links += [nodes.reference("", "CSV", refuri=root + csv, internal=True), nodes.Text(" ")]
        links += nodes.reference("", label, refuri=root + page, internal=True)
        return links


def _sources(page: Path) -> dict[str, str]:
    """Code by the name of the figure that it makes; of pages that are no notebooks none."""
    cells = nbformat.read(page, as_version=4).cells if page.suffix == ".ipynb" else []
    return {cell.metadata["mystnb"]["figure"]["name"]: cell.source for cell in cells
            if "figure" in cell.metadata.get("mystnb", {})}  # fmt: skip


def _brief(data: str) -> str:
    """A chart's specification with each of its tables as [fields, rows of values], a third of the size."""
    spec = json.loads(data)
    for name, rows in spec.get("datasets", {}).items():
        fields = list(dict.fromkeys(field for row in rows for field in row))
        spec["datasets"][name] = [fields, [[row.get(field) for field in fields] for row in rows]]
    return json.dumps(spec, separators=(",", ":"))


def _function(source: str) -> FunctionType | None:
    """The first function of this package that a cell calls, or hands on, by its full name."""
    for name in CALL.findall(source):
        try:
            found = pkgutil.resolve_name(f"repro.{name}")
        except (ImportError, AttributeError):  # a variable of the cell
            continue
        if isinstance(found, FunctionType) and found.__module__ != NO_DRAWING:
            return found
    return None


def _numbers(shown: str) -> str:
    """The data of a chart (``dataset`` counts its tables), or the cells of a table, as CSV; of neither nothing."""
    if chart := CHART.search(shown):
        tables = json.loads(chart["data"]).get("datasets", {}).values()
        return (
            pd.concat(dict(enumerate(map(pd.DataFrame, tables), 1)), names=["dataset"])
            .reset_index("dataset")
            .to_csv(index=False)
        )
    if "<table" in shown:
        table = pd.read_html(io.StringIO(FIELD.sub(" ", shown)))[0]
        table.columns = [_head(levels) for levels in table.columns.to_flat_index()]
        return table.to_csv(index=False)
    return ""


def _head(levels: str | tuple[str, ...]) -> str:
    """One head from those that stand above each other, without the names that pandas gives to empty ones."""
    stacked = (levels,) if isinstance(levels, str) else levels
    return ", ".join(dict.fromkeys(text for text in stacked if not text.startswith("Unnamed: ")))


def _code_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    for name in sorted(_modules):
        text = inspect.getsource(importlib.import_module(name))
        body = app.builder.highlighter.highlight_block(text, "python", linespans="line")  # type: ignore[attr-defined]
        yield f"{CODE}/{name}", {"title": name, "body": f"<h1>{name}</h1>{body}"}, "page.html"


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.add_post_transform(Outputs)
    app.connect("html-collect-pages", _code_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
