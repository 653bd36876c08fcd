"""Folders that are removed when their work is done, and if it was killed, when the next such work begins."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from filelock import FileLock, Timeout

ALIVE = "alive.lock"  # in the folder, and held as long as it is in use


@contextmanager
def temporary(prefix: str, inside: Path | None = None) -> Iterator[Path]:
    """A new folder of this user alone in `inside`, or the system's folder for temporary files, while the context lasts;
    what killed processes left there is removed first.
    """
    for left in abandoned(prefix, inside):
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=prefix, dir=inside) as name:
        new = Path(name, f"{ALIVE}.new")
        with FileLock(new, mode=0o600):
            new.rename(new.with_name(ALIVE))  # by its name it is held already: nobody finds it free
            yield Path(name)


def abandoned(prefix: str, inside: Path | None = None) -> list[Path]:
    """The folders that `temporary` made for this user, and whose process is gone."""
    locks = (inside or Path(gettempdir())).glob(f"{prefix}*/{ALIVE}")
    # Not of other users, who may put links there.
    return [lock.parent for lock in locks if lock.parent.lstat().st_uid == os.getuid() and _free(lock)]


def _free(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return True
    except (Timeout, FileNotFoundError):
        return False
