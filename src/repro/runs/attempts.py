"""How often a run has been tried: repeated crashes give up after `TRIES`, repeated wall-time kills do not.

A run that raises, or whose worker dies, is tried again from its checkpoint. The count starts anew in every call of
`run` and, if the worker died, whenever the checkpoint has got further: the wall time of batch jobs, or a user who kills
the whole study, may interrupt a long run any number of times.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repro.runs.folder import LEDGER, Corrupt, Freed, Linked, Missing
from repro.runs.spec import SCRATCH

TRIES = 3
FULL = (errno.ENOSPC, errno.EDQUOT)
CANNOT_WRITE = (*FULL, errno.EROFS)
ABSOLUTE = re.compile(r"(?<![\w.:/])(?:/[\w.@+-]+)+")  # a path in a message
ROOM = 2**30  # bytes; with this many left, and four times what the run has written, a disk is not full
SPOILT = (Corrupt, Freed, Missing)  # what a run builds on has to be run again first


class GaveUp(RuntimeError):
    """A run whose worker died as often as is allowed."""


class Unwritable(RuntimeError):
    """The store's disk is full, or nothing may be written there."""


def count(part: Path, session: str) -> int:
    """Note another try of the run in `part`, and return its number, from 1, at this checkpoint and in this session.

    Raises GaveUp if it has been tried `TRIES` times before.
    """
    place = _place(part / SCRATCH)
    noted = _noted(part)
    # Each session's tries are kept: two that take turns must not reset each other's count.
    known = noted["tries"] if noted.get("place") == place else {}
    before = int(known.get(session, 0))
    if before >= TRIES:
        why = "killed, out of memory, a crash, or the end of a job's time"
        raise GaveUp(f"its worker died {before} times at the same place: {why}")
    new = part / f"{LEDGER}.new"
    try:
        new.write_text(json.dumps({"place": place, "tries": known | {session: before + 1}}))
        new.replace(part / LEDGER)
    finally:
        new.unlink(missing_ok=True)
    return before + 1


def tries(part: Path, session: str) -> int:
    """How often the run in `part` has been tried in this session since its checkpoint last got further."""
    return int(_noted(part).get("tries", {}).get(session, 0))


def hopeless(error: Exception) -> bool:
    """Whether a retry would end the same unless something else runs first."""
    return isinstance(error, (FloatingPointError, Unwritable, GaveUp, Linked, *SPOILT))


def device_broken(error: Exception) -> bool:
    """Whether the process that raised `error` cannot use its device any more, as after most errors of CUDA.

    An error with a note comes from another process, one of several that shared a run; that process has ended.
    """
    return "CUDA error" in str(error) and not getattr(error, "__notes__", ())


def unwritable(error: BaseException, path: Path) -> Unwritable | None:
    """An Unwritable if `error`, or one that led to it, says that the disk of the run in `path` is full or read-only.

    None if it concerns another disk, such as that of /tmp or of shared memory: that is a failure like any other.
    """
    for cause in chain(error):
        refused = _cannot_write(cause)
        if refused is not None and _concerns(refused, str(cause), path):
            return refusal(refused, path)
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what led to it, what led to that, and so on; each once, because an error may be its own cause."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        yield link
        seen.add(id(link))
        link = link.__cause__ or link.__context__


def _cannot_write(error: BaseException) -> OSError | None:
    if isinstance(error, OSError):
        return error if error.errno in CANNOT_WRITE else None
    for number in CANNOT_WRITE:  # libraries in other languages give it as text
        if os.strerror(number) in str(error) or f"os error {number}" in str(error):
            return OSError(number, os.strerror(number))
    return None


def _concerns(error: OSError, message: str, path: Path) -> bool:
    """Whether `error` is about the disk of `path`: by the files it names or, if it names none, by trying to write."""
    named = [os.fsdecode(error.filename)] if error.filename else ABSOLUTE.findall(message)
    if named:
        return any(Path(name).resolve().is_relative_to(path.parent.resolve()) for name in named)
    probe = path / "probe.new"
    try:
        probe.write_bytes(bytes(2**20))
    except OSError:
        return True
    finally:
        probe.unlink(missing_ok=True)
    written = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return shutil.disk_usage(path).free < max(ROOM, 4 * written)


def refusal(error: OSError, path: Path) -> Unwritable:
    """The Unwritable for a failed write into the store: one line that names the file."""
    where, why = error.filename or path, (os.strerror(error.errno) if error.errno else str(error)).lower()
    if error.errno in FULL:
        return Unwritable(f"{where}: {why}; what is done is kept: free space and run the same command to resume")
    return Unwritable(f"{where}: cannot be written ({why})")


def _noted(part: Path) -> dict[str, Any]:
    try:
        noted = json.loads((part / LEDGER).read_text())
    except (OSError, ValueError):  # none yet
        return {}
    return noted if isinstance(noted, dict) and isinstance(noted.get("tries"), dict) else {}


def _place(scratch: Path) -> str:
    """A text that changes whenever a checkpoint is saved; files half written (`.new`, or hidden) do not count."""
    whole = (p for p in scratch.rglob("*") if p.suffix != ".new" and not p.name.startswith("."))
    files = sorted(p for p in whole if p.is_file())
    return " ".join(f"{file.name}:{file.stat().st_mtime_ns}" for file in files)
