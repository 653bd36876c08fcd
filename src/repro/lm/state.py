"""The state of training on disk: tensors and history in one file, which replaces the last one atomically."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

HISTORY, DIGEST = "history", "sha256"


class Damaged(ValueError):
    """A state file whose content is not what was written."""


class State(NamedTuple):
    """What exact resumption needs: trained weights and optimiser by name, and the history as JSON can hold it."""

    tensors: dict[str, torch.Tensor]
    history: dict[str, Any]


def write_state(file: Path, state: State, *, sealed: bool) -> None:
    """Write `state` to `file`; if that fails, the last state is still there and nothing else is.

    sealed: with its own digest, which a file that a manifest will list does not need. Raises SafetensorError or
    OSError if it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {HISTORY: json.dumps(state.history)}
    if sealed:
        metadata[DIGEST] = digest(state.tensors, metadata[HISTORY])
    temporary = file.with_suffix(".new")
    try:
        save_file(state.tensors, temporary, metadata=metadata)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())  # after a power cut the new name must not stand for an unwritten file
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


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
