"""A run shared among several processes, one per device of its worker, which starts and watches them.

Each process reports its progress and its end to the worker over a pipe of its own, and dies when that closes: with the
worker, however that ends. Only the run itself writes files.
"""

import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import IO, Any, ClassVar

from repro.runs.progress import LOG
from repro.runs.spec import Stage, Work

CODE = "from repro.stages.process import main; main()"
GRACE = 1.0  # seconds: to learn of a process whose death made others fail
MEETING = "meeting"  # the file of a run by which its processes find each other
LAST_WORDS = 2000  # characters of what a lost process printed


class ProcessLost(RuntimeError):
    """A process of a shared run ended without an error message: killed, out of memory, or a crash."""


@dataclass(frozen=True, kw_only=True)
class Shared(Stage):
    """A stage that trains; where its worker has several devices, a process on each does its share of every step."""

    weights: ClassVar[str] = "*.safetensors"

    def execute(self, work: Work) -> None:
        if len(work.machine.devices) > 1:
            train_together(self, work)
        else:
            self.train(work)

    def train(self, work: Work) -> None:  # noqa: ARG002
        """Fill ``work.path``; as one of several processes (:class:`repro.lm.training.Share`), the first one does."""
        raise TypeError(f"{type(self).__name__} does not define train")


def train_together(stage: Shared, work: Work) -> None:
    """Run ``stage.train`` in one process per device; when this returns or raises, all of them have ended. Raises what
    one of them raised, with a note of where; ProcessLost if one ended without an error message.
    """
    _make_room()
    upstream = {up.key: up for up in stage.upstream()}
    inputs = {key: work.inputs(up) for key, up in upstream.items()}  # verified once, here
    meeting = work.path / MEETING
    task = sys.path, meeting, pickle.dumps((stage, work.path, inputs, work.machine))
    with ExitStack() as stack:
        stack.callback(meeting.unlink, missing_ok=True)
        processes = [stack.enter_context(_process(rank)) for rank in range(len(work.machine.devices))]
        for process in processes:
            with suppress(ConnectionError):  # of one that is lost, which its silence will tell
                process.connection.send(task)
        _listen(processes, work.report)


def _make_room() -> None:
    """Free the device memory that earlier runs of this worker have left cached."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class _Process:
    """One of the processes of a run, and what it prints where Python does not see it."""

    rank: int
    system: subprocess.Popen[bytes]
    connection: "Connection[Any, Any]"
    output: IO[bytes]

    def end(self) -> str:
        """How it ended, with the last it printed."""
        status = self.system.wait()
        self.output.seek(0)
        words = self.output.read().decode(errors="replace").strip()[-LAST_WORDS:]
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"process {self.rank + 1} {how}\n{words}".strip()


@contextmanager
def _process(rank: int) -> Iterator[_Process]:
    """A process that waits for its task; with the context it ends."""
    ours, theirs = Pipe()
    with ours, theirs, tempfile.TemporaryFile() as output:
        system = subprocess.Popen(
            [sys.executable, "-P", "-c", CODE, str(theirs.fileno()), str(rank)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C goes to the worker, which ends what it started
        )
        with system:
            theirs.close()  # or its end would not be seen
            try:
                yield _Process(rank, system, ours, output)
            finally:
                system.kill()


def _listen(processes: list[_Process], report: Callable[[float], None]) -> None:
    """Pass on the messages of the processes until all are done; raise the first error among them, or ProcessLost."""
    waiting = {process.connection: process for process in processes}
    failure: Exception | None = None
    while waiting:
        ready = wait(list(waiting), GRACE if failure else None)
        if failure and not ready:
            break  # not because another process died, which would be known by now
        for connection in ready:
            assert isinstance(connection, Connection)
            try:
                kind, content = connection.recv()
            except (EOFError, ConnectionError):
                why = waiting[connection].end()
                raise ProcessLost(f"a run shared by {len(processes)} processes was lost: {why}") from None
            match kind:
                case "report":
                    report(content)
                case "print":
                    LOG.warning("%s", content)
                case _:
                    del waiting[connection]
                    failure = failure or content
    if failure:
        raise failure
