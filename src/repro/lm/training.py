"""The one training loop: what differs between stages is the model, the batches and the schedule."""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel

from repro.lm.scoring import token_losses

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Measurement = dict[str, Any]


class Diverged(ArithmeticError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate by step: linear warm-up, then cosine down to `floor` times the peak; floor 1 is constant."""

    peak: float
    steps: int
    warmup: int
    floor: float = 1.0

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.peak * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress)))


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """AdamW with decoupled weight decay on matrices only, and clipping of the global gradient norm."""

    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.1
    clip: float = 1.0

    def build(self, model: PreTrainedModel) -> torch.optim.AdamW:
        trained = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=0.0, betas=(self.beta1, self.beta2), fused=True)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where and how often to save what exact resumption needs."""

    folder: Path
    seconds: float

    @property
    def file(self) -> Path:
        return self.folder / "state.safetensors"


def train(
    model: PreTrainedModel,
    batches: Callable[[int], torch.Tensor],
    *,
    schedule: Schedule,
    optimiser: Optimiser,
    measure: Callable[[PreTrainedModel], Measurement],
    measure_at: Sequence[int],
    precision: str,
    checkpoint: Checkpoint,
    micro_batch: int | None = None,
    report: Callable[[float], None] = lambda _done: None,
) -> list[Measurement]:
    """Train `model` in place for ``schedule.steps`` steps and measure it on the way.

    batches: token ids of shape (B, L + 1) by step; measure: called after each number of steps in `measure_at`, 0
    being the model as given; micro_batch: sequences per forward pass, gradients accumulate over the rest;
    report: called with the fraction done. Resumes from `checkpoint` if it holds a state.

    Returns:
        One measurement per entry of `measure_at`, each with "step" and the mean training loss since the last one.

    Raises:
        Diverged: as soon as a training loss is not finite.

    """
    adam = optimiser.build(model)
    first, measured, pending = _resume(model, adam, checkpoint)
    wanted = set(measure_at)
    saved = time.monotonic()
    for step in range(first, schedule.steps + 1):
        if step in wanted and not (measured and measured[-1]["step"] == step):
            recent = sum(pending) / len(pending) if pending else None
            measured.append({"step": step, "training_loss": recent} | measure(model))
            pending = []
        if step == schedule.steps:
            break
        pending.append(_step(model, adam, batches(step), schedule.rate(step), optimiser.clip, precision, micro_batch))
        if not math.isfinite(pending[-1]):
            raise Diverged(f"the training loss is {pending[-1]} at step {step + 1} of {schedule.steps}")
        report((step + 1) / schedule.steps)
        if time.monotonic() - saved > checkpoint.seconds:
            _save(model, adam, checkpoint, step + 1, measured, pending)
            saved = time.monotonic()
    return measured


def _step(
    model: PreTrainedModel,
    adam: torch.optim.AdamW,
    rows: torch.Tensor,
    rate: float,
    clip: float,
    precision: str,
    micro_batch: int | None,
) -> float:
    """One optimiser step on the mean loss of all tokens of `rows`; returns that loss."""
    for group in adam.param_groups:
        group["lr"] = rate
    adam.zero_grad(set_to_none=True)
    total = torch.zeros((), device=model.device)
    for part in rows.split(micro_batch or len(rows)):
        loss = token_losses(model, part, DTYPES[precision]).sum() / rows[:, 1:].numel()
        loss.backward()
        total += loss.detach()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    adam.step()
    return total.item()


def _save(
    model: PreTrainedModel,
    adam: torch.optim.AdamW,
    checkpoint: Checkpoint,
    step: int,
    measured: list[Measurement],
    pending: list[float],
) -> None:
    """Write weights, optimiser state and history to one file, then put it in place of the last one at once."""
    checkpoint.folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    for index, state in adam.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value for name, value in state.items()}
    history = {"step": step, "measured": measured, "pending": pending}
    temporary = checkpoint.file.with_suffix(".new")
    save_file(tensors, temporary, metadata={"history": json.dumps(history)})
    temporary.replace(checkpoint.file)


def _resume(
    model: PreTrainedModel, adam: torch.optim.AdamW, checkpoint: Checkpoint
) -> tuple[int, list[Measurement], list[float]]:
    if not checkpoint.file.is_file():
        return 0, [], []
    with safe_open(checkpoint.file, "pt") as stored:
        history = json.loads(stored.metadata()["history"])
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    model.load_state_dict({n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
    states: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, index, field = name.split(".", 2)
            states.setdefault(int(index), {})[field] = tensor
    adam.load_state_dict(adam.state_dict() | {"state": states})
    return history["step"], history["measured"], history["pending"]
