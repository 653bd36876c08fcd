"""One run shared among processes: each takes some rows of every batch, and gradients are summed over all processes.

Unlike torch's own wrapper of a model, processes may have different numbers of rows, even none, and gradients are
exchanged once a step however they were accumulated.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from repro.lm.scoring import Batch

PATIENCE = timedelta(hours=6)  # the first process may measure for long; a process that dies is noticed elsewhere


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
        """Replace each gradient by its sum over all processes, with the same bits everywhere; returns the sum of
        `loss`.
        """
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


def join(device: str) -> None:
    """Join the other processes of a run, by torchrun's environment variables; this process works on `device`."""
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)


def leave() -> None:
    """Leave the other processes, once all is done."""
    distributed.destroy_process_group()
