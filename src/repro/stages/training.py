"""What every training stage shares: its settings as a value, and running the loop inside a store's folder."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from repro.runs.spec import Work
from repro.stages.base import Base
from repro.stages.parallel import own_device
from repro.stages.tokens import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel

    from repro.lm.mixing import Sequences
    from repro.lm.scoring import Model

LOSSES = "losses.parquet"
EVALUATION_BATCH = 32
CROWDING = 1.5  # 1 would space the measurements evenly


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long and how a model is trained: warm-up, then cosine down to `floor` times the peak (1: constant).

    tokens: rounded down to whole steps of `batch` sequences of `length` tokens; warmup: steps;
    precision: "fp32", or "bf16" for matrix products in bfloat16; measures: validation points after the first.
    """

    tokens: int
    length: int
    batch: int
    peak: float
    warmup: int
    floor: float
    weight_decay: float
    clip: float
    precision: str
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
        """Steps after which losses are measured: 0, the last, and between them more at first, when losses move most."""
        points = range(self.measures + 1)
        # At least k steps up to the k-th point: in a short run the first ones would otherwise coincide.
        return [max(k, math.ceil(self.steps * (k / self.measures) ** CROWDING)) for k in points]

    def flops(self, per_token: float, held_out: int) -> float:
        """Operations of the whole run: a training token costs three times a validation token."""
        validation = len(self.measure_at) * held_out * self.length
        return per_token * (self.whole_tokens + validation / 3)


def run_training(
    work: Work,
    model: "PreTrainedModel",
    source: "Sequences[np.ndarray]",
    training: Training,
    held_out: "dict[str, torch.Tensor]",
    tokenizer: "Tokenizer | Base",
) -> None:
    """Train `model`, measuring its loss on each held-out set, and leave weights and losses in ``work.path``.

    held_out: name -> token ids of shape (n, L + 1). Writes model and tokenizer in Hugging Face format, and `LOSSES`;
    of several processes that share the run, the first one does.
    """
    import torch

    from repro.lm.mixing import Batches
    from repro.lm.parallel import this_process
    from repro.lm.scoring import sequence_losses
    from repro.lm.tokenizer import load_tokenizer
    from repro.lm.training import DTYPES, Checkpoint, Optimiser, Schedule, train

    torch.set_num_threads(1)
    model.to(own_device(work))  # type: ignore[arg-type]  # a decorator of transformers hides the signature
    model.train()

    at_once = work.machine.at_once(EVALUATION_BATCH)

    def measure(trained: "Model") -> dict[str, Any]:
        dtype = DTYPES[training.precision]
        return {
            name: sequence_losses(trained, sequences, batch=at_once, dtype=dtype)
            for name, sequences in held_out.items()
        }

    measured, _ = train(
        model,
        Batches(source, training.batch),
        schedule=Schedule(
            peak=training.peak,
            steps=training.steps,
            warmup=training.warmup,
            floor=training.floor,
        ),
        optimiser=Optimiser(weight_decay=training.weight_decay, clip=training.clip),
        measure=measure,
        measure_at=training.measure_at,
        precision=training.precision,
        checkpoint=Checkpoint(folder=work.scratch, seconds=work.machine.checkpoint_seconds),
        micro_batch=work.machine.micro_batch,
        report=work.report,
    )
    if not this_process().leads:
        return
    frame = pd.DataFrame(measured)
    frame.insert(1, "tokens", frame["step"] * training.batch * training.length)
    frame.to_parquet(work.path / LOSSES, index=False)
    model.save_pretrained(work.path)
    load_tokenizer(work.inputs(tokenizer)).save_pretrained(work.path)


def read_losses(file: Path) -> pd.DataFrame:
    """One row per validation point of a run's `LOSSES`: step, tokens, training_loss, and for each held-out set a mean
    loss ("general") with the standard error of its change since the first point ("general_se"), nats per token.

    The standard error is over held-out sequences, paired with the same sequence before training: how well this much
    text determines the change, not how much another run would differ.
    """
    frame = pd.read_parquet(file)
    for name in frame.columns.difference(["step", "tokens", "training_loss"]):
        changes = frame[name].map(lambda losses, first=frame[name].iloc[0]: losses - first)
        frame[f"{name}_se"] = changes.map(lambda change: change.std(ddof=1) / len(change) ** 0.5)
        frame[name] = frame[name].map(lambda losses: losses.mean())
    return frame
