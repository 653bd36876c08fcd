"""Sphinx extension: a figure of class ``table`` is captioned above and numbered "Table N"; terms say what they mean.

A notebook cell can caption its output only as a figure (myst-nb's ``figure`` cell metadata), and Sphinx numbers by node
class. So such figures change their class before they are counted; ``{numref}`` then says "Table N".
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class TableFigure(nodes.figure):
    """A captioned table whose body is not a docutils table (here: HTML from a notebook)."""


class FiguresToTables(SphinxTransform):
    """``figure.table`` -> `TableFigure`, caption first."""

    default_priority = 10

    def apply(self, **_: Any) -> None:
        for figure in self.document.findall(nodes.figure):
            if "table" not in figure["classes"]:
                continue
            # In place, because the document's table of labels points at this very node.
            figure.__class__ = TableFigure
            # The theme's stylesheets use the class "table" for something else.
            figure["classes"] = ["captioned-table" if name == "table" else name for name in figure["classes"]]
            figure.children.sort(key=lambda child: not isinstance(child, nodes.caption))


def define(app: Sphinx, doctree: nodes.document, _: str) -> None:
    """Give a link to a term of the glossary its meaning as title: browsers show it, and ``_static/terms.js`` better."""
    links = [link for link in doctree.findall(nodes.reference) if "glossary.html#term-" in link.get("refuri", "")]
    entries = app.env.get_doctree("glossary").findall(nodes.definition_list_item) if links else ()
    meanings = {
        name: entry[-1].astext() for entry in entries for term in entry.findall(nodes.term) for name in term["ids"]
    }
    for link in links:
        link["reftitle"] = " ".join(meanings[link["refuri"].rpartition("#")[2]].split())


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    as_figure: Any = (lambda writer, node: writer.visit_figure(node), lambda writer, node: writer.depart_figure(node))
    app.add_enumerable_node(TableFigure, "table", html=as_figure, latex=as_figure)
    app.add_transform(FiguresToTables)
    app.connect("doctree-resolved", define)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
