"""Batches of token sequences, and the losses of their next tokens."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch.nn import functional
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from peft import PeftModel

Model: TypeAlias = "PreTrainedModel | PeftModel"


class Batch(NamedTuple):
    """Token ids of shape (n, L + 1), int64: inputs are [:, :-1], labels [:, 1:].

    counted: which labels count, shape (n, L); None for all.
    """

    tokens: torch.Tensor
    counted: torch.Tensor | None = None

    @property
    def labels(self) -> int:
        """How many labels count."""
        return self.tokens[:, 1:].numel() if self.counted is None else int(self.counted.sum())

    def rows(self, chosen: slice) -> "Batch":
        """Some of the rows."""
        return Batch(self.tokens[chosen], None if self.counted is None else self.counted[chosen])

    def parts(self, size: int) -> Iterator["Batch"]:
        """At most `size` rows at a time."""
        for first in range(0, len(self.tokens), size):
            yield self.rows(slice(first, first + size))


@torch.no_grad()
def sequence_losses(model: Model, sequences: torch.Tensor, *, batch: int, dtype: torch.dtype) -> list[float]:
    """Mean loss of each held-out sequence, in nats per token.

    sequences: token ids, (n, L + 1); batch: sequences per forward pass; dtype: of matrix products. The mean of the
    result is the validation loss; its spread says how well these sequences determine it.
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
