"""Finished models of any kind (the base, after CPT, after SFT), loaded to be evaluated or compared."""

from typing import TYPE_CHECKING

from repro.runs.spec import Stage, Work
from repro.stages.base import Base
from repro.stages.lora import Cpt, Sft
from repro.stages.pretrain import Pretrain

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Adapted = Base | Pretrain | Cpt | Sft


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


def tokenizer_of(work: Work, model: Adapted) -> "PreTrainedTokenizerFast":
    """The tokenizer of a model's base."""
    from repro.lm.tokenizer import load_tokenizer

    return load_tokenizer(work.inputs(base_of(model)))
