"""A reader's CSV file as a checked frame; each fault is reported with line, column, value and what is allowed.

A comma, a semicolon or a tab separates, whichever finds the most of the wanted columns in the header. A byte order
mark, spaces round names and values, empty lines and further columns are all right.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

SHOWN = 20  # faults listed; a file with more has one cause, and the rest are counted
SEPARATORS = ",;\t"
MOST_BYTES = 64 * 2**20  # of a table: over a million points; each takes many times as much memory
LONGEST = 40  # characters of a value that a message repeats


class Fault(NamedTuple):
    """What is wrong. Line 1 is the header, line 0 the file as a whole; column "" is no column in particular."""

    line: int
    text: str
    column: str = ""


class WrongTable(ValueError):
    """The file cannot be used. ``str()`` gives one line for each fault, at most `SHOWN` and the number of the rest."""

    def __init__(self, path: Path, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        lines = [f"{path}: line {f.line}: {f.text}" if f.line else f"{path}: {f.text}" for f in self.faults[:SHOWN]]
        more = [f"{path}: and {len(self.faults) - SHOWN} more"] if len(self.faults) > SHOWN else []
        super().__init__("\n".join([*lines, *more]))


@dataclass(frozen=True)
class Column:
    """A column and what it may hold. ``blank`` lets a cell be empty (NaN); ``share`` adds a hint for percentages."""

    name: str
    kind: Literal["number", "whole", "text"] = "number"
    low: float = -math.inf
    high: float = math.inf
    required: bool = True
    blank: bool = False
    share: bool = False

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
        value = _float(text)
        if value is None or not math.isfinite(value) or not self.low <= value <= self.high:
            return None
        return None if self.kind == "whole" and not value.is_integer() else value

    def fault(self, text: str) -> str:
        """The message for a cell that is not allowed."""
        shown = repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...") if text else "empty"
        return f"{self.name} is {shown}; it must be {self.allowed}{self._hint(text)}"

    def _hint(self, text: str) -> str:
        value = _float(text.removesuffix("%").strip())
        if self.share and value is not None and 1 < value <= 100:
            return f" (if this is a percentage, write {value / 100:g})"
        if _float(text.replace(",", ".", 1)) is not None or _float(text.replace(",", "")) is not None:
            return " (decimal point, no thousands separators)" if "," in text else ""
        return ""


def _float(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)  # Python alone reads 1_000 as a number
    except ValueError:
        return None


def read(path: Path, columns: Sequence[Column]) -> tuple[pd.DataFrame, list[Fault]]:
    """The wanted columns of a CSV file, as far as it has them, and all faults of cells and rows.

    A frame with a column ``line`` (place in the file, header 1) beside the wanted ones, numbers as float64 (NaN where
    the cell is at fault, or empty and allowed to be); and the faults. Raises WrongTable if the file cannot be read as a
    table with all required columns; every fault is in it.
    """
    names, rows = _records(path, [column.name for column in columns])
    faults = _missing(names, columns)
    whole = []
    for line, fields in rows:
        if len(fields) < len(names) or any(fields[len(names) :]):
            faults.append(Fault(line, f"has {len(fields)} fields, the header has {len(names)}"))
        else:
            whole.append((line, fields))
    frame = pd.DataFrame({"line": [line for line, _ in whole]}, dtype=np.int64)
    for column in columns:
        if column.name in names:
            texts = [fields[names.index(column.name)] for _, fields in whole]
            frame[column.name] = _values(column, texts, frame["line"].tolist(), faults)
    if any(column.required for column in columns if column.name not in names):
        raise WrongTable(path, faults)
    if not rows:
        raise WrongTable(path, [*faults, Fault(1, "there are no rows below the header")])
    return frame, faults


def repeated(frame: pd.DataFrame, faults: Sequence[Fault], keys: Sequence[str]) -> list[Fault]:
    """A fault for each row that has the keys of an earlier one; rows at fault, or with a NaN key, are passed over."""
    there = [key for key in keys if key in frame]
    rows = frame[~frame["line"].isin([fault.line for fault in faults])].dropna(subset=there)
    firsts = rows.groupby(there, sort=False)["line"].transform("first")
    again = rows.loc[firsts < rows["line"], "line"]
    what = there[0] if len(there) == 1 else f"{', '.join(there[:-1])} and {there[-1]}"
    hint = "" if "seed" in frame else " (runs that differ in their seed need a column seed)"
    pairs = zip(again.tolist(), firsts[again.index].tolist(), strict=True)
    return [Fault(line, f"the same {what} as line {first}{hint}") for line, first in pairs]


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its seeds, which may be any text, numbered in their order."""
    return frame.assign(seed=pd.factorize(frame["seed"], sort=True)[0]) if "seed" in frame else frame


def _records(path: Path, wanted: Sequence[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header's names, and each further record that is not empty with the line on which it ends."""
    try:
        size = path.stat().st_size if path.is_file() else None
        if size is None and path.exists() and not path.is_dir():  # a pipe or a device may have no end
            raise WrongTable(path, [Fault(0, "is no file: save the table as one")])
        if size is not None and size > MOST_BYTES:
            least = f"{size / 2**20:,.0f} MiB are more than the {MOST_BYTES // 2**20} MiB that are read"
            raise WrongTable(path, [Fault(0, f"{least}: leave out columns that are not needed, or points")])
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise WrongTable(path, [Fault(0, "not a CSV file: it must be text in UTF-8")]) from None
    except OSError as error:
        raise WrongTable(path, [Fault(0, (error.strerror or str(error)).lower())]) from None
    if not text.strip():
        raise WrongTable(path, [Fault(0, "the file is empty")])
    lines = io.StringIO(text)  # splits at line ends only, as the reader counts them
    first = next(line for line in lines if line.strip())
    separator = _separator(path, first, wanted)
    lines.seek(0)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        records = [(reader.line_num, _stripped(fields)) for fields in reader if any(map(str.strip, fields))]
    except csv.Error as error:
        raise WrongTable(path, [Fault(reader.line_num, f"cannot be read as CSV: {error}")]) from None
    return records[0][1], records[1:]


def _separator(path: Path, header: str, wanted: Sequence[str]) -> str:
    """The mark that splits the header into the most of the wanted names."""
    try:
        names = {mark: _stripped(next(csv.reader([header], delimiter=mark))) for mark in SEPARATORS}
    except csv.Error as error:
        raise WrongTable(path, [Fault(1, f"cannot be read as CSV: {error}")]) from None
    return max(SEPARATORS, key=lambda mark: len(set(wanted) & set(names[mark])))


def _stripped(fields: Sequence[str]) -> list[str]:
    return [field.strip() for field in fields]


def _missing(names: Sequence[str], columns: Sequence[Column]) -> list[Fault]:
    there = ", ".join(name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in names)
    faults = [
        Fault(1, f"no column {column.name!r}; the columns are {there}")
        for column in columns
        if column.required and column.name not in names
    ]
    twice = [column.name for column in columns if names.count(column.name) > 1]
    return faults + [Fault(1, f"column {name!r} is there {names.count(name)} times") for name in twice]


def _values(column: Column, texts: list[str], lines: list[int], faults: list[Fault]) -> pd.Series:
    values: list[str | float] = []
    for line, text in zip(lines, texts, strict=True):
        value = (text or None) if column.kind == "text" else column.number(text)
        if value is None and not (column.blank and not text):
            faults.append(Fault(line, column.fault(text), column.name))
        values.append(np.nan if value is None else value)
    return pd.Series(values, dtype=object if column.kind == "text" else np.float64)
