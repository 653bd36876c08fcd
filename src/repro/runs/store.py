"""A store of runs. A folder under its final name is the only sign that a stage is done: work happens in
``<folder>.part``, its files are hashed into ``manifest.json``, and one rename publishes it. The next attempt resumes
from a ``.part`` left behind. A run whose weights were freed still serves tables, and is run again only for one that
builds on it.
"""

import functools
import hashlib
import json
import os
import platform
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from repro.home import home
from repro.output import LONGEST_NAME, error_words, shown
from repro.runs import folder
from repro.runs.folder import MANIFEST, Corrupt, Freed, Missing, Stuck, Unwritable, manifest, refuse_link, verify
from repro.runs.progress import LOG
from repro.runs.spec import Machine, Stage, Work, canonical

RECORD, FREED, QUARANTINE, LOCKS = "record.json", "freed", "quarantine", ".locks"
FAILURES = {"diverged": "diverged.txt", "failed": "failure.txt"}  # status -> where its traceback is kept


@functools.cache
def commit() -> str:
    """The checkout's commit, with "+changes" if tracked files differ from it; "unknown" outside a checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=home(), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changes = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@functools.cache
def packages() -> dict[str, str]:
    """Versions of Python and of every package this project pins for its runs (not for its tests)."""
    pinned = [line for line in metadata.requires("repro") or [] if "extra ==" not in line]
    versions = {"python": platform.python_version()}
    for name in sorted(line.split("==")[0] for line in pinned):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


@functools.cache
def hardware(device: str) -> str:
    """One line naming the processor, or the accelerator, that did the work."""
    if device != "cpu":
        return _accelerator(device)
    memory = round(psutil.virtual_memory().total / 2**30)
    return f"{_processor()}, {os.cpu_count()} logical cores, {memory} GiB"


def _accelerator(device: str) -> str:
    number = int(device.partition(":")[2] or 0)
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    own = visible[number] if number < len(visible) else str(number)
    query = ["nvidia-smi", f"--id={own}", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # containers may lack it, and the run is done by now
        return f"{device}; nvidia-smi does not say which"


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Store:
    """A folder of finished stages, safe to share between processes, and the making of missing ones. Methods raise
    Missing (a FileNotFoundError) for a stage that is not done; Corrupt for a file that is missing or altered since it
    was published, after setting the folder aside so that the stage can be run again; Linked for a run's folder that is
    a symbolic link.
    """

    root: Path

    def __post_init__(self) -> None:
        """Raises Unwritable if anything but a folder is where the runs belong."""
        if os.path.lexists(self.root) and not self.root.is_dir():
            raise Unwritable(f"{shown(self.root, LONGEST_NAME)}: must be a folder, not a file or a link to nothing")

    def path(self, stage: Stage) -> Path:
        """Where the finished stage lies, whether or not it is there yet."""
        return self.root / stage.folder

    def part(self, stage: Stage) -> Path:
        """Where the stage is being made."""
        return self.root / f"{stage.folder}.part"

    def has(self, stage: Stage) -> bool:
        """Whether the stage is done, even if its weights were freed."""
        refuse_link(self.path(stage))
        refuse_link(self.part(stage))
        return (self.path(stage) / MANIFEST).is_file()

    def whole(self, stage: Stage) -> bool:
        """Whether the stage is done and everything it left is there to build on."""
        return self.has(stage) and not (self.path(stage) / FREED).exists()

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

    def record(self, stage: Stage) -> dict[str, Any]:
        """What is known of the finished run: stage, commit, packages, hardware, seconds."""
        record: dict[str, Any] = json.loads(self.file(stage, RECORD).read_text())
        return record

    def file(self, stage: Stage, name: str) -> Path:
        """One file of a finished stage, checked against the manifest; the stage's other files may be gone."""
        self._check(stage, [name])
        return self.path(stage) / name

    def finished(self, stage: Stage) -> Path:
        """The folder of a finished stage, all its files checked against the manifest. Freed if its weights were."""
        self._refuse_freed(stage)
        self._check(stage, None)
        return self.path(stage)

    def published(self, stage: Stage) -> dict[str, str]:
        """The sha256 of every file that a finished stage left; all are checked but those that were freed."""
        self.file(stage, RECORD)
        digests = manifest(self.path(stage))
        self._check(stage, list(digests), even_freed=True)
        return digests

    def outcome(self, stage: Stage) -> str:
        """SHA-256 over what a finished stage left, by its manifest, without the record, which says when and where it
        ran. "" if the manifest is missing or spoilt, which is found on use.
        """
        try:
            digests = manifest(self.path(stage))
        except Corrupt:
            return ""
        text = json.dumps({name: digest for name, digest in digests.items() if name != RECORD}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def weights(self, stage: Stage) -> list[Path]:
        """The files of a finished stage that only stages which build on it read, as far as they are there."""
        if stage.weights is None or not self.has(stage):
            return []
        return sorted(self.path(stage).glob(stage.weights))

    def build(self, stage: Stage, machine: Machine, report: Callable[[float], None], session: str = "") -> Path:
        """Run `stage`, whose upstream stages are done, unless it is done too, and return its folder. Of several
        processes that ask for it one works and the others wait. session: what tries are counted in
        (:mod:`repro.runs.folder`), "" for none. Raises Unwritable if the disk is full or nothing may be written; GaveUp
        after too many tries; Corrupt if what the stage builds on, or its own remains, are not as published; and
        whatever the stage raises.
        """
        final, part = self.path(stage), self.part(stage)
        with self.locked(stage):
            if not self.whole(stage):
                with folder.writing(self.root, ours=True):
                    folder.recover(final)
                if final.exists() and not self.has(stage):
                    raise self._set_aside(stage, f"{final} has lost its {MANIFEST}")
                if not folder.sealed(part):
                    self._attempt(stage, part, machine, report, session)
                with folder.writing(part, ours=True):
                    differing = folder.publish(part, final, ignoring=RECORD)
                if differing:  # tables that read the old files have changed with them
                    LOG.warning("%s was redone and differs in %s: another machine?", stage.label, ", ".join(differing))
        report(1.0)
        return final

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

    @contextmanager
    def locked(self, stage: Stage) -> Iterator[None]:
        """Only one process at a time; the kernel takes the lock from one that dies. Unwritable if there are no locks.
        Lock files stay: a process that removed one could not know that no other has just opened it.
        """
        locks = self.root / LOCKS
        # A file system without locks is refused: what filelock would do instead outlives a process that dies.
        lock = FileLock(locks / f"{stage.folder}.lock", fallback_to_soft=False)
        with folder.writing(self.root, ours=True):
            locks.mkdir(parents=True, exist_ok=True)
            try:
                folder.acquire(lock, f"{stage.label} is being done by another process; waiting for it")
            except NotImplementedError as error:
                raise folder.Unwritable(
                    f"{locks}: this file system has no locks (flock), which runs rely on"
                ) from error
        try:
            yield
        finally:
            lock.release()

    def _refuse_freed(self, stage: Stage) -> None:
        if self.has(stage) and not self.whole(stage):
            raise Freed(f"the weights of {stage.label} have been freed: {self.path(stage)}")

    def _check(self, stage: Stage, names: list[str] | None, *, even_freed: bool = False) -> None:
        if not self.has(stage):
            raise Missing(f"{stage.label} has not been run: nothing at {self.path(stage)}")
        try:
            self._verify(stage, names, even_freed)
        except Corrupt:
            self._set_aside_if_corrupt(stage, names, even_freed)

    def _verify(self, stage: Stage, names: list[str] | None, even_freed: bool) -> None:
        freed = even_freed and stage.weights is not None and not self.whole(stage)
        if freed and names is not None:
            names = [n for n in names if not fnmatch(n, str(stage.weights)) or (self.path(stage) / n).exists()]
        verify(self.path(stage), names)

    def _set_aside_if_corrupt(self, stage: Stage, names: list[str] | None, even_freed: bool) -> None:
        """Look again under the lock: another process may have freed the stage, or have just run it again."""
        try:
            with self.locked(stage):
                if names is None:
                    self._refuse_freed(stage)
                if not self.has(stage):
                    raise Missing(f"{stage.label} has just been set aside: nothing at {self.path(stage)}")
                try:
                    self._verify(stage, names, even_freed)
                except Corrupt as error:
                    raise self._set_aside(stage, str(error)) from None
        except folder.Unwritable as error:
            raise Stuck(
                f"{stage.label} is spoilt and cannot be set aside, so nothing is built on it: {error}"
            ) from None

    def _set_aside(self, stage: Stage, why: str) -> Corrupt:
        """Move a folder that cannot be trusted out of the way; the error that says so. Its lock must be held."""
        aside = self.root / QUARANTINE
        taken = {path.name for path in aside.glob("*")}
        name = next(name for n in range(1, len(taken) + 2) if (name := f"{stage.folder}-{n}") not in taken)
        try:
            aside.mkdir(exist_ok=True)
            self.path(stage).rename(aside / name)
        except OSError as error:
            return Stuck(f"{why}; it cannot be set aside ({error_words(error)}), so nothing is built on it")
        return Corrupt(f"{why}; its folder was set aside as {aside / name}")

    def _attempt(
        self, stage: Stage, part: Path, machine: Machine, report: Callable[[float], None], session: str
    ) -> None:
        try:
            with folder.writing(part, ours=True):
                folder.prepare(part)
                if session:
                    folder.count(part, session)
        except folder.GaveUp as error:
            _keep_traceback(part, error)
            raise
        try:
            self._work(stage, part, machine, report)
        except Exception as error:
            full = folder.unwritable(error, part)
            if full is not None:
                raise full from error
            _keep_traceback(part, error)
            raise
        with folder.writing(part, ours=True):
            folder.seal(part)

    def _work(self, stage: Stage, part: Path, machine: Machine, report: Callable[[float], None]) -> None:
        started = time.time()
        try:
            stage.execute(Work(path=part, inputs=self.finished, machine=machine, report=report))
        except SystemExit as error:  # or the process would end as if all were well
            raise RuntimeError(f"it ended itself with exit status {error.code}") from error
        except BaseException as error:
            if isinstance(error, (Exception, KeyboardInterrupt)):
                raise
            raise RuntimeError(f"{type(error).__name__}: {error}") from error  # a panic of a library in Rust
        record = {"key": stage.key, "label": stage.label, "stage": canonical(stage)}
        record |= {"commit": commit(), "packages": packages(), "hardware": hardware(machine.device)}
        record["seconds"] = round(time.time() - started, 3)
        (part / RECORD).write_text(json.dumps(record, indent=1) + "\n")


def _keep_traceback(part: Path, error: Exception) -> None:
    status = "diverged" if isinstance(error, FloatingPointError) else "failed"
    with folder.writing(part, ours=True):
        (part / FAILURES[status]).write_text("".join(traceback.format_exception(error)))
