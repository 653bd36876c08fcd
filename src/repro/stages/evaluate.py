"""What a finished model of any kind knows (section 3.1.3): benchmarks question by question, programs executed, held-out
losses; and how far two models' representations lie apart: 1 - linear CKA on a sample of data (section 5.1, Appendix C).

Of the categories of data in section 5.1, "new" is domain material; "replay" is the general material mixed in, which is
how we read the paper's word.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from repro.data.corpora import VALIDATION
from repro.runs.spec import LATER, Stage, Work
from repro.stages.lora import Cpt, Sft
from repro.stages.texts import Base, Material, PairTokens, Tokens, encoded_pairs, tokens_of
from repro.stages.training import Pretrain

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

Adapted = Base | Pretrain | Cpt | Sft
ITEMS = "items.parquet"  # one row for each question, see repro.lm.evaluation.evaluate
HELD_OUT = "held-out.parquet"  # the loss of each held-out sequence: columns domain, general (nats per token)
BATCH = 16  # questions in a forward pass, the same everywhere: in low precision it decides the last digits
DRIFT = "drift.parquet"  # rows by sample, layer and estimator: sample, layer, tokens, estimator, cka, drift
DRIFT_BATCH = 8
LAYERS = 8  # hidden states compared, evenly spaced from the first layer's to the last's
CATEGORIES = ("CPT new added", "CPT replay added", "SFT new removed", "SFT replay removed")
FIXED = "fixed sample"
FORWARD = 0.2  # what an operation of long batches without gradients takes, to one of training


def base_of(model: Adapted) -> Base | Pretrain:
    """The base that a model was adapted from, which may be itself."""
    return model.base if isinstance(model, (Cpt, Sft)) else model


def parameters(model: Adapted) -> int:
    """The weights of a model's base."""
    return base_of(model).parameters


def parts_of(model: Adapted) -> tuple[Stage, ...]:
    """The stages whose folders `load` reads."""
    match model:
        case Sft():
            return (model, *parts_of(model.start))
        case Cpt():
            return (model, model.base)
    return (model,)


def load(work: Work, model: Adapted, precision: str) -> "PreTrainedModel | PeftModel":
    """A finished model on this worker's device, ready to be evaluated; stages that call it name `parts_of` upstream."""
    import torch

    from repro.lm.adapters import load_adapted
    from repro.lm.training import DTYPES

    torch.set_num_threads(1)
    cpt = model.start if isinstance(model, Sft) else model
    loaded = load_adapted(
        work.inputs(base_of(model)),
        work.inputs(cpt) if isinstance(cpt, Cpt) else None,
        work.inputs(model) if isinstance(model, Sft) else None,
        mode=model.mode if isinstance(model, Sft) else "continue",  # type: ignore[arg-type]
        dtype=DTYPES[precision],
    )
    loaded.to(work.machine.device)  # type: ignore[arg-type]  # a decorator of transformers hides the signature
    return loaded.eval()


@dataclass(frozen=True, kw_only=True)
class OfModel(Stage):
    """A stage that loads a finished model."""

    model: Adapted
    precision: str

    def upstream(self) -> Iterator[Stage]:
        yield from super().upstream()
        yield from parts_of(self.model)


@dataclass(frozen=True, kw_only=True)
class Evaluate(OfModel):
    """A model's answers to a domain's benchmarks, through lm-eval; no programs. chat: whether by the chat template."""

    material: Material
    benchmarks: tuple[str, ...]
    chat: bool

    @property
    def label(self) -> str:
        return f"evaluate {self.model.label}"

    @property
    def cost(self) -> float:
        return 2.0 * parameters(self.model) * 50 * len(self.benchmarks) * self.material.division.questions

    def execute(self, work: Work) -> None:
        _answer(work, self, self.benchmarks, chat=self.chat)


@dataclass(frozen=True, kw_only=True)
class Programs(OfModel):
    """Programs that a model writes for HumanEval, executed; isolated: in the sandbox, otherwise with limits on memory
    and time only, which a user has to ask for.
    """

    material: Material
    benchmark: str
    isolated: bool

    @property
    def label(self) -> str:
        return f"programs of {self.model.label}"

    @property
    def cost(self) -> float:
        return 2.0 * parameters(self.model) * 20_000

    def execute(self, work: Work) -> None:
        from repro.sandbox import Sandbox

        sandbox = Sandbox(unsafe=not self.isolated)
        status = lambda *asked: sandbox.check(*asked[:3], prompt=asked[3]).status  # noqa: E731
        _answer(work, self, (self.benchmark,), execute=status)


@dataclass(frozen=True, kw_only=True)
class HeldOut(OfModel):
    """A model's losses on held-out domain text and held-out general text, nats per token of the base's tokenizer."""

    domain: Tokens
    replay: Tokens
    length: int
    sequences: int

    @property
    def label(self) -> str:
        return f"held-out losses of {self.model.label}"

    @property
    def cost(self) -> float:
        return FORWARD * 2.0 * parameters(self.model) * 2 * self.length * self.sequences

    def execute(self, work: Work) -> None:
        from repro.lm.sequences import fixed_sequences
        from repro.lm.training import DTYPES, require_finite, sequence_losses

        model, losses = load(work, self.model, self.precision), {}
        for name, stage in (("domain", self.domain), ("general", self.replay)):
            tokens = tokens_of(work.inputs(stage), VALIDATION, stage.dtype)
            rows = fixed_sequences(tokens, self.length, self.sequences)
            losses[name] = sequence_losses(model, rows, batch=work.machine.at_once(BATCH), dtype=DTYPES[self.precision])
            require_finite(f"the held-out loss on {name}", losses[name], f"of {self.model.label}")
        pd.DataFrame(losses).to_parquet(work.path / HELD_OUT, index=False)


def _answer(work: Work, stage: Evaluate | Programs, benchmarks: tuple[str, ...], **options: Any) -> None:
    """Write the model's answers to `benchmarks`; those that are not made here are read from the hub."""
    from repro.lm.evaluation import evaluate
    from repro.lm.sequences import load_tokenizer

    model, tokenizer = load(work, stage.model, stage.precision), load_tokenizer(work.inputs(base_of(stage.model)))
    tokenizer.split_special_tokens = not options.get("chat")  # else names of special tokens in questions are text
    folder, own = work.inputs(stage.material), stage.material.domain.own
    items = evaluate(model, tokenizer, benchmarks, folder=folder, own=own, hub=True, batch=BATCH, **options)
    items.to_parquet(work.path / ITEMS, index=False)


@dataclass(frozen=True, kw_only=True)
class Drift(Stage):
    """Drift between two models by layer (Figure 3), on the first `examples` of `pairs` in the order of `seed`."""

    first: Adapted
    second: Adapted
    pairs: PairTokens
    seed: int
    examples: int
    precision: str

    @property
    def label(self) -> str:
        return f"drift to {self.second.label}"

    @property
    def cost(self) -> float:
        return _cost(self.second, self.examples)

    def upstream(self) -> Iterator[Stage]:
        yield self.pairs
        yield from parts_of(self.first)
        yield from parts_of(self.second)

    def execute(self, work: Work) -> None:
        from repro.lm.sequences import PairStream

        pairs = PairStream(encoded_pairs(work.inputs(self.pairs)), self.seed)
        chosen = [pairs.sequence(number).tokens for number in range(self.examples)]
        _compare(work, self.first, self.second, {FIXED: chosen}, self.precision)


@dataclass(frozen=True, kw_only=True)
class RatioDrift(Stage):
    """Drift between the models of two neighbouring allocations on the data that changed between them (Figure 2).

    earlier, later: the continual pretraining of each, `later` with more tokens; more, fewer: the tuning of each,
    `fewer` None if nothing is left to tune on; tuned: compare the tuned models, else those before tuning. share: of
    what changed in each category, drawn at random, as in the paper; None: at most `examples`, evenly spread.
    """

    earlier: Adapted
    later: Cpt
    more: Sft
    fewer: Sft | None
    tuned: bool
    examples: int
    precision: str
    share: Fraction | None = field(default=None, metadata=LATER)

    @property
    def label(self) -> str:
        which = "CPT and SFT" if self.tuned else "CPT only"
        return f"drift at {self.more.tokens:,} SFT tokens, {which}"

    @property
    def cost(self) -> float:
        return _cost(self.later, self.examples * len(CATEGORIES))

    @property
    def models(self) -> tuple[Adapted, Adapted]:
        """The two models that are compared."""
        if not self.tuned:
            return self.earlier, self.later
        return self.more, self.fewer or self.later

    def upstream(self) -> Iterator[Stage]:
        yield from (self.later.domain, self.later.replay, self.more.pairs, self.more.replay)
        for model in self.models:
            yield from parts_of(model)

    def execute(self, work: Work) -> None:
        _compare(work, *self.models, self._added(work) | self._removed(work), self.precision)

    def _added(self, work: Work) -> dict[str, list[np.ndarray]]:
        """CPT sequences that the later model has seen and the earlier one has not."""
        batch = self.later.training.batch
        first = self.earlier.steps * batch if isinstance(self.earlier, Cpt) else 0
        mixture, places = self.later.mixture(work), range(first, self.later.steps * batch)
        return self._samples(CATEGORIES[:2], mixture, places, lambda place: mixture.sequence(place)[:-1])

    def _removed(self, work: Work) -> dict[str, list[np.ndarray]]:
        """SFT pairs that one model was tuned on and the other was not."""
        batches: Any = self.more.batches(work)
        last, _ = batches.steps_within(self.more.tokens)
        first = batches.steps_within(self.fewer.tokens)[0] if self.fewer else 0
        pairs, places = batches.source, range(first * batches.size, last * batches.size)
        return self._samples(CATEGORIES[2:], pairs, places, lambda place: pairs.sequence(place).tokens)

    def _samples(
        self, names: Sequence[str], mixture: Any, places: range, tokens_at: Callable[[int], np.ndarray]
    ) -> dict[str, list[np.ndarray]]:
        """Under the first of `names` what is new at `places` of a mixture, under the second what is replayed."""
        new = [place for place in places if mixture.is_domain(place)]
        replayed = [place for place in places if not mixture.is_domain(place)]
        return {
            name: [tokens_at(place) for place in self._chosen(changed)]
            for name, changed in zip(names, (new, replayed), strict=True)
        }

    def _chosen(self, changed: Sequence[int]) -> list[int]:
        if self.share is None:
            return spread(changed, self.examples)
        drawn = np.random.default_rng(self.more.seed).permutation(changed)[: math.ceil(self.share * len(changed))]
        return [int(place) for place in drawn]


def _cost(model: Adapted, examples: int) -> float:
    """Two forward passes over examples of about 80 tokens, and loading two models."""
    return parameters(model) * (FORWARD * 4.0 * examples * 80 + 200)


def spread(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of `numbers`, evenly spread over them."""
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[i * len(numbers) // count] for i in range(count)]


def _compare(
    work: Work, first: Adapted, second: Adapted, samples: Mapping[str, Sequence[np.ndarray]], precision: str
) -> None:
    """Both models' hidden states on every sample, compared layer by layer; samples of too few tokens are left out."""
    from repro.lm.cka import FEWEST, drifts, states

    ours, theirs = (thinned(states(load(work, model, precision))) for model in (first, second))
    frames = []
    for name, sequences in samples.items():
        # The first token of a sequence is left out: its states are far larger than any other's.
        if sum(len(tokens) - 1 for tokens in sequences) >= FEWEST:
            frame = drifts(ours, theirs, padded(sequences, work.machine.at_once(DRIFT_BATCH)), skip=1)
            frames.append(frame.assign(sample=name))
    empty = pd.DataFrame(columns=["sample", "layer", "tokens", "estimator", "cka", "drift"])
    (pd.concat(frames, ignore_index=True) if frames else empty).to_parquet(work.path / DRIFT, index=False)


def thinned(run: Any) -> Any:
    """`run`, but giving at most `LAYERS` of the hidden states: evenly spaced, the last included, no embeddings."""

    def run_thinned(batch: Any) -> list["torch.Tensor"]:
        states = list(run(batch))[1:]
        layers = np.unique(np.linspace(0, len(states) - 1, min(LAYERS, len(states))).round().astype(int))
        return [states[layer] for layer in layers]

    return run_thinned


def padded(sequences: Sequence[np.ndarray], size: int) -> Iterator[dict[str, "torch.Tensor"]]:
    """Batches of `size` sequences, padded on the right, with their attention masks."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    for first in range(0, len(sequences), size):
        rows = [torch.from_numpy(row.astype(np.int64)) for row in sequences[first : first + size]]
        masks = [torch.ones_like(row) for row in rows]
        yield {"input_ids": pad_sequence(rows, True), "attention_mask": pad_sequence(masks, True)}
