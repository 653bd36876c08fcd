"""Sphinx extension: in a book of one paper, what a page of the other says is referred to by that page's title.

Only a page that the whole book lists can be absent; every other reference that leads nowhere stays a warning.
"""

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

WHOLE = "_toc.yml"  # of the whole book, staged beside that of one paper
TITLE = re.compile(r"^# (.+)$", re.MULTILINE)


def absent(env: BuildEnvironment) -> Iterator[tuple[str, str]]:
    """Each page that this book lacks, by the name that the whole book has for it, and its text."""
    source = Path(env.srcdir)
    for name in re.findall(r"file: (\S+)", (source / WHOLE).read_text()):
        if name in env.all_docs:
            continue
        if (page := source / f"{name}.md").exists():
            yield name, page.read_text()
        elif (page := source / f"{name}.ipynb").exists():
            cells = json.loads(page.read_text())["cells"]
            named = [cell["metadata"].get("mystnb", {}).get("figure", {}).get("name", "") for cell in cells]
            yield name, "\n".join([*("".join(cell["source"]) for cell in cells), *(f"({label})" for label in named)])


def name(_: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement) -> nodes.Node | None:
    """The title of the absent page that a reference leads to, or has its label; None for any other reference."""
    target = node["reftarget"]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(node["refdoc"]), target))
    for page, text in absent(env):
        if path == page if node["reftype"] == "doc" else f"({target})" in text:
            title = TITLE.search(text)
            return nodes.emphasis("", shown.astext() if node.get("refexplicit") or not title else title[1])
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("missing-reference", name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
