"""Freeing disk space: weights that no run still to be done builds on, and what broken and interrupted runs left."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from repro.runs.engine import needed
from repro.runs.publishing import overtaken
from repro.runs.shelf import QUARANTINE
from repro.runs.spec import Stage, closure
from repro.runs.store import Store
from repro.runs.verify import abandoned

GIB = 2**30


@dataclass(frozen=True)
class Spare:
    """What can be removed from a store: the weights of finished stages, and folders that are no results."""

    store: Store
    stages: tuple[Stage, ...]
    folders: tuple[Path, ...]

    def __bool__(self) -> bool:
        return bool(self.stages or self.folders)

    @cached_property
    def size(self) -> int:
        """Bytes that `free` gives back, or gave."""
        weights = [file for stage in self.stages for file in self.store.weights(stage)]
        rest = [file for folder in self.folders for file in folder.rglob("*") if file.is_file()]
        return sum(file.stat().st_size for file in [*weights, *rest])

    def __str__(self) -> str:
        if not self:
            return "nothing to free: all weights are still needed, or have been freed"
        aside = f", and {len(self.folders)} folders of spoilt or overtaken runs" if self.folders else ""
        hours = sum(self.store.record(stage)["seconds"] for stage in self.stages) / 3600
        took = f"; these runs took {hours:.1f} hours" if self.stages else ""
        return f"{self.told} can be freed: the weights of {len(self.stages)} finished runs{aside}{took}"

    @property
    def told(self) -> str:
        """The size in words."""
        return f"{self.size / GIB:.2f} GiB" if self.size >= GIB / 10 else f"{self.size / 2**20:.1f} MiB"

    def free(self) -> None:
        """Remove it. Tables and figures stay; the weights come back when a run that builds on them has to be done."""
        for stage in self.stages:
            self.store.free(stage)
        for folder in self.folders:
            shutil.rmtree(folder)


def spare(store: Store, chosen: Iterable[Stage], others: Iterable[Stage] = ()) -> Spare:
    """What nothing needs of the runs that `chosen` ask for.

    others: stages of other studies that share the store, whose missing runs may build on the same weights.
    """
    results = list(chosen)
    mine = closure(results)
    wanted = {stage.key for missing in needed([*results, *others], store) for stage in missing.upstream()}
    stages = [stage for stage in mine if stage.key not in wanted and store.weights(stage)]
    whole = [stage for stage in mine if store.whole(stage)]  # a freed one may be at work again
    left = [folder for stage in whole for folder in (store.part(stage), overtaken(store.path(stage)))]
    aside = [path for path in (store.root / QUARANTINE).glob("*") if path.is_dir()]
    return Spare(store, tuple(stages), (*(folder for folder in left if folder.is_dir()), *aside, *abandoned(store)))
