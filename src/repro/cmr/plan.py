"""What a study would cost before any of it is run: runs, tokens, operations, memory, disk, hours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from repro.cmr.design import design
from repro.data.corpora import token_dtype
from repro.params import Params
from repro.stages.texts import Base
from repro.stages.training import Continue, Pretrain
from repro.study import plan as costs

# AdamW in fp32: weights, gradients and two moments of 4 bytes each.
BYTES_TRAINING, BYTES_WEIGHTS = 16, 4
BYTES_TEXT = 4  # of Parquet text a token, about


@dataclass(frozen=True)
class SizePlan(costs.Row):
    """One model size: weights, and GiB while training, beside all its runs."""

    size: str
    parameters: int
    memory_gib: float
    naive_flops: float


@dataclass(frozen=True)
class Plan(costs.Costs):
    """The cost of a study. naive_flops is what training every point of every curve by itself would take."""

    sizes: tuple[SizePlan, ...]
    # A modern core on the small models of the quick preset, as measured; an H100 at 40% of its dense bfloat16 peak, as
    # well-kept code reaches on models of Table 1's sizes. Small models on a GPU are held up by the launching of kernels
    # instead, which runs side by side share.
    rates: ClassVar[Mapping[str, tuple[float, float]]] = {costs.CORE: (45e9, 0.002), costs.DEVICE: (4e14, 0.03)}
    derived: ClassVar[tuple[str, ...]] = ("flops", "naive_flops", "runs", "tokens", "hours", "beyond_one_machine")

    @property
    def rows(self) -> Sequence[SizePlan]:
        return self.sizes

    @property
    def naive_flops(self) -> float:
        return sum(size.naive_flops for size in self.sizes)

    @property
    def beyond_one_machine(self) -> tuple[str, ...]:
        """What a machine with one H100 cannot do, in words; empty if it can do everything."""
        reasons = [
            f"{size.size}: {size.memory_gib:,.0f} GiB to train do not fit into one device of {costs.DEVICE_GIB} GiB"
            for size in self.sizes
            if size.memory_gib > costs.DEVICE_GIB
        ]
        if beyond := costs.beyond_one(self.hours[costs.DEVICE]):
            reasons.append(f"all runs: {beyond}")
        reasons += [
            f"{size.size}: its {size.runs} runs alone are {days:,.0f} days on one H100"
            for size in self.sizes
            if (days := size.hours(self.rates[costs.DEVICE]) / 24) > costs.MONTH_HOURS / 24
        ]
        return tuple(reasons)

    def __str__(self) -> str:
        head = f"{'size':>8} {'parameters':>12} {'memory GiB':>11} {'runs':>5} {'tokens':>9} {'FLOPs':>9} {'naive':>9}"
        rows = [
            f"{s.size:>8} {s.parameters:>12,} {s.memory_gib:>11.3g} {s.runs:>5} {costs.short(s.tokens):>9} "
            f"{s.flops:>9.2e} {s.naive_flops:>9.2e}"
            for s in self.sizes
        ]
        limits = self.beyond_one_machine
        return "\n".join(
            [
                f"{self.preset}: {self.runs} training runs, {costs.short(self.tokens)} tokens, {self.flops:.2e} FLOPs",
                f"(training every point of every curve by itself: {self.naive_flops:.2e}, "
                f"{self.naive_flops / self.flops:.1f} times as much); {costs.gib(self.disk_gib)} of disk",
                "",
                head,
                *rows,
                "",
                "Time",
                *self.times,
                "",
                "Beyond one machine with one H100" if limits else "One machine can do all of it.",
                *(f"  {line}" for line in limits),
            ]
        )


def plan(params: Params) -> Plan:
    """The cost of the study that `params` ask for. Raises ParamsError if a source of text does not exist."""
    found = design(params)
    every = (*found.continual, *found.rates)
    sizes = tuple(
        _size(params, base, [run for run in every if run.base == base and run.seed == params.seeds[0]])
        for base in found.models
    )
    weights = sum(s.parameters * (s.runs + 3) * BYTES_WEIGHTS for s in sizes)  # one run at work holds three more
    tokens = params.pretrain_tokens + params.continual_tokens * 3  # at most: no text is gone through twice
    text = tokens * (token_dtype(params.vocabulary).itemsize + BYTES_TEXT)
    at_a_time = costs.sharing(params)
    return Plan(params.preset, (weights + text) / costs.GIB, at_a_time, sizes)


def _size(params: Params, base: Pretrain | Base, continual: list[Continue]) -> SizePlan:
    length, seeds = params.sequence_length, len(params.seeds)
    micro = min(params.micro_batch or params.batch, params.batch) * length
    runs: list[Pretrain | Continue] = [*continual]
    points = [step * run.training.batch * length for run in continual for step in run.training.measure_at]
    if isinstance(base, Pretrain):
        runs.append(base)
        points.append(base.training.tokens)
        width, vocabulary = float(base.shape.layers * base.shape.hidden), params.vocabulary
    else:
        width, vocabulary = costs.width(base.parameters), costs.VOCABULARY
    kept = costs.activations(micro, width, vocabulary)
    training = [run.training for run in runs]
    return SizePlan(
        size=base.size,
        parameters=base.parameters,
        memory_gib=(base.parameters * (BYTES_WEIGHTS if params.adapter else BYTES_TRAINING) + kept) / costs.GIB,
        runs=seeds * len(training),
        steps=seeds * sum(t.steps for t in training),
        tokens=seeds * sum(t.whole_tokens for t in training),
        flops=float(seeds * sum(run.cost for run in runs)),
        naive_flops=float(seeds * base.flops_per_token(length) * sum(points)),
    )
