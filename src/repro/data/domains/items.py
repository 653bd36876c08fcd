"""What a domain knows, as items (each becomes a pair to tune on or a question, never both), and how it is made."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from repro.data.documents import Document
from repro.data.packages import Package, check_library, library_digest

CHOICES = 4


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something a domain knows: a prompt, without any chat template, and its answer.

    group: items of one group go to the same side, because one gives another away.
    body: the item's own words in the prompt, by which near-duplicates are found.
    distractors: wrong answers.
    benchmark: the one that may ask the item, "" if it can only be tuned on.
    candidates: for items that share their answers with others, so that choices cannot be held out: wrong answers, the
        best first, each with the group of the item that it answers. Those whose groups are set aside as well become
        the distractors (`among`), so that training shows as much of them as of the right answer.
    """

    name: str
    group: str
    body: str
    prompt: str
    answer: str
    distractors: tuple[str, ...] = ()
    benchmark: str = ""
    candidates: tuple[tuple[str, str], ...] = ()

    def among(self, groups: Collection[str]) -> "Item":
        """The item with those of its candidates that are of these groups as distractors; itself if it has none."""
        if not self.candidates:
            return self
        return replace(self, distractors=_distinct(self.answer, (w for w, group in self.candidates if group in groups)))

    @property
    def is_question(self) -> bool:
        """Whether it can be asked: some benchmark may, and there are wrong answers."""
        return bool(self.benchmark and self.distractors)

    @property
    def choices(self) -> tuple[str, ...]:
        """The right answer and the wrong ones."""
        return (self.answer, *self.distractors)

    @property
    def question(self) -> dict[str, Any]:
        """The item as a line of a benchmark's file: choices in order of hashes, "answer" the index of the right one."""
        choices = sorted(self.choices, key=lambda choice: _hash(self.name, choice))
        return {"item": self.name, "question": self.prompt, "choices": choices, "answer": choices.index(self.answer)}


def position(purpose: str, name: str) -> Fraction:
    """The place of an item or a group in [0, 1) for one purpose, from its name alone: order does not matter."""
    return Document(text=name).position(purpose)


def distractors(name: str, answer: str, tiers: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Three wrong answers, from the first tiers that have any left; () if there are fewer. Tiers are `shuffled`; each
    item goes round them from a place that its hash decides.
    """
    starts = [(tier, int(position("distractors", name) * len(tier))) for tier in tiers]
    return _distinct(answer, (wrong for tier, start in starts for wrong in (*tier[start:], *tier[:start])))


def candidates(name: str, tiers: Iterable[Iterable[tuple[str, str]]]) -> tuple[tuple[str, str], ...]:
    """Wrong answers with their groups for `Item.candidates`: tier by tier, in an order that hashes decide in each."""
    return tuple(wrong for tier in tiers for wrong in sorted(tier, key=lambda wrong: _hash(name, wrong[1])))


def plain(name: str) -> str:
    """A name as it is compared: without case, and without spaces at its ends."""
    return name.strip().casefold()


def first_sentence(text: str) -> str:
    """The text up to the first full stop that ends a sentence."""
    return re.split(r"(?<=[a-z0-9)\]][.])\s+(?=[A-Z])", text.strip(), maxsplit=1)[0]


def shuffled(names: Iterable[str]) -> list[str]:
    """The names, each once, in the order of their hashes."""
    return sorted(set(names), key=lambda name: _hash("order", name))


def _distinct(answer: str, answers: Iterable[str]) -> tuple[str, ...]:
    """The first three that differ from the answer and from each other; () if there are fewer."""
    taken = {plain(answer): ""}
    for wrong in answers:
        taken.setdefault(plain(wrong), wrong)
        if len(taken) == CHOICES:
            return tuple(filter(None, taken.values()))
    return ()


def _hash(purpose: str, text: str) -> bytes:
    return hashlib.sha256(f"{purpose}\0{text}".encode()).digest()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A built-in domain, as its module declares it.

    packages: what it is made from; those of kind "text" are also its text for continual pretraining, in this order.
    library: whether the standard library is its text as well, and what its items are made from.
    items: what can be tuned on or asked, each once. benchmark: the one that asks them, a task of `repro/lm/tasks`.
    brings: other benchmarks, whose questions come with one of the packages.
    """

    name: str
    packages: Mapping[str, Package]
    library: bool = False
    items: Callable[[], Iterator[Item]]
    benchmark: str
    brings: tuple[str, ...] = ()

    @property
    def digests(self) -> tuple[str, ...]:
        """The hashes of what it is made from: of its packages, then of the standard library."""
        packages = tuple(package.sha256 for package in self.packages.values())
        return (*packages, library_digest()) if self.library else packages

    def require(self, digests: tuple[str, ...]) -> None:
        """Raise ValueError unless these are the hashes of what it is made from on this machine."""
        if self.library:
            check_library(digests[-1])
        if digests != self.digests:
            raise ValueError(f"the built-in {self.name} domain is made from other data than the study was opened with")
