"""A reader's CSV file as a checked frame; each kind of fault is told once, with line, value and what is allowed.

Files are read as trackers and spreadsheets export them: a comma, a semicolon or a tab separates, whichever finds the
most of the wanted columns in the header; names may differ in case, spaces and a prefix such as ``eval/``; UTF-8 or
UTF-16; lines that begin with # and empty ones, spaces round values and further columns are passed over. What was
assumed is said.
"""

import csv
import difflib
import io
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple, TextIO

import numpy as np
import pandas as pd

from repro.fit.numbers import LARGEST, SHARE, SMALLEST, plain, written
from repro.output import LONGEST_NAME, error_words, safe, shown

SHOWN = 20  # kinds of fault listed; a file with more has one cause, and the rest are counted
SEPARATORS = ",;\t"
MOST_BYTES = 64 * 2**20  # of a table
MOST_ROWS = 1_000_000
LONGEST = 40  # characters of a value that a message repeats
BEFORE = re.compile(r"^(eval|val|valid|validation|test)_")
ALIASES = {"num_input_tokens_seen": "tokens", "num_tokens": "tokens", "tokens_seen": "tokens", "name": "run"}
STEPS = " (steps are no tokens: multiply them by the tokens of a step, or give these with --tokens-per-step)"
DATE = re.compile(r"\d{1,2}-[A-Za-z]{3}|[A-Za-z]{3}-\d{1,2}")


class Fault(NamedTuple):
    """What is wrong. Line 1 is the header, line 0 the file as a whole; column "" is no column in particular. Faults of
    one column and ``kind`` are told once; without a kind those with the same text are.
    """

    line: int
    text: str
    column: str = ""
    kind: str = ""


class WrongTable(ValueError):
    """The file cannot be used: ``str()`` has a line for each kind of fault, at most `SHOWN`, and how many are left."""

    def __init__(self, path: Path, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        kinds: dict[tuple[str, str], list[Fault]] = {}
        for fault in self.faults:
            kinds.setdefault((fault.column, fault.kind or fault.text), []).append(fault)
        lines, file = [], shown(path, LONGEST_NAME)
        for first, *others in kinds.values():
            where = f"line {first.line}: " if first.line else ""
            more = f"; more such lines: {len(others)}, the last is {others[-1].line}" if others else ""
            lines.append(f"{file}: {where}{safe(first.text)}{more}")
        rest = [f"{file}: and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        super().__init__("\n".join([*lines[:SHOWN], *rest]))


@dataclass(frozen=True)
class Column:
    """A column and what it may hold. ``blank`` lets a cell be empty (NaN); ``units`` may follow its numbers."""

    name: str
    kind: Literal["number", "whole", "text"] = "number"
    low: float = -math.inf
    high: float = math.inf
    required: bool = True
    blank: bool = False
    units: str = ""

    @property
    def allowed(self) -> str:
        """What a cell must be, in words."""
        if self.kind == "text":
            return "some text"
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"a {'whole ' if self.kind == 'whole' else ''}number from {self.low:g} to {self.high:g}"
        noun = "a whole number" if self.kind == "whole" else "a finite number"
        return f"{noun}, {self.low:g} or more" if math.isfinite(self.low) else noun

    def number(self, text: str) -> float | None:
        """The cell as a number that is allowed here, or None."""
        value = written(text, self.units)
        if not max(self.low, -LARGEST) <= value <= min(self.high, LARGEST) or 0 < abs(value) < SMALLEST:
            return None
        return None if self.kind == "whole" and not value.is_integer() else value

    def fault(self, line: int, text: str) -> Fault:
        """The fault of a cell that is not allowed."""
        cell = f"'{shown(text, LONGEST)}'" if text else "empty"
        hint = self._hint(text)
        return Fault(line, f"{self.name} is {cell}; it must be {self.allowed}{hint}", self.name, "hint" if hint else "")

    def _hint(self, text: str) -> str:
        value = plain(text)
        if LARGEST < abs(value) < math.inf:
            return f" (at most {LARGEST:g})"
        if 0 < abs(value) < SMALLEST:
            return f" (0, or at least {SMALLEST:g} in size)"
        if self.units == SHARE and 1 < value <= 100:
            return f" (if this is a percentage, write {value / 100:g})"
        if self.units == SHARE and DATE.fullmatch(text):
            return " (a spreadsheet took a fraction such as 1/8 for a date: write 0.125)"
        number = not (math.isnan(plain(text.replace(",", ".", 1))) and math.isnan(plain(text.replace(",", ""))))
        return " (decimal point, no thousands separators)" if "," in text and number else ""


class Table(NamedTuple):
    """What was read: a column ``line`` (place in the file, header 1) beside the wanted ones that the file has, numbers
    as float64 (NaN where the cell is at fault, or empty and allowed to be); faults; and what was assumed, in words.
    """

    frame: pd.DataFrame
    faults: list[Fault]
    notes: list[str]


def read(path: Path, columns: Sequence[Column]) -> Table:
    """The wanted columns of a CSV file, as far as it has them. Raises WrongTable if the file cannot be read as a table
    with all required columns; every fault is in it.
    """
    return parsed(path, opened(path), columns)


def opened(path: Path) -> TextIO:
    """A file as text. Raises WrongTable for one that is not text, not a file or too large."""
    data = _content(path)
    try:
        encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        return io.StringIO(data.decode(encoding), newline="")
    except UnicodeError:
        raise WrongTable(path, [Fault(0, "not a CSV file: it must be text in UTF-8 or UTF-16")]) from None


def parsed(path: Path, lines: TextIO, columns: Sequence[Column]) -> Table:
    """The same of text, which faults call ``path``."""
    wanted = [column.name for column in columns]
    mark, records = records_of(path, lines, wanted)
    names, notes = named(next(records)[1], wanted, {})
    faults = _missing(names, columns)
    at = {name: names.index(name) for name in wanted if name in names}
    cells: dict[str, list[str]] = {name: [] for name in at}
    places: list[int] = []
    for line, fields in records:
        if len(fields) < len(names) or any(fields[len(names) :]):
            faults.append(Fault(line, f"has {len(fields)} fields, the header has {len(names)}"))
        else:
            places.append(line)
            for name, texts in cells.items():
                texts.append(fields[at[name]])
        if len(places) + len(faults) > MOST_ROWS:
            raise WrongTable(path, [Fault(0, f"more than the {MOST_ROWS:,} rows that are read: leave out points")])
    frame = pd.DataFrame({"line": places}, dtype=np.int64)
    numbers = [column.name for column in columns if column.kind != "text" and column.name in cells]
    # A point beside it may separate thousands, so commas are decimal only where there is none.
    comma = mark != "," and not any("." in text for name in numbers for text in cells[name])
    for column in columns:
        if column.name in cells:
            frame[column.name], note = _values(column, cells[column.name], places, faults, comma=comma)
            notes += note
    if any(column.required for column in columns if column.name not in names):
        raise WrongTable(path, faults)
    if not places and not faults:
        raise WrongTable(path, [Fault(1, "there are no rows below the header")])
    return Table(frame, faults, notes)


def _values(
    column: Column, texts: list[str], lines: list[int], faults: list[Fault], *, comma: bool
) -> tuple[pd.Series, list[str]]:
    """A column's values, and a note of those that are not written as numbers usually are, by the first of them."""
    values: list[str | float] = []
    unusual: list[str] = []
    for line, text in zip(lines, texts, strict=True):
        point = text.replace(",", ".") if comma and text.count(",") == 1 else text
        value = (text or None) if column.kind == "text" else column.number(point)
        if value is None and not (column.blank and not text):
            faults.append(column.fault(line, text))
        if not unusual and isinstance(value, float) and math.isnan(plain(text)):
            unusual = [f"{column.name}: '{shown(text, LONGEST)}' is read as {value:.10g} (line {line})"]
        values.append(np.nan if value is None else value)
    return pd.Series(values, dtype=object if column.kind == "text" else np.float64), unusual


def repeated(frame: pd.DataFrame, faults: Sequence[Fault], keys: Sequence[str]) -> list[Fault]:
    """A fault for each row that has the keys of an earlier one; rows at fault, or with a NaN key, are passed over."""
    there = [key for key in keys if key in frame]
    rows = frame[~frame["line"].isin([fault.line for fault in faults])].dropna(subset=there)
    firsts = rows.groupby(there, sort=False)["line"].transform("first")
    again = rows.loc[firsts < rows["line"], "line"]
    what = there[0] if len(there) == 1 else f"{', '.join(there[:-1])} and {there[-1]}"
    advice = " (runs that differ in their seed need a column seed); of a resumed run, keep one of the two"
    hint = "" if "seed" in frame else advice
    pairs = zip(again.tolist(), firsts[again.index].tolist(), strict=True)
    return [Fault(line, f"the same {what} as line {first}{hint}", kind="repeated") for line, first in pairs]


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its seeds, which may be any text, numbered in their order; one that is missing is -1."""
    return frame.assign(seed=pd.factorize(frame["seed"], sort=True)[0]) if "seed" in frame else frame


def _content(path: Path) -> bytes:
    """The bytes of a file, up to the most that are read; nothing is waited for, as for whoever writes into a pipe."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            mode, size = os.fstat(handle).st_mode, os.fstat(handle).st_size
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe or a device may have no end
                raise WrongTable(path, [Fault(0, "is no file: save the table as one")])
            data = b"" if size > MOST_BYTES else file.read(MOST_BYTES + 1)
    except OSError as error:
        raise WrongTable(path, [Fault(0, error_words(error))]) from None
    if (size := max(size, len(data))) > MOST_BYTES:
        least = f"{size / 2**20:,.0f} MiB are more than the {MOST_BYTES // 2**20} MiB that are read"
        raise WrongTable(path, [Fault(0, f"{least}: leave out columns that are not needed, or points")])
    return data


def records_of(path: Path, lines: TextIO, wanted: Sequence[str]) -> tuple[str, Iterator[tuple[int, list[str]]]]:
    """The mark that separates, and the header and each record below it that is neither empty nor a comment, with the
    line on which it ends. The mark is that of a line such as ``sep=;``, or else the one that splits the header into the
    most wanted names (of equals, the most names).
    """
    csv.field_size_limit(MOST_BYTES)  # or a header that another mark splits is a field too large
    given = ""
    for number, line in enumerate(lines):
        if re.fullmatch(r"sep=.", line.strip(), re.IGNORECASE):
            given = line.strip()[-1]
        elif line.strip() and not line.lstrip().startswith("#"):
            names = {mark: next(csv.reader([line], delimiter=mark)) for mark in given or SEPARATORS}
            hits = {mark: len(set(wanted) & set(named(each, wanted, {})[0])) for mark, each in names.items()}
            mark = max(names, key=lambda mark: (hits[mark], len(names[mark])))
            return mark, _records(path, chain([line], lines), mark, number)
    raise WrongTable(path, [Fault(0, "the file is empty")])


def _records(path: Path, lines: Iterable[str], mark: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=mark, skipinitialspace=True, strict=True)
    try:
        for fields in reader:
            stripped = [field.strip() for field in fields]
            if any(stripped) and not stripped[0].startswith("#"):
                yield skipped + reader.line_num, stripped
    except csv.Error as error:
        raise WrongTable(path, [Fault(skipped + reader.line_num, f"cannot be read as CSV: {error}")]) from None


def named(names: Sequence[str], wanted: Sequence[str], given: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The header's names, those that are meant by wanted ones replaced by them: by the reader (``given``, by wanted
    name), or but for case, spaces and prefixes; and a note of what was replaced.
    """
    own = {name: own for own, name in given.items()}
    for name in names:
        simple = BEFORE.sub("", re.sub(r"[\s-]+", "_", name.rpartition("/")[2].strip()).lower())
        simple = ALIASES.get(simple, simple)
        if name not in own and simple in wanted and simple not in {*names, *given}:
            own[name] = simple
    pairs = [f"'{shown(name, LONGEST)}' as {own[name]}" for name in names if own.get(name, name) != name]
    note = [f"columns are read by other names: {', '.join(pairs)}"] if pairs else []
    return [own.get(name, name) for name in names], note


def _missing(names: Sequence[str], columns: Sequence[Column]) -> list[Fault]:
    absent = [column.name for column in columns if column.required and column.name not in names]
    there = ", ".join([*(shown(name, LONGEST) for name in names[:SHOWN]), *(["..."] if len(names) > SHOWN else [])])
    like = [match for name in absent for match in difflib.get_close_matches(name, names[:MOST_ROWS], 1, 0.75)]
    hint = f"; did you mean {', '.join(shown(match, LONGEST) for match in like)}?" if like else ""
    steps = STEPS if "tokens" in absent and any("step" in name.lower() for name in names) else ""
    text = f"no column {', '.join(map(repr, absent))}; the columns are {there}{hint}{steps}"
    twice = [column.name for column in columns if names.count(column.name) > 1]
    faults = [Fault(1, f"column {name!r} is there {names.count(name)} times") for name in twice]
    return [Fault(1, text), *faults] if absent else faults
