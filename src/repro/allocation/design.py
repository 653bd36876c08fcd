"""Which runs a set of parameters asks for: the experimental design of paper B as stages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

from repro.allocation.materials import base_of, material, require
from repro.lm.evaluation import PROGRAMS
from repro.params import AllocationParams
from repro.runs.spec import Stage
from repro.stages.base import Base
from repro.stages.drift import Drift, RatioDrift
from repro.stages.evaluate import Evaluate, HeldOut, Programs
from repro.stages.lora import Cpt, LoraTraining, Sft
from repro.stages.models import Adapted
from repro.stages.pretrain import Pretrain
from repro.stages.texts import Material
from repro.stages.tokens import PairTokens, Tokens
from repro.study.base import BaseDesign

PHASES = ("base to CPT", "CPT to SFT")
MODELS = ("CPT only", "CPT and SFT")
Kind = Literal["base", "allocation", "SFT only", "other budget", "CPT ablation"]

__all__ = ["Design", "Trial", "design"]


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
    """Drift of one phase of an allocation's training, from the base model to CPT or from CPT to SFT (Figure 3)."""

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
class OfDomain:
    """The stages of one domain; ablations and other budgets are those of the first one only."""

    params: AllocationParams
    domain: Material
    replay: Material
    base: Base | Pretrain
    programs: bool
    first: bool

    @cached_property
    def budgets(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Each budget with its SFT tokens, the main one first."""
        others = self.params.other_budgets if self.first else ()
        main = (self.params.budget, tuple(sorted(self.params.sft_tokens)))
        return (main, *((one.budget, tuple(sorted(one.sft_tokens))) for one in others))

    @cached_property
    def ablation(self) -> tuple[int, ...]:
        return tuple(sorted(self.params.cpt_ablation)) if self.first else ()

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
        wanted = {budget - sft for budget, listed in self.budgets for sft in listed} | set(self.ablation)
        found: dict[tuple[int, int], Adapted] = {}
        for seed in self.params.seeds:
            found[seed, 0] = self.base
            after: Cpt | None = None
            for tokens in sorted(wanted - {0}):
                run = self._cpt(tokens, seed, after)
                # Whole steps may make a run the one before it, or none at all.
                if run.steps and (after is None or run.key != after.key):
                    after = run
                found[seed, tokens] = after or self.base
        return found

    @cached_property
    def tunings(self) -> dict[tuple[int, int, int], Adapted]:
        """(seed, CPT tokens, SFT tokens) -> the model after both; those of one CPT go on from each other."""
        wanted = {(budget - sft, sft) for budget, listed in self.budgets for sft in listed}
        wanted |= {(cpt, self.params.cpt_ablation_sft) for cpt in self.ablation}
        wanted |= {(0, sft) for sft in self.params.sft_only_tokens} | {(0, 0)}
        found: dict[tuple[int, int, int], Adapted] = {}
        for (seed, cpt), start in self.trajectories.items():
            after: Sft | None = None
            for tokens in sorted(sft for before, sft in wanted if before == cpt):
                if tokens:
                    after = self._sft(start, tokens, seed, after)
                found[seed, cpt, tokens] = after or start
        return found

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        (main, allocations), *others = self.budgets
        return tuple(
            trial
            for seed in self.params.seeds
            for trial in (
                *([self._trial("base", None, 0, 0, seed)] if seed == self.params.seeds[0] else []),
                *(self._trial("allocation", main, main - sft, sft, seed) for sft in allocations),
                *(self._trial("SFT only", None, 0, sft, seed) for sft in sorted(self.params.sft_only_tokens)),
                *(self._trial("other budget", n, n - sft, sft, seed) for n, listed in others for sft in listed),
                *(self._trial("CPT ablation", None, c, self.params.cpt_ablation_sft, seed) for c in self.ablation),
            )
        )

    @property
    def held_out(self) -> Iterable[HeldOut]:
        for model in self.trajectories.values():
            yield HeldOut(
                model=model,
                domain=self.tokens[0],
                replay=self.tokens[1],
                length=self.params.cpt_length,
                sequences=self.params.held_out_sequences,
                precision=self.params.lora_precision,
            )

    @property
    def drift(self) -> Iterable[PhaseDrift]:
        """Base to CPT and CPT to SFT, of the main budget's allocations and the first seed."""
        settings = {
            "pairs": self.pairs[0],
            "seed": self.params.seeds[0],
            "examples": self.params.drift_examples,
            "precision": self.params.lora_precision,
        }
        for trial in self._main():
            if not isinstance(trial.before, Cpt):
                continue
            phases: list[tuple[str, Adapted, Adapted]] = [(PHASES[0], self.base, trial.before)]
            if isinstance(trial.model, Sft):
                phases.append((PHASES[1], trial.before, trial.model))
            for phase, first, second in phases:
                yield PhaseDrift(trial, phase, Drift(first=first, second=second, **settings))  # type: ignore[arg-type]

    @property
    def ratio_drift(self) -> Iterable[NeighbourDrift]:
        """Every allocation against the one with the next smaller number of SFT tokens."""
        for fewer, more in pairwise(self._main()):
            if isinstance(more.model, Sft) and isinstance(fewer.before, Cpt):
                for tuned, model in enumerate(MODELS):
                    stage = RatioDrift(
                        earlier=more.before,
                        later=fewer.before,
                        more=more.model,
                        fewer=fewer.model if isinstance(fewer.model, Sft) else None,
                        tuned=bool(tuned),
                        examples=self.params.drift_examples,
                        precision=self.params.lora_precision,
                    )
                    yield NeighbourDrift(fewer, more, model, stage)

    def _main(self) -> Sequence[Trial]:
        return [t for t in self.trials if t.kind == "allocation" and t.seed == self.params.seeds[0]]

    def _trial(self, kind: Kind, budget: int | None, cpt: int, sft: int, seed: int) -> Trial:
        model = self.tunings[seed, cpt, sft]
        evaluation = Evaluate(
            model=model,
            material=self.domain,
            benchmarks=self.domain.benchmarks,
            chat=self.params.chat_template,
            precision=self.params.lora_precision,
        )
        programs = tuple(
            Programs(
                model=model,
                material=self.domain,
                benchmark=name,
                precision=self.params.lora_precision,
                isolated=not self.params.unsafe_no_sandbox,
            )
            for name in self.domain.benchmarks
            if self.programs and name in PROGRAMS
        )
        return Trial(
            kind=kind,
            domain=self.domain.name,
            budget=budget,
            cpt_tokens=cpt,
            sft_tokens=sft,
            seed=seed,
            before=self.trajectories[seed, cpt],
            model=model,
            evaluation=evaluation,
            programs=programs,
        )

    def _cpt(self, tokens: int, seed: int, after: Cpt | None) -> Cpt:
        params = self.params
        step = params.cpt_batch * params.cpt_length
        training = self._training(
            params.cpt_rank, params.cpt_alpha, params.cpt_lr, params.cpt_warmup_steps, params.cpt_batch
        )
        return Cpt(
            base=self.base,
            domain=self.tokens[0],
            replay=self.tokens[1],
            replay_share=params.lora_replay_share,
            training=training,
            length=params.cpt_length,
            tokens=tokens // step * step,
            seed=seed,
            after=after,
        )

    def _sft(self, start: Adapted, tokens: int, seed: int, after: Sft | None) -> Sft:
        params = self.params
        training = self._training(
            params.sft_rank, params.sft_alpha, params.sft_lr, params.sft_warmup_steps, params.sft_batch
        )
        return Sft(
            start=start,  # type: ignore[arg-type]
            pairs=self.pairs[0],
            replay=self.pairs[1],
            replay_share=params.lora_replay_share,
            training=training,
            mode=params.sft_adapter if isinstance(start, Cpt) else "continue",  # without CPT there is no difference
            tokens=tokens,
            seed=seed,
            after=after,
        )

    def _training(self, rank: int, alpha: int, peak: float, warmup: int, batch: int) -> LoraTraining:
        return LoraTraining(
            rank=rank,
            alpha=alpha,
            peak=float(peak),
            warmup=warmup,
            batch=batch,
            weight_decay=float(self.params.weight_decay),
            clip=float(self.params.clip),
            precision=self.params.lora_precision,
        )


@dataclass(frozen=True)
class Design(BaseDesign):
    """The stages of a study; trials go by domain, seed, kind and ascending SFT tokens."""

    base: Base | Pretrain
    materials: tuple[Material, ...]
    replays: tuple[Material, ...]
    trials: tuple[Trial, ...]
    held_out: tuple[HeldOut, ...]
    drift: tuple[PhaseDrift, ...]
    ratio_drift: tuple[NeighbourDrift, ...]

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Every stage that gives a result of its own."""
        scored = (stage for trial in self.trials for stage in (trial.evaluation, *trial.programs))
        drift = (*(one.stage for one in self.drift), *(one.stage for one in self.ratio_drift))
        found = (*self.replays, *self.materials, *scored, *self.held_out, *drift)
        return tuple({stage.key: stage for stage in found}.values())

    def require_data(self) -> None:
        """Make sure that the data packages have been fetched and are the pinned ones.

        Raises:
            ParamsError: naming the file that is missing or another one.

        """
        require(self.base, (*self.replays, *self.materials))


def design(params: AllocationParams, *, programs: bool = True) -> Design:
    """The stages that `params` ask for.

    programs: whether programs that models write can be executed here.

    Raises:
        ParamsError: if a source, model or benchmark does not exist.

    """
    base = base_of(params, material(params, params.replay, "replay"))
    parts = [_part(params, number, base, programs) for number in range(len(params.domains))]
    return Design(
        base,
        tuple(part.domain for part in parts),
        tuple(part.replay for part in parts),
        tuple(trial for part in parts for trial in part.trials),
        tuple(stage for part in parts for stage in part.held_out),
        tuple(one for part in parts for one in part.drift),
        tuple(one for part in parts for one in part.ratio_drift),
    )


def _part(params: AllocationParams, number: int, base: Base | Pretrain, programs: bool) -> OfDomain:
    """A domain and its replay, which gives none of the domain's questions away."""
    given, field = params.domains[number], f"domains[{number}]"
    replay = material(params, params.replay, "replay", beside=material(params, given, field))
    return OfDomain(params, material(params, given, field, seen=replay), replay, base, programs, first=number == 0)
