"""What dask loads into each worker that this process starts (`distributed.worker.preload`)."""

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker


def dask_setup(worker: "Worker") -> None:  # noqa: ARG001
    """Ignore Ctrl-C, which a terminal sends to every process: the one that started the workers ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
