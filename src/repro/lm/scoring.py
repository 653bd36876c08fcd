"""Validation losses."""

import torch
from torch.nn import functional
from transformers import PreTrainedModel


@torch.no_grad()
def sequence_losses(model: PreTrainedModel, sequences: torch.Tensor, *, batch: int, dtype: torch.dtype) -> list[float]:
    """Mean loss of each held-out sequence, in nats per token.

    sequences: token ids, (n, L + 1); batch: sequences per forward pass; dtype: what matrix products are done in.
    The mean of the result is the validation loss, its spread tells how well these sequences determine it.
    """
    model.eval()
    losses: list[float] = []
    for rows in sequences.split(batch):
        losses += token_losses(model, rows, dtype).mean(dim=1).tolist()
    model.train()
    return losses


def token_losses(model: PreTrainedModel, rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Cross-entropy of every next token, (n, L), fp32, for token ids of shape (n, L + 1)."""
    rows = rows.to(model.device)
    with torch.autocast(model.device.type, dtype=dtype, enabled=dtype is not torch.float32):
        logits = model(input_ids=rows[:, :-1]).logits
    flat = functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten(), reduction="none")
    return flat.view(len(rows), -1)
