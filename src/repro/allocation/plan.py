"""What a study of paper B would cost before any of it is run: runs, tokens, operations, memory, disk, hours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from repro.allocation.design import Design, design
from repro.allocation.materials import require_scored
from repro.params import AllocationParams
from repro.runs.spec import Stage, closure
from repro.stages.evaluate import Drift, Evaluate, HeldOut, Programs, RatioDrift, parameters
from repro.stages.lora import PAIR, Cpt, Sft
from repro.stages.texts import Base
from repro.study.plan import (
    CORE,
    DEVICE,
    DEVICE_GIB,
    GIB,
    VOCABULARY,
    Costs,
    Row,
    activations,
    beyond_one,
    gib,
    sharing,
    short,
    width,
)

BYTES = {"fp32": 4, "bf16": 2}
BYTES_ADAPTER = 16  # of an adapter's weight while it is trained: itself, gradient and two moments in fp32
ADAPTER_STATE = 16  # bytes on disk: the adapter, and the state that a longer run goes on from
# LoRA on every linear layer of a Llama-type model: rank x (inputs + outputs) weights a layer, where the layers hold
# most of the model's weights; for SmolLM2-135M rank 8 gives 2.4M, for Mistral-7B rank 256 gives 671M.
KINDS: Mapping[str, tuple[type[Stage], ...]] = {
    "CPT": (Cpt,),
    "SFT": (Sft,),
    "evaluation": (Evaluate, HeldOut, Programs),
    "drift": (Drift, RatioDrift),
}


@dataclass(frozen=True)
class Phase(Row):
    """One kind of run."""

    name: str


@dataclass(frozen=True)
class Plan(Costs):
    """The cost of a study. naive_tokens: with no shared beginnings; printed: what the paper's printed steps come to."""

    base_model: str
    parameters: int
    phases: tuple[Phase, ...]
    naive_tokens: int
    memory_gib: float
    budget: int
    printed: Mapping[str, int] | None
    # SmolLM2-135M in bf16 on one core, as measured; an H100 at 40% of its dense peak, where a small model is held up by
    # the launching of kernels instead, which runs side by side share.
    rates: ClassVar[Mapping[str, tuple[float, float]]] = {CORE: (2.5e11, 0.05), DEVICE: (4e14, 0.12)}
    derived: ClassVar[tuple[str, ...]] = ("runs", "tokens", "flops", "naive_flops", "hours", "disagreement")

    @property
    def rows(self) -> Sequence[Phase]:
        return self.phases

    @property
    def naive_flops(self) -> float:
        """Operations if every allocation were trained by itself."""
        return self.flops + 4.0 * self.parameters * (self.naive_tokens - self.tokens)

    @property
    def disagreement(self) -> str:
        """Where the paper's budget and its printed steps do not amount to the same; "" where they do."""
        if self.printed is None:
            return ""
        cpt, sft, least, most = (self.printed[name] for name in ("cpt_tokens", "sft_tokens", "least_sft", "most_sft"))
        differences = []
        if cpt != self.budget:
            differences.append(
                f"The budget as printed is {short(self.budget)} tokens; the printed CPT steps x batch x length are "
                f"{short(cpt)}, {self.budget / cpt:,.0f} times less."
            )
        if not least <= sft <= most:
            differences.append(
                f"The allocations have {short(least)} to {short(most)} SFT tokens; the printed SFT steps x batch x "
                f"length are {short(sft)}."
            )
        return " ".join([*differences, "They disagree; this plan takes the budget."]) if differences else ""

    def __str__(self) -> str:
        rows = [f"{p.name:>12} {p.runs:>6,} {short(p.tokens):>9} {p.flops:>9.2e}" for p in self.phases]
        limit = f" This does not fit into one device of {DEVICE_GIB} GiB." if self.memory_gib > DEVICE_GIB else ""
        month = beyond_one(self.hours[DEVICE])
        lines = [
            f"{self.preset}: allocations of {short(self.budget)} tokens with {self.base_model} "
            f"({short(self.parameters)} parameters)",
            f"{self.runs:,} runs, {short(self.tokens)} tokens trained on (every allocation by itself: "
            f"{short(self.naive_tokens)}), {self.flops:.2e} FLOPs",
            f"About {gib(self.memory_gib)} to train, {gib(self.disk_gib)} of disk.{limit}",
            "",
            f"{'phase':>12} {'runs':>6} {'tokens':>9} {'FLOPs':>9}",
            *rows,
            "",
            "Time",
            *self.times,
            *([f"  {month}"] if month else []),
        ]
        return "\n".join([*lines, *(["", self.disagreement] if self.disagreement else [])])


def plan(params: AllocationParams) -> Plan:
    """The cost of the study that `params` ask for; ParamsError if a source, a model or a benchmark does not exist."""
    require_scored(name for domain in params.domains for name in domain.benchmarks if name not in domain.questions)
    asked = design(params)
    stages = closure(list(asked.stages))
    phases = tuple(_phase(name, [s for s in stages if isinstance(s, kinds)]) for name, kinds in KINDS.items())
    weights = parameters(asked.base)
    # Off by a third either way for the models named above; only memory and disk use it.
    adapter = round(26 * math.sqrt(weights) * max(params.cpt_rank, params.sft_rank))
    trained = sum(isinstance(stage, (Cpt, Sft)) for stage in stages)
    precision = BYTES[params.lora_precision]
    micro = min(params.micro_batch or params.cpt_batch, params.cpt_batch) * params.cpt_length
    kept = activations(micro, width(weights), VOCABULARY)
    return Plan(
        preset=params.preset,
        base_model=asked.base.name if isinstance(asked.base, Base) else "a model of our own",
        parameters=weights,
        phases=phases,
        naive_tokens=_naive(asked),
        memory_gib=(weights * precision + adapter * BYTES_ADAPTER + kept) / GIB,
        disk_gib=(weights * 2 + trained * adapter * ADAPTER_STATE) / GIB,
        budget=params.budget,
        printed=_printed(params),
        at_a_time=sharing(params),
    )


def _phase(name: str, stages: Sequence[Stage]) -> Phase:
    trained = [stage for stage in stages if isinstance(stage, (Cpt, Sft))]
    tokens = sum(stage.new_tokens for stage in trained)
    # For SFT about: a sequence of it is a pair.
    steps = sum(s.new_tokens // (s.training.batch * (s.length if isinstance(s, Cpt) else PAIR)) for s in trained)
    return Phase(len(stages), tokens, steps, float(sum(stage.cost for stage in stages)), name)


def _naive(asked: Design) -> int:
    trials = {trial.model.key: trial for trial in asked.trials}.values()
    return sum(
        (trial.before.whole_tokens if isinstance(trial.before, Cpt) else 0)
        + (trial.model.tokens if isinstance(trial.model, Sft) else 0)
        for trial in trials
    )


def _printed(params: AllocationParams) -> dict[str, int] | None:
    if params.printed_steps is None:
        return None
    cpt, sft = params.printed_steps
    positive = [tokens for tokens in params.sft_tokens if tokens]
    return {
        "cpt_tokens": cpt * params.cpt_batch * params.cpt_length,
        "sft_tokens": sft * params.sft_batch * params.sft_longest,
        "least_sft": min(positive, default=0),
        "most_sft": max(positive, default=0),
    }
