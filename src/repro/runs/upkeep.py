"""Doing finished stages once more, by themselves in a new store, and comparing what they give."""

import dataclasses
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock, Timeout

from repro.runs.cluster import Cluster
from repro.runs.engine import needed, run
from repro.runs.folder import overtaken
from repro.runs.spec import Machine, Stage, closure
from repro.runs.store import QUARANTINE, RECORD, Store

PREFIX, ALIVE = ".verify-", "alive.lock"

GIB = 2**30


@dataclass(frozen=True)
class Verified:
    """A stage done again; `different` names the files that are not the same, bit for bit."""

    stage: Stage
    files: int
    different: tuple[str, ...]


def alone(stage: Stage) -> Stage:
    """The stage, and all it builds on, without what only saves work: fields that hold a stage and are no identity."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(stage):
        value = getattr(stage, field.name)
        if isinstance(value, Stage):
            changed[field.name] = alone(value) if field.metadata.get("identity", True) else None
        elif isinstance(value, tuple):
            changed[field.name] = tuple(alone(item) if isinstance(item, Stage) else item for item in value)
    found = replace(stage, **changed)
    assert found.key == stage.key
    return found


def verify_again(stage: Stage, store: Store, machine: Machine, *, on: Cluster | None = None) -> Verified:
    """Do a finished stage again with everything it builds on, in a store of its own that is then thrown away.

    Raises:
        FileNotFoundError: if the stage is not done. Corrupt: if what it left is not what it recorded.
        StudyFailed: if doing it again fails.

    """
    before = store.published(stage)
    # Beside the runs: where workers of other machines see it too, and where there is room for weights.
    with TemporaryDirectory(prefix=PREFIX, dir=store.root) as folder, FileLock(Path(folder) / ALIVE):
        other = Store(Path(folder) / "runs")
        again = alone(stage)
        run([again], other, machine, on=on, title=f"again: {stage.label}")
        after = other.published(again)
    names = sorted((before.keys() | after.keys()) - {RECORD})
    return Verified(stage, len(names), tuple(name for name in names if before.get(name) != after.get(name)))


def abandoned(store: Store) -> list[Path]:
    """The folders of verifications that were killed: nobody holds their locks any more."""
    return [folder for folder in store.root.glob(f"{PREFIX}*") if not _held(folder / ALIVE)]


def _held(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


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
