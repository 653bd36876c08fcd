"""Losses in bf16 on a CPU at the speed that its processor has: compiled, and with attention in fp32, because PyTorch's
kernel for bf16 takes several times as long at the head sizes of small models.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeGuard

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

ATTENTION = "sdpa_fp32"  # what transformers knows our attention by
SHAPES = 64  # of models and batches, for which a process may compile; PyTorch's own limit is 8


def _attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    with torch.autocast(query.device.type, enabled=False):
        states = (query.float(), key.float(), value.float())
        attended, _ = sdpa_attention_forward(module, *states, *args, **options)
    return attended.to(query.dtype), None


AttentionInterface.register(ATTENTION, _attention)


def pays(model: torch.nn.Module, dtype: torch.dtype) -> bool:
    """Whether the losses of a model are compiled: of a plain one, on a CPU, in bf16, with a compiler at hand."""
    return _plain(model) and dtype is torch.bfloat16 and _compiler()


@cache
def _compiler() -> bool:
    """Whether PyTorch can compile here. Without, bf16 is slower, and rounds in other places."""
    try:
        torch.compile(lambda tensor: tensor + 1)(torch.zeros(8))
    except Exception as error:  # whatever a missing or incomplete compiler makes of it
        reason = str(error).splitlines()[0]
        logging.getLogger("repro").warning("training in bf16 is slow: nothing can be compiled here (%s)", reason)
        return False
    return True


@cache
def compiled(losses: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A function of a model and tensors, compiled anew for each shape of either, and kept for all models of a shape."""
    torch._dynamo.config.recompile_limit = SHAPES
    return torch.compile(losses, dynamic=False)


def prepare(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Keep attention in fp32 where a model is trained in bf16 on a CPU, compiled or not."""
    if _plain(model) and dtype is torch.bfloat16 and model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(ATTENTION)


def _plain(model: torch.nn.Module) -> TypeGuard[PreTrainedModel]:
    return isinstance(model, PreTrainedModel) and str(model.device) == "cpu"
