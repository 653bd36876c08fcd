"""Sphinx extension: conclusions written by hand, held to what they rest on.

A page begins with ``{record}`` and the name of a folder in ``results/``, whose ``claims.csv`` is a ledger kept with
`repro claims --csv`. ``{recorded}`` writes a number of it. ``{assumes}``, in the section of a finding, lists, a line
each, a claim, its verdict, and "in print" or "in runs". The build fails where the record has another verdict, or where
this book has: of what is in print always, of runs only if they are those recorded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from repro.publish.site import HERE
from repro.show.tables import styled
from repro.study.claims import PAPER_NAMES
from repro.trust.recovered import recorded

# Rows by the id of a claim: of "the record", and of "this book" if it has a ledger.
Ledgers = Mapping[str, pd.DataFrame]
COLUMNS = {"print": "recomputed_verdict", "runs": "replicated_verdict"}
KEY = "repro ledgers"  # in what Sphinx keeps while it reads a page


def read(source: Path, name: str) -> Ledgers:
    """The ledger recorded in ``results/name``, and that which a notebook of this book shows, if one does."""
    files = {"the record": source / "results" / name / "claims.csv", "this book": source / HERE}
    there = {of: file for of, file in files.items() if of == "the record" or file.exists()}
    return {of: pd.read_csv(file, index_col="id") for of, file in there.items()}


def fault(ledgers: Ledgers, assumed: str) -> str | None:
    """What speaks against an assumption such as "A081 differs in runs"; None if nothing does."""
    claim, _, rest = assumed.partition(" ")
    verdict, _, where = rest.rpartition(" in ")
    if where not in COLUMNS:
        return f"{assumed!r} must be a claim, its verdict, and 'in print' or 'in runs'"
    if claim not in ledgers["the record"].index:
        return f"there is no claim {claim} in the record"
    rows = {name: ledger.loc[claim] for name, ledger in ledgers.items() if claim in ledger.index}
    for name, row in rows.items():
        counts = where == "print" or row["study"] == rows["the record"]["study"] or name == "the record"
        if counts and row[COLUMNS[where]] != verdict:
            return f"claim {claim} is assumed: {verdict} in {where}; by {name}: {row[COLUMNS[where]]}"
    return None


class Record(SphinxDirective):
    """A table of the runs that the findings rest on, and of those behind this book."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Read the ledgers for the page. A name without a ledger is a fault of the page."""
        try:
            ledgers = read(Path(self.env.srcdir), self.arguments[0])
        except FileNotFoundError:
            raise self.error(f"there is no results/{self.arguments[0]}/claims.csv") from None
        self.env.temp_data[KEY] = ledgers
        first = {
            name: each.dropna(subset="scale").groupby("paper", sort=False).first() for name, each in ledgers.items()
        }
        frame = pd.DataFrame({f"Runs of {name}": rows["scale"] for name, rows in first.items()})
        if "this book" in first:
            same = first["the record"]["study"].eq(first["this book"]["study"])
            frame["The same runs"] = same.map({True: "yes", False: "no"})
        table = styled(frame.rename(index=PAPER_NAMES).rename_axis("Paper").reset_index(), {}, "not run", index=False)
        return [nodes.raw("", table.to_html(), format="html")]


class Assumes(SphinxDirective):
    """What a finding assumes, with links to the pages of the claims."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Warn of what no longer holds, naming the finding by its heading."""
        ledgers = self.env.temp_data[KEY]
        section: Any = self.state_machine.node
        while not isinstance(section, nodes.section):
            section = section.parent
        shown = nodes.paragraph("", "Assumes: ", classes=["assumes"])
        for line in filter(None, map(str.strip, self.content)):
            if problem := fault(ledgers, line):
                logger = logging.getLogger(__name__)
                logger.warning("finding %r: %s", section[0].astext(), problem, location=self.get_location())
                continue
            claim, _, rest = line.partition(" ")
            page = ledgers["the record"].at[claim, "page"]
            shown += [nodes.reference("", claim, refuri=f"notebooks/{page}.html#{claim}"), nodes.Text(f" {rest}. ")]
        return [shown]


class Recorded(SphinxRole):
    """A number by table ("ledger", or one of :func:`repro.trust.recovered.recorded`), row, column and format, such as
    ``ledger | id == 'A081' | replicated | {points:.0f} points``; points is a hundred times the number.
    """

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Write the number; ValueError if there is not exactly one such row."""
        name, query, column, form = self.text.split(" | ")
        table = self.env.temp_data[KEY]["the record"].reset_index() if name == "ledger" else recorded(name)
        (cell,) = table.query(query)[column]
        numbers = [float(number) for number in str(cell).split("; ")]
        return [nodes.Text(form.format(*numbers, points=100 * numbers[0]))], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.add_directive("record", Record)
    app.add_directive("assumes", Assumes)
    app.add_role("recorded", Recorded())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
