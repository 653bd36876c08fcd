"""Chemistry: facts about the elements, and which substance an encyclopaedia's first sentence defines."""

import re
from collections.abc import Callable, Iterator

from repro.data.domains.general import titles
from repro.data.domains.items import Item, rivals
from repro.data.records import Element, articles, elements

BENCHMARK = "elements"
LONGEST, LONGEST_NAMES = 150, 40  # characters
TWOFOLD = ("symbol", "number")  # asked both ways round
NEAR, MIDDLING = 4, 12  # places in the periodic table

# The subject, which its group is named after, the prompt, and the answer that an element gives to it, if it has one.
Fact = tuple[str, str, Callable[[Element], str | None]]


def items() -> Iterator[Item]:
    """Questions about elements, with neighbours in the periodic table as distractors, and about substances.

    The substances' names are held out as those of any domain. The elements share their answers: iron's name answers
    six questions, and its series is that of dozens; there are too few to do without any of them. So they are balanced
    instead: a question's distractors are the answers of the nearest of those elements about which the same is set
    aside. No symbol, number, or place among its choices is then taught; a name, right or wrong, is the answer to the
    same other questions; and texts about the elements stay in, whichever of them are choices.
    """
    table = elements()
    for element in table:
        for fact in (*_of(element), *_about(element)):
            yield _item(element, fact, table)
    substances = [article for article in articles("wikipedia-chemistry") if not _is_element(article.title, table)]
    yield from titles(substances, BENCHMARK, "substance", "Which substance or concept is this?")


def _of(element: Element) -> Iterator[Fact]:
    """What an element has."""
    name = element.name.lower()
    yield "symbol", f"The chemical symbol of {name} is", lambda e: e.symbol
    yield "number", f"The atomic number of {name} is", lambda e: str(e.number)
    yield "series", f"In the periodic table, {name} is one of", lambda e: f"the {e.series.lower()}"
    if element.group:
        yield "place", f"In the periodic table, {name} is in", _place
    if _discoverers(element):
        yield "discoverer", f"The element {name} was discovered by", _discoverers


def _about(element: Element) -> Iterator[Fact]:
    """What tells an element."""

    def name(other: Element) -> str:
        return other.name.lower()

    yield "symbol", f"The chemical symbol {element.symbol} stands for", name
    yield "number", f"The element with atomic number {element.number} is", name
    for subject, told, start in (
        ("description", element.description, ""),
        ("uses", element.uses, "Uses: "),
        ("occurrence", element.occurrence, "Where it comes from: "),
        ("origin", element.origin, "Origin of its name: "),
    ):
        if text := _anonymous(told, element):
            yield subject, f"{start}{text}\nThe element:", name


def _place(element: Element) -> str | None:
    return f"group {element.group}, period {element.period}" if element.group else None


def _discoverers(element: Element) -> str | None:
    known = element.discoverers and not element.discoverers.startswith("Known")
    return element.discoverers if known and len(element.discoverers) <= LONGEST_NAMES else None


def _anonymous(text: str, element: Element) -> str:
    """The first sentences of a text, as many as are short enough together, that do not name the element."""
    kept: list[str] = []
    for sentence in re.split(r"(?<=[a-z0-9)][.])\s+(?=[A-Z])", text):
        named = element.name.lower()[:5] in sentence.lower() or re.search(rf"\b{element.symbol}\b", sentence)
        if not named and len(" ".join([*kept, sentence])) <= LONGEST:
            kept.append(sentence)
    found = " ".join(kept)
    return found if len(found.split()) > 3 else ""


def _item(element: Element, fact: Fact, table: list[Element]) -> Item:
    subject, question, answer = fact
    right = answer(element)
    tiers: tuple[list[tuple[str, str]], ...] = ([], [], [])
    for other in table:
        told = answer(other)
        if told and told != right:
            tiers[_distance(element, other)].append((f" {told}", f"{other.name}: {subject}"))
    name = f"{element.name}: {question if subject in TWOFOLD else subject}"
    return Item(
        name=name,
        group=f"{element.name}: {subject}",
        body=question,
        prompt=question,
        answer=f" {right}",
        rivals=rivals(name, tiers),
        benchmark=BENCHMARK,
    )


def _distance(one: Element, other: Element) -> int:
    """0 for elements a few places apart, or above each other; 1 for those in the vicinity; 2 for the rest."""
    places = abs(one.number - other.number)
    above = one.group is not None and one.group == other.group and abs(one.period - other.period) == 1
    return 0 if above or places <= NEAR else 1 if places <= MIDDLING else 2


def _is_element(title: str, table: list[Element]) -> bool:
    return title in {element.name for element in table} | {"Aluminium", "Caesium", "Sulfur"}
