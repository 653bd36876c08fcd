"""What a domain knows, in single items: each becomes a pair to be tuned on or a question to be asked, never both."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from repro.data.documents import Document

CHOICES = 4


@dataclass(frozen=True)
class Pair:
    """A prompt, without any chat template, and the answer that supervised fine-tuning teaches."""

    item: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class Question:
    """A prompt with four choices; `answer` is the index of the right one."""

    item: str
    question: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something a domain knows.

    group: items of one group go to the same side, because one gives another away; body: the words of the prompt that
    are the item's own, by which near-duplicates are found; distractors: wrong answers, the best three first; benchmark:
    the one that may ask it, "" if it can only be tuned on.

    rivals: where other items have the same answers, so that choices cannot be held out: wrong answers, the best first,
    each with the group of the item that it answers. Distractors are then those whose groups are set aside as well
    (`among`), so that training shows as much of them as of the right answer.
    """

    name: str
    group: str
    body: str
    prompt: str
    answer: str
    distractors: tuple[str, ...] = ()
    benchmark: str = ""
    rivals: tuple[tuple[str, str], ...] = ()

    def among(self, groups: Collection[str]) -> "Item":
        """The item with distractors from its rivals of these groups; as it is, if it has no rivals."""
        if not self.rivals:
            return self
        return replace(
            self, distractors=_distinct(self.answer, (rival for rival, group in self.rivals if group in groups))
        )

    @property
    def is_question(self) -> bool:
        """Whether it can be asked: some benchmark may, and there are wrong answers."""
        return bool(self.benchmark and self.distractors)

    @property
    def choices(self) -> tuple[str, ...]:
        """The right answer and the best wrong ones."""
        return (self.answer, *self.distractors[: CHOICES - 1])

    @property
    def pair(self) -> Pair:
        return Pair(item=self.name, prompt=self.prompt, answer=self.answer)

    @property
    def question(self) -> Question:
        """The item as a question, its choices in an order that a hash decides."""
        choices = sorted(self.choices, key=lambda choice: _hash(self.name, choice))
        return Question(item=self.name, question=self.prompt, choices=tuple(choices), answer=choices.index(self.answer))


def position(purpose: str, name: str) -> Fraction:
    """Where an item or a group stands in [0, 1), for one purpose; from its name alone, so that order says nothing."""
    return Document(text=name).position(purpose)


def distractors(name: str, answer: str, tiers: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Three wrong answers, from the first tiers that have any left; () if there are fewer.

    Within a tier, which is to be in `shuffled` order, they are those that follow a place that the item's hash decides.
    """
    return _distinct(answer, (candidate for tier in tiers for candidate in _from_place(name, tier)))


def rivals(name: str, tiers: Iterable[Iterable[tuple[str, str]]]) -> tuple[tuple[str, str], ...]:
    """Wrong answers and their groups for `Item.rivals`: tier by tier, in an order that hashes decide within each."""
    return tuple(rival for tier in tiers for rival in sorted(tier, key=lambda rival: _hash(name, rival[1])))


def plain(name: str) -> str:
    """A name as it is compared: capital letters, and spaces at its ends, say nothing."""
    return name.strip().casefold()


def shuffled(names: Iterable[str]) -> list[str]:
    """The names, each once, in an order that only their hashes decide."""
    return sorted(set(names), key=lambda name: _hash("order", name))


def _from_place(name: str, tier: Sequence[str]) -> Iterator[str]:
    start = int(position("distractors", name) * len(tier))
    yield from (*tier[start:], *tier[:start])


def _distinct(answer: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """The first three of the candidates that differ from the answer and from each other; () if there are fewer."""
    taken = {plain(answer): ""}
    for candidate in candidates:
        taken.setdefault(plain(candidate), candidate)
        if len(taken) == CHOICES:
            return tuple(filter(None, taken.values()))
    return ()


def _hash(purpose: str, text: str) -> bytes:
    return hashlib.sha256(f"{purpose}\0{text}".encode()).digest()
