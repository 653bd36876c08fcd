"""A store of runs. A folder under its final name is the only sign that a stage is done.

Work happens in ``<folder>.part``; its files are hashed into ``manifest.json`` and one rename publishes it. A
process that dies leaves its ``.part``, from whose checkpoint the next attempt resumes. Weights may be freed: what is
left of a run still serves tables, and it is done again only if a stage that builds on it has to run.
"""

import hashlib
import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from repro.runs import attempts, folder
from repro.runs.folder import MANIFEST, Corrupt, Freed, Missing, Stuck, manifest, refuse_link, verify
from repro.runs.progress import LOG
from repro.runs.provenance import provenance
from repro.runs.spec import Machine, Stage, Work, canonical

RECORD, FREED, QUARANTINE, LOCKS = "record.json", "freed", "quarantine", ".locks"
WORDLESS_SECONDS = 5.0  # a run that another process does is waited for so long without a word
FAILURES = {"diverged": "diverged.txt", "failed": "failure.txt"}  # status -> where its traceback is kept


@dataclass(frozen=True)
class Shelf:
    """A folder of finished stages, safe to share between processes."""

    root: Path

    def path(self, stage: Stage) -> Path:
        """Where the finished stage lies, whether or not it is there yet."""
        return self.root / stage.folder

    def part(self, stage: Stage) -> Path:
        """Where the stage is worked at."""
        return self.root / f"{stage.folder}.part"

    def has(self, stage: Stage) -> bool:
        """Whether the stage is done, be it that its weights have been freed since.

        Raises:
            Linked: if a symbolic link lies where its folder should be, or where it is worked at.

        """
        refuse_link(self.path(stage))
        refuse_link(self.part(stage))
        return (self.path(stage) / MANIFEST).is_file()

    def whole(self, stage: Stage) -> bool:
        """Whether the stage is done and everything it left is there to build on."""
        return self.has(stage) and not (self.path(stage) / FREED).exists()

    def record(self, stage: Stage) -> dict[str, Any]:
        """What is known of the finished run: stage, commit, packages, hardware, seconds.

        Raises:
            FileNotFoundError: if the stage is not done. Corrupt: if the record was altered.

        """
        record: dict[str, Any] = json.loads(self.file(stage, RECORD).read_text())
        return record

    def status(self, stage: Stage) -> str:
        """ "done"; "diverged" or "failed" (the last attempt left a traceback); "begun" (it can resume) or "missing"."""
        if self.has(stage):
            return "done"
        kept = self.failure(stage)
        if kept is not None:
            return next(status for status, name in FAILURES.items() if name == kept.name)
        return "begun" if self.part(stage).is_dir() else "missing"

    def failure(self, stage: Stage) -> Path | None:
        """The file with the traceback of the last attempt, if that failed."""
        return next((file for name in FAILURES.values() if (file := self.part(stage) / name).is_file()), None)

    def file(self, stage: Stage, name: str) -> Path:
        """One file of a finished stage, checked against the manifest; its other files need not be there any more.

        Raises:
            FileNotFoundError: if the stage is not done. Corrupt: if the file is missing or altered; the folder has
                then been set aside, so that the stage can be done again.

        """
        self._check(stage, [name])
        return self.path(stage) / name

    def finished(self, stage: Stage) -> Path:
        """The folder of a finished stage, all its files checked against the manifest.

        Raises:
            FileNotFoundError: if the stage is not done. Corrupt: as `file`. Freed: if its weights are not here.

        """
        self._refuse_freed(stage)
        self._check(stage, None)
        return self.path(stage)

    def _refuse_freed(self, stage: Stage) -> None:
        if self.has(stage) and not self.whole(stage):
            raise Freed(f"the weights of {stage.label} have been freed: {self.path(stage)}")

    def published(self, stage: Stage) -> dict[str, str]:
        """The sha256 of every file that a finished stage left, those checked that have not been freed.

        Raises:
            FileNotFoundError, Corrupt: as `file`.

        """
        self.file(stage, RECORD)
        digests = manifest(self.path(stage))
        self._check(stage, list(digests), even_freed=True)
        return digests

    def outcome(self, stage: Stage) -> str:
        """SHA-256 over what a finished stage left, as its manifest has it and without looking at the files; its record,
        which tells hours and machines, is no part of it. "" without a manifest, or with a spoilt one, which is found on
        use.
        """
        try:
            digests = manifest(self.path(stage))
        except Corrupt:
            return ""
        told = json.dumps({name: digest for name, digest in digests.items() if name != RECORD}, sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    def weights(self, stage: Stage) -> list[Path]:
        """The files of a finished stage that only stages which build on it read, as far as they are there."""
        if stage.weights is None or not self.has(stage):
            return []
        return sorted(self.path(stage).glob(stage.weights))

    def _check(self, stage: Stage, names: list[str] | None, *, even_freed: bool = False) -> None:
        if not self.has(stage):
            raise Missing(f"{stage.label} has not been run: nothing at {self.path(stage)}")
        try:
            self._verify(stage, names, even_freed)
        except Corrupt:
            self._set_aside_if(stage, names, even_freed)

    def _verify(self, stage: Stage, names: list[str] | None, even_freed: bool) -> None:
        freed = even_freed and stage.weights is not None and not self.whole(stage)
        if freed and names is not None:
            names = [n for n in names if not fnmatch(n, str(stage.weights)) or (self.path(stage) / n).exists()]
        verify(self.path(stage), names)

    def _set_aside_if(self, stage: Stage, names: list[str] | None, even_freed: bool) -> None:
        """Look again while nobody else can: another process may have freed it, or be done doing it again."""
        try:
            with self.locked(stage):
                if names is None:
                    self._refuse_freed(stage)
                if not self.has(stage):
                    raise Missing(f"{stage.label} has just been set aside: nothing at {self.path(stage)}")
                try:
                    self._verify(stage, names, even_freed)
                except Corrupt as error:
                    raise self.set_aside(stage, str(error)) from None
        except attempts.Unwritable as error:
            raise Stuck(
                f"{stage.label} is spoilt and cannot be set aside, so nothing is built on it: {error}"
            ) from None

    def set_aside(self, stage: Stage, why: str) -> Corrupt:
        """Move a folder that cannot be trusted out of the way; the error that says so. Its lock must be held."""
        aside = self.root / QUARANTINE
        taken = {path.name for path in aside.glob("*")}
        name = next(name for n in range(1, len(taken) + 2) if (name := f"{stage.folder}-{n}") not in taken)
        try:
            aside.mkdir(exist_ok=True)
            self.path(stage).rename(aside / name)
        except OSError as error:
            told = (error.strerror or str(error)).lower()
            return Stuck(f"{why}; it cannot be set aside ({told}), so nothing is built on it")
        return Corrupt(f"{why}; its folder was set aside as {aside / name}")

    @contextmanager
    def locked(self, stage: Stage) -> Iterator[None]:
        """Only one process at a time; the kernel takes the lock from one that dies.

        Lock files stay: whoever removed one could not know that no other process has just opened it.

        Raises:
            Unwritable: if no lock can be had there.

        """
        locks = self.root / LOCKS
        # A file system without locks is refused: what filelock would do instead outlives a process that dies.
        lock = FileLock(locks / f"{stage.folder}.lock", fallback_to_soft=False)
        with telling(self.root):
            locks.mkdir(parents=True, exist_ok=True)
            try:
                _acquire(lock, stage)
            except NotImplementedError as error:
                raise attempts.Unwritable(
                    f"{locks}: this file system has no locks (flock), which runs rely on"
                ) from error
        try:
            yield
        finally:
            lock.release()


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Whatever keeps the store itself from writing is told as such: trying again would not help."""
    try:
        yield
    except OSError as error:
        raise attempts.refusal(error, path) from error


def _acquire(lock: FileLock, stage: Stage) -> None:
    """Take the lock of a stage, with a word to the user where it has to be waited for."""
    try:
        lock.acquire(timeout=WORDLESS_SECONDS)
    except Timeout:
        LOG.warning("%s is being done by another process; waiting for it", stage.label)
        lock.acquire()


class Store(Shelf):
    """A folder of finished stages, and the making of those that are missing."""

    def build(self, stage: Stage, machine: Machine, report: Callable[[float], None], session: str = "") -> Path:
        """Do `stage` unless it is done; its upstream stages must be. Of several processes one works.

        session: what tries are counted in, see :mod:`repro.runs.attempts`; "" counts none.

        Raises:
            Unwritable: if the disk is full or nothing may be written. GaveUp: after too many tries. Corrupt: if what
                the stage builds on, or the remains of the stage itself, were not as they should be. And whatever the
                stage raises.

        """
        final, part = self.path(stage), self.part(stage)
        with self.locked(stage):
            if not self.whole(stage):
                self._clear_the_way(stage)
                if not folder.sealed(part):
                    self._attempt(stage, part, machine, report, session)
                with telling(part):
                    _tell_differences(stage, folder.publish(part, final, ignoring=RECORD))
        report(1.0)
        return final

    def _clear_the_way(self, stage: Stage) -> None:
        with telling(self.root):
            folder.recover(self.path(stage))
        if self.path(stage).exists() and not self.has(stage):
            raise self.set_aside(stage, f"{self.path(stage)} has lost its {MANIFEST}")

    def _attempt(
        self, stage: Stage, part: Path, machine: Machine, report: Callable[[float], None], session: str
    ) -> None:
        try:
            with telling(part):
                folder.prepare(part)
                if session:
                    attempts.count(part, session)
        except attempts.GaveUp as error:
            _note(part, error)
            raise
        try:
            self._work(stage, part, machine, report)
        except Exception as error:
            full = attempts.unwritable(error, part)
            if full is not None:
                raise full from error
            _note(part, error)
            raise
        with telling(part):
            folder.seal(part)

    def _work(self, stage: Stage, part: Path, machine: Machine, report: Callable[[float], None]) -> None:
        started = time.time()
        try:
            stage.execute(Work(path=part, inputs=self.finished, machine=machine, report=report))
        except SystemExit as error:  # which nobody would take for a failure
            raise RuntimeError(f"it ended itself with exit status {error.code}") from error
        record = {"key": stage.key, "label": stage.label, "stage": canonical(stage)}
        record |= provenance(machine.device) | {"seconds": round(time.time() - started, 3)}
        (part / RECORD).write_text(json.dumps(record, indent=1) + "\n")

    def free(self, stage: Stage) -> int:
        """Remove the weights of a finished stage; returns how many bytes that was. What is left stays verified."""
        with self.locked(stage):
            files = self.weights(stage)
            size = sum(file.stat().st_size for file in files)
            if files:
                # First, so that a kill here leaves nothing unexplained; an empty file fits on a full disk too.
                (self.path(stage) / FREED).touch()
                for file in files:
                    file.unlink()
            return size


def _tell_differences(stage: Stage, names: list[str]) -> None:
    """Say so where a run whose weights had been freed has come out differently: its tables have changed with it."""
    if names:
        told = ", ".join(names)
        LOG.warning("%s, done again, is not what it was in %s: another machine?", stage.label, told)


def _note(part: Path, error: Exception) -> None:
    """Leave the traceback of a failed attempt in its folder."""
    status = "diverged" if isinstance(error, FloatingPointError) else "failed"
    with telling(part):
        (part / FAILURES[status]).write_text("".join(traceback.format_exception(error)))
