"""Questions of the user's own, asked as a benchmark."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from string import ascii_uppercase
from typing import Any, ClassVar

from repro.data.domains.items import Item, plain
from repro.data.files import TABLES, OfFolder, Record, listing, rows_of
from repro.output import shown

# Columns, of which the first that is there counts; choices may also have one each: A, B ...
QUESTION, CHOICES, ANSWER = ("question", "prompt"), ("choices", "options"), ("answer", "completion", "answer_idx")


@dataclass(frozen=True, kw_only=True)
class OwnQuestions(OfFolder):
    """Questions of local files, asked as the benchmark `name`: all with choices, or all with a reference answer alone.

    ValueError, with file and line or row, for one that is empty or repeated, has one choice or two equal ones, or an
    answer that is none of them; and for fewer than two questions.
    """

    kinds: ClassVar[tuple[str, ...]] = TABLES
    name: str

    def check(self, *, whole: bool) -> str:  # noqa: ARG002 - they are few
        """How many questions are read of what."""
        return f"{self.name}, {len(self.items()):,} questions: {self.label}: {listing(self.folder, self.kinds)}"

    def items(self) -> list[Item]:
        """The questions. Those that share a choice, such as "yes", have `candidates`, as it cannot be held out."""
        found: dict[str, Item] = {}
        for place, item in self.everything():
            if bool(item.distractors) != bool(next(iter(found.values()), item).distractors):
                raise ValueError(f"{place}: all questions must have choices, or none")
            if found.setdefault(item.name, item) is not item:
                raise ValueError(f"{place}: asks the same as a question before it")
        if len(found) < 2:
            raise ValueError(f"{self.folder}: must hold two questions or more, not {len(found)}")
        asked = Counter(item.prompt for item in found.values())
        offered = Counter(plain(choice) for item in found.values() for choice in item.choices)
        items = []
        for item in found.values():
            shared = any(offered[plain(choice)] > 1 for choice in item.choices)
            candidates = tuple((choice, item.group) for choice in item.distractors if shared)
            # "Which is true?", asked with other choices each time, is no question by itself.
            body = item.prompt if asked[item.prompt] == 1 else f"{item.prompt} {item.answer}"
            items.append(replace(item, body=body, candidates=candidates))
        return items

    def read(self, files: Iterable[Path]) -> Iterator[tuple[str, Item]]:
        """The questions of these files, each checked by itself, and their places."""
        for row in rows_of(files):
            question, answer = (row.text(_column(row, names)).strip() for names in (QUESTION, ANSWER))
            choices = _choices(row)
            texts = [*choices.values()]
            readings = [choices, {str(index): text for index, text in enumerate(texts)}, {text: text for text in texts}]
            meant = {reading[answer] for reading in readings if answer in reading} if choices else {answer}
            faults = {
                "the question is empty": not question,
                "a choice, or the answer, is empty": "" in (*texts, answer),
                "a choice is there twice": len(set(texts)) < len(texts),
                f"the answer {shown(answer)!r} must be the text, letter or index from 0 of one choice": len(meant) != 1,
            }
            for fault in (fault for fault, there in faults.items() if there):
                raise ValueError(f"{row.place}: {fault}")
            right = meant.pop()
            name = hashlib.sha256(json.dumps([question, *sorted(texts or [right])]).encode()).hexdigest()[:16]
            yield row.place, Item(
                name=name, group=name, body=question, prompt=question, answer=right, benchmark=self.name,
                distractors=tuple(text for text in texts if text != right),
            )  # fmt: skip


def _column(row: Record, names: tuple[str, ...]) -> str:
    return next((name for name in names if name in row.values), names[0])


def _choices(row: Record) -> dict[str, str]:
    """By their letters, or by what else the row calls them; none of a reference answer."""
    named = _column(row, CHOICES)
    lettered = {letter: row.values.get(letter) for letter in ascii_uppercase if "B" in row.values}
    given: Any = row.values.get(named, lettered)
    with suppress(ValueError):
        given = json.loads(given) if isinstance(given, str) else given
    if isinstance(given, list):
        given = dict(zip(map(chr, count(ord("A"))), given, strict=False))
    elif isinstance(given, dict):  # rows of Parquet have every name that any row has, those of CSV every column
        given = {name: text for name, text in given.items() if text not in (None, "")}
    if not isinstance(given, dict) or len(given) == 1 or (named in row.values and not given):
        raise ValueError(f"{row.place}: {named} must be a list of two choices or more")
    return {name: Record(row.place, given).text(name).strip() for name in given}
