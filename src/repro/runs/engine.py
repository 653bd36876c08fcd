"""Doing the stages that are missing: in this process, or on a local dask cluster of one-thread workers."""

import logging
from collections.abc import Iterable
from functools import partial

from repro.runs.progress import Progress
from repro.runs.spec import Machine, Stage, closure
from repro.runs.store import Store

TOPIC = "repro-progress"
# One thread a worker. The allocator keeps what it frees: dask's own setting hands memory back to the system after
# every step, and a third of a small model's training time goes into fetching it again.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
}
BLOCKED = "not run: a stage it builds on failed"


class StudyFailed(RuntimeError):
    """Some stages failed; what did not depend on them is done and kept."""


def run(
    stages: Iterable[Stage],
    store: Store,
    machine: Machine,
    *,
    workers: int = 1,
    title: str = "study",
    whole: Iterable[Stage] = (),
) -> None:
    """Do every stage of `stages`, and all they build on, that `store` does not hold yet.

    workers: 1 works in this process; more start that many worker processes, each with one thread. A stage that
    fails leaves the others going. whole: the study that `stages` are part of, where they are; progress and the time
    still to go are shown for all of it.

    Raises:
        StudyFailed: once the rest is done, naming each stage that failed with its traceback's last line.

    """
    missing = needed(list(stages), store)
    if not missing:
        return
    shown = closure([*whole, *missing]) if whole else missing
    costs = {stage.key: (stage.label, stage.cost) for stage in shown}
    with Progress(title, costs, {stage.key for stage in shown if store.has(stage)}) as progress:
        work = _serial if min(workers, len(missing)) == 1 else _cluster
        failures = work(missing, store, machine, progress, min(workers, len(missing)))
    if failures:
        lines = [f"  {stage.label} ({stage.folder}): {error}" for stage, error in failures]
        raise StudyFailed("\n".join([f"{len(failures)} of {len(missing)} runs failed:", *lines]))


def needed(stages: list[Stage], store: Store) -> list[Stage]:
    """What has to run for `stages` to be done, upstream first: nothing upstream of a finished stage."""
    wanted = {stage.key for stage in stages}
    missing: list[Stage] = []
    for stage in reversed(closure(stages)):  # so that whoever wants a stage comes before it
        if stage.key in wanted and not store.has(stage):
            missing.append(stage)
            wanted |= {up.key for up in stage.upstream()}
    return missing[::-1]


Failures = list[tuple[Stage, str]]


def _serial(stages: list[Stage], store: Store, machine: Machine, progress: Progress, _workers: int) -> Failures:
    failures: Failures = []
    failed: set[str] = set()
    for stage in stages:
        if _blocked(stage, failed):
            failed.add(stage.key)
            failures.append((stage, BLOCKED))
            continue
        try:
            store.build(stage, machine, partial(progress.update, stage.key))
        except Exception as error:
            failed.add(stage.key)
            failures.append((stage, describe(error)))
    return failures


def _blocked(stage: Stage, failed: set[str]) -> bool:
    return any(up.key in failed for up in stage.upstream())


def _cluster(stages: list[Stage], store: Store, machine: Machine, progress: Progress, workers: int) -> Failures:
    # Imported here: starting dask takes longer than reading a finished study.
    import dask
    from distributed import Client, Future, LocalCluster, wait

    settings = {
        # Training holds the GIL for long stretches; a worker that is silent for minutes is not dead.
        "distributed.scheduler.worker-ttl": None,
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=":0",
            memory_limit=0,
            silence_logs=logging.CRITICAL,  # what fails is told once, at the end
        ) as cluster,
        Client(cluster) as client,
    ):
        client.subscribe_topic(TOPIC, lambda event: progress.update(*event[1]))
        futures: dict[str, Future[None]] = {}
        for rank, stage in enumerate(_critical_first(stages)):
            upstream = [futures[up.key] for up in stage.upstream() if up.key in futures]
            futures[stage.key] = client.submit(
                _build, stage, store, machine, upstream, key=stage.key, priority=-rank, pure=False
            )
        wait(list(futures.values()))
        failed = {key for key, future in futures.items() if future.status == "error"}
        for key in futures.keys() - failed:
            progress.update(key, 1.0)  # the workers' last words may not have arrived
        return [
            (stage, BLOCKED if _blocked(stage, failed) else describe(futures[stage.key].exception()))
            for stage in stages
            if stage.key in failed
        ]


def _build(stage: Stage, store: Store, machine: Machine, _upstream: list[None]) -> None:
    from distributed import get_worker

    worker = get_worker()
    machine = machine.of_worker(int(worker.name))  # a local cluster numbers its workers
    store.build(stage, machine, lambda done: worker.log_event(TOPIC, (stage.key, done)))


def _critical_first(stages: list[Stage]) -> list[Stage]:
    """Upstream first and, where free to choose, the stages with the most work behind them first."""
    behind = {stage.key: stage.cost for stage in stages}
    for stage in reversed(stages):
        for up in stage.upstream():
            if up.key in behind:
                behind[up.key] = max(behind[up.key], up.cost + behind[stage.key])
    ordered = closure(sorted(stages, key=lambda stage: -behind[stage.key]))
    return [stage for stage in ordered if stage.key in behind]


def describe(error: BaseException) -> str:
    """One line for an error, type first."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"
