"""What the data packages hold, as values: terms of an ontology, encyclopaedia articles, chemical elements."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from repro.data.documents import Document
from repro.data.packages import PACKAGES, contents

# Where articles about substances are found, and the words that tell them from the rest.
CHEMICAL_TOPICS = {"Physical sciences", "Biology and health sciences", "Technology", "Everyday life", "Uncategorized"}
CHEMICAL_WORDS = re.compile(
    r"\b(chemi\w+|compounds?|molecul\w+|acids?|oxides?|alloys?|solvents?|polymers?|reagents?|atoms?|ions?|catalys\w+)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term of the Human Phenotype Ontology that is in use; definition and comment are "" where there is none."""

    identity: str
    name: str
    definition: str
    comment: str
    parents: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Article:
    """The summary of a Wikipedia article."""

    title: str
    summary: str
    description: str
    topic: str


@dataclass(frozen=True, kw_only=True)
class Element:
    """A chemical element. Temperatures are in kelvin; what is not known is None, or "" for text."""

    number: int
    name: str
    symbol: str
    series: str
    group: int | None
    period: int
    block: str
    weight: float
    melting: float | None
    boiling: float | None
    discoverers: str
    discovered: int | None
    origin: str
    description: str
    uses: str
    occurrence: str


def terms() -> list[Term]:
    """The ontology's terms, in its order; obsolete ones are left out."""
    stanzas = contents(PACKAGES["hpo"]).decode().split("\n\n[Term]\n")[1:]
    return [_term(stanza) for stanza in stanzas if "\nis_obsolete: true" not in stanza]


def articles(package: str = "wikipedia-en") -> list[Article]:
    """The articles of one of the Wikipedia packages, in its order."""
    found = [
        Article(
            title=entry["title"],
            summary=entry["extract"].strip(),
            description=entry["description"] or "",
            topic=entry["topic"],
        )
        for entry in json.loads(contents(PACKAGES[package])).values()
    ]
    return [article for article in found if package != "wikipedia-chemistry" or _is_chemical(article)]


def elements() -> list[Element]:
    """The chemical elements, by atomic number."""
    database = sqlite3.connect(":memory:")
    try:
        database.deserialize(contents(PACKAGES["mendeleev"]))
        rows = database.execute(
            "SELECT e.atomic_number, e.name, e.symbol, s.name, e.group_id, e.period, e.block, e.atomic_weight,"
            " p.melting_point, p.boiling_point, e.discoverers, e.discovery_year, e.name_origin, e.description, e.uses,"
            " e.sources FROM elements e JOIN series s ON s.id = e.series_id"
            # Several allotropes melt at several temperatures: then neither is *the* element's.
            " LEFT JOIN (SELECT atomic_number, MIN(melting_point) AS melting_point, MIN(boiling_point) AS boiling_point"
            " FROM phasetransitions GROUP BY atomic_number HAVING COUNT(*) = 1) p USING (atomic_number)"
            " ORDER BY e.atomic_number"
        ).fetchall()
    finally:
        database.close()
    return [_element(row) for row in rows]


def documents(package: str) -> list[Document]:
    """The texts of a package that can be trained on, in its order."""
    readers: dict[str, Callable[[], Iterator[Document]]] = {"hpo": _of_terms, "mendeleev": _of_elements}
    if package in readers:
        return list(readers[package]())
    return [Document(text=article.summary, topic=article.topic, subject=article.title) for article in articles(package)]


def _term(stanza: str) -> Term:
    def line(pattern: str) -> str:
        found = re.search(pattern, stanza, re.MULTILINE)
        return re.sub(r"\\(.)", r"\1", found[1]) if found else ""

    return Term(
        identity=line(r"^id: (.*)$"),
        name=line(r"^name: (.*)$"),
        definition=line(r'^def: "((?:[^"\\]|\\.)*)"'),
        comment=line(r"^comment: (.*)$"),
        parents=tuple(re.findall(r"^is_a: (\S+)", stanza, re.MULTILINE)),
    )


def _is_chemical(article: Article) -> bool:
    by_summary = len(CHEMICAL_WORDS.findall(article.summary)) > 1
    return article.topic in CHEMICAL_TOPICS and bool(by_summary or CHEMICAL_WORDS.search(article.description))


def _element(row: tuple[object, ...]) -> Element:
    keys = list(Element.__dataclass_fields__)
    values = dict(zip(keys, row, strict=True))
    for key in ("discoverers", "origin", "description", "uses", "occurrence"):
        values[key] = " ".join(str(values[key] or "").split())
    return Element(**values)  # type: ignore[arg-type]


def _of_terms() -> Iterator[Document]:
    """A document per term that has a definition: "name: definition", then the comment if there is one."""
    for term in terms():
        if term.definition:
            text = " ".join(filter(None, (f"{term.name}: {term.definition}", term.comment)))
            yield Document(text=text, subject=term.name)


def _of_elements() -> Iterator[Document]:
    """Several short documents an element, one a subject, so that one can be left out without the others."""
    for element in elements():
        yield Document(text=_facts(element), topic="facts", subject=element.name)
        for topic, text in (
            ("description", element.description),
            ("uses", element.uses),
            ("occurrence", element.occurrence),
        ):
            if text:
                yield Document(text=f"{element.name}, {topic}: {text}", topic=topic, subject=element.name)


def _facts(element: Element) -> str:
    group = f"group {element.group}, " if element.group else ""
    sentences = [
        f"{element.name} is the chemical element with the symbol {element.symbol} and atomic number {element.number}.",
        f"It is one of the {element.series.lower()}, in {group}period {element.period} and the {element.block}-block"
        " of the periodic table.",
        f"Its atomic weight is {element.weight:.7g}.",
        f"It melts at {element.melting:.5g} K." if element.melting else "",
        f"It boils at {element.boiling:.5g} K." if element.boiling else "",
        f"Discovered by: {element.discoverers.rstrip('.')}." if element.discoverers else "",
        f"Year of discovery: {element.discovered}." if element.discovered else "",
        f"Its name: {element.origin.rstrip('.')}." if element.origin else "",
    ]
    return " ".join(filter(None, sentences))
