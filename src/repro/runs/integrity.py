"""The sha256 of every file of a finished folder, written once when it is published and checked at every use."""

import errno
import hashlib
import json
import os
from collections.abc import Container, Iterable
from pathlib import Path

MANIFEST = "manifest.json"


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
