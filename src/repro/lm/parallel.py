"""One run shared out among processes: each takes some rows of every step, and gradients are added up over all.

Unlike torch's own wrapper of a model this lets processes have different numbers of rows, down to none, and asks for
one exchange a step however the gradients were accumulated.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from repro.lm.scoring import Rows

PATIENCE = timedelta(hours=6)  # the first process may measure for long; one that dies is noticed otherwise


@dataclass(frozen=True)
class Share:
    """Which of how many processes this one is; the first measures, reports and writes files."""

    rank: int = 0
    ranks: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def of(self, rows: Rows) -> Rows:
        """The rows of a step that this process trains on; none where there are fewer rows than processes."""
        if self.ranks == 1:
            return rows
        own = slice(self.rank, None, self.ranks)
        return Rows(rows.tokens[own], None if rows.counted is None else rows.counted[own])

    def add_up(self, parameters: Iterable[torch.nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
        """Put the sum over all processes in place of each gradient, the same bits everywhere; the sum of `loss`."""
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
        """Until every process has got here."""
        if self.ranks > 1:
            distributed.barrier()

    def require_same(self, what: str, digest: str) -> None:
        """Make sure that every process has come to the same.

        Raises:
            RuntimeError: in every process, if they have not.

        """
        digests = [""] * self.ranks
        distributed.all_gather_object(digests, digest)
        if len(set(digests)) > 1:
            raise RuntimeError(f"{self.ranks} processes that share a run have come to different {what}")


def this_process() -> Share:
    """The share of this process in the run it does: all of it, unless :func:`join` was called."""
    if not distributed.is_initialized():
        return Share()
    return Share(distributed.get_rank(), distributed.get_world_size())


def join(device: str) -> None:
    """Meet the other processes of a run, as torchrun's environment variables tell; this one works on `device`."""
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)


def leave() -> None:
    """Part from the other processes, once all is done."""
    distributed.destroy_process_group()
