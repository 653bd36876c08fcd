"""Drift between the hidden states of two models: 1 - linear CKA, layer by layer, on the same tokens."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

import pandas as pd
import torch

from repro.lm.cka import FEWEST, Estimator, LinearCKA

Inputs = Mapping[str, torch.Tensor]
States = Callable[[Inputs], Sequence[torch.Tensor]]


def drifts(first: States, second: States, batches: Iterable[Inputs], *, skip: int = 0) -> pd.DataFrame:
    """Drift between the hidden states of two models on the same tokens, for each layer and by both estimators.

    Sums stay where the hidden states are: 24 d^2 bytes for each layer. A model 576 wide with 31 states (SmolLM2-135M)
    needs 0.25 GB, one 4,096 wide with 33 (Mistral-7B) 13.3 GB of GPU memory beside its weights.

    Args:
        first: from a batch to hidden states, one (sequences, length, width) for each layer; see :func:`states`.
        second: the same of the other model.
        batches: ``input_ids`` and ``attention_mask`` (sequences, length), the mask 0 where there is padding.
        skip: how many tokens at the start of every sequence are left out. In many models the first token's states are
            far larger than any other's (attention sinks: Xiao et al. 2024), and linear CKA is then almost that of this
            token alone; 1 leaves it out.

    Returns:
        Columns layer (0 is the embeddings), tokens (those counted, without padding), cka, drift (NaN where all states
        of a layer are the same), estimator.

    Raises:
        ValueError: with fewer than 4 tokens, other numbers of layers, or hidden states that are not finite.

    """
    layers: list[LinearCKA] = []
    for batch in batches:
        mask = batch["attention_mask"]
        keep = mask.bool() & (mask.cumsum(1) > skip)
        ours, theirs = first(batch), second(batch)
        layers = layers or [LinearCKA() for _ in ours]
        if not len(layers) == len(ours) == len(theirs):
            raise ValueError(f"models must have equally many hidden states, not {len(ours)} and {len(theirs)}")
        for layer, x, y in zip(layers, ours, theirs, strict=True):
            layer.update(x[keep.to(x.device)], y[keep.to(y.device)].to(x.device))
    if not layers:
        raise ValueError(f"CKA needs at least {FEWEST} tokens, and there are 0")
    frames = []
    for estimator in get_args(Estimator):
        cka = [layer.cka(estimator) for layer in layers]
        frame = pd.DataFrame({"layer": range(len(cka)), "tokens": [layer.tokens for layer in layers], "cka": cka})
        frames.append(frame.assign(drift=1 - frame["cka"], estimator=estimator))
    return pd.concat(frames, ignore_index=True)


def states(model: Any) -> States:
    """From a batch to the hidden states of a transformers or PEFT model: embeddings, then every layer.

    Only the layers run, without the matrix product into the vocabulary, in the model's own precision and without
    dropout. Padding may be on the right, or on the left of models with rotary positions. A model in training is in
    training again after each call.
    """

    def run(batch: Inputs) -> Sequence[torch.Tensor]:
        training = model.training
        model.eval()
        inputs = {name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")}
        whole = model.get_base_model() if hasattr(model, "get_base_model") else model
        with torch.no_grad():
            hidden = whole.base_model(**inputs, output_hidden_states=True, use_cache=False).hidden_states
        model.train(training)
        return tuple(hidden)

    return run
