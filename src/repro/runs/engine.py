"""Run the stages that are missing, run finished ones again to compare them, and free disk space of a store."""

import dataclasses
import shutil
import traceback
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from repro.runs.folder import SPOILT, TRIES, Stuck, Unwritable, chain, overtaken
from repro.runs.progress import Progress, heard
from repro.runs.spec import Machine, Stage, closure
from repro.runs.store import QUARANTINE, RECORD, Store
from repro.runs.temporary import abandoned, temporary
from repro.runs.workers import Cluster, Errors, Local, Scheduler, attempt, distribute, offered, require

BLOCKED = "not run: a stage it builds on failed"
TRACEBACKS = 3  # shown in full; what makes one run fail often makes others like it fail
PREFIX = ".verify-"  # of a verification's folder
MIB, GIB = 2**20, 2**30


class StudyFailed(RuntimeError):
    """Some stages failed; what did not depend on them is done and kept. stopped: nothing could be written any more."""

    def __init__(self, message: str, *, stopped: bool = False) -> None:
        super().__init__(message)
        self.stopped = stopped


def run(
    stages: Iterable[Stage],
    store: Store,
    machine: Machine,
    *,
    on: Cluster | None = None,
    title: str = "study",
    whole: Iterable[Stage] = (),
) -> None:
    """Run every stage of `stages`, and all they build on, that `store` does not hold yet.

    A stage that fails is tried again, see :mod:`repro.runs.folder`, and the others go on. A stage whose files are not
    what was published is run again. on: where, by default in this process; whole: the study that `stages` are part of,
    if any, for all of which progress and the time still to go are shown. Raises StudyFailed once the rest is done,
    naming each stage that failed, with its traceback; Unavailable if there is no such cluster, it is lost, or none of
    its workers has what a stage needs; Linked if a run's folder is a symbolic link.
    """
    wanted = list(stages)
    missing = needed(wanted, store)
    if not missing:
        return
    everything = closure([*whole, *missing]) if whole else missing
    costs = {stage.key: (stage.label, stage.cost) for stage in everything}
    tried = {stage.key for stage in missing}  # among them stages that are done, but their weights freed
    before = {stage.key for stage in everything if stage.key not in tried and store.has(stage)}
    errors: Errors = {}
    patience = TRIES
    with Progress(title, costs, before) as progress, heard(progress.note):
        while patience:  # more than one round only if something turns out to be spoilt
            left = _without(errors, needed(wanted, store))
            new_errors = _run_once(left, store, machine, progress, on or Local()) if left else {}
            errors = {key: error for key, error in errors.items() if not _spoilt(error)} | new_errors
            spoilt = [error for error in new_errors.values() if _spoilt(error)]
            if not spoilt or _stopped(errors):
                break
            new = {stage.key for stage in needed(wanted, store)} - tried
            tried |= new
            patience -= not new  # any number of rounds that find more spoilt stages, and a few that do not
            for error in spoilt if patience else []:
                progress.note(f"repro: {error}; it is done again")
    failed = needed(wanted, store)
    if failed:
        raise StudyFailed(_summary(failed, errors, store, len(tried)), stopped=_stopped(errors))


def _spoilt(error: BaseException) -> bool:
    """Whether `error` says that something has to run again, and can."""
    return isinstance(error, SPOILT) and not isinstance(error, Stuck)


def _stopped(errors: Errors) -> bool:
    return any(isinstance(error, Unwritable) for error in errors.values())


def _without(errors: Errors, stages: list[Stage]) -> list[Stage]:
    """Those of `stages`, upstream first, that neither failed for good nor build on one that did."""
    failed = {key for key, error in errors.items() if not _spoilt(error)}
    for stage in stages:
        if any(up.key in failed for up in stage.upstream()):
            failed.add(stage.key)
    return [stage for stage in stages if stage.key not in failed]


def needed(stages: list[Stage], store: Store) -> list[Stage]:
    """What has to run for `stages` to be done, upstream first: nothing upstream of a finished stage, and a finished
    stage whose weights were freed only if one that builds on it has to run.
    """
    wanted = {stage.key for stage in stages}
    built_on: set[str] = set()
    missing: list[Stage] = []
    for stage in reversed(closure(stages)):  # a stage comes after all that build on it
        absent = not store.whole(stage) if stage.key in built_on else stage.key in wanted and not store.has(stage)
        if absent:
            missing.append(stage)
            built_on |= {up.key for up in stage.upstream()}
    return missing[::-1]


def _run_once(stages: list[Stage], store: Store, machine: Machine, progress: Progress, on: Cluster) -> Errors:
    if not isinstance(on, Scheduler):  # a running scheduler's workers are what they are
        on = replace(on, workers=min(on.workers, len(stages)))
        require(stages, machine, [offered(machine, on.memory_gib)])
    if on == Local(workers=1):
        return _serial(stages, store, machine.of_worker(0), progress)
    return distribute(stages, store, machine, on, uuid.uuid4().hex, progress)


def _serial(stages: list[Stage], store: Store, machine: Machine, progress: Progress) -> Errors:
    errors: Errors = {}
    failed: set[str] = set()
    session = uuid.uuid4().hex
    for stage in stages:
        if any(up.key in failed for up in stage.upstream()):
            failed.add(stage.key)
            continue
        try:
            attempt(stage, store, machine, partial(progress.update, stage.key), session)
        except Exception as error:
            for cause in chain(error):  # or the functions that it came through would keep a model in memory
                traceback.clear_frames(cause.__traceback__)
            failed.add(stage.key)
            errors[stage.key] = error
            if isinstance(error, Unwritable):  # and no other run could write either
                break
    return errors


def _summary(left: list[Stage], errors: Errors, store: Store, total: int) -> str:
    """What happened to the stages in `left`, upstream first, of `total` that were to run."""
    failed = sum(stage.key in errors for stage in left)
    rest = f", and {len(left) - failed} not run" if failed < len(left) else ""
    lines = [f"{failed} of {total} runs failed{rest}:"]
    untried = traces = 0
    for stage in left:
        error = errors.get(stage.key)
        if error is None:
            if _stopped(errors):
                untried += 1
            else:
                lines.append(f"  {stage.label} ({stage.folder}): {BLOCKED}")
            continue
        lines.append(f"  {stage.label} ({stage.folder}): {describe(error)}")
        if isinstance(error, Unwritable):
            continue
        if traces < TRACEBACKS:
            trace = "".join(traceback.format_exception(error)).rstrip()
            lines += [f"    {line}" for line in trace.splitlines()]
            traces += 1
        elif kept := store.failure(stage):
            lines.append(f"    traceback in {kept}")
    if untried:
        lines.append(f"  the other {untried}: not run, because nothing can be written")
    return "\n".join(lines)


def describe(error: BaseException) -> str:
    """One line for an error, type first."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"


@dataclass(frozen=True)
class Verified:
    """A stage run again; `different` names the files that are not the same, bit for bit."""

    stage: Stage
    files: int
    different: tuple[str, ...]


def verify_again(stage: Stage, store: Store, machine: Machine, *, on: Cluster | None = None) -> Verified:
    """Run a finished stage again with everything it builds on, in a store of its own that is then thrown away. Raises
    Missing if the stage is not done, Corrupt if its files were altered, StudyFailed if running it again fails.
    """
    before = store.published(stage)
    # Beside the runs: where workers of other machines see it too, and where there is room for weights.
    with temporary(PREFIX, store.root) as folder:
        other = Store(folder / "runs")
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
    """What runs of `chosen` left and nothing needs any more, not even missing runs of `others` in this store."""
    results = list(chosen)
    mine = closure(results)
    wanted = {stage.key for missing in needed([*results, *others], store) for stage in missing.upstream()}
    stages = [stage for stage in mine if stage.key not in wanted and store.weights(stage)]
    whole = [stage for stage in mine if store.whole(stage)]  # a freed one may be running again
    left = [folder for stage in whole for folder in (store.part(stage), overtaken(store.path(stage)))]
    aside = [path for path in (store.root / QUARANTINE).glob("*") if path.is_dir()]
    killed = abandoned(PREFIX, store.root)  # verifications
    return Freeable(store, tuple(stages), (*(folder for folder in left if folder.is_dir()), *aside, *killed))
