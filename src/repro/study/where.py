"""Where runs execute, from parameters: devices, workers, and the cluster they belong to."""

import os
from dataclasses import dataclass
from math import floor

import psutil

from repro.params import AllocationParams, Params, ParamsError
from repro.runs import Machine, Store
from repro.runs.batch import Batch
from repro.runs.cluster import Cluster, Local, Scheduler
from repro.runs.spec import Needs

Slots = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Where:
    """A machine as stages see it, and the workers that execute them."""

    machine: Machine
    cluster: Cluster


def where(params: Params | AllocationParams, store: Store) -> Where:
    """Where the runs of a study execute.

    Raises:
        ParamsError: if this machine does not have what the parameters ask for.

    """
    needs: dict[str, Needs] = {
        kind: Needs(devices=need.devices, memory_gib=need.memory_gib or 0) for kind, need in params.resources.items()
    }
    share = max((need.devices for need in needs.values()), default=1)
    slots, cluster = _elsewhere(params, store, share) if params.cluster else _here(params, needs, share)
    options = params.model_dump(include={"micro_batch", "checkpoint_seconds"})
    return Where(Machine(slots=slots, needs=needs, **options), cluster)


def _elsewhere(params: Params | AllocationParams, store: Store, share: int) -> tuple[Slots, Cluster]:
    given = params.cluster
    assert given is not None
    slots = (_cuda(range(given.gpus)) or ("cpu",) * share,)
    if given.scheduler is not None:
        return slots, Scheduler(address=given.scheduler)
    assert given.batch is not None and isinstance(params.workers, int)  # as the schema has it
    options = given.model_dump(exclude={"batch", "scheduler"})
    return slots, Batch(system=given.batch, workers=params.workers, logs=store.root / "logs", **options)


def _here(params: Params | AllocationParams, needs: dict[str, Needs], share: int) -> tuple[Slots, Cluster]:
    count = 0
    if params.device != "cpu":
        import torch

        count = torch.cuda.device_count()
    if params.device == "cuda" and not count:
        raise ParamsError("device: cuda is not available here; allowed are auto and cpu")
    if count and share > count:
        kind = next(kind for kind, need in needs.items() if need.devices == share)
        raise ParamsError(f"resources.{kind}.devices: must be at most {count}, the GPUs here, not {share}")
    # Devices that do not fill a worker's share stay idle.
    slots = tuple(_cuda(range(first, first + share)) for first in range(0, count - share + 1, share))
    memory = max((need.memory_gib for need in needs.values()), default=0.0)
    workers = params.workers if isinstance(params.workers, int) else _fitting(len(slots), share, memory)
    if memory > Local(workers=workers).memory_gib:
        kind = next(kind for kind, need in needs.items() if need.memory_gib == memory)
        have = f"{Local().memory_gib:.0f} GiB here, for {workers} worker{'s' * (workers > 1)}"
        raise ParamsError(f"resources.{kind}.memory_gib: {memory:g} GiB a worker are more than there are ({have})")
    return slots or (("cpu",) * share,), Local(workers=workers)


def _fitting(slots: int, share: int, memory: float) -> int:
    """The number of workers that there are GPUs, or else cores, and main memory for."""
    cores = min(psutil.cpu_count(logical=False) or 1, len(os.sched_getaffinity(0)))
    workers = slots or cores // share
    if memory:
        workers = min(workers, floor(Local().memory_gib / memory))
    return max(workers, 1)


def _cuda(numbers: range) -> tuple[str, ...]:
    return tuple(f"cuda:{number}" for number in numbers)
