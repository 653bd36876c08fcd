"""Training as stages: settings, the loop inside a store's folder, and the two kinds of paper A (its section 3.2)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from repro.data.corpora import REPLAY, TRAINING, VALIDATION
from repro.lm.models import Shape, size_label
from repro.runs.spec import LATER, Stage, Work
from repro.stages.parallel import Shared
from repro.stages.texts import Base, Tokenizer, Tokens, tokens_of

if TYPE_CHECKING:
    import numpy as np
    import torch

    from repro.lm.sequences import Batches, PairBatches, Sequences
    from repro.lm.training import Model, Trained

LOSSES = "losses.parquet"
EVALUATION_BATCH = 32
CROWDING = 1.5  # 1 would space the measurements evenly


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How weights are trained: AdamW, and a linear warm-up to the peak learning rate.

    warmup: steps; batch: sequences, or pairs, in a step; clip: the largest norm of the gradients; precision: "fp32", or
    "bf16" for matrix products in bfloat16 (and for frozen weights).
    """

    peak: float
    warmup: int
    batch: int
    weight_decay: float
    clip: float
    precision: str


@dataclass(frozen=True, kw_only=True)
class Training(Settings):
    """How long and how a model is trained: warm-up, then cosine down to `floor` times the peak (1: constant). tokens:
    rounded down to whole steps of `batch` sequences of `length` tokens; measures: validation points after the first.
    """

    tokens: int
    length: int
    floor: float
    measures: int

    def __post_init__(self) -> None:
        if not 1 <= self.measures <= self.steps:
            raise ValueError(f"{self.measures} validation points do not fit into {self.steps} steps")

    @property
    def steps(self) -> int:
        return self.tokens // (self.batch * self.length)

    @property
    def whole_tokens(self) -> int:
        """The tokens trained on: `tokens`, less what does not fill a step."""
        return self.steps * self.batch * self.length

    @property
    def measure_at(self) -> list[int]:
        """Steps after which losses are measured: 0, the last, and more early ones, when losses change most."""
        points = range(self.measures + 1)
        # At least k steps up to the k-th point: in a short run the first ones would otherwise coincide.
        return [max(k, math.ceil(self.steps * (k / self.measures) ** CROWDING)) for k in points]

    def flops(self, per_token: float, held_out: int) -> float:
        """Operations of the whole run: a training token costs three times a validation token."""
        validation = len(self.measure_at) * held_out * self.length
        return per_token * (self.whole_tokens + validation / 3)


def train_in(
    work: Work,
    model: "Model",
    batches: "Batches | PairBatches",
    settings: Settings,
    *,
    steps: int,
    floor: float = 1.0,
    measure: "Callable[[Model], dict[str, Any]]" = lambda _model: {},
    measure_at: Sequence[int] = (),
    start: Path | None = None,
    final: Path | None = None,
) -> "Trained | None":
    """Train `model` on the device of this process, with checkpoints in ``work.scratch``.

    start: the state of a shorter run to go on from; final: where to leave the state at the end. Returns None in every
    process but the first of those that share the run: only that one writes results.
    """
    import torch

    from repro.lm.training import Checkpoint, Optimiser, this_process, train

    torch.set_num_threads(1)
    model.to(work.machine.devices[this_process().rank])  # type: ignore[arg-type]  # transformers hides the signature
    model.train()
    trained = train(
        model,
        batches,
        optimiser=Optimiser(
            peak=settings.peak,
            steps=steps,
            warmup=settings.warmup,
            floor=floor,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
            precision=settings.precision,
        ),
        measure=measure,
        measure_at=measure_at,
        checkpoint=Checkpoint(folder=work.scratch, seconds=work.machine.checkpoint_seconds, start=start, final=final),
        micro_batch=work.machine.micro_batch,
        report=work.report,
    )
    return trained if this_process().leads else None


def run_training(
    work: Work,
    model: "Model",
    source: "Sequences[np.ndarray]",
    training: Training,
    held_out: "dict[str, torch.Tensor]",
    tokenizer: "Tokenizer | Base",
    adapted: str = "",
) -> None:
    """Train `model`, measuring its loss on each held-out set, and leave weights and losses in ``work.path``.

    held_out: name -> token ids of shape (n, L + 1); adapted: the model that an adapter is for, if there is
    one. Writes model, or adapter, and tokenizer in Hugging Face format, and `LOSSES`.
    """
    from peft import PeftModel

    from repro.lm.adapters import save_adapter
    from repro.lm.sequences import Batches, load_tokenizer
    from repro.lm.training import DTYPES, sequence_losses

    def measure(trained: "Model") -> dict[str, Any]:
        options: Any = {"batch": work.machine.at_once(EVALUATION_BATCH), "dtype": DTYPES[training.precision]}
        return {name: sequence_losses(trained, sequences, **options) for name, sequences in held_out.items()}

    batches, points = Batches(source, training.batch), training.measure_at
    trained = train_in(
        work, model, batches, training, steps=training.steps, floor=training.floor, measure=measure, measure_at=points
    )
    if trained is None:
        return
    frame = pd.DataFrame(trained.measured)
    frame.insert(1, "tokens", frame["step"] * training.batch * training.length)
    frame.to_parquet(work.path / LOSSES, index=False)
    if isinstance(model, PeftModel):
        save_adapter(model, work.path, adapted)
    else:
        model.save_pretrained(work.path)
    load_tokenizer(work.inputs(tokenizer)).save_pretrained(work.path)


def read_losses(file: Path) -> pd.DataFrame:
    """One row per validation point of a run's `LOSSES`: step, tokens, training_loss, and for each held-out set a mean
    loss ("general") with the standard error of its change since the first point ("general_se"), nats per token.

    The standard error is over held-out sequences, paired with the same sequence before training: it says how well this
    much text determines the change, not how much another run would differ. The losses by sequence are kept beside it
    ("general_sequences"), an array at each point.
    """
    frame = pd.read_parquet(file)
    for name in frame.columns.difference(["step", "tokens", "training_loss"]):
        changes = frame[name].map(lambda losses, first=frame[name].iloc[0]: losses - first)
        frame[f"{name}_se"] = changes.map(lambda change: change.std(ddof=1) / len(change) ** 0.5)
        frame[f"{name}_sequences"] = frame[name]
        frame[name] = frame[name].map(lambda losses: losses.mean())
    return frame


@dataclass(frozen=True, kw_only=True)
class Pretrain(Shared):
    """A model trained from scratch on general text; sequences: held-out ones that its loss is measured on."""

    tokens: Tokens
    shape: Shape
    training: Training
    sequences: int
    seed: int

    @property
    def vocabulary(self) -> int:
        return self.tokens.tokenizer.vocabulary

    @property
    def parameters(self) -> int:
        return self.shape.parameters(self.vocabulary)

    @property
    def size(self) -> str:
        """What tables and figures call this model."""
        return size_label(self.parameters)

    @property
    def label(self) -> str:
        return f"pretrain {self.size}"

    def flops_per_token(self, length: int) -> float:
        """Operations of training on one token in a sequence of `length`."""
        return self.shape.flops_per_token(self.vocabulary, length)

    @property
    def cost(self) -> float:
        return self.training.flops(self.flops_per_token(self.training.length), held_out=self.sequences)

    def upstream(self) -> Iterator[Stage]:
        yield from super().upstream()
        yield self.tokens.tokenizer  # kept beside the weights

    def train(self, work: Work) -> None:
        from repro.lm.models import new_model
        from repro.lm.sequences import Stream, fixed_sequences

        folder, length = work.inputs(self.tokens), self.training.length
        model = new_model(self.shape, self.vocabulary, length, self.seed)
        stream = Stream(tokens_of(folder, TRAINING, self.tokens.dtype), length, self.seed)
        held_out = fixed_sequences(tokens_of(folder, VALIDATION, self.tokens.dtype), length, self.sequences)
        run_training(work, model, stream, self.training, {"general": held_out}, self.tokens.tokenizer)


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A LoRA adapter: updates of rank `rank`, scaled by alpha / rank, to layers; targets: their names, () for all."""

    rank: int
    alpha: int
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Continue(Shared):
    """A pretrained model trained further on D_R: domain text at `ratio`, general text at 1 - `ratio`.

    A model of ours replays general text that pretraining has not seen; `general` is the text that one pretrained
    elsewhere replays. adapter: what is trained; None: all weights. sequences: held-out sequences of each of the two
    texts. With a constant learning rate a shorter run is a prefix of this one, so the losses on the way are those of
    every smaller token budget.
    """

    base: Pretrain | Base
    domain: Tokens
    ratio: Fraction
    training: Training
    sequences: int
    seed: int
    general: Tokens | None = field(default=None, metadata=LATER)
    adapter: Adapter | None = field(default=None, metadata=LATER)

    @property
    def label(self) -> str:
        return f"{self.base.size} on {self.domain.text.name} at {self.ratio}"

    @property
    def cost(self) -> float:
        # An adapter needs no gradients of the weights beneath it: two thirds of the operations.
        per_token = self.base.flops_per_token(self.training.length) * (2 / 3 if self.adapter else 1)
        return self.training.flops(per_token, held_out=2 * self.sequences)

    @property
    def mixed(self) -> Tokens:
        """The general text of the mixture."""
        return self.base.tokens if isinstance(self.base, Pretrain) else cast(Tokens, self.general)

    @property
    def replayed(self) -> str:
        """The part of the general text that is replayed."""
        return REPLAY if isinstance(self.base, Pretrain) else TRAINING

    def upstream(self) -> Iterator[Stage]:
        yield from super().upstream()
        yield self.mixed
        yield self.mixed.tokenizer  # kept beside the weights

    def train(self, work: Work) -> None:
        import torch

        from repro.lm.adapters import add_adapter, lora
        from repro.lm.models import load_pretrained
        from repro.lm.sequences import Mixture, Stream, fixed_sequences

        folders = {"general": work.inputs(self.mixed), "domain": work.inputs(self.domain)}
        dtype, length = self.domain.dtype, self.training.length  # both texts are tokens of one tokenizer
        held_out = {
            name: fixed_sequences(tokens_of(folder, VALIDATION, dtype), length, self.sequences)
            for name, folder in folders.items()
        }
        general = Stream(tokens_of(folders["general"], self.replayed, dtype), length, self.seed)
        domain = Stream(tokens_of(folders["domain"], TRAINING, dtype), length, self.seed)
        mixture = Mixture(general=general, domain=domain, ratio=self.ratio)
        model = load_pretrained(work.inputs(self.base), torch.float32, length)
        trained: Model = model
        name = self.base.name if isinstance(self.base, Base) else self.base.size
        if self.adapter:
            config = lora(self.adapter.rank, self.adapter.alpha, name, self.adapter.targets)
            trained = add_adapter(model, config, self.seed)
        run_training(work, trained, mixture, self.training, held_out, self.mixed.tokenizer, adapted=name)
