"""What leaves the program: text of unknown origin made safe to show, and files written whole or not at all."""

import os
import secrets
import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import combinations
from pathlib import Path

LONGEST, LONGEST_NAME = 80, 300  # characters of a value, and of the name of a file, that a message repeats


class NotWritten(RuntimeError):
    """A file, or standard output, that cannot be written; what a file held before is still there."""


def safe(text: object, keep: str = "") -> str:
    r"""Text of unknown origin, such as a label or the name of a file, as visible characters on one line.

    Control characters, line ends, marks that turn the direction of writing and whatever else is invisible are escaped
    as in Python ("\n", "\u202e"), bytes of a name that are not UTF-8 as "\xff". keep: characters that stay.
    """
    return "".join(letter if letter.isprintable() or letter in keep else _escaped(letter) for letter in str(text))


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # how Python holds a byte that is not UTF-8
        return f"\\x{ord(letter) & 0xFF:02x}"
    return letter if unicodedata.category(letter) == "Zs" else letter.encode("unicode_escape").decode()


def shown(text: object, longest: int = LONGEST) -> str:
    """`safe` text, shortened."""
    start = safe(str(text)[: longest + 1])
    return start if len(start) <= longest else f"{start[: longest - 3]}..."


def same_file(paths: Iterable[Path]) -> bool:
    """Whether any two of the paths are one file, by name or by a link, hard or symbolic, there yet or not."""
    return any(_same(one, other) for one, other in combinations(paths, 2))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there yet
        return os.path.realpath(one) == os.path.realpath(other)


def refused(path: Path) -> bool:
    """Whether nothing can be written at this place: a folder, no folder around it, a circle of links, no permission."""
    target = Path(os.path.realpath(path))
    return (
        target.is_dir() or target.is_symlink() or not os.access(target if target.exists() else target.parent, os.W_OK)
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file to write beside `path`, whose place it then takes: that is whole, or as before."""
    new = path.with_name(f".{secrets.token_hex(8)}.new")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a file that is then whole or as before; a link stays a link to it.

    What is no file, such as /dev/stdout, is written as it is. Raises NotWritten, which names the file.
    """
    target = Path(os.path.realpath(path))
    there = target.exists()
    try:
        with nullcontext(target) if there and not target.is_file() else replacing(target) as new:
            new.write_text(text, encoding="utf-8")
            if there and new != target:
                shutil.copymode(target, new)
    except OSError as error:
        raise NotWritten(f"{shown(path, LONGEST_NAME)}: cannot be written: {error_words(error)}") from None


def error_words(error: OSError) -> str:
    """What the system says of a failure, as in the middle of a sentence."""
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
