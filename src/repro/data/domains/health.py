"""Health: which abnormality a definition of the Human Phenotype Ontology (HPO) describes."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from repro.data.documents import Document
from repro.data.domains.items import Item, Recipe, distractors, first_sentence, shuffled
from repro.data.packages import contents, pinned

BENCHMARK = "hpo_terms"
SHORTEST, LONGEST, LONGEST_NAME = 30, 150, 40  # characters


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term of the ontology that is in use; definition and comment are "" where there is none."""

    identity: str
    name: str
    definition: str
    comment: str
    parents: tuple[str, ...]


def terms() -> list[Term]:
    """The ontology's terms, in its order; obsolete ones are left out."""
    stanzas = contents(HPO).decode().split("\n\n[Term]\n")[1:]
    return [_term(stanza) for stanza in stanzas if "\nis_obsolete: true" not in stanza]


def items() -> Iterator[Item]:
    """Definition -> term; distractors are terms under the same parent, then under the same grandparent."""
    by_identity = {term.identity: term for term in terms()}
    children: defaultdict[str, list[str]] = defaultdict(list)
    for term in by_identity.values():
        for parent in term.parents:
            children[parent].append(term.identity)
    for term in by_identity.values():
        definition = first_sentence(term.definition)
        fits = SHORTEST <= len(definition) <= LONGEST and len(term.name) <= LONGEST_NAME
        if fits and _stems(term.name) - _stems(definition):  # else the definition gives the name away
            yield Item(
                name=term.identity,
                group=term.identity,
                body=definition,
                prompt=f"Question: Which abnormality is this? {definition}\nAnswer:",
                answer=f" {term.name}",
                distractors=distractors(term.identity, f" {term.name}", _relatives(term, by_identity, children)),
                benchmark=BENCHMARK,
            )


def _term(stanza: str) -> Term:
    def line(pattern: str) -> str:
        match = re.search(pattern, stanza, re.MULTILINE)
        return re.sub(r"\\(.)", r"\1", match[1]) if match else ""

    return Term(
        identity=line(r"^id: (.*)$"),
        name=line(r"^name: (.*)$"),
        definition=line(r'^def: "((?:[^"\\]|\\.)*)"'),
        comment=line(r"^comment: (.*)$"),
        parents=tuple(re.findall(r"^is_a: (\S+)", stanza, re.MULTILINE)),
    )


def _stems(text: str) -> set[str]:
    """The first five letters of the longer words of a text, so that "cyst" and "cystic" count as one word."""
    return {word[:5] for word in re.findall(r"[a-z]{4,}", text.lower())}


def _relatives(term: Term, by_identity: dict[str, Term], children: dict[str, list[str]]) -> Iterator[list[str]]:
    """The names of the term's siblings, then of its cousins."""
    parents = [by_identity[identity] for identity in term.parents if identity in by_identity]
    aunts = [aunt for parent in parents for grandparent in parent.parents for aunt in children[grandparent]]
    for generation in (term.parents, aunts):
        # Names longer than any right answer would give themselves away by their length.
        names = {by_identity[child].name for parent in generation for child in children.get(parent, ())}
        yield shuffled(f" {name}" for name in names if len(name) <= LONGEST_NAME)


def _documents() -> Iterator[Document]:
    """A document for each term that has a definition: "name: definition", then the comment if there is one."""
    for term in terms():
        if term.definition:
            text = " ".join(filter(None, (f"{term.name}: {term.definition}", term.comment)))
            yield Document(text=text, subject=term.name)


HPO = pinned("hpo", reader=_documents)
RECIPE = Recipe(name="health", packages={"hpo": HPO}, items=items, benchmark=BENCHMARK)
