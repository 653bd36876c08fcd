"""What a study would cost, and where its runs would go: what `repro plan` says before anything is submitted."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from repro.params import AllocationParams, Params, SourceParams
from repro.runs.batch import SYSTEMS
from repro.runs.spec import Stage, closure

GIB = 2**30
DEVICE_GIB = 80  # one H100
MONTH_HOURS = 30 * 24
TEXT_RATE = 3.5e6  # characters a second that one core tokenizes, as measured
# Activations kept per token, layer and unit of width without recomputation, and fp32 logits with their gradient.
BYTES_ACTIVATION, BYTES_LOGIT = 34, 12
VOCABULARY = 40_000  # of a model of the hub, about

CORE, DEVICE = "one processor core", "one H100"


@dataclass(frozen=True)
class Row:
    """A line of a plan: the runs, tokens trained on, optimiser steps and operations of some stages."""

    runs: int
    tokens: int
    steps: int
    flops: float

    def hours(self, rate: tuple[float, float], at_a_time: int = 1) -> float:
        """Hours of computing on one device that does ``at_a_time`` runs side by side."""
        return max(self.flops / rate[0], self.steps * rate[1] / at_a_time) / 3600


@dataclass(frozen=True)
class Costs(ABC):
    """What a study would cost.

    rates: by device, sustained operations a second and the least seconds of an optimiser step; derived: the properties
    that are in the JSON beside the fields; at_a_time: runs that share one GPU.
    """

    rates: ClassVar[Mapping[str, tuple[float, float]]]
    derived: ClassVar[tuple[str, ...]]
    preset: str
    disk_gib: float
    at_a_time: int

    @property
    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """The lines of the plan."""

    @property
    def runs(self) -> int:
        return sum(row.runs for row in self.rows)

    @property
    def tokens(self) -> int:
        return sum(row.tokens for row in self.rows)

    @property
    def flops(self) -> float:
        return sum(row.flops for row in self.rows)

    @property
    def hours(self) -> dict[str, float]:
        """Hours of computing by device."""
        many = {CORE: 1, DEVICE: self.at_a_time}
        return {device: sum(row.hours(rate, many[device]) for row in self.rows) for device, rate in self.rates.items()}

    @property
    def times(self) -> list[str]:
        """A line for each device: its rate, and the hours."""
        return [
            f"  {device}, {rate:.1e} FLOP/s and {step * 1000:.0f} ms a step at best: {in_words(self.hours[device])}"
            for device, (rate, step) in self.rates.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything that the text says."""
        return asdict(self) | {name: getattr(self, name) for name in self.derived}


def activations(tokens: int, layers_by_width: float, vocabulary: int) -> float:
    """Bytes that a forward pass over `tokens` keeps for the backward one; layers_by_width: their product."""
    return tokens * (layers_by_width * BYTES_ACTIVATION + vocabulary * BYTES_LOGIT)


def width(parameters: int) -> float:
    """Layers times hidden size of a model of the hub, about: 1.49 sqrt(N) for SmolLM2-135M, 1.54 for Mistral-7B."""
    return 1.5 * math.sqrt(parameters)


def sharing(params: Params | AllocationParams) -> int:
    """The number of runs that share one device: all workers here; on a cluster each has devices of its own."""
    return params.workers if isinstance(params.workers, int) and params.cluster is None else 1


def short(number: float) -> str:
    """A number as people write it: 98.3M, 30B."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.4g}{unit}"
    return f"{number:.0f}"


def beyond_one(hours: float) -> str:
    """A sentence saying that so many hours of one H100 take a cluster; "" for up to a month."""
    if hours <= MONTH_HOURS:
        return ""
    return f"{hours:,.0f} hours are {hours / 24:,.0f} days on one H100; it takes a cluster"


def gib(size: float) -> str:
    """A size in GiB, to two digits where it is small."""
    return f"{size:,.0f} GiB" if size >= 10 else f"{size:.2g} GiB"


def in_words(hours: float) -> str:
    """Hours, or minutes where they are few."""
    return f"{hours * 60:.1f} minutes" if hours < 2 else f"{hours:,.1f} hours"


@dataclass(frozen=True)
class Submission:
    """Where runs go; kinds: the stages by kind, with what each takes; header: of a batch system's job."""

    where: str
    kinds: tuple[str, ...]
    header: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything that the text says."""
        return asdict(self)

    def __str__(self) -> str:
        job = ["", "Each job says", *(f"  {line}" for line in self.header)] if self.header else []
        return "\n".join(["Where it runs", f"  {self.where}", *(f"  {line}" for line in self.kinds), *job])


@dataclass(frozen=True)
class Paper:
    """One paper's study: its parameters, every stage, and the hours that all of them take on one GPU."""

    params: Params | AllocationParams
    stages: tuple[Stage, ...]
    hours: float

    @classmethod
    def of(cls, params: Params | AllocationParams, stages: Iterable[Stage], hours: float) -> "Paper":
        """With the stages upstream of `stages`; hours: from the plan."""
        return cls(params, tuple(closure(list(stages))), hours)

    @property
    def work(self) -> float:
        """Hours of one job that does every run, each on as many GPUs as it takes."""
        return self._unit * sum(stage.cost / _devices(self.params, stage.kind) for stage in self.stages)

    @property
    def chain(self) -> float:
        """Hours of the longest chain of runs that wait for each other."""
        until: dict[str, float] = {}
        for stage in self.stages:  # upstream first
            before = max((until[up.key] for up in stage.upstream()), default=0.0)
            until[stage.key] = before + stage.cost / _devices(self.params, stage.kind)
        return self._unit * max(until.values())

    @property
    def _unit(self) -> float:
        return self.hours / sum(stage.cost for stage in self.stages)


def submission(papers: Sequence[Paper], header: Iterable[str]) -> Submission:
    """Where the runs of one or both papers would go; header: the lines of a job's header, if there are jobs."""
    params = papers[0].params
    lines = [_where(params, papers)]
    if params.cluster is not None:
        lines += [*_at_least(papers), *_idle_devices(papers), *_text(papers)]
    return Submission("\n  ".join(lines), _kinds(papers), tuple(header))


def _where(params: Params | AllocationParams, papers: Sequence[Paper]) -> str:
    given = params.cluster
    if given is None:
        some = "a worker for every GPU, or for every core where there is none"
        if params.workers != "auto":
            some = f"{params.workers} worker{'s' * (params.workers > 1)}"
        return f"On this machine: {some}."
    if given.scheduler is not None:
        return f"On the workers of the scheduler at {given.scheduler}."
    assert given.batch is not None
    queue = f", queue {given.queue}" if given.queue else ""
    gpus = f"{given.gpus} GPU{'s' * (given.gpus > 1)}, " if given.gpus else ""
    jobs = max(_jobs(paper) for paper in papers)
    goes = "1 job goes" if jobs == 1 else f"{jobs} jobs{' at a time' * (len(papers) > 1)} go"
    return (
        f"{goes} to {SYSTEMS[given.batch]['called']}{queue}, each one worker for {given.walltime} at a time: "
        f"{gpus}{given.cores} core{'s' * (given.cores > 1)} and {given.memory_gib:g} GiB.\n"
        "  A job that ends is replaced, and the run it was at goes on from its last checkpoint."
    )


def _jobs(paper: Paper) -> int:
    assert isinstance(paper.params.workers, int)  # as the schema has it with a batch system
    return min(paper.params.workers, len(paper.stages))


def _at_least(papers: Sequence[Paper]) -> list[str]:
    """How soon jobs with GPUs could be done, and how many jobs would be as fast; the papers follow each other."""
    given = papers[0].params.cluster
    if given is None or given.batch is None or not given.gpus:
        return []
    takes = [max(paper.chain, paper.work / _jobs(paper)) for paper in papers]
    line = f"At least {in_words(sum(takes))}, reading and tokenizing text aside"
    if any(paper.chain < paper.work / _jobs(paper) for paper in papers):
        return [f"{line}: with every job at work all the time, and no loss where GPUs share a run."]
    line += ": the longest chain of runs that wait for each other, however many jobs."
    jobs, enough = max(map(_jobs, papers)), max(math.ceil(paper.work / paper.chain) for paper in papers)
    if enough >= jobs:
        return [line]
    held = sum(hours * _jobs(paper) for hours, paper in zip(takes, papers, strict=True))
    idle = 1 - sum(paper.work for paper in papers) / held
    return [line, f"{enough} jobs could be as fast; {jobs} would be idle {idle:.0%} of the time."]


def _idle_devices(papers: Sequence[Paper]) -> list[str]:
    params, given = papers[0].params, papers[0].params.cluster
    used = max(_devices(params, stage.kind) for paper in papers for stage in paper.stages)
    if given is None or used >= given.gpus:
        return []
    return [f"Idle: {given.gpus - used} of the {given.gpus} GPUs of each worker, since no run takes more (resources)."]


def _text(papers: Sequence[Paper]) -> list[str]:
    """How long the longest text takes to tokenize, if the parameters limit its length."""
    texts = [sources for paper in papers for sources in _texts(paper.params)]
    longest = max((sum(source.characters_limit or 0 for source in sources) for sources in texts), default=0)
    if not longest:
        return []
    hours = in_words(longest / TEXT_RATE / 3600)
    return [
        f"Text: up to {short(longest)} characters in one run, about {hours} of one core to tokenize,",
        "without a checkpoint. `repro train --prepare` does it first, on this machine and without jobs.",
    ]


def _texts(params: Params | AllocationParams) -> list[tuple[SourceParams, ...]]:
    if isinstance(params, AllocationParams):
        return [material.cpt for material in (*params.domains, params.replay)]
    domains = (domain for domain in (params.domain, params.second_domain) if domain)
    return [params.general, *(domain.sources for domain in domains)]


def _devices(params: Params | AllocationParams, kind: str) -> int:
    needs = params.resources.get(kind)
    return needs.devices if needs else 1


def _kinds(papers: Sequence[Paper]) -> tuple[str, ...]:
    params = papers[0].params
    stages = {stage.key: stage for paper in papers for stage in paper.stages}
    counts = Counter(stage.kind for stage in stages.values())
    memory = {kind: needs.memory_gib for kind, needs in params.resources.items() if needs.memory_gib}
    lines = []
    for kind, count in sorted(counts.items(), key=lambda item: -item[1]):
        shared = f", each on {devices} devices" if (devices := _devices(params, kind)) > 1 else ""
        lines.append(f"{count:>5} {kind}{shared}" + (f", each with {memory[kind]:g} GiB" if kind in memory else ""))
    return tuple(lines)
