"""Looking after a store: finished stages run once more and compared, and disk space given back."""

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

PREFIX, ALIVE = ".verify-", "alive.lock"  # of a verification's folder, and the lock in it that is held meanwhile
MIB, GIB = 2**20, 2**30


@dataclass(frozen=True)
class Verified:
    """A stage run again; `different` names the files that are not the same, bit for bit."""

    stage: Stage
    files: int
    different: tuple[str, ...]


def verify_again(stage: Stage, store: Store, machine: Machine, *, on: Cluster | None = None) -> Verified:
    """Run a finished stage again with everything it builds on, in a store of its own that is then thrown away.

    Raises Missing if the stage is not done, Corrupt if its files were altered, StudyFailed if running it again fails.
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


def alone(stage: Stage) -> Stage:
    """The stage, and all it builds on, without what only saves work: fields that hold a stage and are no identity."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(stage):
        value = getattr(stage, field.name)
        if isinstance(value, Stage):
            changed[field.name] = alone(value) if field.metadata.get("identity", True) else None
        elif isinstance(value, tuple):
            changed[field.name] = tuple(alone(item) if isinstance(item, Stage) else item for item in value)
    copy = replace(stage, **changed)
    assert copy.key == stage.key
    return copy


@dataclass(frozen=True)
class Freeable:
    """What can be removed from a store: the weights of finished stages, and folders that hold no results."""

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

    @property
    def size_text(self) -> str:
        """The size in GiB or MiB."""
        return f"{self.size / GIB:.2f} GiB" if self.size >= GIB / 10 else f"{self.size / MIB:.1f} MiB"

    def __str__(self) -> str:
        if not self:
            return "nothing to free: all weights are still needed, or have been freed"
        aside = f", and {len(self.folders)} folders of spoilt or overtaken runs" if self.folders else ""
        hours = sum(self.store.record(stage)["seconds"] for stage in self.stages) / 3600
        took = f"; these runs took {hours:.1f} hours" if self.stages else ""
        return f"{self.size_text} can be freed: the weights of {len(self.stages)} finished runs{aside}{took}"

    def free(self) -> None:
        """Remove it. Tables and figures stay; the weights come back when a run that builds on them has to run."""
        for stage in self.stages:
            self.store.free(stage)
        for folder in self.folders:
            shutil.rmtree(folder)


def freeable(store: Store, chosen: Iterable[Stage], others: Iterable[Stage] = ()) -> Freeable:
    """What the runs that `chosen` ask for have left and nothing needs any more.

    others: stages of other studies that share the store, whose missing runs may build on the same weights.
    """
    results = list(chosen)
    mine = closure(results)
    wanted = {stage.key for missing in needed([*results, *others], store) for stage in missing.upstream()}
    stages = [stage for stage in mine if stage.key not in wanted and store.weights(stage)]
    whole = [stage for stage in mine if store.whole(stage)]  # a freed one may be running again
    left = [folder for stage in whole for folder in (store.part(stage), overtaken(store.path(stage)))]
    aside = [path for path in (store.root / QUARANTINE).glob("*") if path.is_dir()]
    killed = [folder for folder in store.root.glob(f"{PREFIX}*") if not _held(folder / ALIVE)]  # verifications
    return Freeable(store, tuple(stages), (*(folder for folder in left if folder.is_dir()), *aside, *killed))


def _held(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
