"""Recovery studies as stages: synthetic data of known truth, analysed as any other, cached like a training run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from repro.runs.spec import Stage, Work

RECOVERY = "recovery.csv"
TOGETHER = 25  # sets in a stage: some ten seconds, so that workers share the study and a stop loses little
OPERATIONS = {"critical ratio": 8e7, "best allocation": 3e7}  # per draw, measured by the time of training operations

Law = Literal["critical ratio", "best allocation"]


@dataclass(frozen=True, kw_only=True)
class Recovery(Stage):
    """``sets`` synthetic studies analysed with ``draws`` bootstrap draws; ``number`` seeds them."""

    version: ClassVar[int] = 4
    law: Law
    number: int
    sets: int
    draws: int

    @property
    def label(self) -> str:
        return f"recover the {self.law}, {self.number + 1}"

    @property
    def cost(self) -> float:
        return OPERATIONS[self.law] * self.sets * self.draws

    def execute(self, work: Work) -> None:
        from repro.laws.allocation.recovery import allocation_coverage
        from repro.laws.mixture.recovery import coverage

        study: Callable[[int, int, int], pd.DataFrame]
        study = coverage if self.law == "critical ratio" else allocation_coverage
        found = study(self.sets, self.draws, self.number)
        found.to_csv(work.path / RECOVERY, index=False)


def recoveries(sets: int, draws: int) -> tuple[Recovery, ...]:
    """Stages that together make ``sets`` sets for each of the two laws."""
    sizes = [min(TOGETHER, sets - start) for start in range(0, sets, TOGETHER)]
    laws: tuple[Law, ...] = ("critical ratio", "best allocation")
    return tuple(
        Recovery(law=law, number=number, sets=size, draws=draws) for law in laws for number, size in enumerate(sizes)
    )


def read_recovery(path: Path) -> pd.DataFrame:
    """One row for each set and quantity: truth, estimate, lower, upper (inf for an open side), covered."""
    return pd.read_csv(path)
