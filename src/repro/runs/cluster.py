"""Where runs execute: on workers of this machine, of a scheduler that is running, or of a batch system.

Every worker has one thread and executes runs inside its own process, so that torch is imported once a worker, not once
a run; only a run that takes several devices starts processes of its own.
"""

import logging
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

import psutil

from repro.home import home
from repro.runs.batch import Batch, ClusterLost, Unavailable
from repro.runs.spec import Machine, Stage

if TYPE_CHECKING:
    from distributed import Client

# One thread a worker. The allocator keeps what it frees: dask's own setting hands memory back to the system after
# every step, and a third of a small model's training time goes into getting it back.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
}
SETTINGS = {
    # A worker that holds the GIL for long does not answer; a dead one is noticed by its connection long before.
    "distributed.scheduler.worker-ttl": "1 hour",
    # A lost worker is no fault of its run: a batch job's wall time may interrupt a long run any number of times. Runs
    # that kill their workers are stopped by `repro.runs.attempts`.
    "distributed.scheduler.allowed-failures": 1000,
    "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
    "distributed.worker.preload": ["repro.runs.preload"],
    "distributed.diagnostics.nvml": False,  # asks the driver for what nothing here uses
}
PATIENCE = 30.0  # seconds until a scheduler, or the first of its workers, must have answered
GIB = 2**30


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
    """A client of the cluster, which is started and ended with the context unless it is a running scheduler.

    tell: takes a line for the user whenever jobs are submitted. Raises Unavailable if there is no scheduler at the
    address, or it has no worker, or there is no such batch system here.
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
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
                resources=dict(resources),
                silence_logs=logging.CRITICAL,  # failures are reported once, at the end
            )
            opened.enter_context(cluster)
        yield opened.enter_context(Client(cluster))


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
    """Raise Unavailable if no worker has what some kind of stage needs: dask would wait for one without end.

    workers: the resources of each.
    """
    known = list(workers)
    if not known:
        raise Unavailable("there is no worker")
    for kind in sorted({stage.kind for stage in stages} & machine.needs.keys()):
        needs = machine.needs[kind].resources
        if not any(all(worker.get(name, 0) >= amount for name, amount in needs.items()) for worker in known):
            words = " and ".join(f"{name}={amount:g}" for name, amount in needs.items())
            raise Unavailable(f"no worker has the {words} that {kind} needs")
