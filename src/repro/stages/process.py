"""One of several processes that share a run; :mod:`repro.stages.parallel` is the worker's side, which starts it.

Slow imports come once this process dies with its worker.
"""

import os
import pickle
import sys
import threading
import traceback
from contextlib import redirect_stderr
from io import TextIOBase
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def main() -> None:
    """Do this process's share of the run that its worker sends it; arguments: the handle of the pipe, the rank."""
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    rank = int(sys.argv[2])
    sys.path[:], meeting, task = connection.recv()
    threading.Thread(target=_die_with, args=(connection,), daemon=True).start()
    worker = _Worker(connection)
    try:
        with redirect_stderr(worker):
            _train(task, rank, meeting, worker)
    except Exception as error:
        worker.send("failed", _portable(error, rank))
        threading.Event().wait()  # to be ended: other ranks' errors are secondary, and would hide this one
    worker.send("done", None)


def _train(task: bytes, rank: int, meeting: Path, worker: "_Worker") -> None:
    from repro.lm.training import join, leave
    from repro.runs.spec import Work

    def report(done: float) -> None:
        if rank == 0:
            worker.send("report", done)

    stage, path, inputs, machine = pickle.loads(task)
    join(machine.devices, rank, meeting)
    stage.train(Work(path=path, inputs=lambda up: inputs[up.key], machine=machine, report=report))
    leave()


def _die_with(connection: "Connection[Any, Any]") -> None:
    try:
        connection.recv_bytes()
    finally:
        os._exit(1)


class _Worker(TextIOBase):
    """The connection to the worker, for progress and the end; as a file, it sends what this process prints."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection, self._lock, self._line = connection, threading.Lock(), ""

    def send(self, kind: str, content: Any) -> None:
        with self._lock:
            self._connection.send((kind, content))

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:  # whole, so that the lines of several processes do not mix
            self.send("print", line)
        return len(text)


def _portable(error: Exception, rank: int) -> Exception:
    """`error` in a form that can be sent, with a note of where it was raised."""
    where = f"In process {rank + 1} of a shared run:\n{traceback.format_exc()}"
    error.add_note(where)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # one that cannot be rebuilt elsewhere is sent as text
        error = RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note(where)
    return error
