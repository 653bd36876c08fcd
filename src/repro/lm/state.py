"""The state of training on disk: tensors and history in one file, put in place of the last one at once."""

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
    """A state file that does not hold what was written to it."""


class State(NamedTuple):
    """What exact resumption needs: trained weights and optimiser by name, and what JSON can hold of the rest."""

    tensors: dict[str, torch.Tensor]
    history: dict[str, Any]


def write_state(file: Path, state: State, *, sealed: bool) -> None:
    """Write `state` to `file`; if that fails, the last one is still there and nothing else is.

    sealed: with a digest of its own, which a file that will be listed in a manifest does not need.

    Raises:
        SafetensorError, OSError: if it cannot be written.

    """
    file.parent.mkdir(parents=True, exist_ok=True)
    told = {HISTORY: json.dumps(state.history)}
    if sealed:
        told[DIGEST] = digest(state.tensors, told[HISTORY])
    temporary = file.with_suffix(".new")
    try:
        save_file(state.tensors, temporary, metadata=told)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())  # a rename that outlives a power cut must not be of a file that did not
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def read_state(file: Path, *, sealed: bool) -> State:
    """The state in `file`, checked against its digest; only if `sealed` it must have one.

    Raises:
        Damaged: if the file is not what was written, naming it.

    """
    try:
        with safe_open(file, "pt") as stored:
            told = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        if HISTORY not in told or (sealed and DIGEST not in told):
            raise Damaged(f"{file} is damaged: it has lost its history or its digest")
        if DIGEST in told and told[DIGEST] != digest(tensors, told[HISTORY]):
            raise Damaged(f"{file} is damaged: its sha256 is not the one it was written with")
        return State(tensors, json.loads(told[HISTORY]))
    except SafetensorError as error:
        raise Damaged(f"{file} is damaged: {error}") from error


def sweep(folder: Path) -> None:
    """Remove what writes that were killed left in `folder`: `.new`, or what safetensors was still filling."""
    for left in [*folder.glob("*.new"), *folder.glob(".tmp*")]:
        left.unlink()


def digest(tensors: Mapping[str, torch.Tensor], told: str = "") -> str:
    """The sha256 of `told` and of the names, types, shapes and bytes of `tensors`."""
    found = hashlib.sha256(told.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()
