"""LoRA continual pretraining, then LoRA supervised fine-tuning (sections 3.1.1 and 3.1.2 of paper B).

The learning rate is constant after a warm-up, and data come in one order, so that a shorter run is the beginning of a
longer one. `after` names such a shorter run, from whose state training goes on, to the same bits as without it
(tests/stages/test_lora.py); so it is no part of a stage's identity.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from repro.data.corpora import TRAINING
from repro.runs.spec import LATER, Stage, Work
from repro.stages.parallel import Shared
from repro.stages.texts import Base, PairTokens, Tokens, encoded_pairs, tokens_of
from repro.stages.training import Pretrain, Settings, train_in

if TYPE_CHECKING:
    from peft import PeftModel

    from repro.lm.sequences import Batches, Mixture, PairBatches

PAIR = 50  # tokens of a pair, about: only costs use it
STATE, PROGRESS = "state.safetensors", "progress.json"


@dataclass(frozen=True, kw_only=True)
class LoraTraining(Settings):
    """An adapter and how it is trained (Tables A.2 and A.3): after the warm-up the learning rate is constant."""

    rank: int
    alpha: int


@dataclass(frozen=True, kw_only=True)
class Cpt(Shared):
    """The base model trained further on domain text and replayed general text; tokens: rounded down to whole steps."""

    base: Base | Pretrain
    domain: Tokens
    replay: Tokens
    replay_share: Fraction
    training: LoraTraining
    length: int
    tokens: int
    seed: int
    after: "Cpt | None" = field(default=None, metadata={"identity": False}, compare=False)

    @property
    def steps(self) -> int:
        return self.tokens // (self.training.batch * self.length)

    @property
    def whole_tokens(self) -> int:
        """The tokens trained on: `tokens`, less what does not fill a step."""
        return self.steps * self.training.batch * self.length

    @property
    def label(self) -> str:
        return f"CPT on {self.domain.text.name}, {self.whole_tokens:,} tokens"

    @property
    def new_tokens(self) -> int:
        """Tokens trained on by this stage itself, without those of `after`."""
        return self.whole_tokens - (self.after.whole_tokens if self.after else 0)

    @property
    def cost(self) -> float:
        return 4.0 * self.base.parameters * self.new_tokens

    def train(self, work: Work) -> None:
        from repro.lm.adapters import add_adapter, lora
        from repro.lm.models import load_pretrained
        from repro.lm.sequences import Batches
        from repro.lm.training import DTYPES

        config = lora(self.training.rank, self.training.alpha, name_of(self.base))
        model = load_pretrained(work.inputs(self.base), DTYPES[self.training.precision], self.length)
        adapted = add_adapter(model, config, self.seed)
        batches = Batches(self.mixture(work), self.training.batch)
        _train(work, self, adapted, batches, self.steps, self.whole_tokens)

    def mixture(self, work: Work) -> "Mixture[Any]":
        """The CPT sequences: domain text and replayed general text."""
        from repro.lm.sequences import Mixture, Stream

        streams = [
            Stream(tokens_of(work.inputs(stage), TRAINING, stage.dtype), self.length, self.seed)
            for stage in (self.replay, self.domain)
        ]
        return Mixture(general=streams[0], domain=streams[1], ratio=1 - self.replay_share)


@dataclass(frozen=True, kw_only=True)
class Sft(Shared):
    """A model tuned on instruction pairs with the loss on answers only; without CPT it starts from the base model.

    mode: what is trained after CPT: "continue" goes on with its adapter; "merge" trains a fresh one with CPT's merged
    into the weights, and so rounded to their precision (CPT's own model is not rounded); "second" trains a fresh one
    with CPT's frozen beneath it. tokens: of prompts and answers, rounded down to whole steps. steps: how many to take
    over these tokens, in as many epochs as that is; None: as many as one epoch has.
    """

    start: Base | Pretrain | Cpt
    pairs: PairTokens
    replay: PairTokens
    replay_share: Fraction
    training: LoraTraining
    mode: str
    tokens: int
    seed: int
    after: "Sft | None" = field(default=None, metadata={"identity": False}, compare=False)
    steps: int | None = field(default=None, metadata=LATER)

    @property
    def base(self) -> Base | Pretrain:
        return self.start.base if isinstance(self.start, Cpt) else self.start

    @property
    def label(self) -> str:
        before = f"after {self.start.whole_tokens:,} of CPT" if isinstance(self.start, Cpt) else "without CPT"
        steps = f" in {self.steps:,} steps" if self.steps else ""
        return f"SFT on {self.pairs.name}, {self.tokens:,} tokens{steps} {before}"

    @property
    def new_tokens(self) -> int:
        """About how many tokens this stage itself trains on, without those of `after`."""
        if self.steps:
            return self.steps * self.training.batch * PAIR
        return self.tokens - (self.after.tokens if self.after else 0)

    @property
    def cost(self) -> float:
        return 4.0 * self.base.parameters * self.new_tokens

    def upstream(self) -> Iterator[Stage]:
        yield from super().upstream()
        yield self.base  # a CPT `start` is only an adapter

    def train(self, work: Work) -> None:
        batches = self.batches(work)
        steps, taken = batches.steps_within(self.tokens)
        if not steps:
            least = batches.tokens(0)
            raise ValueError(f"{self.tokens} SFT tokens are not enough for one step, which takes {least}")
        _train(work, self, self._model(work), replace(batches, epoch=steps), self.steps or steps, taken)

    def batches(self, work: Work) -> "PairBatches":
        """The pairs of every step: the domain's and replayed general ones."""
        from repro.lm.sequences import Mixture, PairBatches, PairStream

        replay, pairs = (PairStream(encoded_pairs(work.inputs(s)), self.seed) for s in (self.replay, self.pairs))
        return PairBatches(Mixture(general=replay, domain=pairs, ratio=1 - self.replay_share), self.training.batch)

    def _model(self, work: Work) -> "PeftModel":
        from repro.lm.adapters import add_adapter, add_second, load_adapter, load_merged, lora
        from repro.lm.models import load_pretrained
        from repro.lm.training import DTYPES

        config = lora(self.training.rank, self.training.alpha, name_of(self.base))
        base, dtype = work.inputs(self.base), DTYPES[self.training.precision]
        if not isinstance(self.start, Cpt):
            return add_adapter(load_pretrained(base, dtype), config, self.seed)
        first = work.inputs(self.start)
        if self.mode == "merge":
            return add_adapter(load_merged(base, first, dtype), config, self.seed)
        continued = load_adapter(load_pretrained(base, dtype), first, trained=self.mode == "continue")
        return continued if self.mode == "continue" else add_second(continued, config, self.seed)


def name_of(base: Base | Pretrain) -> str:
    """What a base model is called in tables and in saved adapters."""
    return base.name if isinstance(base, Base) else f"own-{base.size}"


def read_progress(file: Path) -> dict[str, Any]:
    """The `PROGRESS` of a finished run: steps, tokens (once, however many epochs), losses of steps (nats per token)."""
    progress: dict[str, Any] = json.loads(file.read_text())
    return progress


def read_training(file: Path) -> pd.DataFrame:
    """The training loss of every step of a finished run: step, loss (nats per token)."""
    losses = read_progress(file)["losses"]
    return pd.DataFrame({"step": range(1, len(losses) + 1), "loss": losses})


def _train(
    work: Work, stage: Cpt | Sft, model: "PeftModel", batches: "Batches | PairBatches", steps: int, tokens: int
) -> None:
    """Train the adapter of `model`; leave it, the state to go on from, and the losses in ``work.path``."""
    from repro.lm.adapters import save_adapter

    start = work.inputs(stage.after) / STATE if stage.after else None
    trained = train_in(work, model, batches, stage.training, steps=steps, start=start, final=work.path / STATE)
    if trained is None:
        return
    save_adapter(model, work.path, name_of(stage.base))
    progress = {"steps": steps, "tokens": tokens, "losses": trained.losses}
    (work.path / PROGRESS).write_text(json.dumps(progress) + "\n")
