"""The two processes of a check, as they run inside: the program, and the judge that calls it. A bare interpreter is
given the text of this file, so it imports the standard library alone; the parent imports it for the messages to the
judge.

A message is four bytes of length and that much JSON. A value that JSON lacks travels as an object of one key:
`{"tuple": [1, 2]}`. Nothing is unpickled or evaluated, and decoded values are of exact plain types, so what the judge
compares has no methods that the program defined.
"""

import builtins
import json
import os
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

LIMIT = 1 << 28  # bytes of a message from a trusted side
NATIVE = 1 << 63  # ints from here on travel in hexadecimal, which has no limit of digits


def encode(value: object) -> object:
    """The JSON for a plain value, TypeError for any other; an instance of a subclass travels as its plain value."""
    if isinstance(value, (str, bool, float, type(None))):
        return value
    if isinstance(value, int):
        return int(value) if -NATIVE < value < NATIVE else {"int": [hex(value)]}
    if isinstance(value, list):
        return [encode(part) for part in value]
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(part)] for key, part in value.items()]}
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [encode(part) for part in value]}
    return _encode_rare(value)


def _encode_rare(value: object) -> object:
    if isinstance(value, complex):
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": [value.hex()]}
    raise TypeError(f"{type(value).__name__} is no plain value")


BUILDERS: dict[str, Callable[[list[Any]], object]] = {
    "int": lambda parts: int(parts[0], 16),
    "dict": lambda parts: dict(map(decode, parts)),
    "tuple": lambda parts: tuple(map(decode, parts)),
    "set": lambda parts: set(map(decode, parts)),
    "frozenset": lambda parts: frozenset(map(decode, parts)),
    "complex": lambda parts: complex(*map(float.fromhex, parts)),
    "bytes": lambda parts: bytes.fromhex(parts[0]),
}


def decode(coded: object) -> Any:
    """The plain value that `encode` was given.

    Other JSON raises ValueError, TypeError, KeyError, IndexError, RecursionError or MemoryError.
    """
    if type(coded) is list:
        return [decode(part) for part in coded]
    if type(coded) is dict:
        ((kind, parts),) = coded.items()
        if type(parts) is not list:
            raise ValueError("parts must be a list")
        return BUILDERS[kind](parts)
    return coded


def send(link: int, message: object) -> None:
    """Write one message to the file descriptor `link`."""
    text = json.dumps(message).encode("ascii")
    data = memoryview(len(text).to_bytes(4, "big") + text)
    while data:
        data = data[os.write(link, data) :]


def receive(link: int, limit: int = LIMIT) -> Any:
    """Read one message. EOFError if the other end is gone, ValueError if it is longer than `limit` bytes or no JSON."""
    size = int.from_bytes(_exactly(link, 4), "big")
    if size > limit:
        raise ValueError(f"more than {limit // 1024} KiB")
    return json.loads(_exactly(link, size))


def _exactly(link: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(link, min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def run(source: str, name: str) -> dict[str, Any]:
    """Execute `source` as the module `name`, with `random` seeded; returns the module's names."""
    if "random" in source:
        import random

        random.seed(0)
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)
    return module.__dict__


def serve(link: int) -> None:
    """Act as the program: load it, then answer calls until the judge is gone. The program can reach everything here."""
    send(link, "ready")
    source, entry = receive(link)
    try:
        function = run(source, "program")[entry]
    except BaseException as error:  # whatever it raises, SystemExit too, is its answer
        send(link, raised(error))
        return
    send(link, {"loaded": []})
    while True:
        positional, named = decode(receive(link))
        try:
            send(link, {"value": [encode(function(*positional, **named))]})
        except BaseException as error:
            send(link, raised(error))


def raised(error: BaseException) -> object:
    """An exception as a message; if its text cannot be had, with its type alone."""
    try:
        text = str(error if error.args[1:] or not error.args else error.args[0])[:500]
    except BaseException:
        text = ""
    return {"raised": [type(error).__name__, text]}


class Candidate:
    """The program's function, as the test sees it: a call goes over the link and its answer comes back."""

    def __init__(self, link: int, limit: int) -> None:
        self._link, self._limit = link, limit
        self.fault = ""

    def __call__(self, *positional: object, **named: object) -> object:
        return self.ask(encode([list(positional), named]), "value")

    def ask(self, message: object, wanted: str) -> Any:
        """Send a message and return the answer. The first `fault` stays, whatever the test does with the error."""
        try:
            send(self._link, message)
            kind, parts = next(iter(receive(self._link, self._limit).items()))
            content = decode(parts)
            if kind not in (wanted, "raised"):
                raise ValueError(f"unasked {kind[:20]!r}")
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.fault = self.fault or "the program ended before it answered"
        except Exception as error:  # json and decode raise half a dozen types; MemoryError and RecursionError too
            self.fault = self.fault or f"the answer cannot be read: {type(error).__name__}: {error}"
        if self.fault:
            raise RuntimeError(self.fault)
        if kind == "raised":
            raise exception(content)
        return content[0] if content else None


def exception(content: Any) -> Exception:
    """The built-in exception that the program raised; for any other, a RuntimeError that names it. So too for
    StopIteration, which would end an `all(map(candidate, ...))` of the test as true.
    """
    name, text = map(str, content)
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and kind is not StopIteration:
        with suppress(TypeError):  # UnicodeDecodeError and the like are not made from a text alone
            return kind(text)
    return RuntimeError(f"{name}: {text}" if text else name)


def judge(link: int, control: int, limit: int) -> None:
    """Act as the judge: load the test, then the program, run the test, and send the verdict to the parent."""
    job = receive(control)
    source = job["prompt"] + "\n\n" + job["test"]
    try:
        check = (names := run(source, "judge"))["check"]
    except Exception as error:
        send(control, {"broken": last_line(error, source)})
        return
    receive(link)
    send(control, {"started": ""})
    candidate = Candidate(link, limit)
    names[job["entry_point"]] = candidate
    try:
        candidate.ask([job["program"], job["entry_point"]], "loaded")
        check(candidate)
    except BaseException as error:  # whatever ends the test fails it
        send(control, {"failed": candidate.fault or last_line(error, source)})
    else:
        send(control, {"failed": candidate.fault} if candidate.fault else {"passed": ""})


def last_line(error: BaseException, source: str) -> str:
    """An exception in a line: its type and text or, if it has no text, the line of the test that raised it."""
    text, trace = str(error), error.__traceback__
    while trace is not None and not text:
        if trace.tb_frame.f_code.co_filename == "<judge>" and trace.tb_next is None:
            text = source.splitlines()[trace.tb_lineno - 1].strip()
        trace = trace.tb_next
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__


def confine(limits: dict[str, int]) -> None:
    """Set resource limits, soft and hard, never above the present hard ones."""
    import resource

    for name, limit in limits.items():
        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(which, (limit, limit))


def main(role: str, limits: str, limit: str, site: str) -> None:
    """Take the link from standard input (and the judge's control from standard output), then close both off."""
    link, control = os.dup(0), os.dup(1)
    nothing = os.open("/dev/null", os.O_RDWR)
    confine(json.loads(limits))
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    # Each stays until its other side is gone: the judge, or the parent.
    if role == "program":
        os.close(control)
        serve(link)
        os.read(link, 1)
    else:
        sys.path.append(site)
        judge(link, control, int(limit))
        os.read(control, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
