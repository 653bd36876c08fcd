"""The folder of one run: how it is made, sealed by a manifest of every file's sha256, put under its final name, and
checked at every use.

A run that raises, or whose worker dies, is tried again from its checkpoint, at most `TRIES` times. The count starts
anew in every call of `run` and, if the worker died, whenever the checkpoint has got further: so the wall time of batch
jobs, or a user, may interrupt a long run any number of times.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from repro.output import error_words, replacing
from repro.runs.progress import LOG
from repro.runs.spec import SCRATCH

MANIFEST = "manifest.json"
LEDGER = "attempts.json"
KEPT = (SCRATCH, LEDGER)  # what outlives an attempt, and is no part of the result
TRIES = 3
QUIET_SECONDS = 5.0  # before we say that we are waiting for another process
FULL = (errno.ENOSPC, errno.EDQUOT)
CANNOT_WRITE = (*FULL, errno.EROFS)
ABSOLUTE = re.compile(r"(?<![\w.:/])(?:/[\w.@+-]+)+")  # a path in a message
ROOM = 2**30  # bytes; with this many left, and four times what the run has written, a disk is not full


class Corrupt(RuntimeError):
    """A finished folder whose files are not those of its manifest."""


class Stuck(Corrupt):
    """A corrupt folder that cannot be set aside either, so that its stage cannot be run again."""


class Missing(FileNotFoundError):
    """A stage that is needed and not done: it has not been run, or another process has just set it aside."""


class Freed(RuntimeError):
    """A finished stage whose weights have been freed."""


class Linked(RuntimeError):
    """A symbolic link where the folder of a run should be: what it points to is not ours to trust or to replace."""


class GaveUp(RuntimeError):
    """A run whose worker died as often as is allowed."""


class Unwritable(RuntimeError):
    """The store's disk is full, or nothing may be written there."""


SPOILT = (Corrupt, Freed, Missing)  # what a run builds on has to be run again first


def acquire(lock: FileLock, waiting: str) -> None:
    """Take a lock; warn the user, in the words of `waiting`, if we have to wait for it."""
    try:
        lock.acquire(timeout=QUIET_SECONDS)
    except Timeout:
        LOG.warning("%s", waiting)
        lock.acquire()


@contextmanager
def writing(path: Path, *, ours: bool = False) -> Iterator[None]:
    """Name `path` where there is no room for what is written: a failed write, unlike a failed open, names no file.
    Raises Unwritable; ours: for whatever keeps the store itself from writing, since a retry cannot help.
    """
    try:
        yield
    except OSError as error:
        if not ours and error.errno not in CANNOT_WRITE:
            raise
        raise refusal(error, path) from error


def prepare(part: Path) -> None:
    """Empty `part` but for what resumption needs: what a killed attempt left half written must not be published."""
    part.mkdir(exist_ok=True)
    for path in part.iterdir():
        if path.is_symlink() or not path.is_dir():
            if path.name != LEDGER:
                path.unlink()
        elif path.name != SCRATCH:
            shutil.rmtree(path)


def seal(part: Path) -> None:
    """Write the manifest, at once or not at all, when all files are synced to disk: no resumption is needed then."""
    top = sorted(path for path in part.iterdir() if path.name not in (*KEPT, MANIFEST))
    files = [file for path in top for file in [path, *sorted(path.rglob("*"))] if file.is_file()]
    digests = {str(file.relative_to(part)): _digest(file) for file in files}
    for path in [*files, *{file.parent for file in files}]:
        _sync(path)
    with replacing(part / MANIFEST) as new:
        new.write_text(json.dumps(digests, indent=1) + "\n")
        _sync(new)


def sealed(part: Path) -> bool:
    """Whether an earlier attempt did all the work, and died before it could publish it."""
    if not (part / MANIFEST).is_file():
        return False
    try:
        verify(part)
    except Corrupt:
        return False
    return True


def publish(part: Path, final: Path, ignoring: str) -> list[str]:
    """Put `part` in place of `final`, whose weights may have been freed; names of files that differ, but `ignoring`."""
    shutil.rmtree(part / SCRATCH, ignore_errors=True)
    (part / LEDGER).unlink(missing_ok=True)
    differing = _differing(final, part, ignoring) if final.exists() else []
    put(part, final)
    return differing


def put(new: Path, final: Path) -> None:
    """Put a folder in place of another, if there is one, over which it cannot be renamed."""
    old = overtaken(final)
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def recover(final: Path) -> None:
    """Put back what `put` had moved away, if it was cut short right then."""
    old = overtaken(final)
    if old.is_dir() and not final.exists():
        old.rename(final)


def overtaken(final: Path) -> Path:
    """Where a finished folder lies while another takes its place."""
    return final.with_name(f"{final.name}.old")


def manifest(folder: Path) -> dict[str, str]:
    """The sha256 of each file of a finished folder, by its name there. Corrupt if the manifest cannot be read."""
    try:
        digests = json.loads((folder / MANIFEST).read_text())
    except (ValueError, RecursionError, FileNotFoundError):  # no JSON, or gone; other errors say nothing of the file
        raise Corrupt(f"{folder / MANIFEST} was altered since it was published") from None
    if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
        raise Corrupt(f"{folder / MANIFEST} was altered since it was published")
    return digests


def verify(folder: Path, names: Iterable[str] | None = None) -> None:
    """Check files of a finished folder, by default all, by its manifest; Corrupt names the first missing or altered."""
    digests = manifest(folder)
    for name in digests if names is None else names:
        file, digest = folder / name, digests.get(name)
        if not file.is_file():
            raise Corrupt(f"{file} is missing since it was published")
        if _digest(file) != digest:
            raise Corrupt(f"{file} was altered since it was published")


def refuse_link(path: Path) -> None:
    """Raise Linked if a run's folder is a symbolic link."""
    if path.is_symlink():
        raise Linked(f"{path} is a symbolic link: a run is a folder of its own, so remove the link")


def _differing(before: Path, after: Path, ignoring: str) -> list[str]:
    new = manifest(after)
    try:
        old = manifest(before)
    except Corrupt:  # there is nothing left to compare with
        return []
    return sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n) and n != ignoring)


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems cannot do it to a folder; what the manifest says is checked at every use anyway.
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)):
            raise
    finally:
        os.close(handle)


def count(part: Path, session: str) -> int:
    """The number of this try, from 1, at this checkpoint and in this session; GaveUp after `TRIES` before it."""
    place = _place(part / SCRATCH)
    noted = _noted(part)
    # Each session's tries are kept: two that take turns must not reset each other's count.
    known = noted["tries"] if noted.get("place") == place else {}
    before = int(known.get(session, 0))
    if before >= TRIES:
        why = "killed, out of memory, a crash, or the end of a job's time"
        raise GaveUp(f"its worker died {before} times at the same place: {why}")
    with replacing(part / LEDGER) as new:
        new.write_text(json.dumps({"place": place, "tries": known | {session: before + 1}}))
    return before + 1


def tries(part: Path, session: str) -> int:
    """How often the run in `part` has been tried in this session since its checkpoint last got further."""
    return int(_noted(part).get("tries", {}).get(session, 0))


def hopeless(error: Exception) -> bool:
    """Whether a retry would end the same unless something else runs first."""
    return isinstance(error, (FloatingPointError, ValueError, Unwritable, GaveUp, Linked, *SPOILT))


def device_broken(error: Exception) -> bool:
    """Whether the process that raised `error` cannot use its device any more, as after most errors of CUDA. An error
    with a note comes from another process of a shared run, which has ended.
    """
    return "CUDA error" in str(error) and not getattr(error, "__notes__", ())


def unwritable(error: BaseException, path: Path) -> Unwritable | None:
    """An Unwritable if `error`, or one that led to it, says that the disk of `path` is full or read-only; None for
    another disk, such as that of /tmp or shared memory.
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
    where, why = error.filename or path, error_words(error)
    if error.errno in FULL:
        return Unwritable(f"{where}: {why}; what is done is kept: free space and run the same command to resume")
    return Unwritable(f"{where}: cannot be written ({why})")


def _noted(part: Path) -> dict[str, Any]:
    try:
        noted = json.loads((part / LEDGER).read_text())
    except (OSError, ValueError, RecursionError):  # none yet
        return {}
    return noted if isinstance(noted, dict) and isinstance(noted.get("tries"), dict) else {}


def _place(scratch: Path) -> str:
    """A text that changes whenever a checkpoint is saved; files half written (`.new`, or hidden) do not count."""
    whole = (p for p in scratch.rglob("*") if p.suffix != ".new" and not p.name.startswith("."))
    files = sorted(p for p in whole if p.is_file())
    return " ".join(f"{file.name}:{file.stat().st_mtime_ns}" for file in files)
