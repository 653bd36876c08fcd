"""Health: which abnormality a definition of the Human Phenotype Ontology describes."""

import re
from collections import defaultdict
from collections.abc import Iterator

from repro.data.domains.items import Item, distractors, shuffled
from repro.data.records import Term, terms

BENCHMARK = "hpo_terms"
SHORTEST, LONGEST, LONGEST_NAME = 30, 150, 40  # characters


def items() -> Iterator[Item]:
    """Definition -> term; distractors are terms under the same parent, then under the same grandparent."""
    known = {term.identity: term for term in terms()}
    children: defaultdict[str, list[str]] = defaultdict(list)
    for term in known.values():
        for parent in term.parents:
            children[parent].append(term.identity)
    for term in known.values():
        definition = first_sentence(term.definition)
        if _can_be_asked(term, definition):
            yield Item(
                name=term.identity,
                group=term.identity,
                body=definition,
                prompt=f"Question: Which abnormality is this? {definition}\nAnswer:",
                answer=f" {term.name}",
                distractors=distractors(term.identity, f" {term.name}", _relatives(term, known, children)),
                benchmark=BENCHMARK,
            )


def first_sentence(text: str) -> str:
    """The text up to the first full stop that ends a sentence."""
    return re.split(r"(?<=[a-z0-9)\]][.])\s+(?=[A-Z])", text.strip(), maxsplit=1)[0]


def words(text: str) -> set[str]:
    """The longer words of a text, by their first five letters, so that "cyst" and "cystic" are told as one."""
    return {word[:5] for word in re.findall(r"[a-z]{4,}", text.lower())}


def _can_be_asked(term: Term, definition: str) -> bool:
    """Whether the definition is short, and does not give the name away."""
    name = words(term.name)
    fits = SHORTEST <= len(definition) <= LONGEST and len(term.name) <= LONGEST_NAME
    return fits and bool(name - words(definition))


def _relatives(term: Term, known: dict[str, Term], children: dict[str, list[str]]) -> Iterator[list[str]]:
    yield _names(term.parents, known, children)
    grandparents = {parent for identity in term.parents if identity in known for parent in known[identity].parents}
    aunts = [aunt for grandparent in grandparents for aunt in children[grandparent]]
    yield _names(aunts, known, children)


def _names(parents: tuple[str, ...] | list[str], known: dict[str, Term], children: dict[str, list[str]]) -> list[str]:
    # Longer names than any right answer's would be told apart by their length.
    found = {f" {known[child].name}" for parent in parents for child in children.get(parent, ())}
    return shuffled(name for name in found if len(name) <= LONGEST_NAME + 1)
