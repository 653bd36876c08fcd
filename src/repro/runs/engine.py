"""Doing the stages that are missing: in this process, or on the workers of a dask cluster."""

import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from repro.runs import attempts
from repro.runs.cluster import Cluster, Local, Scheduler, connect, offered, require
from repro.runs.integrity import Missing
from repro.runs.progress import Progress
from repro.runs.spec import Machine, Stage, closure
from repro.runs.store import Store

if TYPE_CHECKING:
    from distributed import Future

TOPIC = "repro-progress"
BLOCKED = "not run: a stage it builds on failed"
TRACEBACKS = 3  # shown in full; where one run fails for a reason, its like often do
REPORT_SECONDS = 0.2  # the least time between two words of one run

Failures = list[tuple[Stage, BaseException | None]]  # None: a stage it builds on failed


class StudyFailed(RuntimeError):
    """Some stages failed; what did not depend on them is done and kept."""


def run(
    stages: Iterable[Stage],
    store: Store,
    machine: Machine,
    *,
    on: Cluster | None = None,
    title: str = "study",
    whole: Iterable[Stage] = (),
) -> None:
    """Do every stage of `stages`, and all they build on, that `store` does not hold yet.

    on: where, by default in this process. A stage that fails is tried again, see :mod:`repro.runs.attempts`, and leaves
    the others going. What turns out not to be what was published is done again. whole: the study that `stages` are part
    of, where they are; progress and the time still to go are shown for all of it.

    Raises:
        StudyFailed: once the rest is done, naming each stage that failed, with its traceback.
        Unavailable: if there is no such cluster, or it is lost, or none of its workers has what a stage takes.
        Linked: if a run's folder is a symbolic link.

    """
    wanted = list(stages)
    missing = needed(wanted, store)
    if not missing:
        return
    shown = closure([*whole, *missing]) if whole else missing
    costs = {stage.key: (stage.label, stage.cost) for stage in shown}
    with Progress(title, costs, {stage.key for stage in shown if store.has(stage)}) as progress:
        failures = _do(missing, store, machine, progress, on or Local())
        for _ in range(attempts.TRIES):
            spoilt = [error for _, error in failures if isinstance(error, attempts.SPOILT)]
            if not spoilt:
                break
            for error in spoilt:
                print(f"\nrepro: {error}; it is done again", file=sys.stderr, flush=True)
            failures = _do(needed(wanted, store), store, machine, progress, on or Local())
    if failures:
        raise StudyFailed(_summary(failures, store, len(missing)))


def needed(stages: list[Stage], store: Store) -> list[Stage]:
    """What has to run for `stages` to be done, upstream first: nothing upstream of a finished stage.

    A finished stage whose weights were freed has to run again only where one that builds on it has to.
    """
    wanted = {stage.key for stage in stages}
    built_on: set[str] = set()
    missing: list[Stage] = []
    for stage in reversed(closure(stages)):  # so that whoever wants a stage comes before it
        absent = not store.whole(stage) if stage.key in built_on else stage.key in wanted and not store.has(stage)
        if absent:
            missing.append(stage)
            built_on |= {up.key for up in stage.upstream()}
    return missing[::-1]


def attempt(
    stage: Stage, store: Store, machine: Machine, report: Callable[[float], None], session: str = "serial"
) -> None:
    """Do one stage, and again where it failed but may succeed.

    Raises:
        Exception: what the stage raised at the last try.

    """
    for last in [*[False] * (attempts.TRIES - 1), True]:
        try:
            store.build(stage, machine.for_stage(stage), report, session)
            return
        except Exception as error:
            if last or attempts.hopeless(error) or attempts.tries(store.part(stage), session) >= attempts.TRIES:
                raise


def _do(stages: list[Stage], store: Store, machine: Machine, progress: Progress, on: Cluster) -> Failures:
    if isinstance(on, Local):
        on = Local(workers=min(on.workers, len(stages)))
    if not isinstance(on, Scheduler):  # whose workers are what they are
        require(stages, machine, [offered(machine, on.memory_gib)])
    if on == Local(workers=1):
        return _serial(stages, store, machine.of_worker(0), progress)
    return _distributed(stages, store, machine, progress, on)


def _serial(stages: list[Stage], store: Store, machine: Machine, progress: Progress) -> Failures:
    failures: Failures = []
    failed: set[str] = set()
    session = uuid.uuid4().hex
    for stage in stages:
        if _blocked(stage, failed):
            failed.add(stage.key)
            failures.append((stage, None))
            continue
        try:
            attempt(stage, store, machine, partial(progress.update, stage.key), session)
        except Exception as error:
            failed.add(stage.key)
            failures.append((stage, error))
    return failures


def _blocked(stage: Stage, failed: set[str]) -> bool:
    return any(up.key in failed for up in stage.upstream())


def _distributed(stages: list[Stage], store: Store, machine: Machine, progress: Progress, on: Cluster) -> Failures:
    # Imported here: starting dask takes longer than reading a finished study.
    from distributed import wait

    session = uuid.uuid4().hex
    with connect(on, machine, progress.note) as client:
        if isinstance(on, Scheduler):
            require(stages, machine, [worker["resources"] for worker in client.scheduler_info(-1)["workers"].values()])
        progress.note(f"dashboard: {client.dashboard_link}")
        client.subscribe_topic(TOPIC, lambda event: progress.update(*event[1]))
        futures: dict[str, Future[None]] = {}
        for rank, stage in enumerate(_critical_first(stages)):
            upstream = [futures[up.key] for up in stage.upstream() if up.key in futures]
            needs = machine.needs.get(stage.kind)
            futures[stage.key] = client.submit(
                _build,
                stage,
                store,
                machine,
                session,
                upstream,
                key=stage.key,  # whoever else wants this run of the same scheduler shares it
                priority=-rank,
                pure=False,
                resources=needs.resources if needs else None,
            )
        wait(list(futures.values()))
        failed = {key for key, future in futures.items() if future.status != "finished"}
        for key in futures.keys() - failed:
            progress.update(key, 1.0)  # the workers' last words may not have arrived
        failures: Failures = [
            (stage, None if _blocked(stage, failed) else _error(futures[stage.key]))
            for stage in stages
            if stage.key in failed
        ]
    return failures + [(stage, _elsewhere(stage, store)) for stage in stages if _lacks(store, stage, failed)]


def _lacks(store: Store, stage: Stage, failed: set[str]) -> bool:
    return stage.key not in failed and not store.has(stage)


def _elsewhere(stage: Stage, store: Store) -> Missing:
    return Missing(f"{stage.label} was done, and is not in {store.root}: it was set aside, or workers see other files")


def _error(future: "Future[None]") -> BaseException:
    if future.status == "error":
        return future.exception()  # type: ignore[no-any-return]
    return RuntimeError(f"the scheduler lost it ({future.status})")


def _build(stage: Stage, store: Store, machine: Machine, session: str, _upstream: list[None]) -> None:
    from distributed import get_worker

    worker = get_worker()
    heard = 0.0

    def report(done: float) -> None:
        nonlocal heard
        if done >= 1 or time.monotonic() - heard > REPORT_SECONDS:
            heard = time.monotonic()
            worker.log_event(TOPIC, (stage.key, done))

    # A local cluster numbers its workers; elsewhere all have the same devices.
    number = int(worker.name) if len(machine.slots) > 1 else 0
    attempt(stage, store, machine.of_worker(number), report, session)


def _critical_first(stages: list[Stage]) -> list[Stage]:
    """Upstream first and, where free to choose, the stages with the most work behind them first."""
    behind = {stage.key: stage.cost for stage in stages}
    for stage in reversed(stages):
        for up in stage.upstream():
            if up.key in behind:
                behind[up.key] = max(behind[up.key], up.cost + behind[stage.key])
    ordered = closure(sorted(stages, key=lambda stage: -behind[stage.key]))
    return [stage for stage in ordered if stage.key in behind]


def _summary(failures: Failures, store: Store, of: int) -> str:
    lines = [f"{len(failures)} of {of} runs failed:"]
    traces = 0
    for stage, error in failures:
        lines.append(f"  {stage.label} ({stage.folder}): {BLOCKED if error is None else describe(error)}")
        if isinstance(error, attempts.Unwritable):  # says all there is to say
            continue
        if error is not None and traces < TRACEBACKS:
            trace = "".join(traceback.format_exception(error)).rstrip()
            lines += [f"    {line}" for line in trace.splitlines()]
            traces += 1
        elif error is not None:
            lines.append(f"    traceback in {store.part(stage)}")
    return "\n".join(lines)


def describe(error: BaseException) -> str:
    """One line for an error, type first."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"
