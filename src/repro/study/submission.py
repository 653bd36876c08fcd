"""Where the runs of a study would go, in words: what `repro plan` says before anything is submitted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from repro.params import AllocationParams, Params
from repro.runs.spec import Stage, closure

SYSTEMS = {"slurm": "Slurm", "pbs": "PBS", "lsf": "LSF"}


@dataclass(frozen=True)
class Submission:
    """What goes where: `kinds` are the stages by kind with what each takes, `header` the lines of a job of a batch
    system.
    """

    where: str
    kinds: tuple[str, ...]
    header: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything that the text says."""
        return asdict(self)

    def __str__(self) -> str:
        job = ["", "Each job says", *(f"  {line}" for line in self.header)] if self.header else []
        return "\n".join(["Where it runs", f"  {self.where}", *(f"  {line}" for line in self.kinds), *job])


def submission(
    params: Params | AllocationParams, stages: Iterable[Stage], header: Iterable[str], hours: float
) -> Submission:
    """What would go where.

    stages: of both papers' studies; header: the lines of a job's header, where there are jobs; hours: what all stages
    take on one GPU.
    """
    every = closure(list(stages))
    return Submission(_where(params) + _at_best(params, every, hours), _kinds(params, every), tuple(header))


def _at_best(params: Params | AllocationParams, stages: list[Stage], hours: float) -> str:
    """How soon so many GPUs could be done: no sooner than the longest chain of runs that wait for each other."""
    given = params.cluster
    if given is None or not given.gpus or not isinstance(params.workers, int):
        return ""
    until: dict[str, float] = {}
    for stage in stages:  # upstream first
        before = max((until[up.key] for up in stage.upstream()), default=0.0)
        until[stage.key] = before + stage.cost / _devices(params, stage.kind)
    used = min(given.gpus, max(_devices(params, stage.kind) for stage in stages))
    gpus = params.workers * used
    share = max(1 / gpus, max(until.values()) / sum(stage.cost for stage in stages))
    idle = f"\n  {given.gpus - used} of the {given.gpus} GPUs of a job stay idle: no run takes more (resources)."
    return (
        f"\n  At best, with {gpus} GPUs busy and no loss where runs are shared: {hours * share:,.0f} hours, reading "
        f"and tokenizing text aside.{idle if used < given.gpus else ''}"
    )


def _devices(params: Params | AllocationParams, kind: str) -> int:
    needs = params.resources.get(kind)  # type: ignore[call-overload]  # kinds that cannot be named have none
    return needs.devices if needs else 1


def _where(params: Params | AllocationParams) -> str:
    given = params.cluster
    if given is None:
        return f"On this machine: {_workers(params)}."
    if given.scheduler is not None:
        return f"On the workers of the scheduler at {given.scheduler}."
    assert given.batch is not None
    queue = f", queue {given.queue}" if given.queue else ""
    return (
        f"{params.workers} jobs go to {SYSTEMS[given.batch]}{queue}, each one worker for {given.walltime} at a time: "
        f"{_what(given.gpus, given.cores)} and {given.memory_gib:g} GiB.\n"
        "  A job that ends is replaced, and the run it was at goes on from its last checkpoint."
    )


def _workers(params: Params | AllocationParams) -> str:
    if params.workers == "auto":
        return "a worker for every GPU, or for every core where there is none"
    return f"{params.workers} worker{'s' * (params.workers > 1)}"


def _what(gpus: int, cores: int) -> str:
    found = [f"{gpus} GPU{'s' * (gpus > 1)}"] if gpus else []
    return ", ".join([*found, f"{cores} core{'s' * (cores > 1)}"])


def _kinds(params: Params | AllocationParams, stages: list[Stage]) -> tuple[str, ...]:
    counts = Counter(stage.kind for stage in stages)
    memory = {kind: needs.memory_gib for kind, needs in params.resources.items() if needs.memory_gib}
    lines = []
    for kind, count in sorted(counts.items(), key=lambda item: -item[1]):
        shared = f", each shared by {devices} devices" if (devices := _devices(params, kind)) > 1 else ""
        lines.append(f"{count:>5} {kind}{shared}" + (f", each with {memory[kind]:g} GiB" if kind in memory else ""))
    return tuple(lines)
