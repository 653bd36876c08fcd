"""Where documents come from: data packages pinned by hash, local folders, hub data sets, the standard library.

A source is a frozen value that says what the text *is* (package version and hash, folder digest, hub revision);
where it lies on this machine is not part of it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from repro.lm import records
from repro.lm.documents import WHOLE, Document, kept, part_label
from repro.lm.hub import HubFolderSource, HubSource, climblab, texts
from repro.lm.packages import PACKAGES, Package, text_package, wheel
from repro.lm.stdlib import PythonSource, library_digest

__all__ = [
    "PACKAGES",
    "WHOLE",
    "Document",
    "FolderSource",
    "HubFolderSource",
    "HubSource",
    "Package",
    "PackageSource",
    "PythonSource",
    "Source",
    "climblab",
    "digest_files",
    "folder_files",
    "library_digest",
    "package_source",
    "part_label",
    "wheel",
]

BLOCK = 2**20  # bytes read at a time
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
        """The documents, in the package's order.

        Raises:
            FileNotFoundError: if the wheel has not been fetched. ValueError: if it is not the pinned one, holds no
            text, or has no document of one of the topics.

        """
        text_package(self.package)
        documents = records.documents(self.package)
        there = {document.topic for document in documents} - {""}
        for topic in self.topics:
            if topic not in there:
                allowed = ", ".join(sorted(there)) or "none"
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
        """The documents, files in name order.

        Raises:
            ValueError: if the files are not those the digest was taken of.

        """
        files = folder_files(self.folder)
        if digest_files(files, self.folder) != self.digest:
            raise ValueError(f"{self.folder} has changed since the study was opened")
        for suffix, loader in SUFFIXES.items():
            if paths := [str(p) for p in files if p.suffix == suffix]:
                text_field = "text" if loader == "text" else self.text_field
                yield from kept(texts(loader, text_field, data_files=paths), (), self.part)


Source = PackageSource | FolderSource | HubSource | HubFolderSource | PythonSource


def package_source(name: str, topics: tuple[str, ...] = (), part: tuple[Fraction, Fraction] = WHOLE) -> PackageSource:
    """The source of a package of the table, at its pinned version.

    Raises:
        ValueError: if there is no such package, or it holds no text.

    """
    return PackageSource(package=name, sha256=text_package(name).sha256, topics=topics, part=part)


def folder_files(folder: Path) -> list[Path]:
    """The files of a folder that hold text, in name order."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in SUFFIXES)


def digest_files(files: list[Path], folder: Path) -> str:
    """One hash over the names and bytes of `files`."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as text:
            while block := text.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()
