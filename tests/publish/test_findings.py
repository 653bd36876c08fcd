"""The page of findings: what each assumes is in the record, and true by the claims as they are computed now."""

import re

import findings
import pandas as pd
import pytest

from helpers import ROOT
from repro.study import claims
from repro.trust.recovered import recorded

PAGE = (ROOT / "book/findings.md").read_text()
RECORD = findings.read(ROOT, "quick")["the record"]
SECTIONS = dict(section.split("\n", 1) for section in PAGE.split("\n## ")[1:])
ASSUMED = {
    (name, line) for name, text in SECTIONS.items() for line in re.findall(r"^[AB]\d{3} .*$", text, re.MULTILINE)
}


def test_every_finding_assumes_something() -> None:
    assert {name for name, _ in ASSUMED} == set(SECTIONS) and len(SECTIONS) >= 5


@pytest.mark.parametrize(("finding", "assumed"), sorted(ASSUMED))
def test_what_a_finding_assumes_holds(finding: str, assumed: str) -> None:
    claim, _, rest = assumed.partition(" ")
    paper = str(RECORD.at[claim, "paper"])
    now = RECORD.loc[[claim]].assign(
        recomputed_verdict=claims.row(paper, claims.read(paper)[claim]).recomputed_verdict, study="other runs"
    )
    assert findings.fault({"the record": RECORD, "this book": now}, assumed) is None
    assert rest.endswith((" in print", " in runs"))


def test_the_record_has_every_claim() -> None:
    assert list(RECORD.index) == [*claims.read("cmr"), *claims.read("allocation")]


def test_numbers_of_the_record_are_there() -> None:
    roles = re.findall(r"\{recorded\}`([^`]*)`", PAGE)
    assert len(roles) > 8
    for role in roles:
        name, query, column, form = role.split(" | ")
        table: pd.DataFrame = RECORD.reset_index() if name == "ledger" else recorded(name)
        (cell,) = table.query(query)[column]
        assert form.format(*map(float, str(cell).split("; ")), points=1.0)
