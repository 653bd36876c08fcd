"""Stages that compute next to nothing, so that tests of the store and the engine are about those."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from repro.runs import Stage, Work

RESULT = "result.txt"


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
        with Path(os.environ["REPRO_TEST_LOG"]).open("a") as log:
            log.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        super().execute(work)


@dataclass(frozen=True, kw_only=True)
class Counts(Stage):
    """Counts to `upto` one file a number, and is interrupted (by Ctrl-C, say) the first time it passes `breaks_at`."""

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
