"""The folder of one run: how it is made, sealed by a manifest, put under its final name, and checked at every use.

The manifest holds the sha256 of every file; it is written once, when all the work is done.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from repro.runs.spec import SCRATCH

MANIFEST = "manifest.json"
LEDGER = "attempts.json"
KEPT = (SCRATCH, LEDGER)  # what outlives an attempt, and is no part of the result


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
    """Hash every file of the result into the manifest, which is there at once or not at all.

    All of it is synced to the disk by then: nothing is lost if publishing is cut short, and what resumption needs may
    be removed.
    """
    top = sorted(path for path in part.iterdir() if path.name not in (*KEPT, MANIFEST))
    files = [file for path in top for file in [path, *sorted(path.rglob("*"))] if file.is_file()]
    digests = {str(file.relative_to(part)): _digest(file) for file in files}
    for path in [*files, *{file.parent for file in files}]:
        _sync(path)
    new = part / f"{MANIFEST}.new"
    try:
        new.write_text(json.dumps(digests, indent=1) + "\n")
        _sync(new)
        new.replace(part / MANIFEST)
    finally:
        new.unlink(missing_ok=True)


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
    """Put `part` in place of `final`, of which at most the weights had been freed; the names of files that differ.

    ignoring: a file that may differ.
    """
    shutil.rmtree(part / SCRATCH, ignore_errors=True)
    (part / LEDGER).unlink(missing_ok=True)
    old = overtaken(final)
    differing: list[str] = []
    if final.exists():
        differing = _differing(final, part, ignoring)
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    part.replace(final)
    shutil.rmtree(old, ignore_errors=True)
    return differing


def recover(final: Path) -> None:
    """Put back what `publish` had moved away, if it was cut short right then."""
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
    except (ValueError, FileNotFoundError):  # neither JSON nor text, or gone; other errors say nothing of the file
        raise Corrupt(f"{folder / MANIFEST} was altered since it was published") from None
    if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
        raise Corrupt(f"{folder / MANIFEST} was altered since it was published")
    return digests


def verify(folder: Path, names: Iterable[str] | None = None) -> None:
    """Check files of a finished folder, by default all, against its manifest.

    Raises Corrupt, naming the first file that is missing or altered.
    """
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
