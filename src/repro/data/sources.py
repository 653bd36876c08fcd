"""Where text comes from: built-in data, local folders, data sets of the Hugging Face hub. A source is a frozen value
that says what the text *is* (package version and hash, folder digest, hub revision), not where it lies on this machine.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from repro.data.documents import WHOLE, Document, kept, part_label
from repro.data.domains import PACKAGES, text_package
from repro.data.files import OfFolder, Record, rows_of
from repro.data.packages import PythonSource
from repro.output import shown


@dataclass(frozen=True, kw_only=True)
class PackageSource:
    """Documents of a data package; `topics` keeps only these, `part` only documents whose position lies in it."""

    package: str
    sha256: str
    topics: tuple[str, ...] = ()
    part: tuple[Fraction, Fraction] = WHOLE

    @property
    def label(self) -> str:
        topics = f": {', '.join(self.topics)}" if self.topics else ""
        return self.package + topics + part_label(self.part)

    @property
    def licence(self) -> str:
        return PACKAGES[self.package].licence

    def documents(self) -> Iterator[Document]:
        """The documents, in the package's order. Raises what `wheel` and `text_package` raise, and ValueError if it has
        no document of one of the topics.
        """
        documents = list(text_package(self.package).reader())
        topics = {document.topic for document in documents} - {""}
        for topic in self.topics:
            if topic not in topics:
                allowed = ", ".join(sorted(topics)) or "none"
                raise ValueError(f"{self.package} has no topic {topic!r}; its topics: {allowed}")
        yield from kept(documents, self.topics, self.part)


@dataclass(frozen=True, kw_only=True)
class FolderSource(OfFolder):
    """Documents of local files, one a file or, where it is a table, a row."""

    text_field: str = "text"
    licence: str = field(default="not stated", metadata={"identity": False}, compare=False)
    part: tuple[Fraction, Fraction] = WHOLE

    @property
    def label(self) -> str:
        return super().label + part_label(self.part)

    def read(self, files: Iterable[Path]) -> Iterator[Document]:
        """The documents of these files, those without text aside."""
        return kept((_document(row, self.text_field) for row in rows_of(files, self.text_field)), (), self.part)

    documents = OfFolder.everything


@dataclass(frozen=True, kw_only=True)
class OfHub:
    """What is read from a data set of the Hugging Face hub, streamed; `revision` pins what it holds."""

    dataset: str
    revision: str
    split: str = "train"

    def check(self, *, whole: bool) -> str:
        """Ask the hub for the data set, if `whole`. ValueError, after seconds, where `datasets` tries for minutes."""
        from huggingface_hub import HfApi

        try:
            if whole and not Path(self.dataset).is_dir():
                HfApi().dataset_info(self.dataset, revision=self.revision, timeout=10)
        except Exception as error:  # of the hub, of the connection to it, of what is between
            raise ValueError(f"{self.dataset}, {self.revision}: not to be had from the hub: {shown(error)}") from None
        return ""

    def rows(self, **options: Any) -> Iterator[Record]:
        """The rows; options as for `datasets.load_dataset`. ValueError as for :meth:`check`."""
        # Imported here: `datasets` takes longer to import than a package source takes to read.
        import datasets

        self.check(whole=True)
        options |= {"split": self.split, "revision": self.revision, "streaming": True}
        for number, row in enumerate(datasets.load_dataset(self.dataset, **options), start=1):
            yield Record(f"{self.dataset}, row {number}", row)


@dataclass(frozen=True, kw_only=True)
class _TextOfHub(OfHub):
    """Text of a data set. characters_limit: stop after the document that reaches it."""

    text_field: str = "text"
    licence: str = field(default="see the data set's card", metadata={"identity": False}, compare=False)
    part: tuple[Fraction, Fraction] = WHOLE
    characters_limit: int | None = None

    def _kept(self, texts: Iterable[Document]) -> Iterator[Document]:
        """Those that lie in the part, up to and including the one that reaches the limit."""
        characters = 0
        for document in kept(texts, (), self.part):
            if self.characters_limit is not None and characters >= self.characters_limit:
                return
            characters += len(document.text)
            yield document


@dataclass(frozen=True, kw_only=True)
class HubSource(_TextOfHub):
    """A data set of the hub."""

    config: str | None = None

    @property
    def label(self) -> str:
        return self.dataset + part_label(self.part)

    def documents(self) -> Iterator[Document]:
        """The documents, in the data set's order."""
        yield from self._kept(_document(row, self.text_field) for row in self.rows(name=self.config))


@dataclass(frozen=True, kw_only=True)
class HubFolderSource(_TextOfHub):
    """One folder of a data set of the hub; text_field holds its text or, where `tokenizer` names a tokenizer (of the
    hub, or a folder), token ids that are decoded.
    """

    folder: str
    tokenizer: str | None = None

    @property
    def label(self) -> str:
        return f"{self.dataset}: {self.folder}" + part_label(self.part)

    def documents(self) -> Iterator[Document]:
        """The documents, in the order of the folder's files."""
        rows = self.rows(data_dir=self.folder)
        decoded = _decoded(rows, self.text_field, self.tokenizer) if self.tokenizer else None
        yield from self._kept(decoded or (_document(row, self.text_field) for row in rows))


Source = PackageSource | FolderSource | HubSource | HubFolderSource | PythonSource


def package_source(name: str, topics: tuple[str, ...] = (), part: tuple[Fraction, Fraction] = WHOLE) -> PackageSource:
    """The source of a data package, at its pinned version; ValueError if there is no such package of text."""
    return PackageSource(package=name, sha256=text_package(name).sha256, topics=topics, part=part)


def _document(row: Record, text_field: str) -> Document:
    return Document(text=row.text(text_field, "text_field"))


def _decoded(rows: Iterable[Record], tokens_field: str, tokenizer: str) -> Iterator[Document]:
    # Imported here: a study that reads no tokens should not wait for transformers.
    from transformers import AutoTokenizer

    coder = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)  # by default it asks
    for row in rows:
        # Exactly as it was written: neither special tokens nor "cleaned up" spaces are text.
        ids = row.value(tokens_field, "text_field") or []
        yield Document(text=str(coder.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)))
