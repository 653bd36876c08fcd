"""Doing finished stages once more, by themselves in a new store, and comparing what they give."""

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock, Timeout

from repro.runs.cluster import Cluster
from repro.runs.engine import run
from repro.runs.shelf import RECORD
from repro.runs.spec import Machine, Stage
from repro.runs.store import Store

PREFIX, ALIVE = ".verify-", "alive.lock"


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
