"""Where runs execute: on workers of this machine, of a scheduler that is running, or of a batch system. A worker has
one thread and runs stages in its own process, so that torch is imported once a worker; only a run that takes several
devices starts processes of its own.
"""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from multiprocessing import resource_tracker
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import psutil
import yaml

from repro.home import home
from repro.runs.batch import CLUSTERS, Batch, ClusterLost, Unavailable
from repro.runs.folder import TRIES, Missing, Unwritable, device_broken, hopeless, tries
from repro.runs.progress import Progress, heard
from repro.runs.spec import Machine, Stage, closure
from repro.runs.store import Store

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

SETTINGS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("dask.yaml").read_text(encoding="utf-8"))
WORKER_ENVIRONMENT: dict[str, str] = SETTINGS["distributed.nanny.pre-spawn-environ"]
PATIENCE = 30.0  # seconds until a scheduler, or the first of its workers, must have answered
GIB = 2**30
Errors = dict[str, BaseException]  # of the stages that failed, by key
TOPIC, NOTES = "repro-progress", "repro-notes"
REPORT_SECONDS = 0.2  # the least time between two reports of one run
LOOK_SECONDS, GONE_SECONDS = 30.0, 600.0  # between two looks at a scheduler's workers; without any that will do
AGAIN_SECONDS = 1.0  # between two looks at a run that was done and lost
STALE_SECONDS = 60.0  # how long a network file system may remember that a folder is not there
DEVICE_BROKEN = 70  # exit status of a worker
ALONE = threading.Lock()  # of a run: a worker that joins late may have several threads, and torch one generator


@dataclass(frozen=True, kw_only=True)
class Local:
    """Workers of this machine; one is this process itself."""

    workers: int = 1

    @property
    def memory_gib(self) -> float:
        """Main memory for each worker."""
        return float(psutil.virtual_memory().total / GIB / self.workers)


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """The workers of a dask scheduler that is running, all of which see the store and this package.

    address: such as tcp://10.0.0.1:8786, which obeys anybody on its network, or tls://10.0.0.1:8786 with the
    credentials that dask's own configuration names: the paths of files in ``distributed.comm.tls.ca-file``,
    ``distributed.comm.tls.client.cert`` and ``distributed.comm.tls.client.key``, set in a file of ~/.config/dask or as
    variables (``DASK_DISTRIBUTED__COMM__TLS__CA_FILE`` and so on). Runs that need several devices, or memory, only go
    to workers started with ``--resources "devices=2 memory_gib=40"``.
    """

    address: str


Cluster = Local | Scheduler | Batch


@contextmanager
def connect(on: Cluster, machine: Machine, tell: Callable[[str], None]) -> Iterator["Client"]:
    """A client of the cluster, which starts and ends with the context unless it is a running scheduler. tell: takes a
    line whenever jobs are submitted. Raises Unavailable if there is no scheduler, no worker or no batch system.
    """
    import dask
    from distributed import Client

    with dask.config.set(SETTINGS):
        match on:
            case Scheduler():
                with _running(on.address) as client:
                    yield client
            case Batch():
                environment = WORKER_ENVIRONMENT | {"REPRO_HOME": str(home())}
                resources = offered(machine, on.memory_gib)
                with on.cluster(resources, environment, tell) as jobs, Client(jobs) as client:
                    yield client
            case Local():
                with _local(on, offered(machine, on.memory_gib)) as client:
                    yield client


@contextmanager
def _local(on: Local, resources: Mapping[str, float]) -> Iterator["Client"]:
    from distributed import Client, LocalCluster
    from distributed.security import Security

    with ExitStack() as opened:
        with _uninterrupted():
            cluster = LocalCluster(
                n_workers=on.workers,
                security=Security.temporary(),  # or other users of this machine could run code in it
                resources=dict(resources),
                **CLUSTERS["local"],
            )
            opened.enter_context(cluster)
        yield opened.enter_context(Client(cluster))


def dask_setup(worker: "Worker") -> None:  # noqa: ARG001
    """Ignore Ctrl-C: whoever started the workers ends them. dask calls this in each (`distributed.worker.preload`)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back from this thread and what it starts: ending half a cluster prints tracebacks."""
    resource_tracker.ensure_running()  # else multiprocessing starts it in between, and lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _running(address: str) -> Iterator["Client"]:
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # the last two are dask's for no credentials
        raise Unavailable(f"no scheduler answers at {address}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise Unavailable(f"the scheduler at {address} has no worker") from None
        for worker in client.scheduler_info(-1)["workers"].values():
            if worker["nthreads"] > 1:  # runs would disturb each other: torch has one generator a process
                raise Unavailable(f"worker {worker['name']} has {worker['nthreads']} threads; it must be --nthreads 1")
        try:
            yield client
        except CancelledError:
            raise ClusterLost(f"the scheduler at {address} was lost; what is done is kept") from None


def offered(machine: Machine, memory_gib: float) -> dict[str, float]:
    """The resources that each worker offers to its runs."""
    return {"devices": min(map(len, machine.slots)), "memory_gib": memory_gib}


def require(stages: Iterable[Stage], machine: Machine, workers: Iterable[Mapping[str, float]]) -> None:
    """Raise Unavailable if no worker's resources are what a stage needs: dask would wait for one without end."""
    known = list(workers)
    if not known:
        raise Unavailable("there is no worker")
    for kind in sorted({stage.kind for stage in stages} & machine.needs.keys()):
        needs = machine.needs[kind].resources
        if not any(all(worker.get(name, 0) >= amount for name, amount in needs.items()) for worker in known):
            words = " and ".join(f"{name}={amount:g}" for name, amount in needs.items())
            raise Unavailable(f"no worker has the {words} that {kind} needs")


def distribute(
    stages: list[Stage], store: Store, machine: Machine, on: Cluster, session: str, progress: Progress
) -> Errors:
    """Run `stages`, upstream first, on the workers of a cluster; the errors of those that failed by themselves. Raises
    Unavailable if there is no such cluster, or it is lost, or none of its workers has what a stage needs.
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
    """Run one stage, and again if it may succeed; raises what its last try raised. leave: takes this process out of
    service, at once if it can; called for errors that only a new process can mend.
    """
    for last in [*[False] * (TRIES - 1), True]:
        try:
            store.build(stage, machine.for_stage(stage), report, session)
            return
        except Exception as error:
            if last or hopeless(error) or tries(store.part(stage), session) >= TRIES:
                raise
            if leave and device_broken(error):
                leave()


def _submit(
    client: "Client", stages: list[Stage], store: Store, machine: Machine, session: str, *, ours: bool
) -> "dict[str, Future[None]]":
    futures: dict[str, Future[None]] = {}
    where = hashlib.sha256(os.path.realpath(store.root).encode()).hexdigest()[:8]
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
    """The errors of `futures`, each released once it is done, so that dask does not redo what a lost worker had done,
    and its stage removed from `left`.
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
        if isinstance(failed.get(key), Unwritable):  # and no other run could write either
            client.cancel(list(futures.values()))
            break
    return failed


def _watch(client: "Client", left: dict[str, Stage], machine: Machine, progress: Progress) -> Iterator[None]:
    """At each step, see that there are workers for what is left; ClusterLost after `GONE_SECONDS` without."""
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
    """At each step, replace workers of this machine that are gone for good: dask's nanny gives up on one that died
    before it had said that it is up, and dask would wait for ever.
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
