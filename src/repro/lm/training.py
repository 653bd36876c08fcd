"""The one training loop: stages differ in the model, the batches and the schedule. Its state on disk, tensors and
history, is one file, replaced atomically.

If processes share a run, each takes some rows of every batch, even none, unlike in torch's own wrapper; gradients are
summed over them once a step, however they were accumulated.
"""

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import distributed
from torch.nn import functional
from transformers import PreTrainedModel

from repro.lm.sequences import Batch
from repro.output import replacing

if TYPE_CHECKING:
    from peft import PeftModel

HISTORY, DIGEST = "history", "sha256"
PATIENCE = timedelta(hours=6)  # the first process may measure for long; a process that dies is noticed elsewhere
BETAS = (0.9, 0.95)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Measurement = dict[str, Any]
Model: TypeAlias = "PreTrainedModel | PeftModel"


class Damaged(ValueError):
    """A state file whose content is not what was written."""


class State(NamedTuple):
    """What exact resumption needs: trained weights and optimiser by name, and the history as JSON can hold it."""

    tensors: dict[str, torch.Tensor]
    history: dict[str, Any]


def write_state(file: Path, state: State, *, sealed: bool) -> None:
    """Write `state` to `file`; if that fails (SafetensorError or OSError), the last state is still there and nothing
    else is. sealed: with its own digest, which a file that a manifest will list does not need.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {HISTORY: json.dumps(state.history)}
    if sealed:
        metadata[DIGEST] = digest(state.tensors, metadata[HISTORY])
    with replacing(file) as new:
        save_file(state.tensors, new, metadata=metadata)
        with new.open("rb") as written:
            os.fsync(written.fileno())  # after a power cut the new name must not stand for an unwritten file


def read_state(file: Path, *, sealed: bool) -> State:
    """The state in `file`, checked against its digest, which it must have if `sealed`; raises Damaged."""
    try:
        with safe_open(file, "pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        if HISTORY not in metadata or (sealed and DIGEST not in metadata):
            raise Damaged(f"{file} is damaged: it has lost its history or its digest")
        if DIGEST in metadata and metadata[DIGEST] != digest(tensors, metadata[HISTORY]):
            raise Damaged(f"{file} is damaged: its sha256 is not the one it was written with")
        return State(tensors, json.loads(metadata[HISTORY]))
    except SafetensorError as error:
        raise Damaged(f"{file} is damaged: {error}") from error


def sweep(folder: Path) -> None:
    """Remove what killed writes left in `folder`: `.new` files, and those that safetensors was still filling."""
    for left in [*folder.glob("*.new"), *folder.glob(".tmp*")]:
        left.unlink()


def digest(tensors: Mapping[str, torch.Tensor], history: str = "") -> str:
    """The sha256 of `history` and of the names, types, shapes and bytes of `tensors`."""
    sha256 = hashlib.sha256(history.encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        sha256.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha256.hexdigest()


@dataclass(frozen=True)
class Share:
    """One process of those that share a run; the first (rank 0) measures, reports and writes files."""

    rank: int = 0
    ranks: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def of(self, batch: Batch) -> Batch:
        """The rows of a batch that this process trains on; none where there are fewer rows than processes."""
        return batch if self.ranks == 1 else batch.rows(slice(self.rank, None, self.ranks))

    def add_up(self, parameters: Iterable[torch.nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
        """Replace each gradient by its sum over all processes, the same bits everywhere; return `loss`'s sum."""
        if self.ranks == 1:
            return loss
        trained = list(parameters)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        everything = torch.cat([*(gradient.flatten() for gradient in gradients), loss[None]])
        distributed.all_reduce(everything)
        sums = everything.split([*(p.numel() for p in trained), 1])
        for parameter, total in zip(trained, sums, strict=False):
            parameter.grad = total.view_as(parameter)
        summed: torch.Tensor = sums[-1][0]
        return summed

    def wait(self) -> None:
        """Wait until every process has got here."""
        if self.ranks > 1:
            distributed.barrier()

    def require_same(self, what: str, digest: str) -> None:
        """Raise RuntimeError, in every process, unless all of them have the same digest."""
        digests = [""] * self.ranks
        distributed.all_gather_object(digests, digest)
        if len(set(digests)) > 1:
            raise RuntimeError(f"{self.ranks} processes that share a run have come to different {what}")


def this_process() -> Share:
    """The share of this process: the whole run, unless :func:`join` was called."""
    if not distributed.is_initialized():
        return Share()
    return Share(distributed.get_rank(), distributed.get_world_size())


def join(devices: Sequence[str], rank: int, meeting: Path) -> None:
    """Join the processes of a run, one on each of `devices`, as that of this rank (from 0). meeting: a file of the run,
    made by whoever comes first, by which they find each other.
    """
    device = devices[rank]
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.set_device(device)
    store = distributed.FileStore(str(meeting), len(devices))  # type: ignore[attr-defined]
    backend = "nccl" if on_gpu else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=len(devices), timeout=PATIENCE)


def leave() -> None:
    """Leave the other processes, once all is done."""
    distributed.destroy_process_group()


class Diverged(FloatingPointError):
    """A loss, or the norm of the gradients, became NaN or infinite."""


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """AdamW with decoupled weight decay on matrices only, and clipping of the global gradient norm. The learning rate
    warms up linearly, then falls on a cosine to `floor` times the peak (1: constant). precision: of matrix products.
    """

    peak: float
    steps: int
    warmup: int
    floor: float = 1.0
    weight_decay: float = 0.1
    clip: float = 1.0
    precision: str = "fp32"

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.peak * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress)))

    def build(self, model: Model) -> torch.optim.AdamW:
        trained = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=0.0, betas=BETAS, fused=True)


class Trained(NamedTuple):
    """The measurements of a run, and the training losses of the steps after the last measurement."""

    measured: list[Measurement]
    losses: list[float]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where and how often to save what exact resumption needs: trained weights, optimiser and history. start: the
    verified state of a shorter run of the same kind, which this run continues; final: where to leave the last state for
    a longer one.
    """

    folder: Path
    seconds: float
    start: Path | None = None
    final: Path | None = None

    @property
    def file(self) -> Path:
        return self.folder / "state.safetensors"


def train(
    model: Model,
    batches: Callable[[int], Batch],
    *,
    optimiser: Optimiser,
    measure: Callable[[Model], Measurement],
    measure_at: Sequence[int],
    checkpoint: Checkpoint,
    micro_batch: int | None = None,
    report: Callable[[float], None] = lambda _done: None,
) -> Trained:
    """Train `model` in place for ``optimiser.steps`` steps and measure it on the way.

    batches: the batch of each step (from 0). measure: called after each number of steps in `measure_at`; 0 is the model
    as given. micro_batch: sequences per forward pass, whose gradients are accumulated. report: called with the
    fraction done. Parameters that need no gradient stay as they are.
    A run resumes from `checkpoint` if it holds a state; a damaged state is set aside with a warning.
    If processes share the run (`Share`), each calls this, and only the first measures and saves.

    Returns one measurement per entry of `measure_at`, each with "step" and "training_loss", the mean since the one
    before; and the losses of the steps after the last measurement. Raises Diverged as soon as a loss or the gradients
    are not finite, before anything of that step is saved; Damaged if the state in ``checkpoint.start`` is damaged;
    ValueError if it is of another model.
    """
    share = this_process()
    adam = optimiser.build(model)
    first, measured, pending = _resume(model, adam, checkpoint, share)
    wanted = set(measure_at)
    saved = time.monotonic()
    for step in range(first, optimiser.steps + 1):
        if step in wanted and not (measured and measured[-1]["step"] == step):
            recent = sum(pending) / len(pending) if pending else None
            losses = measure(model) if share.leads else {}
            for name, values in losses.items():
                require_finite(f"the loss on {name}", values, f"after {step} of {optimiser.steps} steps")
            measured.append({"step": step, "training_loss": recent} | losses)
            pending = []
        if step == optimiser.steps:
            break
        loss, norm = _step(model, adam, batches(step), optimiser.rate(step), optimiser, micro_batch, share)
        require_finite("the training loss", loss, f"at step {step + 1} of {optimiser.steps}")
        require_finite("the norm of the gradients", norm, f"at step {step + 1} of {optimiser.steps}")
        pending.append(loss)
        report((step + 1) / optimiser.steps)
        if share.leads and time.monotonic() - saved > checkpoint.seconds:
            save_state(model, adam, checkpoint.file, step + 1, Trained(measured, pending), sealed=True)
            saved = time.monotonic()
    for name, weights in _trained(model).items():  # no loss shows what the last step did
        require_finite(name, weights.detach().sum(dtype=torch.float32).item(), f"after {optimiser.steps} steps")
    if share.ranks > 1:
        share.require_same("weights", digest(_trained(model)))
    if share.leads and checkpoint.final is not None:
        save_state(model, adam, checkpoint.final, optimiser.steps, Trained(measured, pending), sealed=False)
    return Trained(measured, pending)


@torch.no_grad()
def sequence_losses(model: Model, sequences: torch.Tensor, *, batch: int, dtype: torch.dtype) -> list[float]:
    """Mean loss of each held-out sequence of token ids, (n, L + 1), in nats per token; ``batch`` of them per forward
    pass, matrix products in ``dtype``. Their mean is the validation loss, and their spread says how well they determine
    it.
    """
    model.eval()
    losses: list[float] = []
    for rows in sequences.split(batch):
        losses += token_losses(model, Batch(rows), dtype).view(len(rows), -1).mean(dim=1).tolist()
    model.train()
    return losses


def token_losses(model: Model, batch: Batch, dtype: torch.dtype) -> torch.Tensor:
    """Cross-entropy of every label that counts, fp32, row after row; shape (n L,) if all count."""
    tokens = batch.tokens.to(model.device)
    inputs, labels = tokens[:, :-1], tokens[:, 1:]
    with torch.autocast(model.device.type, dtype=dtype, enabled=dtype is not torch.float32):
        if batch.counted is None:
            logits = model(input_ids=inputs).logits.flatten(0, 1)
            labels = labels.flatten()
        else:
            # The output layer is a fifth of a small model's work: it is left out where no row has a label.
            counted = batch.counted.to(model.device)
            columns = counted.any(dim=0).nonzero().flatten()
            kept = counted[:, columns]
            logits = model(input_ids=inputs, logits_to_keep=columns).logits[kept]
            labels = labels[:, columns][kept]
    return functional.cross_entropy(logits.float(), labels, reduction="none")


def require_finite(what: str, values: Any, when: str) -> None:
    """Raise Diverged, saying `what` is not finite and `when`, unless all `values` are finite."""
    finite = np.isfinite(values)
    if not finite.all():
        raise Diverged(f"{what} is {np.ravel(values)[~np.ravel(finite)][0]} {when}")


def _step(
    model: Model,
    adam: torch.optim.AdamW,
    batch: Batch,
    rate: float,
    optimiser: Optimiser,
    micro_batch: int | None,
    share: Share,
) -> tuple[float, float]:
    """One optimiser step on the mean loss of all labels of `batch` that count; that loss and the gradients' norm."""
    for group in adam.param_groups:
        group["lr"] = rate
    adam.zero_grad(set_to_none=True)
    total = torch.zeros((), device=model.device)
    for part in share.of(batch).parts(micro_batch or len(batch.tokens)):
        loss = token_losses(model, part, DTYPES[optimiser.precision]).sum() / batch.labels
        loss.backward()
        total += loss.detach()
    total = share.add_up((p for group in adam.param_groups for p in group["params"]), total)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), optimiser.clip)
    adam.step()
    return total.item(), norm.item()


def save_state(model: Model, adam: torch.optim.AdamW, file: Path, step: int, history: Trained, *, sealed: bool) -> None:
    """Write trained weights, optimiser state and history to one file; see `write_state`."""
    tensors = {f"model.{name}": value.detach().contiguous() for name, value in _trained(model).items()}
    for index, state in adam.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value for name, value in state.items()}
    saved = {"step": step, "measured": history.measured, "pending": history.losses}
    write_state(file, State(tensors, saved), sealed=sealed)


def _resume(
    model: Model, adam: torch.optim.AdamW, checkpoint: Checkpoint, share: Share
) -> tuple[int, list[Measurement], list[float]]:
    state, file = _last_state(checkpoint, share)
    if state is None:
        return 0, [], []
    weights = {n.removeprefix("model."): t for n, t in state.tensors.items() if n.startswith("model.")}
    if weights.keys() != _trained(model).keys():
        raise ValueError(f"{file} holds the state of another model")
    model.load_state_dict(weights, strict=False)
    states: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in state.tensors.items():
        if name.startswith("adam."):
            _, index, field = name.split(".", 2)
            states.setdefault(int(index), {})[field] = tensor
    adam.load_state_dict(adam.state_dict() | {"state": states})
    return state.history["step"], state.history["measured"], state.history["pending"]


def _last_state(checkpoint: Checkpoint, share: Share) -> tuple[State | None, Path | None]:
    """The state to resume from, and its file."""
    file = checkpoint.file
    if share.leads:
        sweep(checkpoint.folder)
        state = _read_or_set_aside(file)
        share.wait()
    else:
        share.wait()  # by then a damaged state has been set aside
        state = read_state(file, sealed=True) if file.is_file() else None
    if state is None and checkpoint.start is not None:
        return read_state(checkpoint.start, sealed=False), checkpoint.start
    return state, file


def _read_or_set_aside(file: Path) -> State | None:
    if not file.is_file():
        return None
    try:
        return read_state(file, sealed=True)
    except Damaged as error:
        aside = file.with_name(f"{file.name}.corrupt")
        file.replace(aside)
        logging.getLogger("repro").warning("%s; set aside as %s, and the run begins again", error, aside.name)
        return None


def _trained(model: Model) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
