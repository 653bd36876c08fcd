"""What every training stage shares: its settings as a value, and the training loop inside a store's folder."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from repro.runs.spec import Work
from repro.stages.base import Base
from repro.stages.tokens import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel

    from repro.lm.instructions import PairBatches
    from repro.lm.mixing import Batches, Sequences
    from repro.lm.scoring import Model
    from repro.lm.training import Trained

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
    """How long and how a model is trained: warm-up, then cosine down to `floor` times the peak (1: constant).

    tokens: rounded down to whole steps of `batch` sequences of `length` tokens; measures: validation points after the
    first.
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

    from repro.lm.parallel import this_process
    from repro.lm.training import Checkpoint, Optimiser, Schedule, train

    torch.set_num_threads(1)
    model.to(work.machine.devices[this_process().rank])  # type: ignore[arg-type]  # transformers hides the signature
    model.train()
    trained = train(
        model,
        batches,
        schedule=Schedule(peak=settings.peak, steps=steps, warmup=settings.warmup, floor=floor),
        optimiser=Optimiser(weight_decay=settings.weight_decay, clip=settings.clip),
        measure=measure,
        measure_at=measure_at,
        precision=settings.precision,
        checkpoint=Checkpoint(folder=work.scratch, seconds=work.machine.checkpoint_seconds, start=start, final=final),
        micro_batch=work.machine.micro_batch,
        report=work.report,
    )
    return trained if this_process().leads else None


def run_training(
    work: Work,
    model: "PreTrainedModel",
    source: "Sequences[np.ndarray]",
    training: Training,
    held_out: "dict[str, torch.Tensor]",
    tokenizer: "Tokenizer | Base",
) -> None:
    """Train `model`, measuring its loss on each held-out set, and leave weights and losses in ``work.path``.

    held_out: name -> token ids of shape (n, L + 1). Writes model and tokenizer in Hugging Face format, and `LOSSES`.
    """
    from repro.lm.mixing import Batches
    from repro.lm.scoring import sequence_losses
    from repro.lm.tokenizer import load_tokenizer
    from repro.lm.training import DTYPES

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
