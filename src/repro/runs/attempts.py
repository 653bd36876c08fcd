"""How often a run has been tried: at most `TRIES` times, so that a crash ends and a wall time does not.

A run that raises, or whose worker dies, is tried again from its checkpoint. Tries count anew in every call of `run`
and, where the worker died, once the checkpoint has got further: a batch job's wall time may end a long run any number
of times, and so may whoever kills the whole study.
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
ROOM = 2**30  # bytes; with so many left, and four times what the run has written, a disk is not full
SPOILT = (Corrupt, Freed, Missing)  # what a run builds on has to be done again first


class GaveUp(RuntimeError):
    """A run whose worker died as often as it may."""


class Unwritable(RuntimeError):
    """The store's disk is full, or nothing may be written there."""


def count(part: Path, session: str) -> int:
    """Note another try of the run at work in `part`; which it is, from 1, at this place and in this session.

    Raises:
        GaveUp: if it has been tried `TRIES` times before.

    """
    place = _place(part / SCRATCH)
    noted = _noted(part)
    # Each session's tries are kept: two that take turns must not make each other begin to count again.
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
    """How often the run at work in `part` has been tried in this session since its checkpoint last got further."""
    return int(_noted(part).get("tries", {}).get(session, 0))


def hopeless(error: Exception) -> bool:
    """Whether trying again, without anything else being done first, would end the same."""
    return isinstance(error, (FloatingPointError, Unwritable, GaveUp, Linked, *SPOILT))


def sick(error: Exception) -> bool:
    """Whether the process that met `error` cannot do anything any more on its device, as after most errors of CUDA.

    An error with a note comes from another process, one of several that shared a run, which has ended.
    """
    return "CUDA error" in str(error) and not getattr(error, "__notes__", ())


def unwritable(error: BaseException, path: Path) -> Unwritable | None:
    """`error` in words, if it or what led to it says that the disk of `path`, a run at work, is full or read-only.

    It is not where another disk is, such as that of /tmp or of shared memory: that is a failure like any other.
    """
    for seen in chain(error):
        found = _cannot_write(seen)
        if found is not None and _concerns(found, str(seen), path):
            return refusal(found, path)
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what led to it, what led to that, and so on; each once, for one may be its own cause."""
    seen: BaseException | None = error
    met: set[int] = set()
    while seen is not None and id(seen) not in met:
        yield seen
        met.add(id(seen))
        seen = seen.__cause__ or seen.__context__


def _cannot_write(error: BaseException) -> OSError | None:
    if isinstance(error, OSError):
        return error if error.errno in CANNOT_WRITE else None
    for number in CANNOT_WRITE:  # libraries in other languages tell it as text
        if os.strerror(number) in str(error) or f"os error {number}" in str(error):
            return OSError(number, os.strerror(number))
    return None


def _concerns(error: OSError, message: str, path: Path) -> bool:
    """Whether it is the disk of `path`: by the files that are named, and if none is, by what that disk says itself."""
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
    """What a failed write into the store says, in one line."""
    where, why = error.filename or path, (os.strerror(error.errno) if error.errno else str(error)).lower()
    if error.errno in FULL:
        return Unwritable(f"{where}: {why}; what is done is kept, and goes on once there is room")
    return Unwritable(f"{where}: cannot be written ({why})")


def _noted(part: Path) -> dict[str, Any]:
    try:
        noted = json.loads((part / LEDGER).read_text())
    except (OSError, ValueError):  # none yet
        return {}
    return noted if isinstance(noted, dict) and isinstance(noted.get("tries"), dict) else {}


def _place(scratch: Path) -> str:
    """What changes whenever a checkpoint is saved; one that is only half written (`.new`, or hidden) is none."""
    whole = (p for p in scratch.rglob("*") if p.suffix != ".new" and not p.name.startswith("."))
    files = sorted(p for p in whole if p.is_file())
    return " ".join(f"{file.name}:{file.stat().st_mtime_ns}" for file in files)
