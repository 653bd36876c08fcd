"""Chemistry: facts about the elements, and which substance an encyclopaedia's first sentence defines."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from repro.data.documents import Document
from repro.data.domains.general import ENGLISH, Article, articles, document_of, titles
from repro.data.domains.items import Item, Recipe, candidates
from repro.data.packages import contents, pinned

BENCHMARK = "elements"
LONGEST, LONGEST_NAMES = 150, 40  # characters
TWOFOLD = ("symbol", "number")  # asked both ways round
NEAR, MIDDLING = 4, 12  # places in the periodic table
# The topics of articles about substances, and the words that such an article has.
CHEMICAL_TOPICS = {"Physical sciences", "Biology and health sciences", "Technology", "Everyday life", "Uncategorized"}
CHEMICAL_WORDS = re.compile(
    r"\b(chemi\w+|compounds?|molecul\w+|acids?|oxides?|alloys?|solvents?|polymers?|reagents?|atoms?|ions?|catalys\w+)\b",
    re.IGNORECASE,
)

# What it is about, which its group is named after; the prompt; and the answer for an element, None if there is none.
Fact = tuple[str, str, Callable[["Element"], str | None]]


@dataclass(frozen=True, kw_only=True)
class Element:
    """A chemical element. Temperatures are in kelvin; what is unknown is None, or "" for text."""

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


def elements() -> list[Element]:
    """The chemical elements, by atomic number."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(contents(MENDELEEV))
        rows = database.execute(Path(__file__).with_name("elements.sql").read_text()).fetchall()
    texts = ("discoverers", "origin", "description", "uses", "occurrence")
    known = [dict(zip(Element.__dataclass_fields__, row, strict=True)) for row in rows]
    return [Element(**values | {name: " ".join((values[name] or "").split()) for name in texts}) for values in known]


def substances() -> list[Article]:
    """The articles of the English Wikipedia that are about substances and reactions."""

    def is_chemical(article: Article) -> bool:
        by_summary = len(CHEMICAL_WORDS.findall(article.summary)) > 1
        return article.topic in CHEMICAL_TOPICS and bool(by_summary or CHEMICAL_WORDS.search(article.description))

    return list(filter(is_chemical, articles(ENGLISH)))


def items() -> Iterator[Item]:
    """Questions about elements, with neighbours in the periodic table as distractors, and about substances.

    The names of substances are held out like those of any domain. Elements share their answers: iron's name answers
    six questions, and dozens are of its series; there are too few of them to leave any out of training. So right and
    wrong answers are balanced instead: a question's distractors are the answers of the nearest elements about which
    the same fact is set aside. Then no symbol, number or place among its choices is taught; every name, right or wrong,
    is the answer to the same other questions; and texts about the elements stay in, whichever of them are choices.
    """
    table = elements()
    for element in table:
        for fact in (*_of(element), *_about(element)):
            yield _item(element, fact, table)
    names = {element.name for element in table} | {"Aluminium", "Caesium", "Sulfur"}
    others = [article for article in substances() if article.title not in names]
    yield from titles(others, BENCHMARK, "substance", "Which substance or concept is this?")


def _of(element: Element) -> Iterator[Fact]:
    """Facts that ask for a property of the element."""
    name = element.name.lower()
    yield "symbol", f"The chemical symbol of {name} is", lambda e: e.symbol
    yield "number", f"The atomic number of {name} is", lambda e: str(e.number)
    yield "series", f"In the periodic table, {name} is one of", lambda e: f"the {e.series.lower()}"
    if element.group:
        yield "place", f"In the periodic table, {name} is in", _place
    if _discoverers(element):
        yield "discoverer", f"The element {name} was discovered by", _discoverers


def _about(element: Element) -> Iterator[Fact]:
    """Facts that ask for the element's name."""

    def name(other: Element) -> str:
        return other.name.lower()

    yield "symbol", f"The chemical symbol {element.symbol} stands for", name
    yield "number", f"The element with atomic number {element.number} is", name
    for subject, description, start in (
        ("description", element.description, ""),
        ("uses", element.uses, "Uses: "),
        ("occurrence", element.occurrence, "Where it comes from: "),
        ("origin", element.origin, "Origin of its name: "),
    ):
        if text := _anonymous(description, element):
            yield subject, f"{start}{text}\nThe element:", name


def _place(element: Element) -> str | None:
    return f"group {element.group}, period {element.period}" if element.group else None


def _discoverers(element: Element) -> str | None:
    known = element.discoverers and not element.discoverers.startswith("Known")
    return element.discoverers if known and len(element.discoverers) <= LONGEST_NAMES else None


def _anonymous(text: str, element: Element) -> str:
    """The first sentences that do not name the element, as many as are short enough together; "" for a few words."""
    kept: list[str] = []
    for sentence in re.split(r"(?<=[a-z0-9)][.])\s+(?=[A-Z])", text):
        named = element.name.lower()[:5] in sentence.lower() or re.search(rf"\b{element.symbol}\b", sentence)
        if not named and len(" ".join([*kept, sentence])) <= LONGEST:
            kept.append(sentence)
    anonymous = " ".join(kept)
    return anonymous if len(anonymous.split()) > 3 else ""


def _item(element: Element, fact: Fact, table: list[Element]) -> Item:
    subject, question, answer = fact
    right = answer(element)
    tiers: tuple[list[tuple[str, str]], ...] = ([], [], [])
    for other in table:
        wrong = answer(other)
        if wrong and wrong != right:
            tiers[_distance(element, other)].append((f" {wrong}", f"{other.name}: {subject}"))
    name = f"{element.name}: {question if subject in TWOFOLD else subject}"
    return Item(
        name=name,
        group=f"{element.name}: {subject}",
        body=question,
        prompt=question,
        answer=f" {right}",
        candidates=candidates(name, tiers),
        benchmark=BENCHMARK,
    )


def _distance(first: Element, second: Element) -> int:
    """0 for elements a few places apart, or above each other; 1 for those in the vicinity; 2 for the rest."""
    places = abs(first.number - second.number)
    above = first.group is not None and first.group == second.group and abs(first.period - second.period) == 1
    return 0 if above or places <= NEAR else 1 if places <= MIDDLING else 2


def _documents() -> Iterator[Document]:
    """Several short documents about each element, one a topic, so that one can be left out without the others."""
    for element in elements():
        yield Document(text=_facts(element), topic="facts", subject=element.name)
        for topic in ("description", "uses", "occurrence"):
            if text := getattr(element, topic):
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


MENDELEEV = pinned("mendeleev", reader=_documents)
SUBSTANCES = replace(
    ENGLISH,
    content="those of the English summaries that are about substances and reactions",
    reader=lambda: map(document_of, substances()),
)
PACKAGES = {"mendeleev": MENDELEEV, "wikipedia-chemistry": SUBSTANCES}
RECIPE = Recipe(name="chemistry", packages=PACKAGES, items=items, benchmark=BENCHMARK)
