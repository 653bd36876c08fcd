"""What lies in local files: which of a folder's files are read, and their rows, each with the place it stands at. Read
by name and value by value: `datasets` takes "paper [1].txt" for a pattern, guesses types, and names no line at fault.
"""

import csv
import io
import json
import os
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from repro.data.documents import digest_files
from repro.output import LONGEST_NAME, shown

TABLES = (".jsonl", ".parquet", ".json", ".csv")
SUFFIXES = (".txt", ".md", *TABLES)  # in the order in which files are read
PACKED = {".gz": "gzip", ".zst": "zstd"}
UNREAD = ("node_modules", "__pycache__", "__MACOSX")  # beside hidden files and folders
LONGEST_CELL = 2**31 - 1
HALF = re.compile("[\ud800-\udfff]")  # of a character: so JSON may spell it, and Python reads bytes that are not UTF-8
ROW_ENDS = re.compile(r"\}\s*\n\s*\{")  # in no other JSON: there a comma stands between objects
NOT_TEXT = {"str": "half a character (a lone surrogate)", "dict": "an object", "list": "a list"}


class Record(NamedTuple):
    """A row, and the place it stands at."""

    place: str
    values: Mapping[str, Any]

    def value(self, name: str, setting: str = "") -> Any:
        """A field; setting: the parameter that names it. ValueError if the row has no such field."""
        if name not in self.values:
            hint = f" ({setting} names it)" if setting else ""
            raise ValueError(f"{self.place} has no field {name!r}{hint}; it has {', '.join(map(repr, self.values))}")
        return self.values[name]

    def text(self, name: str, setting: str = "") -> str:
        """A field as text: "" for nothing, truths and numbers as JSON spells them. ValueError if it is anything else,
        or holds half a character.
        """
        value = self.value(name, setting)
        if value is None or value != value:  # NaN: an empty cell to pandas
            return ""
        text = json.dumps(value) if isinstance(value, bool | int | float) else value
        if not isinstance(text, str) or HALF.search(text):
            what = NOT_TEXT.get(type(value).__name__, type(value).__name__)
            raise ValueError(f"{self.place}: the field {name!r} must be text, not {what}")
        return text


class Listing(NamedTuple):
    """The files of a folder that are read, by name, and why others are skipped; a file by itself is all there is."""

    root: Path
    read: list[Path]
    skipped: dict[Path, str]

    def __str__(self) -> str:
        names = sorted(f"{path.relative_to(self.root).as_posix()} ({why})" for path, why in self.skipped.items())
        more = [f"and {len(names) - 5:,} more"] if len(names) > 5 else []
        skipped = f"; skipped: {', '.join([*names[:5], *more])}" if names else ""
        return f"{len(self.read):,} file{'s' * (len(self.read) != 1)}{skipped}"


@dataclass(frozen=True, kw_only=True)
class OfFolder(ABC):
    """What is read from a local folder or file, which must not change meanwhile."""

    kinds: ClassVar[tuple[str, ...]] = SUFFIXES
    digest: str
    folder: Path = field(metadata={"identity": False}, compare=False)

    @property
    def label(self) -> str:
        return f"{'file' if self.folder.is_file() else 'folder'} {self.folder.name}"

    @classmethod
    def of(cls, folder: Path, **options: Any) -> Self:
        """With the files as they are; ValueError if there are none, or as for `listing`."""
        if not folder.exists():
            raise ValueError(f"{shown(folder, LONGEST_NAME)}: no such folder or file")
        found = listing(folder, cls.kinds)
        if not found.read:
            skipped = str(found).removeprefix("0 files")
            raise ValueError(f"{folder} holds no {', '.join(cls.kinds[:-1])} or {cls.kinds[-1]} files{skipped}")
        return cls(digest=digest_files(found.read, found.root), folder=folder, **options)

    @abstractmethod
    def read(self, files: Iterable[Path]) -> Iterator[Any]:
        """What these files hold; ValueError names the line or row that is not as it should be."""

    def everything(self) -> Iterator[Any]:
        """What all files hold, by kind and name of file; ValueError also if they are not those of the digest."""
        found = listing(self.folder, self.kinds)
        if digest_files(found.read, found.root) != self.digest:
            raise ValueError(f"{self.folder} has changed since the study was opened")
        yield from self.read(found.read)

    def check(self, *, whole: bool) -> str:
        """What is read and what is skipped. Raises ValueError for faults: of everything or, if not `whole`, of how each
        file begins and of what is not text.
        """
        found = listing(self.folder, self.kinds)
        for file in found.read:
            if not whole and kind(file) != ".parquet":
                deque(lines(file), 0)
            deque(islice(self.read([file]), None if whole else 1), 0)
        return f"{self.label}: {found}"


def kind(file: Path) -> str:
    """The suffix that says what a file holds, in lower case: that before .gz or .zst."""
    below, last = ["", "", *map(str.lower, file.suffixes)][-2:]
    return below if last in PACKED else last


def listing(place: Path, kinds: tuple[str, ...] = SUFFIXES) -> Listing:
    """The files of these kinds below a folder. Skipped are hidden files and folders, those of `UNREAD`, and links to
    folders below it, which are read where they are. ValueError, naming it, for links out of the folder or to nothing,
    pipes and devices; OSError if a folder cannot be read.
    """
    if not place.is_dir():
        return Listing(place.parent, [place] if kind(place) in kinds and place.is_file() else [], {})
    found, opened = Listing(place, [], {}), [place]
    while opened:  # no recursion: folders may be a thousand deep
        with os.scandir(opened.pop()) as entries:
            for path in (Path(entry.path) for entry in entries):
                if path.name.startswith(".") or path.name in UNREAD:
                    found.skipped[path] = "hidden, or of a program"
                elif _is_folder(path, kinds, place):
                    opened.append(path)
                elif path.is_dir():
                    found.skipped[path] = "a link to a folder"
                elif kind(path) in kinds:
                    found.read.append(path)
                else:
                    found.skipped[path] = "another kind of file"
    return found._replace(read=sorted(found.read))


def _is_folder(path: Path, kinds: tuple[str, ...], place: Path) -> bool:
    folder, wanted = path.is_dir(), kind(path) in kinds
    link, real = path.is_symlink() and (folder or wanted), os.path.realpath
    if link and not (path.exists() and Path(real(path)).is_relative_to(real(place))):
        raise ValueError(f"{path} is a link that leads out of {place}, or to nothing; must be a copy")
    if wanted and not folder and not path.is_file():
        raise ValueError(f"{path} is neither file nor folder; must be a regular file")
    return folder and not path.is_symlink()


def rows_of(files: Iterable[Path], text_field: str = "text") -> Iterator[Record]:
    """The rows of files, by kind of file; one of plain text is a row with this field. ValueError for a damaged one."""
    for file in sorted(files, key=lambda file: SUFFIXES.index(kind(file))):
        if read := READERS.get(kind(file)):
            yield from read(file)
        else:
            yield Record(str(file), {text_field: "".join(lines(file))})


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    # Imported here: the command line checks parameters without it.
    import pyarrow as pa

    packing = PACKED.get(file.suffix.lower())
    try:
        with file.open("rb") as data:
            yield pa.input_stream(data, compression=packing) if packing else data
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None):  # the system's, not that of a library that unpacks
            raise
        raise ValueError(f"{file}: damaged, or not what its name says: {error}") from None


def lines(file: Path) -> Iterator[str]:
    """The lines of a text file, without a mark of byte order; ValueError names the first that is not UTF-8."""
    with _opened(file) as data, io.TextIOWrapper(data, encoding="utf-8-sig", errors="surrogateescape") as text:
        for number, line in enumerate(text, start=1):
            if not line.isascii() and HALF.search(line):
                raise ValueError(f"{file}, line {number}: not text in UTF-8")
            yield line


def _json(file: Path) -> Iterator[Record]:
    """A list of rows, or one; or a row on each line, as in many a file that is not called .jsonl."""
    texts: Iterable[tuple[str, str]] = ((f"{file}, line {n}", line) for n, line in enumerate(lines(file), start=1))
    if kind(file) == ".json" and not ROW_ENDS.search(whole := "".join(lines(file))):
        texts = [(str(file), whole)]
    for place, text in texts:
        try:
            found = json.loads(text) if text.strip() else []
        except (ValueError, RecursionError) as error:  # the second for lists in lists in lists
            raise ValueError(f"{place}: not JSON: {error}") from None
        rows = enumerate(found, start=1) if isinstance(found, list) else [(0, found)]
        for number, row in rows:
            where = f"{place}, row {number}" if number else place
            if not isinstance(row, dict):
                raise ValueError(f"{where}: no JSON object")
            yield Record(where, row)


def _csv(file: Path) -> Iterator[Record]:
    """Cells are text, whatever they look like; the header tells what separates them."""
    csv.field_size_limit(LONGEST_CELL)
    text = lines(file)
    header = next(text, "")
    rows = csv.DictReader(chain([header], text), delimiter=max(",;\t", key=header.count), strict=True)
    try:
        for row in rows:
            if None in row or None in row.values():
                raise csv.Error("has more or fewer fields than the header")
            yield Record(f"{file}, line {rows.line_num}", row)
    except csv.Error as error:
        raise ValueError(f"{file}, line {rows.reader.line_num}: not CSV: {error}") from None


def _parquet(file: Path) -> Iterator[Record]:
    from pyarrow import BufferReader, parquet

    with _opened(file) as data, parquet.ParquetFile(data if data.seekable() else BufferReader(data.read())) as table:
        rows = (row for batch in table.iter_batches() for row in batch.to_pylist())
        yield from (Record(f"{file}, row {number}", row) for number, row in enumerate(rows, start=1))


READERS = {".jsonl": _json, ".json": _json, ".csv": _csv, ".parquet": _parquet}
