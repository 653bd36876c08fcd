"""A run shared among several processes, one per device of its worker, that torchrun starts and watches.

Each process reports its progress and its end to the worker over a connection of its own, and dies when that connection
closes: with the worker, however that ends. Only the run itself writes files.
"""

import gc
import os
import pickle
import re
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge, wait
from pathlib import Path
from typing import IO, Any, ClassVar

from repro.runs.progress import LOG
from repro.runs.spec import Stage, Work
from repro.stages.process import WORKER

CODE = "from repro.stages.process import main; main()"
GRACE, LAST = 1.0, 30.0  # seconds: to learn of a process whose death made others fail; for all to end
ENDED = re.compile(r"Root Cause.*?rank +: (\d+) .*?exitcode +: (-?\d+)", re.DOTALL)  # torchrun's report
CHATTER = re.compile(r"^[WE]\d{4} .*(closing signal|failed \(exitcode)", re.MULTILINE)  # where it begins


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
    inputs = Inputs({key: work.inputs(up) for key, up in upstream.items()})  # verified once, here
    task = sys.path, pickle.dumps((stage, replace(work, inputs=inputs, report=_ignore)))
    count, key = len(work.machine.devices), secrets.token_bytes(32)
    with ExitStack() as stack:  # undone in reverse: processes end with their connections, then torchrun does
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        output = stack.enter_context(tempfile.TemporaryFile())
        address = f"{server.getsockname()[1]}:{key.hex()}"
        torchrun = _start(count, address, output)
        stack.callback(_end, torchrun)
        try:
            processes: set[Connection[Any, Any]] = set()
            while len(processes) < count:
                processes.add(stack.enter_context(_hand_over(task, server, key, torchrun)))
            _listen(processes, work.report)
        except _Gone:
            raise ProcessLost(f"a run shared by {count} processes was lost: {_reason(torchrun, output)}") from None


def _make_room() -> None:
    """Free the device memory that earlier runs of this worker have left cached."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _start(count: int, address: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
    python = [sys.executable, "-P"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "--no-python"]
    torchrun += [f"--log-dir={os.devnull}"]  # or it leaves a folder behind
    return subprocess.Popen(
        [*python, *torchrun, *python, "-c", CODE],
        env=os.environ | {WORKER: address, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # Ctrl-C goes to the worker, which ends what it started
    )


def _end(torchrun: subprocess.Popen[bytes]) -> None:
    torchrun.terminate()
    try:
        torchrun.wait(LAST)
    except subprocess.TimeoutExpired:
        torchrun.kill()
        torchrun.wait()


class _Gone(Exception):
    """A process has ended before it should."""


def _hand_over(
    task: tuple[list[str], bytes], server: socket.socket, key: bytes, torchrun: subprocess.Popen[bytes]
) -> "Connection[Any, Any]":
    """Give `task` to the next process that proves to be one of ours; the connection to it."""
    server.settimeout(GRACE)
    while torchrun.poll() is None:
        try:
            taken = server.accept()[0]
        except TimeoutError:
            continue
        with taken:
            connection: Connection[Any, Any] = Connection(os.dup(taken.fileno()))
            try:
                _answer_within(taken, LAST)
                deliver_challenge(connection, key)
                answer_challenge(connection, key)
                connection.send(task)
                _answer_within(taken, 0)
                return connection
            except (AuthenticationError, EOFError, OSError):  # a stranger, or one that died, which torchrun reports
                connection.close()
    raise _Gone


def _answer_within(connected: socket.socket, seconds: float) -> None:
    """Give up reading after `seconds` of silence, 0 for never; it holds for every handle of the connection."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(seconds), 0))


def _listen(waiting: "set[Connection[Any, Any]]", report: Callable[[float], None]) -> None:
    """Pass on the messages of the processes until all are done; raise the first error among them."""
    failure: Exception | None = None
    while waiting:
        ready = wait(list(waiting), GRACE if failure else None)
        if failure and not ready:
            break  # not because another process died, which would be known by now
        for connection in ready:
            assert isinstance(connection, Connection)
            kind, content = _receive(connection)
            match kind:
                case "report":
                    report(content)
                case "print":
                    LOG.warning("%s", content)
                case _:
                    waiting.remove(connection)
                    failure = failure or content
    if failure:
        raise failure


def _receive(connection: "Connection[Any, Any]") -> tuple[str, Any]:
    try:
        message: tuple[str, Any] = connection.recv()
        return message
    except (EOFError, ConnectionError):
        raise _Gone from None


def _reason(torchrun: subprocess.Popen[bytes], output: IO[bytes]) -> str:
    """Which process ended and how, as torchrun reports it, with the last output of all."""
    try:
        torchrun.wait(LAST)
    except subprocess.TimeoutExpired:
        return "and torchrun does not say why"
    output.seek(0)
    text = output.read().decode(errors="replace")
    words = CHATTER.split(text)[0].strip()[-2000:]
    if (ended := ENDED.search(text)) is None:
        return f"torchrun ended with {torchrun.returncode}\n{words}"
    rank, status = map(int, ended.groups())
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return f"process {rank + 1} {how}\n{words}".strip()


@dataclass(frozen=True)
class Inputs:
    """The folders of finished stages, by key, in a form that can be sent to processes."""

    folders: dict[str, Path]

    def __call__(self, stage: Stage) -> Path:
        return self.folders[stage.key]


def _ignore(_done: float) -> None:
    """Stands for `Work.report` in every process but the first."""
