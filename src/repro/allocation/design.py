"""Which runs a set of parameters asks for: the experimental design of paper B as stages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from repro.allocation.materials import base_of, material, require
from repro.lm.evaluation import PROGRAMS
from repro.params import AllocationParams
from repro.runs.spec import Stage
from repro.stages.evaluate import Adapted, Drift, Evaluate, HeldOut, Programs, RatioDrift
from repro.stages.lora import Cpt, LoraTraining, Sft
from repro.stages.texts import Base, Material, PairTokens, Tokens
from repro.stages.training import Pretrain
from repro.study.base import BaseDesign
from repro.study.models import require_context, require_tokenizer

PHASES = ("base to CPT", "CPT to SFT")
FLOOR = ("CPT with another seed", "SFT with another seed")
MODELS = ("CPT only", "CPT and SFT")
# Parameters that only the first domain follows, at what they are for the others.
OF_FIRST = {"other_budgets": (), "cpt_ablation": (), "snapshots": (), "sft_steps": None, "drift_floor_seed": None}
Kind = Literal["base", "allocation", "SFT only", "other budget", "CPT ablation", "snapshot", "fixed steps"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One model that is evaluated, and what for.

    budget: the tokens that `cpt_tokens` and `sft_tokens` divide, None where they divide none; before: the model before
    tuning. Tokens are those asked for; training takes whole steps.
    """

    kind: Kind
    domain: str
    budget: int | None
    cpt_tokens: int
    sft_tokens: int
    seed: int
    before: Adapted
    model: Adapted
    evaluation: Evaluate
    programs: tuple[Programs, ...]


class PhaseDrift(NamedTuple):
    """Drift of one phase of an allocation's training (Figure 3), or of its model from the one with another seed."""

    trial: Trial
    phase: str
    stage: Drift


class NeighbourDrift(NamedTuple):
    """Drift between the models of two neighbouring allocations, before or after tuning (Figure 2)."""

    fewer: Trial
    more: Trial
    model: str
    stage: RatioDrift


@dataclass(frozen=True)
class Design(BaseDesign):
    """The stages of a study; trials go by domain, seed, kind and ascending SFT tokens."""

    base: Base | Pretrain
    materials: tuple[Material, ...]
    replays: tuple[Material, ...]
    trials: tuple[Trial, ...]
    held_out: tuple[HeldOut, ...]
    drift: tuple[PhaseDrift, ...]
    floor: tuple[PhaseDrift, ...]
    ratio_drift: tuple[NeighbourDrift, ...]

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        scored = (stage for trial in self.trials for stage in (trial.evaluation, *trial.programs))
        drift = (*(drift.stage for drift in (*self.drift, *self.floor)), *(drift.stage for drift in self.ratio_drift))
        every = (*self.replays, *self.materials, *scored, *self.held_out, *drift)
        return tuple({stage.key: stage for stage in every}.values())

    def require_data(self) -> None:
        require(self.base, (*self.replays, *self.materials))
        self.require_models()

    def require_models(self) -> None:
        if isinstance(self.base, Base):
            require_tokenizer(self.base, chat=any(trial.evaluation.chat for trial in self.trials))


def design(params: AllocationParams, *, programs: bool = True) -> Design:
    """The stages that `params` ask for, with ``programs`` of models where these can be executed here; ParamsError if a
    source, model or benchmark does not exist.
    """
    base = base_of(params, material(params, params.replay, "replay"))
    if isinstance(base, Base):
        require_context(base, params.cpt_length, "cpt_length")
    parts = []
    for number, domain in enumerate(params.domains):
        field = f"domains[{number}]"
        # What is replayed gives none of the domain's questions away.
        replay = material(params, params.replay, "replay", beside=material(params, domain, field))
        own = material(params, domain, field, seen=replay)
        given = params.model_copy(update=OF_FIRST) if number else params
        parts.append(DomainRuns(given, own, replay, base, programs))
    return Design(
        base,
        tuple(part.domain for part in parts),
        tuple(part.replay for part in parts),
        tuple(trial for part in parts for trial in part.trials),
        tuple(stage for part in parts for stage in part.held_out),
        tuple(drift for part in parts for drift in part.drift),
        tuple(drift for part in parts for drift in part.floor),
        tuple(drift for part in parts for drift in part.ratio_drift),
    )


@dataclass(frozen=True)
class DomainRuns:
    """The stages of one domain; its parameters are those of the study or, for all but the first, without `OF_FIRST`."""

    params: AllocationParams
    domain: Material
    replay: Material
    base: Base | Pretrain
    programs: bool

    @cached_property
    def asked(self) -> tuple[tuple[Kind, int | None, int, int], ...]:
        """What models are for, for each seed: the kind of trial, the budget that is divided, CPT and SFT tokens."""
        given, main = self.params, self.params.budget
        allocations, ablation = sorted(given.sft_tokens), sorted(given.cpt_ablation)
        others = [(other.budget, sft) for other in given.other_budgets for sft in sorted(other.sft_tokens)]
        return (
            ("base", None, 0, 0),
            *(("allocation", main, main - sft, sft) for sft in allocations),
            *(("SFT only", None, 0, sft) for sft in sorted(given.sft_only_tokens)),
            *(("other budget", budget, budget - sft, sft) for budget, sft in others),
            *(("CPT ablation", None, cpt, given.cpt_ablation_sft) for cpt in ablation),
            *(("snapshot", None, main, sft) for sft in sorted(given.snapshots)),
            *(("fixed steps", main, main - sft, sft) for sft in allocations if sft and given.sft_steps),
        )

    @cached_property
    def tokens(self) -> tuple[Tokens, Tokens]:
        """Tokens of the domain's text and of the replayed text."""
        tokenizer = self.base if isinstance(self.base, Base) else self.base.tokens.tokenizer
        domain, replay = (Tokens(text=text, tokenizer=tokenizer) for text in (self.domain, self.replay))
        return domain, replay

    @cached_property
    def pairs(self) -> tuple[PairTokens, PairTokens]:
        """Tokens of the domain's pairs and of the replayed ones."""
        tokenizer, chat, longest = self.tokens[0].tokenizer, self.params.chat_template, self.params.sft_longest
        domain, replay = (
            PairTokens(material=material, tokenizer=tokenizer, chat=chat, longest=longest)
            for material in (self.domain, self.replay)
        )
        return domain, replay

    @cached_property
    def trajectories(self) -> dict[tuple[int, int], Adapted]:
        """(seed, CPT tokens) -> the model after so much CPT; each goes on from the one before it."""
        wanted = {cpt for _, _, cpt, _ in self.asked}
        models: dict[tuple[int, int], Adapted] = {}
        for seed in self.params.seeds:
            models[seed, 0] = self.base
            after: Cpt | None = None
            for tokens in sorted(wanted - {0}):
                run = self._cpt(tokens, seed, after)
                # Whole steps may make a run the one before it, or none at all.
                if run.steps and (after is None or run.key != after.key):
                    after = run
                models[seed, tokens] = after or self.base
        return models

    @cached_property
    def tunings(self) -> dict[tuple[int, int, int], Adapted]:
        """(seed, CPT tokens, SFT tokens) -> the model after both; those of one CPT go on from each other."""
        wanted = {(cpt, sft) for _, _, cpt, sft in self.asked}
        models: dict[tuple[int, int, int], Adapted] = {}
        for (seed, cpt), start in self.trajectories.items():
            after: Sft | None = None
            for tokens in sorted(sft for before, sft in wanted if before == cpt):
                if tokens:
                    after = self._sft(start, tokens, seed, after)
                models[seed, cpt, tokens] = after or start
        return models

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        first = self.params.seeds[0]
        return tuple(
            self._trial(*asked, seed)
            for seed in self.params.seeds
            for asked in self.asked
            if seed == first or asked[0] != "base"
        )

    @property
    def held_out(self) -> Iterable[HeldOut]:
        for model in self.trajectories.values():
            yield HeldOut(
                model=model, domain=self.tokens[0], replay=self.tokens[1], length=self.params.cpt_length,
                sequences=self.params.held_out_sequences, precision=self.params.lora_precision,
            )  # fmt: skip

    @property
    def drift(self) -> Iterable[PhaseDrift]:
        """Base to CPT and CPT to SFT, of the main budget's allocations and the first seed."""
        for trial in self._main():
            if isinstance(trial.before, Cpt):
                yield PhaseDrift(trial, PHASES[0], self._drift(self.base, trial.before))
                if isinstance(trial.model, Sft):
                    yield PhaseDrift(trial, PHASES[1], self._drift(trial.before, trial.model))

    @property
    def floor(self) -> Iterable[PhaseDrift]:
        """What another seed of weights and data does to the middle allocation."""
        both = [trial for trial in self._main() if isinstance(trial.before, Cpt) and trial.sft_tokens]
        if (seed := self.params.drift_floor_seed) is not None and both:
            trial = both[len(both) // 2]
            cpt = self._cpt(trial.cpt_tokens, seed, None)
            sft = self._sft(cpt, trial.sft_tokens, seed, None)
            yield PhaseDrift(trial, FLOOR[0], self._drift(trial.before, cpt))
            yield PhaseDrift(trial, FLOOR[1], self._drift(trial.model, sft))

    def _drift(self, first: Adapted, second: Adapted) -> Drift:
        return Drift(
            first=first, second=second, pairs=self.pairs[0], seed=self.params.seeds[0],
            examples=self.params.drift_examples, precision=self.params.lora_precision,
        )  # fmt: skip

    @property
    def ratio_drift(self) -> Iterable[NeighbourDrift]:
        """Every allocation against the one with the next smaller number of SFT tokens."""
        for fewer, more in pairwise(self._main()):
            if isinstance(more.model, Sft) and isinstance(fewer.before, Cpt):
                for tuned, model in enumerate(MODELS):
                    stage = RatioDrift(
                        earlier=more.before, later=fewer.before, more=more.model,
                        fewer=fewer.model if isinstance(fewer.model, Sft) else None, tuned=bool(tuned),
                        examples=self.params.drift_examples, precision=self.params.lora_precision,
                        share=self.params.drift_share,
                    )  # fmt: skip
                    yield NeighbourDrift(fewer, more, model, stage)

    def _main(self) -> Sequence[Trial]:
        return [t for t in self.trials if t.kind == "allocation" and t.seed == self.params.seeds[0]]

    def _trial(self, kind: Kind, budget: int | None, cpt: int, sft: int, seed: int) -> Trial:
        model, before = self.tunings[seed, cpt, sft], self.trajectories[seed, cpt]
        if kind == "fixed steps":
            model = self._sft(before, sft, seed, None, self.params.sft_steps)
        given: dict[str, Any] = {
            "model": model, "material": self.domain, "precision": self.params.lora_precision,
        }  # fmt: skip
        evaluation = Evaluate(**given, benchmarks=self.domain.benchmarks, chat=self.params.chat_template)
        programs = tuple(
            Programs(**given, benchmark=name, isolated=not self.params.unsafe_no_sandbox)
            for name in self.domain.benchmarks
            if self.programs and name in PROGRAMS
        )
        return Trial(
            kind=kind, domain=self.domain.name, budget=budget, cpt_tokens=cpt, sft_tokens=sft, seed=seed,
            before=before, model=model, evaluation=evaluation, programs=programs,
        )  # fmt: skip

    def _cpt(self, tokens: int, seed: int, after: Cpt | None) -> Cpt:
        given = self.params
        step = given.cpt_batch * given.cpt_length
        return Cpt(
            base=self.base, domain=self.tokens[0], replay=self.tokens[1], replay_share=given.lora_replay_share,
            training=self._training("cpt"), length=given.cpt_length, tokens=tokens // step * step,
            seed=seed, after=after,
        )  # fmt: skip

    def _sft(self, start: Adapted, tokens: int, seed: int, after: Sft | None, steps: int | None = None) -> Sft:
        given = self.params
        return Sft(
            start=start,  # type: ignore[arg-type]
            pairs=self.pairs[0], replay=self.pairs[1], replay_share=given.lora_replay_share,
            training=self._training("sft"), tokens=tokens, seed=seed, after=after, steps=steps,
            mode=given.sft_adapter if isinstance(start, Cpt) else "continue",  # without CPT there is no difference
        )  # fmt: skip

    def _training(self, phase: str) -> LoraTraining:
        """The recipe of "cpt" or "sft"."""
        given = self.params.model_dump()
        return LoraTraining(
            **{name: given[f"{phase}_{name}"] for name in ("rank", "alpha", "batch")},
            peak=float(given[f"{phase}_lr"]), warmup=given[f"{phase}_warmup_steps"],
            weight_decay=float(given["weight_decay"]), clip=float(given["clip"]), precision=given["lora_precision"],
        )  # fmt: skip
