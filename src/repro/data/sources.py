"""Where text comes from: data packages, local folders, data sets of the Hugging Face hub, the standard library.

A source is a frozen value that says what the text *is* (package version and hash, folder digest, hub revision);
where it lies on this machine is not part of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from repro.data.documents import WHOLE, Document, digest_files, kept, part_label
from repro.data.domains import PACKAGES, text_package
from repro.data.stdlib import PythonSource

CARD = "see the data set's card"
SUFFIXES = {".txt": "text", ".md": "text", ".jsonl": "json", ".parquet": "parquet"}


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
        """The documents, in the package's order; raises what `wheel` and `text_package` raise.

        ValueError also if it has no document of one of the topics.
        """
        documents = list(text_package(self.package).reader())
        topics = {document.topic for document in documents} - {""}
        for topic in self.topics:
            if topic not in topics:
                allowed = ", ".join(sorted(topics)) or "none"
                raise ValueError(f"{self.package} has no topic {topic!r}; its topics: {allowed}")
        yield from kept(documents, self.topics, self.part)


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Text, Markdown, JSON-lines or Parquet files below a local folder, one document a file or a row."""

    digest: str
    text_field: str = "text"
    licence: str = field(default="not stated", metadata={"identity": False}, compare=False)
    part: tuple[Fraction, Fraction] = WHOLE
    folder: Path = field(metadata={"identity": False}, compare=False)

    @property
    def label(self) -> str:
        return f"folder {self.folder.name}" + part_label(self.part)

    def documents(self) -> Iterator[Document]:
        """The documents, files in name order; ValueError if the files are not those of the digest."""
        files = folder_files(self.folder)
        if digest_files(files, self.folder) != self.digest:
            raise ValueError(f"{self.folder} has changed since the study was opened")
        for suffix, loader in SUFFIXES.items():
            if paths := [str(p) for p in files if p.suffix == suffix]:
                text_field = "text" if loader == "text" else self.text_field
                yield from kept(_texts(loader, text_field, data_files=paths), (), self.part)


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A data set of the Hugging Face hub, streamed; `revision` pins what it holds.

    characters_limit: stop after the document that reaches it.
    """

    dataset: str
    revision: str
    config: str | None = None
    split: str = "train"
    text_field: str = "text"
    licence: str = field(default=CARD, metadata={"identity": False}, compare=False)
    part: tuple[Fraction, Fraction] = WHOLE
    characters_limit: int | None = None

    @property
    def label(self) -> str:
        return self.dataset + part_label(self.part)

    def documents(self) -> Iterator[Document]:
        """The documents, in the data set's order."""
        texts = _texts(self.dataset, self.text_field, config=self.config, split=self.split, revision=self.revision)
        yield from _limited(kept(texts, (), self.part), self.characters_limit)


@dataclass(frozen=True, kw_only=True)
class HubFolderSource:
    """One folder of a data set of the hub, streamed, as text or as token ids that are decoded.

    text_field holds the text; where `tokenizer` names a tokenizer (of the hub, or a folder), it holds token ids.
    characters_limit: stop after the document that reaches it.
    """

    dataset: str
    revision: str
    folder: str
    split: str = "train"
    text_field: str = "text"
    tokenizer: str | None = None
    licence: str = field(default=CARD, metadata={"identity": False}, compare=False)
    part: tuple[Fraction, Fraction] = WHOLE
    characters_limit: int | None = None

    @property
    def label(self) -> str:
        return f"{self.dataset}: {self.folder}" + part_label(self.part)

    def documents(self) -> Iterator[Document]:
        """The documents, in the order of the folder's files."""
        where = {"data_dir": self.folder, "split": self.split, "revision": self.revision}
        if self.tokenizer is None:
            texts = _texts(self.dataset, self.text_field, **where)
        else:
            texts = _decoded(self.dataset, self.text_field, self.tokenizer, **where)
        yield from _limited(kept(texts, (), self.part), self.characters_limit)


Source = PackageSource | FolderSource | HubSource | HubFolderSource | PythonSource


def package_source(name: str, topics: tuple[str, ...] = (), part: tuple[Fraction, Fraction] = WHOLE) -> PackageSource:
    """The source of a data package, at its pinned version; ValueError if there is no such package of text."""
    return PackageSource(package=name, sha256=text_package(name).sha256, topics=topics, part=part)


def folder_files(folder: Path) -> list[Path]:
    """The files of a folder that hold text, in name order."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in SUFFIXES)


def rows(dataset: str, *, config: str | None = None, **options: Any) -> Iterator[dict[str, Any]]:
    """The rows of a data set, streamed; options as for `datasets.load_dataset`, split "train" unless given."""
    # Imported here: `datasets` takes longer to import than a package source takes to read.
    import datasets

    if dataset == "text":
        options["sample_by"] = "document"
    yield from datasets.load_dataset(dataset, config, streaming=True, **{"split": "train"} | options)


def _values(dataset: str, wanted: str, **options: Any) -> Iterator[Any]:
    """One field of every row; raises ValueError if a row has no such field, and names those it has."""
    for row in rows(dataset, **options):
        if wanted not in row:
            raise ValueError(f"{dataset} has no field {wanted!r}; it has {', '.join(map(repr, row))}")
        yield row[wanted]


def _texts(dataset: str, text_field: str, **options: Any) -> Iterator[Document]:
    for value in _values(dataset, text_field, **options):
        yield Document(text=str(value or ""))


def _decoded(dataset: str, tokens_field: str, tokenizer: str, **options: Any) -> Iterator[Document]:
    # Imported here: a study that reads no tokens should not wait for transformers.
    from transformers import AutoTokenizer

    coder = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)  # by default it asks
    for ids in _values(dataset, tokens_field, **options):
        # Exactly as it was written: neither special tokens nor "cleaned up" spaces are text.
        text = coder.decode(ids or [], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        yield Document(text=str(text))


def _limited(documents: Iterator[Document], characters_limit: int | None) -> Iterator[Document]:
    """The documents up to and including the one that reaches the limit."""
    characters = 0
    for document in documents:
        if characters_limit is not None and characters >= characters_limit:
            return
        characters += len(document.text)
        yield document
