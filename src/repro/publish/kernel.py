"""The kernel that notebooks run in: the interpreter that is running us, whatever kernels are installed."""

import contextlib
import io
import os
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import zmq
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from repro.runs.progress import PLAIN
from repro.runs.temporary import temporary

Result = TypeVar("Result")
PATIENCE = 5.0  # seconds that an interrupted notebook has to save its work
LAUNCHER = Path(__file__).with_name("guarded_kernel.py")


class _OnlyThisInterpreter(KernelSpecManager):
    """Looks in no folder, where a ``python3`` kernel of the user's would win over this environment's."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        spec = super().get_kernel_spec(kernel_name)
        # At the level of warnings some versions say at every start that a local socket is not encrypted.
        spec.argv = [sys.executable, str(LAUNCHER), "-f", "{connection_file}", "--log-level=ERROR"]
        if sys.stderr.isatty():  # a progress bar in the kernel cannot ask the terminal for its width
            spec.env = {**spec.env, "COLUMNS": str(shutil.get_terminal_size().columns)}
        else:
            spec.env = {**spec.env, PLAIN: "1"}
        return spec


class ThisInterpreter(AsyncKernelManager):
    """A kernel manager for nbclient that starts ``sys.executable`` and notes each kernel's process in `started`. Its
    sockets are in `folder`, ours alone: a port that is free may be taken before the kernel opens it.
    """

    started: ClassVar[list[int]] = []
    folder: ClassVar[Path]

    def _connection_file_default(self) -> str:
        return str(self.folder / "kernel.json")

    def _transport_default(self) -> str:
        longest = os.fsencode(self.folder / "kernel-ipc-99")
        return "ipc" if len(longest) <= zmq.IPC_PATH_MAX_LEN else "tcp"

    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return _OnlyThisInterpreter(kernel_dirs=[])

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        await super()._async_launch_kernel(kernel_cmd, **options)
        self.started.append(self.provisioner.pid)  # type: ignore[union-attr]

    _launch_kernel = _async_launch_kernel


def watched(work: Callable[[], Result]) -> Result:
    """The result of `work`, which starts kernels as `ThisInterpreter`; no process of theirs is left afterwards. It runs
    in a thread, so that an interrupt reaches us and not the middle of an event loop: we interrupt the kernel, kill it
    if it does not end, and raise KeyboardInterrupt at the end.
    """
    ThisInterpreter.started.clear()
    with temporary("repro-kernel-") as ThisInterpreter.folder, ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            _interrupt(future)
            raise
        finally:
            _end()


class Log(io.TextIOBase):
    """Standard error where it is no terminal: of a line that was written over, what stood there in the end."""

    _rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            print(line.rstrip("\r").rpartition("\r")[2], file=sys.stderr, flush=True)
        self._rest = self._rest[max(self._rest.rfind("\r"), 0) :]
        return len(text)


def _interrupt(future: Future[Any]) -> None:
    try:
        for pid in ThisInterpreter.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
        wait([future], timeout=PATIENCE)
    finally:  # a second interrupt does not wait
        while not future.done():
            _end()
            wait([future], timeout=0.1)


def _end() -> None:
    """Kill the kernels' process groups, or what is left of them."""
    for pid in ThisInterpreter.started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
