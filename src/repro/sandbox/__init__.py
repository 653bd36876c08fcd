"""Runs programs that a language model wrote, against tests that it did not write, inside `walls`:
`Sandbox().check(program, entry_point, test)` gives an `Outcome`, a verdict which the program cannot forge.

The program runs in one sandbox and only answers calls of its entry point. The test runs in a second one and calls it
over a socket, where nothing but plain values passes (`inside`): so an object that equals everything, a patched builtin,
an early exit or a killed neighbour changes no assertion. Helpers that a prompt defines reach the test from the prompt,
not from the program. The parent believes the judge alone, and ends both, with all that they started.

As values are passed, a test that checks whether its own argument was changed sees no change. Not promised: protection
from bugs of the kernel or of bubblewrap, and secrecy against side channels (timing, load). A program near its time
limit may pass on one machine and fail on another.
"""

import os
import select
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from json import dumps
from pathlib import Path
from typing import Literal

from repro.sandbox import inside
from repro.sandbox.walls import Cell, Limits as Limits, SandboxBroken as SandboxBroken, interpreter

STARTING = 60.0  # seconds until a sandbox that sends nothing is taken to be broken
DETAIL = 200  # characters
SITE = "/site"  # where the judge finds what is not of the standard library

PROBE = """
def refused(act, *arguments):
    try:
        act(*arguments)
    except (OSError, MemoryError):
        return True
    return False

def look():
    import os, socket
    return {
        "more processes": os.getpid() == 2 and refused(os.fork),
        "the network": refused(socket.socket),
        "the file system": refused(open, "/written", "w") and refused(open, os.__file__, "w"),
        "the processes of others": os.getpid() == 2 and not os.path.exists("/proc"),
        "the environment": "PATH" not in os.environ and "HOME" not in os.environ,
        "more memory": refused(bytearray, 1 << 30),
    }
"""
PROBE_TEST = """
def check(look):
    for thing, kept in look().items():
        assert kept, f"it does not keep a program from {thing}"
"""


class SandboxMissing(RuntimeError):
    """There is no working sandbox here; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """A program's verdict ("failed" if it ends its own process), wall seconds, and the last line of its error."""

    status: Literal["passed", "failed", "timed out"]
    seconds: float
    detail: str


class Sandbox:
    """Checks programs, each in fresh processes; one object may serve several threads. Raises SandboxMissing if the
    walls do not hold here: there is no fallback. `unsafe`, for a user who asks for it, is the same without any wall,
    bounded only by resource limits (not in number, and what a program detaches from its group lives on).
    """

    def __init__(self, limits: Limits | None = None, *, unsafe: bool = False) -> None:
        self._limits = limits or Limits()
        self._unsafe = unsafe
        if not unsafe and (reason := probe()):
            raise SandboxMissing(reason)

    def check(self, program: str, entry_point: str, test: str, *, prompt: str = "") -> Outcome:
        """Run `check(candidate)` of `test` against the function `entry_point` of `program`, which is complete, with its
        imports and the prompt; `prompt` is what the test may use of the problem. Raises SandboxBroken if the sandbox
        does not start; ValueError if prompt and test do not run by themselves.
        """
        job = {"program": program, "entry_point": entry_point, "test": test, "prompt": prompt}
        return _check(job, self._limits, unsafe=self._unsafe)


def probe() -> str | None:
    """None if programs can be sandboxed here, else a line that says why not. It runs a real program to find out."""
    job = {"program": PROBE, "entry_point": "look", "test": PROBE_TEST, "prompt": ""}
    try:
        outcome = _check(job, Limits(seconds=30, memory_mib=256), unsafe=False)
    except (SandboxBroken, OSError, ValueError) as error:
        return f"the sandbox does not start: {error}"
    return None if outcome.status == "passed" else f"the sandbox does not hold: {outcome.detail}"


def _check(job: Mapping[str, str], limits: Limits, *, unsafe: bool) -> Outcome:
    with ExitStack() as stack:
        link, far_link = socket.socketpair()
        control, far_control = socket.socketpair()
        stack.enter_context(control)
        with link, far_link, far_control:
            # Ended in reverse order: bubblewrap kills what is inside only if it is still alive to be killed.
            cells = [
                _cell("judge", far_link, far_control, limits, stack, unsafe=unsafe),
                _cell("program", link, link, limits, stack, unsafe=unsafe),
            ]
        for cell in cells:
            cell.pin()
        try:
            inside.send(control.fileno(), job)
            began = _hear(control, STARTING)
        except (EOFError, OSError) as error:  # TimeoutError is an OSError
            reasons = " ".join(filter(None, (cell.errors() for cell in cells)))
            raise SandboxBroken(reasons or f"it ended before it had started ({type(error).__name__})") from error
        if "broken" in began:
            raise ValueError(f"prompt and test of {job['entry_point']} do not run: {began['broken']}")
        return _outcome(control, limits)


def _outcome(control: socket.socket, limits: Limits) -> Outcome:
    start = time.perf_counter()
    try:
        verdict = _hear(control, limits.seconds)
    except TimeoutError:
        return Outcome("timed out", time.perf_counter() - start, f"no verdict within {limits.seconds:g} s")
    except (EOFError, ConnectionError):
        # The judge was killed: what the program made it compare took more than the limits allow.
        verdict = {"failed": "the test ended without a verdict"}
    seconds = time.perf_counter() - start
    if "passed" in verdict:
        return Outcome("passed", seconds, "")
    text = "".join(letter if letter.isprintable() else " " for letter in verdict["failed"]).strip()
    return Outcome("failed", seconds, text if len(text) <= DETAIL else text[: DETAIL - 1] + "…")


def _hear(control: socket.socket, seconds: float) -> dict[str, str]:
    poll = select.poll()
    poll.register(control, select.POLLIN)
    if not poll.poll(seconds * 1000):
        raise TimeoutError
    message: dict[str, str] = inside.receive(control.fileno())
    return message


def _cell(
    role: str, stdin: socket.socket, stdout: socket.socket, limits: Limits, stack: ExitStack, *, unsafe: bool
) -> Cell:
    resources = limits.resources()
    if unsafe:
        del resources["NPROC"]  # without a user of its own it would count every process of this user
    extra = _numpy() if role == "judge" else {}
    site = str(next(iter(extra.values())).parent) if unsafe and extra else SITE
    source = Path(inside.__file__).read_text(encoding="utf-8")
    python = [str(interpreter()[0]), "-s", "-P", "-S", "-B", "-X", "utf8", "-c", source]
    command = [*python, role, dumps(resources), str(limits.output_kib << 10), site]
    cell = Cell(command, extra, limits, stdin.fileno(), stdout.fileno(), unsafe=unsafe)
    stack.callback(cell.end)
    return cell


@cache
def _numpy() -> dict[str, Path]:
    """The folders of numpy, which some tests compare with, by where the judge sees them; none without numpy."""
    spec = find_spec("numpy")
    if spec is None or spec.origin is None:
        return {}
    package = Path(os.path.realpath(spec.origin)).parent
    folders = (package, package.with_name("numpy.libs"))
    return {f"{SITE}/{folder.name}": folder for folder in folders if folder.is_dir()}
