"""Where pairs come from, and the forms that they have: built-in items, local folders, data sets of the hub."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import Any, ClassVar, Self

from repro.data.documents import LATER
from repro.data.domains import recipe_of
from repro.data.domains.coding import PROBLEMS, problem_items
from repro.data.domains.items import Item
from repro.data.files import TABLES, OfFolder, Record, listing, rows_of
from repro.data.sources import OfHub

Pairs = Iterator[tuple[str, str]]
PLAIN = "prompt-answer"
SPEAKERS = {"human": False, "user": False, "system": False, "gpt": True, "assistant": True, "model": True}
# By what columns a form is told, the most telling first; rows of other columns are prompt and answer.
TELLING = {"messages": "messages", "conversations": "sharegpt", "history": "chemdata", "options": "medqa"}
TELLING |= {"choices": "medqa", "instruction": "alpaca"}


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """The items of a built-in domain; `digests` pins what they are made from (`Recipe.digests`)."""

    builder: str
    digests: tuple[str, ...]

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The benchmark these items are asked in, and those the domain brings along."""
        return (recipe_of(self.builder).benchmark, *recipe_of(self.builder).brings)

    def items(self) -> Iterator[Item]:
        """What can be tuned on or asked, each once; raises what `wheel` and `Recipe.require` raise."""
        recipe_of(self.builder).require(self.digests)
        yield from recipe_of(self.builder).items()


@dataclass(frozen=True, kw_only=True)
class _Formed:
    """How rows become pairs. separator: what is put before each answer; turns: whether a conversation is a pair, up to
    its "last" answer, or a pair for each of "all" answers, with all that was said before as the prompt.
    """

    form: str = PLAIN
    prompt_field: str = "prompt"
    answer_field: str = "answer"
    separator: str = field(default="", metadata=LATER)
    turns: str = field(default="last", metadata=LATER)

    def items_of(self, rows: Iterable[Record]) -> Iterator[Item]:
        """The pairs of these rows, never asked, those without prompt or answer aside; ValueError for another form."""
        for row in rows:
            for prompt, said in self._pairs(row):
                if prompt.strip() and said.strip():
                    answer = f"{self.separator}{said}"
                    name = hashlib.sha256(f"{prompt}\0{answer}".encode()).hexdigest()[:16]
                    yield Item(name=name, group=name, body=prompt, prompt=prompt, answer=answer)

    def _pairs(self, row: Record) -> list[tuple[str, str]]:
        if self.form == PLAIN:
            return [(row.text(self.prompt_field, "prompt_field"), row.text(self.answer_field, "answer_field"))]
        if self.form not in FORMS:
            raise ValueError(f"no form {self.form!r} of pairs; there are {', '.join([PLAIN, *FORMS])}")
        try:
            pairs = list(FORMS[self.form](row))
        except (LookupError, TypeError, ValueError) as error:
            fault = str(error).removeprefix(row.place).lstrip(":, ")
            raise ValueError(f"{row.place} is not of the form {self.form!r}: {fault}") from None
        return pairs[-1:] if self.turns == "last" else pairs


@dataclass(frozen=True, kw_only=True)
class HubPairs(_Formed, OfHub):
    """Instruction data of the Hugging Face hub, streamed. folder: of the data set, such as a configuration in a branch
    that holds nothing but Parquet files; limit: how many pairs are read at most.
    """

    config: str | None = None
    folder: str | None = None
    limit: int | None = None

    def items(self) -> Iterator[Item]:
        """The pairs, in the data set's order; ValueError if rows lack the fields of the form."""
        rows = self.rows(name=self.config, **({"data_dir": self.folder} if self.folder else {}))
        yield from self.items_of(islice(rows, self.limit))


@dataclass(frozen=True, kw_only=True)
class FolderPairs(_Formed, OfFolder):
    """Pairs of local files, one a row."""

    kinds: ClassVar[tuple[str, ...]] = TABLES

    @classmethod
    def of(cls, folder: Path, **options: Any) -> Self:
        """As for any folder; the form, if the options do not say it, is found from the columns of the first row."""
        if not options.keys() & {"form", "prompt_field", "answer_field"}:
            first = next(rows_of(listing(folder, cls.kinds).read), None)
            options |= _found_form(first) if first else {}
        return super().of(folder, **options)

    def read(self, files: Iterable[Path]) -> Iterator[Item]:
        """The pairs of these files."""
        return self.items_of(rows_of(files))

    items = OfFolder.everything

    @property
    def label(self) -> str:
        form = f"{self.prompt_field} and {self.answer_field}" if self.form == PLAIN else self.form
        return f"{super().label} (pairs by {form}, {self.separator!r} between prompt and answer)"


def _found_form(row: Record) -> dict[str, str]:
    if form := next((form for column, form in TELLING.items() if column in row.values), None):
        return {"form": form}
    named = {"prompt_field": ("prompt", "question"), "answer_field": ("answer", "completion")}
    found = {setting: [name for name in names if name in row.values] for setting, names in named.items()}
    if any(len(names) != 1 for names in found.values()):
        has = ", ".join(map(repr, row.values))
        raise ValueError(f"{row.place}: of no known form; set form, or prompt_field and answer_field; it has {has}")
    return {setting: names[0] for setting, names in found.items()}


@dataclass(frozen=True, kw_only=True)
class Problems:
    """The problems of HumanEval with their solutions, for `Domain.against`; `digest` is that of their package."""

    digest: str

    def items(self) -> Iterator[Item]:
        """The problems, in HumanEval's order; ValueError if the package is not the one that was pinned."""
        if self.digest != PROBLEMS.sha256:
            raise ValueError("the package of HumanEval's problems is another one than the study was opened with")
        yield from problem_items()


PairSource = BuiltIn | HubPairs | FolderPairs | Problems


def _conversation(row: Record, column: str, speaker: str, said: str) -> Pairs:
    """Each answer of a conversation, after all that was said before it, a line for each turn."""
    turns = row.value(column)
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise ValueError(f"{row.place}: {column} must be a list of turns, each with {speaker} and {said}")
    before: list[str] = []
    for number, turn in enumerate(turns, start=1):
        record = Record(f"{row.place}, turn {number}", turn)
        who = record.text(speaker)
        if who not in SPEAKERS:
            raise ValueError(f"{record.place}: {speaker} must be one of {', '.join(SPEAKERS)}, not {who!r}")
        if SPEAKERS[who]:
            yield "\n".join(before), record.text(said)
        before.append(record.text(said))


def _alpaca(row: Record) -> Pairs:
    """Alpaca: an instruction, its input on the next line if there is one, and the output."""
    given = row.text("input") if "input" in row.values else ""
    yield "\n".join(filter(None, (row.text("instruction"), given))), row.text("output")


def _medqa(row: Record) -> Pairs:
    """MedQA in its own schema (`options` of keys and values) or in BigBio's (`choices`), with the prompt that lm-eval's
    `medqa_4options` scores, which asks for the letter.
    """
    if "options" in row.values:
        listed = row.values["options"]
        if isinstance(listed, Mapping):  # a list of structs, which older versions of `datasets` give as one of lists
            listed = [dict(zip(listed, values, strict=True)) for values in zip(*listed.values(), strict=True)]
        options = [str(option["value"]) for option in listed]
        right = ascii_uppercase.index(row.text("answer_idx"))
    else:
        options = [str(choice) for choice in row.values["choices"]]
        right = options.index(str(row.values["answer"][0]))
    lines = [f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False)]
    yield "\n".join([f"Question: {row.text('question')}", *lines, "Answer:"]), f" {ascii_uppercase[right]}"


def _opencodeinstruct(row: Record) -> Pairs:
    """OpenCodeInstruct: a programming task (`input`), ended by a line break, and a solution (`output`)."""
    task = row.text("input").rstrip()
    yield f"{task}\n" if task else "", row.text("output")


def _chemdata(row: Record) -> Pairs:
    """ChemData700K: the turns before, oldest first, an instruction and its input if there is one; then the answer,
    after "Answer:" on a line of its own.
    """
    before = [str(text) for turn in row.values.get("history") or [] for text in turn]
    prompt = "\n".join(filter(None, [*before, row.text("instruction"), row.text("input")])).strip()
    yield f"{prompt}\nAnswer:" if prompt else "", f" {row.text('output').strip()}"


FORMS: dict[str, Callable[[Record], Pairs]] = {
    "alpaca": _alpaca,
    "messages": partial(_conversation, column="messages", speaker="role", said="content"),
    "sharegpt": partial(_conversation, column="conversations", speaker="from", said="value"),
    "medqa": _medqa,
    "opencodeinstruct": _opencodeinstruct,
    "chemdata": _chemdata,
}
