"""One text, and the rules by which texts are kept and divided, whatever source they come from.

Texts that repeat held-out ones are found exactly, by an index from each word 5-gram to the few held-out texts that hold
it: MinHash and the like miss two in five pairs right at its threshold.
"""

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

WHOLE = (Fraction(0), Fraction(1))
BLOCK = 2**20  # bytes read at a time
SHINGLE_WORDS = 5
LATER = {"identity": "later"}  # metadata of a field that came later; see `repro.runs.spec.LATER`


@dataclass(frozen=True)
class Document:
    """One text; `topic` and `subject` (what it is about, such as its title) are "" where the source has none."""

    text: str
    topic: str = ""
    subject: str = ""

    @property
    def digest(self) -> bytes:
        """Enough of a hash to tell texts apart without keeping them."""
        return hashlib.sha256(self.text.encode()).digest()[:12]

    def position(self, purpose: str) -> Fraction:
        """A number in [0, 1) from the text alone, whatever the order of documents; another for each purpose."""
        digest = hashlib.sha256(f"{purpose}\0{self.text}".encode()).digest()
        return Fraction(int.from_bytes(digest[:6]), 2**48)


class Documents(Protocol):
    """Any source of text."""

    @property
    def label(self) -> str: ...

    def documents(self) -> Iterator[Document]: ...


def kept(documents: Iterable[Document], topics: tuple[str, ...], part: tuple[Fraction, Fraction]) -> Iterator[Document]:
    """The documents that hold text, have one of the topics (any, if none is named) and lie in the part."""
    for document in documents:
        wanted = not topics or document.topic in topics
        if wanted and document.text.strip() and (part == WHOLE or part[0] <= document.position("part") < part[1]):
            yield document


def digest_files(files: list[Path], folder: Path) -> str:
    """One hash over the names and bytes of `files`."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(os.fsencode(file.relative_to(folder)) + f"\0{file.stat().st_size}\0".encode())
        with file.open("rb") as text:
            while block := text.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def part_label(part: tuple[Fraction, Fraction]) -> str:
    """ " (2/5 of it)" for a part, "" for the whole."""
    return "" if part == WHOLE else f" ({part[1] - part[0]} of it)"


class NearDuplicates:
    """Which of some documents a text nearly repeats: Jaccard similarity of word 5-grams at least `threshold`."""

    def __init__(self, documents: Iterable[str], threshold: float) -> None:
        self._threshold = threshold
        self._sizes: dict[str, int] = {}
        self._holders: defaultdict[str, list[str]] = defaultdict(list)
        for text in documents:
            if text not in self._sizes:
                shingles = ngrams(words(text), SHINGLE_WORDS)
                self._sizes[text] = len(shingles)
                for shingle in shingles:
                    self._holders[shingle].append(text)

    def __contains__(self, text: str) -> bool:
        return bool(self.matches(text))

    def matches(self, text: str) -> list[str]:
        """The documents that `text` nearly repeats."""
        shingles = ngrams(words(text), SHINGLE_WORDS)
        shared = Counter(holder for shingle in shingles for holder in self._holders.get(shingle, ()))
        return [
            document
            for document, count in shared.items()
            if count >= self._threshold * (len(shingles) + self._sizes[document] - count)
        ]


class Questions:
    """Whether a text holds nearly all of a question of a benchmark: at least `threshold` of its word 5-grams. So it is
    whenever the Jaccard similarity of the two is at least `threshold` (the union is no smaller than the question), and
    also where a long document, little similar to any short question, has it inside. A question of fewer than five words
    has no 5-gram: a text holds it if the words stand in it one after the other.
    """

    def __init__(self, questions: Iterable[str], threshold: float) -> None:
        self._threshold = threshold
        self._sizes: list[int] = []
        self._holders: defaultdict[int, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for question in map(words, dict.fromkeys(questions)):
            if question:
                size = min(len(question), SHINGLE_WORDS)
                grams = ngrams(question, size)
                for gram in grams:
                    self._holders[size][gram].append(len(self._sizes))
                self._sizes.append(len(grams))

    def __contains__(self, text: str) -> bool:
        in_order = words(text)
        shared = Counter(
            number
            for size, holders in self._holders.items()
            for gram in holders.keys() & ngrams(in_order, size)
            for number in holders[gram]
        )
        return any(count >= self._threshold * self._sizes[number] for number, count in shared.items())


def words(text: str) -> list[str]:
    """The words of a text in order, case and punctuation aside."""
    return re.findall(r"\w+", text.lower())


def ngrams(in_order: list[str], size: int) -> frozenset[str]:
    """Every `size` words that follow each other, joined by spaces; fewer words are one n-gram."""
    last = max(len(in_order) - size, 0)
    return frozenset(" ".join(in_order[i : i + size]) for i in range(last + 1))
