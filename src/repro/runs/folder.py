"""The sha256 of every file of a finished folder, written once when it is published and checked at every use."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Container, Iterable
from pathlib import Path

from repro.runs.spec import SCRATCH

MANIFEST = "manifest.json"

LEDGER = "attempts.json"
KEPT = (SCRATCH, LEDGER)  # what outlives an attempt, and is no part of the result


class Corrupt(RuntimeError):
    """A finished folder whose files are not those of its manifest."""


class Stuck(Corrupt):
    """One that cannot be set aside either, so that it cannot be done again."""


class Missing(FileNotFoundError):
    """A stage that has to be done, and is not: it has not been run, or another process has just set it aside."""


class Freed(RuntimeError):
    """A finished stage whose weights have been freed."""


class Linked(RuntimeError):
    """A symbolic link where the folder of a run should be: what it points to is not ours to trust or to replace."""


def write_manifest(folder: Path, without: Container[str] = ()) -> None:
    """Hash every file under `folder` into its manifest, which is there at once or not at all.

    All of it is on the disk by then, and not only on its way: what resumption would need may go afterwards.

    without: files and folders right in `folder` that are no part of it.
    """
    top = sorted(path for path in folder.iterdir() if path.name not in without and path.name != MANIFEST)
    files = [file for path in top for file in [path, *sorted(path.rglob("*"))] if file.is_file()]
    digests = {str(file.relative_to(folder)): _digest(file) for file in files}
    for path in [*files, *{file.parent for file in files}]:
        _sync(path)
    new = folder / f"{MANIFEST}.new"
    try:
        new.write_text(json.dumps(digests, indent=1) + "\n")
        _sync(new)
        new.replace(folder / MANIFEST)
    finally:
        new.unlink(missing_ok=True)


def manifest(folder: Path) -> dict[str, str]:
    """The sha256 of each file of a finished folder, by its name there.

    Raises:
        Corrupt: if the manifest itself cannot be read.

    """
    try:
        digests = json.loads((folder / MANIFEST).read_text())
    except (ValueError, FileNotFoundError):  # neither JSON nor text, or gone; what else fails says nothing of the file
        raise Corrupt(f"{folder / MANIFEST} was altered since it was published") from None
    if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
        raise Corrupt(f"{folder / MANIFEST} was altered since it was published")
    return digests


def verify(folder: Path, names: Iterable[str] | None = None) -> None:
    """Check files of a finished folder, by default all, against its manifest.

    Raises:
        Corrupt: naming the first file that is missing or altered.

    """
    digests = manifest(folder)
    for name in digests if names is None else names:
        file, digest = folder / name, digests.get(name)
        if not file.is_file():
            raise Corrupt(f"{file} is missing since it was published")
        if _digest(file) != digest:
            raise Corrupt(f"{file} was altered since it was published")


def refuse_link(path: Path) -> None:
    """Refuse a run's folder that is a symbolic link.

    Raises:
        Linked: if it is one.

    """
    if path.is_symlink():
        raise Linked(f"{path} is a symbolic link: a run is a folder of its own, so remove the link")


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


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def prepare(part: Path) -> None:
    """An empty folder but for what resumption needs: what a killed attempt left half written must not be published."""
    part.mkdir(exist_ok=True)
    for path in part.iterdir():
        if path.is_symlink() or not path.is_dir():
            if path.name != LEDGER:
                path.unlink()
        elif path.name != SCRATCH:
            shutil.rmtree(path)


def seal(part: Path) -> None:
    """Say that the work is done. From here on nothing of it is lost, should publishing be cut short."""
    write_manifest(part, without=KEPT)


def sealed(part: Path) -> bool:
    """Whether an earlier attempt did all the work, and only did not live to publish it."""
    if not (part / MANIFEST).is_file():
        return False
    try:
        verify(part)
    except Corrupt:
        return False
    return True


def publish(part: Path, final: Path, ignoring: str) -> list[str]:
    """Put `part` in place of `final`, of which at most the weights had been freed.

    Returns:
        The files of `final` that `part` has otherwise, `ignoring` aside.

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


def _differing(one: Path, other: Path, ignoring: str) -> list[str]:
    after = manifest(other)
    try:
        before = manifest(one)
    except Corrupt:  # there is nothing left to compare with
        return []
    return sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n) and n != ignoring)


def recover(final: Path) -> None:
    """Put back what `publish` had moved away, if it was cut short right then."""
    old = overtaken(final)
    if old.is_dir() and not final.exists():
        old.rename(final)


def overtaken(final: Path) -> Path:
    """Where a finished folder lies while another takes its place."""
    return final.with_name(f"{final.name}.old")
