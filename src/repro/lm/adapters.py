"""LoRA adapters (Tables A.2 and A.3 of paper B): added to a model, saved in PEFT's format, and loaded again."""

import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from repro.lm.models import load_pretrained

Mode = Literal["continue", "merge", "second"]
FIRST, SECOND = "default", "second"  # PEFT's own name for a model's only adapter, and ours for one on top of it


def lora(rank: int, alpha: int, base: str, targets: tuple[str, ...] = ()) -> LoraConfig:
    """Updates of rank `rank` to every linear layer but the output's, or those named `targets`, scaled by alpha / rank.
    base: the name of the base model that the saved adapter states.
    """
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=list(targets) or "all-linear",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
    )


def add_adapter(model: PreTrainedModel, config: LoraConfig, seed: int) -> PeftModel:
    """`model` with a fresh adapter, in fp32 whatever the model's precision, alone to be trained. It changes nothing
    yet: its second matrix is zero; the seed decides the first.
    """
    with _seeded(seed):
        return get_peft_model(model, config)


def add_second(model: PeftModel, config: LoraConfig, seed: int) -> PeftModel:
    """A model whose adapter is frozen, with a fresh one on top, from another seed than the first."""
    with _seeded(seed + 1):
        model.add_adapter(SECOND, config)
    _stack(model)
    return model


def save_adapter(model: PeftModel, folder: Path, base: str) -> None:
    """Write the trained adapter to `folder` in PEFT's format, with `base` as the name of the model it is for."""
    name = SECOND if SECOND in model.peft_config else FIRST
    with _quiet():
        model.save_pretrained(str(folder), selected_adapters=[name])
    if name != FIRST:  # PEFT puts adapters of other names into folders of their own
        for file in (folder / name).iterdir():
            file.replace(folder / file.name)
        (folder / name).rmdir()
    (folder / "README.md").unlink(missing_ok=True)  # a model card without content
    config = folder / "adapter_config.json"
    stored = json.loads(config.read_text()) | {"base_model_name_or_path": base}  # not where it lies on this machine
    stored["target_modules"] = sorted(stored["target_modules"])  # a set, so in no order of its own
    config.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")


def load_adapter(model: PreTrainedModel, folder: Path, *, trained: bool = False) -> PeftModel:
    """`model` with the adapter saved in `folder`, ready to be trained on if `trained`."""
    with _quiet():
        return PeftModel.from_pretrained(model, str(folder), is_trainable=trained)


def load_adapted(
    base: Path, first: Path | None, second: Path | None, *, mode: Mode, dtype: torch.dtype
) -> PreTrainedModel | PeftModel:
    """The model of `base` with the adapters, if any, of continual pretraining (`first`) and tuning (`second`); where
    tuning continued the first, the second holds both.
    """
    if first and second and mode != "continue":
        if mode == "merge":
            return load_adapter(load_merged(base, first, dtype), second)
        both = load_adapter(load_pretrained(base, dtype), first)
        with _quiet():
            both.load_adapter(str(second), SECOND)
        _stack(both)
        return both
    adapter = second or first
    model = load_pretrained(base, dtype)
    return load_adapter(model, adapter) if adapter else model


def load_merged(base: Path, adapter: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The model of `base` with an adapter added to its weights, in fp32, and then rounded to `dtype`."""
    merged: Any = load_adapter(load_pretrained(base, torch.float32), adapter).merge_and_unload()
    model: PreTrainedModel = merged.to(dtype)
    return model


def _stack(model: PeftModel) -> None:
    """Make both adapters act and only the second one trainable."""
    model.base_model.set_adapter([FIRST, SECOND])  # type: ignore[operator]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(f".{SECOND}." in name)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without PEFT's warnings about embeddings, the base model's name, and what it calls in transformers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="peft")
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        yield
