"""Chemistry: facts about the elements, and which substance an encyclopaedia's first sentence defines."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from repro.data.documents import Document
from repro.data.domains.general import ENGLISH, Article, articles, document_of, titles
from repro.data.domains.items import Item, Recipe, candidates
from repro.data.packages import contents, pinned

BENCHMARK = "elements"
LONGEST, LONGEST_NAMES = 150, 40  # characters
TWOFOLD = ("symbol", "number")  # asked both ways round
TEXTS = ("description", "uses", "occurrence")  # each a document of its own
NEAR, MIDDLING = 4, 12  # places in the periodic table
# The topics of articles about substances, and the words that such an article has.
CHEMICAL_TOPICS = {"Physical sciences", "Biology and health sciences", "Technology", "Everyday life", "Uncategorized"}
CHEMICAL_WORDS = re.compile(
    r"\b(chemi\w+|compounds?|molecul\w+|acids?|oxides?|alloys?|solvents?|polymers?|reagents?|atoms?|ions?|catalys\w+)\b",
    re.IGNORECASE,
)

WRITTEN = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
Element = dict[str, Any]  # what is known of a chemical element, by the names that `chemistry.yaml` explains


def elements() -> list[Element]:
    """The chemical elements, by atomic number; what is not known of one is not there."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        database.deserialize(contents(MENDELEEV))
        return list(map(_element, database.execute(Path(__file__).with_name("elements.sql").read_text())))


def _element(row: sqlite3.Row) -> Element:
    values = {name: " ".join(value.split()) if isinstance(value, str) else value for name, value in dict(row).items()}
    known = {name: value for name, value in values.items() if value}
    people = known.get("discoverers", "Known to nobody")
    if not people.startswith("Known") and len(people) <= LONGEST_NAMES:
        known["credited"] = people
    hints = {f"{topic}_hint": _anonymous(known[topic], known) for topic in (*TEXTS, "origin") if topic in known}
    return known | {name: hint for name, hint in hints.items() if hint}


def _told(text: str, element: Element) -> str | None:
    """A text of `chemistry.yaml` about an element, None if something in it is not known."""
    try:
        return text.format_map(element)
    except KeyError:
        return None


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
        for topic, prompt, answer in WRITTEN["questions"]:
            if (question := _told(prompt, element)) and _told(answer, element):
                yield _item(element, topic, question, answer, table)
    names = {element["name"] for element in table} | {"Aluminium", "Caesium", "Sulfur"}
    others = [article for article in substances() if article.title not in names]
    yield from titles(others, BENCHMARK, "substance", "Which substance or concept is this?")


def _anonymous(text: str, element: Element) -> str:
    """The first sentences that do not name the element, as many as are short enough together; "" for a few words."""
    kept: list[str] = []
    for sentence in re.split(r"(?<=[a-z0-9)][.])\s+(?=[A-Z])", text):
        named = element["lower"][:5] in sentence.lower() or re.search(rf"\b{element['symbol']}\b", sentence)
        if not named and len(" ".join([*kept, sentence])) <= LONGEST:
            kept.append(sentence)
    anonymous = " ".join(kept)
    return anonymous if len(anonymous.split()) > 3 else ""


def _item(element: Element, topic: str, question: str, answer: str, table: list[Element]) -> Item:
    right, about = _told(answer, element), element["name"]
    tiers: tuple[list[tuple[str, str]], ...] = ([], [], [])
    for other in table:
        wrong = _told(answer, other)
        if wrong and wrong != right:
            tiers[_distance(element, other)].append((f" {wrong}", f"{other['name']}: {topic}"))
    name = f"{about}: {question if topic in TWOFOLD else topic}"
    return Item(
        name=name,
        group=f"{about}: {topic}",
        body=question,
        prompt=question,
        answer=f" {right}",
        candidates=candidates(name, tiers),
        benchmark=BENCHMARK,
    )


def _distance(first: Element, second: Element) -> int:
    """0 for elements a few places apart, or above each other; 1 for those in the vicinity; 2 for the rest."""
    places = abs(first["number"] - second["number"])
    above = first.get("group", 0) == second.get("group") and abs(first["period"] - second["period"]) == 1
    return 0 if above or places <= NEAR else 1 if places <= MIDDLING else 2


def _documents() -> Iterator[Document]:
    """Several short documents about each element, one a topic, so that one can be left out without the others."""
    for element in elements():
        name, facts = element["name"], (_told(sentence, element) for sentence in WRITTEN["facts"])
        yield Document(" ".join(f"{fact.rstrip('.')}." for fact in facts if fact), topic="facts", subject=name)
        for topic in TEXTS:
            if text := element.get(topic):
                yield Document(f"{name}, {topic}: {text}", topic=topic, subject=name)


MENDELEEV = pinned("mendeleev", reader=_documents)
SUBSTANCES = replace(
    ENGLISH,
    content="those of the English summaries that are about substances and reactions",
    reader=lambda: map(document_of, substances()),
)
PACKAGES = {"mendeleev": MENDELEEV, "wikipedia-chemistry": SUBSTANCES}
RECIPE = Recipe(name="chemistry", packages=PACKAGES, items=items, benchmark=BENCHMARK)
