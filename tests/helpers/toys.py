"""Stages that compute next to nothing, so that tests of the store and the engine are about those."""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from helpers import TESTS
from repro.runs import Stage, Store, Work
from repro.runs.progress import LOG

RESULT = "result.txt"
# For processes that import `helpers`; what is on this process's path already may be another checkout's `src`.
WITH_HELPERS = {"PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))}


@dataclass(frozen=True, kw_only=True)
class Number(Stage):
    """Writes its value."""

    value: int

    @property
    def label(self) -> str:
        return f"number {self.value}"

    def execute(self, work: Work) -> None:
        (work.path / RESULT).write_text(str(self.value))


@dataclass(frozen=True, kw_only=True)
class Sum(Stage):
    """Adds up what the stages before it wrote."""

    parts: tuple[Stage, ...]

    @property
    def cost(self) -> float:
        return 1000.0

    def execute(self, work: Work) -> None:
        work.report(0.5)
        total = sum(int((work.inputs(part) / RESULT).read_text()) for part in self.parts)
        (work.path / RESULT).write_text(str(total))


@dataclass(frozen=True, kw_only=True)
class Fails(Number):
    """Always fails."""

    def execute(self, work: Work) -> None:
        (work.path / "half.txt").write_text("half")
        raise ArithmeticError(f"cannot make {self.value}\nsecond line")


@dataclass(frozen=True, kw_only=True)
class Slow(Number):
    """Takes a moment, and leaves one line for each time it is done in a file outside the store."""

    def execute(self, work: Work) -> None:
        note_try()
        time.sleep(0.5)
        super().execute(work)


@dataclass(frozen=True, kw_only=True)
class Held(Number):
    """Leaves a line as `Slow` does, and ends once it is allowed to."""

    def execute(self, work: Work) -> None:
        note_try()
        wait_until(Path(os.environ["REPRO_TEST_GO"]).exists, seconds=120)
        super().execute(work)


@dataclass(frozen=True, kw_only=True)
class Counts(Stage):
    """Counts to `upto`, one file a number, and is interrupted as by Ctrl-C the first time it passes `breaks_at`."""

    upto: int
    breaks_at: int

    def execute(self, work: Work) -> None:
        work.scratch.mkdir(exist_ok=True)
        first = sum(1 for _ in work.scratch.glob("number-*"))
        for number in range(first, self.upto):
            (work.path / f"number-{number}-from-{first}").touch()
            (work.scratch / f"number-{number}").touch()
            if first == 0 and number + 1 == self.breaks_at:
                raise KeyboardInterrupt


def wait_until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tried(log: Path) -> list[int]:
    """The processes that noted a try, in order."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def digests(store: Store, *stages: Stage) -> dict[str, str]:
    """The sha256 of everything that was left, but for the records, which say when and on what machine."""
    named = {f"{stage.folder}/{name}": digest for stage in stages for name, digest in store.published(stage).items()}
    return {name: digest for name, digest in named.items() if not name.endswith("record.json")}


def note_try(kind: str = "") -> None:
    """One more line, with this process's id, in a file outside the store."""
    with Path(os.environ["REPRO_TEST_LOG"] + kind).open("a") as log:
        log.write(f"{os.getpid()}\n")


@dataclass(frozen=True, kw_only=True)
class Weighty(Number):
    """Counts to three, one checkpoint a number; leaves its value, a folder and weights."""

    weights: ClassVar[str | None] = "*.bin"

    def execute(self, work: Work) -> None:
        work.scratch.mkdir(exist_ok=True)
        for number in range(sum(1 for _ in work.scratch.glob("[0-9]")), 3):
            new = work.scratch / "state.new"
            new.write_text(str(number))
            new.replace(work.scratch / str(number))
        (work.path / "deep").mkdir()
        (work.path / "deep" / "text.txt").write_text(f"deep {self.value}")
        (work.path / "model.bin").write_bytes(bytes(range(256)) * self.value)
        super().execute(work)


@dataclass(frozen=True, kw_only=True)
class Breaks(Number):
    """Raises at every try, having got further."""

    def execute(self, work: Work) -> None:
        note_try("-Breaks")
        work.scratch.mkdir(exist_ok=True)
        (work.scratch / f"{time.time_ns()}").touch()
        raise ArithmeticError("broken")


@dataclass(frozen=True, kw_only=True)
class Refuses(Number):
    """Is given what it cannot read."""

    def execute(self, _work: Work) -> None:
        note_try("-Refuses")
        raise ValueError("line 3: not JSON")


@dataclass(frozen=True, kw_only=True)
class Diverges(Number):
    """Its loss is not a number."""

    def execute(self, work: Work) -> None:
        note_try("-Diverges")
        raise FloatingPointError("the loss is nan")


@dataclass(frozen=True, kw_only=True)
class Leaves(Number):
    """Ends its process as if all were well."""

    def execute(self, work: Work) -> None:
        note_try("-Leaves")
        sys.exit(0)


@dataclass(frozen=True, kw_only=True)
class Kills(Number):
    """Kills its process at every try."""

    def execute(self, work: Work) -> None:
        note_try("-Kills")
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class Falters(Number):
    """Counts to its value, and kills its process after every number but the last."""

    def execute(self, work: Work) -> None:
        work.scratch.mkdir(exist_ok=True)
        number = sum(1 for _ in work.scratch.iterdir())
        (work.scratch / str(number)).touch()
        if number + 1 < self.value:
            os.kill(os.getpid(), signal.SIGKILL)
        super().execute(work)


@dataclass(frozen=True, kw_only=True)
class Waits(Number):
    """Says that it is at work, and from where, and ends once it is allowed to."""

    def execute(self, work: Work) -> None:
        work.scratch.mkdir(exist_ok=True)
        note_try()
        (work.scratch / f"by {os.getpid()}").touch()
        while not Path(os.environ["REPRO_TEST_GO"]).exists():
            time.sleep(0.02)
        (work.path / "tries.txt").write_text(str(sum(1 for _ in work.scratch.iterdir())))
        super().execute(work)


@dataclass(frozen=True, kw_only=True)
class Placed(Number):
    """Writes which worker did it, with which devices."""

    def execute(self, work: Work) -> None:
        from distributed import get_worker

        (work.path / RESULT).write_text(" ".join([str(get_worker().name), *work.machine.devices]))


@dataclass(frozen=True, kw_only=True)
class Poisons(Number):
    """Number 0 leaves its process unable to do anything more, as an error of CUDA does."""

    def execute(self, work: Work) -> None:
        if self.value == 0:
            os.environ["POISONED"] = "yes"
        if "POISONED" in os.environ:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        super().execute(work)


@dataclass(frozen=True, kw_only=True)
class Says(Number):
    """Logs a message for the user."""

    def execute(self, work: Work) -> None:
        LOG.warning("1 + %s is odd", self.value)
        super().execute(work)
