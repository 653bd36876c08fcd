"""Runs submitted to the workers of a dask cluster, tried there, and their errors brought back."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import partial
from itertools import repeat
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from repro.runs import attempts
from repro.runs.batch import ClusterLost, Unavailable
from repro.runs.cluster import Cluster, Local, Scheduler, connect, require
from repro.runs.folder import Missing
from repro.runs.progress import Progress, heard
from repro.runs.spec import Machine, Stage, closure
from repro.runs.store import Store

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

Errors = dict[str, BaseException]  # of the stages that failed, by key
TOPIC, NOTES = "repro-progress", "repro-notes"
REPORT_SECONDS = 0.2  # the least time between two reports of one run
LOOK_SECONDS, GONE_SECONDS = 30.0, 600.0  # between two looks at a scheduler's workers; without any that will do
AGAIN_SECONDS = 1.0  # between two looks at a run that was done and lost
STALE_SECONDS = 60.0  # how long a network file system may remember that a folder is not there
DEVICE_BROKEN = 70  # exit status of a worker
ALONE = threading.Lock()  # of a run: a worker that joins late may have several threads, and torch one generator


def distribute(
    stages: list[Stage], store: Store, machine: Machine, on: Cluster, session: str, progress: Progress
) -> Errors:
    """Run `stages`, upstream first, on the workers of a cluster; the errors of those that failed by themselves.

    Raises Unavailable if there is no such cluster, or it is lost, or none of its workers has what a stage needs.
    """
    with connect(on, machine, progress.note) as client:
        if isinstance(on, Scheduler):
            require(stages, machine, _resources(client))
        progress.note(f"dashboard: {client.dashboard_link}")
        client.subscribe_topic(TOPIC, lambda event: progress.update(*event[1]))
        client.subscribe_topic(NOTES, lambda event: progress.note(event[1]))
        futures = _submit(client, stages, store, machine, session, ours=not isinstance(on, Scheduler))
        left = {stage.key: stage for stage in stages}
        match on:
            case Scheduler():
                watch = _watch(client, left, machine, progress)
            case Local():
                watch = _refill(client, on.workers)
            case _:
                watch = repeat(None)  # a batch system's jobs are replaced as they end
        failed = _outcomes(client, futures, left, progress, watch)
    done = [stage for stage in stages if stage.key not in failed and stage.key not in left]
    lost = _unseen(done, store, patience=0.0 if isinstance(on, Local) else STALE_SECONDS)
    # A stage that a failed one blocked has the same error.
    blocked = {stage.key for stage in stages if any(up.key in failed for up in stage.upstream())}
    errors = {stage.key: failed[stage.key] for stage in stages if stage.key in failed.keys() - blocked}
    where = f"is not in {store.root}: it was set aside, or workers see other files"
    return errors | {stage.key: Missing(f"{stage.label} was done but {where}") for stage in lost}


def attempt(
    stage: Stage,
    store: Store,
    machine: Machine,
    report: Callable[[float], None],
    session: str,
    leave: Callable[[], None] | None = None,
) -> None:
    """Run one stage, and again if it failed but may succeed; raises what the stage raised at the last try.

    leave: takes this process out of service, at once if it can; called for errors that only a new process can mend.
    """
    for last in [*[False] * (attempts.TRIES - 1), True]:
        try:
            store.build(stage, machine.for_stage(stage), report, session)
            return
        except Exception as error:
            if last or attempts.hopeless(error) or attempts.tries(store.part(stage), session) >= attempts.TRIES:
                raise
            if leave and attempts.device_broken(error):
                leave()


def _submit(
    client: "Client", stages: list[Stage], store: Store, machine: Machine, session: str, *, ours: bool
) -> "dict[str, Future[None]]":
    futures: dict[str, Future[None]] = {}
    where = hashlib.sha256(str(store.root.resolve()).encode()).hexdigest()[:8]
    for rank, stage in enumerate(_critical_first(stages)):
        upstream = [futures[up.key] for up in stage.upstream() if up.key in futures]
        needs = machine.needs.get(stage.kind)
        futures[stage.key] = client.submit(
            _build,
            stage,
            store,
            machine,
            session,
            ours,
            upstream,
            key=f"{stage.folder}-{where}",  # studies of one scheduler and one store share a run
            priority=-rank,
            pure=False,
            resources=needs.resources if needs else None,
        )
    return futures


def _outcomes(
    client: "Client",
    futures: "dict[str, Future[None]]",
    left: dict[str, Stage],
    progress: Progress,
    watch: Iterator[object],
) -> Errors:
    """The errors of `futures`, each released once it is done, so that dask does not redo what a lost worker had done.

    left: the stages by key; those that are done are removed from it.
    """
    ended: SimpleQueue[str] = SimpleQueue()

    def listen(key: str) -> None:
        futures[key].add_done_callback(lambda _future: ended.put(key))

    for key in futures:
        listen(key)
    failed: Errors = {}
    lost: set[str] = set()  # whose workers died after they were done: dask has others run them again
    while futures:
        for key in [key for key in lost if futures[key].status != "lost"]:
            lost.remove(key)
            listen(key)
        try:
            key = ended.get(timeout=AGAIN_SECONDS if lost else LOOK_SECONDS)
        except Empty:
            next(watch)
            continue
        if futures[key].status in ("lost", "pending"):
            lost.add(key)
            continue
        future = futures.pop(key)
        del left[key]
        if future.status == "finished":
            progress.update(key, 1.0)  # the worker's last report may not have arrived
        elif future.status == "error":
            failed[key] = future.exception()
        else:
            raise CancelledError(f"the scheduler lost {key} ({future.status})")
        if isinstance(failed.get(key), attempts.Unwritable):  # and no other run could write either
            client.cancel(list(futures.values()))
            break
    return failed


def _watch(client: "Client", left: dict[str, Stage], machine: Machine, progress: Progress) -> Iterator[None]:
    """At each step, see whether the scheduler still has workers for what is left; dask would wait for ever.

    Raises ClusterLost after `GONE_SECONDS` without.
    """
    since = None
    while True:
        try:
            require(left.values(), machine, _resources(client))
            since = None
        except Unavailable as error:
            if since is None:
                since = time.monotonic()
                progress.note(f"{error}; waiting for one")
            if time.monotonic() - since > GONE_SECONDS:
                raise ClusterLost(f"{error}; what is done is kept") from None
        yield


def _refill(client: "Client", workers: int) -> Iterator[None]:
    """At each step, have workers of this machine that are gone for good replaced; dask would wait for ever.

    dask's nanny starts a worker that died once more, but gives up on one that died before it had said that it is up.
    """
    while True:
        if len(_resources(client)) < workers:
            assert client.cluster is not None  # it is ours
            client.cluster.scale(workers)
        yield


def _resources(client: "Client") -> list[dict[str, float]]:
    """The resources of each worker of the scheduler."""
    return [worker["resources"] for worker in client.scheduler_info(-1)["workers"].values()]


def _unseen(stages: list[Stage], store: Store, patience: float) -> list[Stage]:
    """Those of `stages`, all done by workers, that are not in the store as this process sees it."""
    until = time.monotonic() + patience
    unseen = [stage for stage in stages if not store.has(stage)]
    while unseen and time.monotonic() < until:
        time.sleep(1.0)
        if store.root.is_dir():
            list(store.root.iterdir())  # makes a network file system look again
        unseen = [stage for stage in unseen if not store.has(stage)]
    return unseen


def _build(stage: Stage, store: Store, machine: Machine, session: str, ours: bool, _upstream: list[None]) -> None:
    from distributed import get_worker

    worker = get_worker()
    last = 0.0

    def report(done: float) -> None:
        nonlocal last
        if done >= 1 or time.monotonic() - last > REPORT_SECONDS:
            last = time.monotonic()
            worker.log_event(TOPIC, (stage.key, done))

    # A local cluster numbers its workers; elsewhere all have the same devices.
    number = int(worker.name) if len(machine.slots) > 1 else 0
    with ALONE, heard(partial(worker.log_event, NOTES)):
        attempt(stage, store, machine.of_worker(number), report, session, partial(_leave, worker, ours))


def _leave(worker: "Worker", ours: bool) -> None:
    """Take this worker out of service; its nanny, or another job, puts a new one in its place."""
    if ours or worker.nanny:
        os._exit(DEVICE_BROKEN)
    worker.loop.add_callback(worker.close_gracefully)  # somebody else's process may serve others too


def _critical_first(stages: list[Stage]) -> list[Stage]:
    """Upstream first and, where there is a choice, the stages with the longest way to the end first."""
    ahead = {stage.key: stage.cost for stage in stages}
    for stage in reversed(stages):
        for up in stage.upstream():
            if up.key in ahead:
                ahead[up.key] = max(ahead[up.key], up.cost + ahead[stage.key])
    ordered = closure(sorted(stages, key=lambda stage: -ahead[stage.key]))
    return [stage for stage in ordered if stage.key in ahead]
