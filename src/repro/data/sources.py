"""Where text, and pairs and questions, come from: built-in data, local folders, data sets of the Hugging Face hub. A
source is a frozen value that says what the text *is* (package version and hash, folder digest, hub revision), not where
it lies on this machine.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from repro.data.documents import WHOLE, Document, digest_files, kept, part_label
from repro.data.domains import PACKAGES, recipe_of, text_package
from repro.data.domains.coding import PROBLEMS, problem_items
from repro.data.domains.items import Item
from repro.data.packages import PythonSource

CARD = "see the data set's card"
PLAIN_TEXT = (".txt", ".md")
TABLES = (".jsonl", ".parquet")
SUFFIXES = (*PLAIN_TEXT, *TABLES)
Row = Mapping[str, Any]
PLAIN = "prompt-answer"


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
        files = _unchanged(self.folder, SUFFIXES, self.digest)
        for suffix in SUFFIXES:
            wanted = "text" if suffix in PLAIN_TEXT else self.text_field
            texts = (_text(row, wanted, where) for where, row in rows_of([p for p in files if p.suffix == suffix]))
            yield from kept(texts, (), self.part)


@dataclass(frozen=True, kw_only=True)
class _OfHub:
    """Text of a data set of the Hugging Face hub, streamed; `revision` pins what it holds. characters_limit: stop after
    the document that reaches it.
    """

    dataset: str
    revision: str
    split: str = "train"
    text_field: str = "text"
    licence: str = field(default=CARD, metadata={"identity": False}, compare=False)
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
class HubSource(_OfHub):
    """A data set of the hub."""

    config: str | None = None

    @property
    def label(self) -> str:
        return self.dataset + part_label(self.part)

    def documents(self) -> Iterator[Document]:
        """The documents, in the data set's order."""
        texts = _texts(self.dataset, self.text_field, config=self.config, split=self.split, revision=self.revision)
        yield from self._kept(texts)


@dataclass(frozen=True, kw_only=True)
class HubFolderSource(_OfHub):
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
        where = {"data_dir": self.folder, "split": self.split, "revision": self.revision}
        if self.tokenizer is None:
            texts = _texts(self.dataset, self.text_field, **where)
        else:
            texts = _decoded(self.dataset, self.text_field, self.tokenizer, **where)
        yield from self._kept(texts)


Source = PackageSource | FolderSource | HubSource | HubFolderSource | PythonSource


def package_source(name: str, topics: tuple[str, ...] = (), part: tuple[Fraction, Fraction] = WHOLE) -> PackageSource:
    """The source of a data package, at its pinned version; ValueError if there is no such package of text."""
    return PackageSource(package=name, sha256=text_package(name).sha256, topics=topics, part=part)


def folder_files(folder: Path, kinds: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """The files below a folder that hold text, in name order; a link to one that lies below it too is a file.
    ValueError, naming it, for links out of the folder or to nothing, pipes and devices; OSError if a folder cannot be
    read.
    """
    found, opened, root = [], [folder], folder.resolve()
    while opened:  # no recursion: folders may be a thousand deep
        with os.scandir(opened.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                text = path.suffix in kinds
                if entry.is_symlink() and (text or path.is_dir()) and not _inside(path, root):
                    raise ValueError(f"{path} is a link that leads out of {folder}, or to nothing; must be a copy")
                if entry.is_dir(follow_symlinks=False):
                    opened.append(path)
                elif text and path.is_file():
                    found.append(path)
                elif text and not path.is_dir():
                    raise ValueError(f"{path} is neither file nor folder; must be a regular file")
    return sorted(found)


def digest_folder(folder: Path, kinds: tuple[str, ...] = SUFFIXES) -> str:
    """One hash over the names and bytes of `folder_files`; ValueError also if there are none."""
    files = folder_files(folder, kinds) if folder.is_dir() else []
    if not files:
        raise ValueError(f"{folder} holds no {', '.join(kinds[:-1])} or {kinds[-1]} files")
    return digest_files(files, folder)


def _unchanged(folder: Path, kinds: tuple[str, ...], digest: str) -> list[Path]:
    """The files of a folder; ValueError if they are not those of the digest."""
    files = folder_files(folder, kinds)
    if digest_files(files, folder) != digest:
        raise ValueError(f"{folder} has changed since the study was opened")
    return files


def _inside(link: Path, root: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # it leads to nothing, or back to itself
        return False


def rows(dataset: str, *, config: str | None = None, **options: Any) -> Iterator[dict[str, Any]]:
    """The rows of a data set, streamed; options as for `datasets.load_dataset`, split "train" unless given."""
    # Imported here: `datasets` takes longer to import than a package source takes to read.
    import datasets

    yield from datasets.load_dataset(dataset, config, streaming=True, **{"split": "train"} | options)


def rows_of(files: Iterable[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of local files, each with the place it stands at; a file of plain text is one row. They are opened by name:
    `datasets` would take names such as "paper [1].txt" for patterns. ValueError, with the place, if one is unreadable.
    """
    # Imported here: the command line checks parameters without it.
    from pyarrow import ArrowInvalid, parquet

    for file in files:
        try:
            if file.suffix in PLAIN_TEXT:
                yield str(file), {"text": file.read_text(encoding="utf-8-sig")}
            elif file.suffix == ".jsonl":
                yield from _json_rows(file)
            else:
                with parquet.ParquetFile(file) as table:
                    for batch in table.iter_batches():
                        yield from ((str(file), row) for row in batch.to_pylist())
        except (UnicodeDecodeError, ArrowInvalid) as error:
            raise ValueError(f"{file}: {error}") from error


def _json_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:  # the second for lists in lists in lists
                raise ValueError(f"{file}, line {number}: {error}") from None
            if not isinstance(row, dict):
                raise ValueError(f"{file}, line {number}: no JSON object")
            yield f"{file}, line {number}", row


def _value(row: Mapping[str, Any], wanted: str, where: str) -> Any:
    """One field of a row; ValueError, naming those it has, if it has no such field."""
    if wanted not in row:
        raise ValueError(f"{where} has no field {wanted!r}; it has {', '.join(map(repr, row))}")
    return row[wanted]


def _text(row: Mapping[str, Any], text_field: str, where: str) -> Document:
    return Document(text=str(_value(row, text_field, where) or ""))


def _texts(dataset: str, text_field: str, **options: Any) -> Iterator[Document]:
    return (_text(row, text_field, dataset) for row in rows(dataset, **options))


def _decoded(dataset: str, tokens_field: str, tokenizer: str, **options: Any) -> Iterator[Document]:
    # Imported here: a study that reads no tokens should not wait for transformers.
    from transformers import AutoTokenizer

    coder = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)  # by default it asks
    for ids in (_value(row, tokens_field, dataset) for row in rows(dataset, **options)):
        # Exactly as it was written: neither special tokens nor "cleaned up" spaces are text.
        text = coder.decode(ids or [], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        yield Document(text=str(text))


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """The items of a built-in domain; `digests` pins what they are made from (`Recipe.digests`)."""

    builder: str
    digests: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"built-in {self.builder}"

    @property
    def licence(self) -> str:
        return recipe_of(self.builder).licence

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The benchmark these items are asked in, and those the domain brings along."""
        return (recipe_of(self.builder).benchmark, *recipe_of(self.builder).brings)

    def items(self) -> Iterator[Item]:
        """What can be tuned on or asked, each once; raises what `wheel` and `Recipe.require` raise."""
        recipe_of(self.builder).require(self.digests)
        yield from recipe_of(self.builder).items()


@dataclass(frozen=True, kw_only=True)
class HubPairs:
    """Instruction data of the Hugging Face hub, streamed. form: how its rows are read; folder: of the data set, such as
    a configuration in a branch that holds nothing but Parquet files; limit: how many pairs are read at most.
    """

    dataset: str
    revision: str
    config: str | None = None
    folder: str | None = None
    split: str = "train"
    form: str = PLAIN
    prompt_field: str = "prompt"
    answer_field: str = "answer"
    licence: str = field(default=CARD, metadata={"identity": False}, compare=False)
    limit: int | None = None

    @property
    def label(self) -> str:
        return " ".join(filter(None, (self.dataset, self.config, self.folder, self.split)))

    def items(self) -> Iterator[Item]:
        """The pairs, in the data set's order, never asked; ValueError if rows lack the fields of the form."""
        where = {"config": self.config, "split": self.split, "revision": self.revision}
        pairs = rows(self.dataset, **where, **({"data_dir": self.folder} if self.folder else {}))
        yield from _items(self, islice(pairs, self.limit))


@dataclass(frozen=True, kw_only=True)
class FolderPairs:
    """JSON-lines or Parquet files below a local folder, a pair a row."""

    digest: str
    form: str = PLAIN
    prompt_field: str = "prompt"
    answer_field: str = "answer"
    licence: str = field(default="not stated", metadata={"identity": False}, compare=False)
    folder: Path = field(metadata={"identity": False}, compare=False)

    @property
    def label(self) -> str:
        return f"folder {self.folder.name}"

    def items(self) -> Iterator[Item]:
        """The pairs, files by name, never asked; ValueError for a wrong digest, or rows without the form's fields."""
        files = _unchanged(self.folder, TABLES, self.digest)
        for suffix in TABLES:
            yield from _items(self, (row for _, row in rows_of([file for file in files if file.suffix == suffix])))


@dataclass(frozen=True, kw_only=True)
class Problems:
    """The problems of HumanEval with their solutions, for `Domain.against`; `digest` is that of their package."""

    digest: str

    @property
    def label(self) -> str:
        return "HumanEval"

    @property
    def licence(self) -> str:
        return PROBLEMS.licence

    def items(self) -> Iterator[Item]:
        """The problems, in HumanEval's order; ValueError if the package is not the one that was pinned."""
        if self.digest != PROBLEMS.sha256:
            raise ValueError("the package of HumanEval's problems is another one than the study was opened with")
        yield from problem_items()


PairSource = BuiltIn | HubPairs | FolderPairs | Problems


def _items(source: HubPairs | FolderPairs, pairs: Iterable[Row]) -> Iterator[Item]:
    read = _reader(source.form, source.prompt_field, source.answer_field)
    for number, row in enumerate(pairs, start=1):
        try:
            prompt, answer = read(row)
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(
                f"{source.label}: row {number} is not of the form {source.form!r} ({type(error).__name__}: {error}); "
                f"it has {', '.join(map(repr, row))}"
            ) from error
        if prompt.strip() and answer.strip():
            name = hashlib.sha256(f"{prompt}\0{answer}".encode()).hexdigest()[:16]
            yield Item(name=name, group=name, body=prompt, prompt=prompt, answer=answer)


def _reader(form: str, prompt_field: str, answer_field: str) -> Callable[[Row], tuple[str, str]]:
    """The function that reads a row of this form; raises ValueError if there is no such form. Nothing is put between
    prompt and answer: in the plain form a prompt should end, or an answer begin, with the space or line break that
    separates them.
    """
    if form == PLAIN:
        return lambda row: (str(row[prompt_field] or ""), str(row[answer_field] or ""))
    if form not in FORMS:
        raise ValueError(f"no form {form!r} of pairs; there are {', '.join([PLAIN, *FORMS])}")
    return FORMS[form]


def _medqa(row: Row) -> tuple[str, str]:
    """MedQA in its own schema (`options` of keys and values) or in BigBio's (`choices`), with the prompt that lm-eval's
    `medqa_4options` scores, which asks for the letter.
    """
    if "options" in row:
        listed = row["options"]
        if isinstance(listed, Mapping):  # a list of structs, which older versions of `datasets` give as one of lists
            listed = [dict(zip(listed, values, strict=True)) for values in zip(*listed.values(), strict=True)]
        options = [str(option["value"]) for option in listed]
        right = ascii_uppercase.index(str(row["answer_idx"]))
    else:
        options = [str(choice) for choice in row["choices"]]
        right = options.index(str(row["answer"][0]))
    lines = [f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False)]
    return "\n".join([f"Question: {row['question']}", *lines, "Answer:"]), f" {ascii_uppercase[right]}"


def _opencodeinstruct(row: Row) -> tuple[str, str]:
    """OpenCodeInstruct: a programming task (`input`), ended by a line break, and a solution (`output`)."""
    task = str(row["input"]).rstrip()
    return f"{task}\n" if task else "", str(row["output"])


def _chemdata(row: Row) -> tuple[str, str]:
    """ChemData700K: the turns before, oldest first, an instruction and its input if there is one; then the answer,
    after "Answer:" on a line of its own.
    """
    before = [str(text) for turn in row.get("history") or [] for text in turn]
    prompt = "\n".join(filter(None, [*before, str(row["instruction"]), str(row["input"] or "")])).strip()
    return f"{prompt}\nAnswer:" if prompt else "", f" {str(row['output']).strip()}"


FORMS: dict[str, Callable[[Row], tuple[str, str]]] = {
    "medqa": _medqa,
    "opencodeinstruct": _opencodeinstruct,
    "chemdata": _chemdata,
}
