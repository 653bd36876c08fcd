"""The stamp of an executed notebook: that all its cells ran, from what, and that the file is still what was written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

STAMP = "repro"  # key of our stamp in the notebook's metadata
MARK = b'"file_sha256": "'  # a name that nothing else in a notebook has
BLANK = "0" * 64


def write_stamped(nb: NotebookNode, path: Path, stamp: dict[str, Any]) -> None:
    """Write a notebook with `stamp` and the SHA-256 of the whole file, as it is with zeros in the hash's place."""
    nb.metadata[STAMP] = stamp | {"file_sha256": BLANK}
    blank = nbformat.writes(nb).encode()
    before, after = _around(blank)
    path.write_bytes(before + hashlib.sha256(blank).hexdigest().encode() + after)


def stamp_of(path: Path) -> dict[str, Any] | None:
    """The stamp of an executed notebook; None where there is none, or the file is not as it was written."""
    try:
        return stamp_in(path.read_bytes())
    except FileNotFoundError:
        return None


def stamp_in(data: bytes) -> dict[str, Any] | None:
    """The stamp in the bytes of an executed notebook; None where there is none, or they were changed."""
    before, after = _around(data)
    given = data[len(before) : len(data) - len(after)]
    if given != hashlib.sha256(before + BLANK.encode() + after).hexdigest().encode():
        return None
    stamp = json.loads(data)["metadata"].get(STAMP, {})
    return dict(stamp) if stamp.get("complete") is True else None


def _around(data: bytes) -> tuple[bytes, bytes]:
    """What stands before and after the hash."""
    before, mark, rest = data.rpartition(MARK)
    return before + mark, rest[len(BLANK) :]
