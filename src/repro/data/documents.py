"""One text, and the rules by which texts are kept and divided, whatever source they come from."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

WHOLE = (Fraction(0), Fraction(1))
BLOCK = 2**20  # bytes read at a time


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
        """A number in [0, 1) from the text alone, so that dividing documents by it does not depend on their order.

        Divisions for different purposes are independent of each other.
        """
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
        digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as text:
            while block := text.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def part_label(part: tuple[Fraction, Fraction]) -> str:
    """ " (2/5 of it)" for a part, "" for the whole."""
    return "" if part == WHOLE else f" ({part[1] - part[0]} of it)"
