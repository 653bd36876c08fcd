"""The two processes of a check, as they run inside: the program, and the judge that calls it.

The text of this file is handed to a bare interpreter, so it may import nothing but the standard library. Its names
are used outside too: the parent speaks to the judge by the same messages.

A message is four bytes of length and that much JSON. Values travel as JSON where it has them, else as an object of
one key: `{"tuple": [1, 2]}`. Nothing is ever unpickled or evaluated, and what comes out is of exact plain types, so
what the judge compares has no methods of the program's making.
"""

import builtins
import json
import os
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

MOST = 1 << 28  # bytes of a message from a trusted side
NATIVE = 1 << 63  # ints from here on go in hexadecimal, which has no limit of digits


def encode(value: object) -> object:
    """What stands for a plain value in JSON; an instance of a subclass goes as the plain value that it holds.

    Raises:
        TypeError: if it is no plain value.

    """
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
    """The plain value of `encode`.

    Raises:
        ValueError, TypeError, KeyError, IndexError, RecursionError, MemoryError: if it stands for none.

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


def receive(link: int, most: int = MOST) -> Any:
    """Read one message. EOFError if the other end is gone, ValueError if it is longer than `most` bytes or no JSON."""
    size = int.from_bytes(_exactly(link, 4), "big")
    if size > most:
        raise ValueError(f"more than {most // 1024} KiB")
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
    """Execute source as the module `name`, the generator of `random` seeded; its names."""
    if "random" in source:
        import random

        random.seed(0)
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)
    return module.__dict__


def serve(link: int) -> None:
    """Be the program: load it, then answer calls until the judge is gone. Everything here is in the program's reach."""
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
    """An exception as a message; one whose text cannot be had is told by its type alone."""
    try:
        text = str(error if error.args[1:] or not error.args else error.args[0])[:500]
    except BaseException:
        text = ""
    return {"raised": [type(error).__name__, text]}


class Candidate:
    """The program's function, as the test sees it: a call goes over the link and comes back as plain values."""

    def __init__(self, link: int, most: int) -> None:
        self._link, self._most = link, most
        self.fault = ""

    def __call__(self, *positional: object, **named: object) -> object:
        return self.ask(encode([list(positional), named]), "value")

    def ask(self, message: object, wanted: str) -> Any:
        """Send a message; what came back. The first `fault` stays, whatever the test does with the error."""
        try:
            send(self._link, message)
            kind, parts = next(iter(receive(self._link, self._most).items()))
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
    """The built-in exception that the program raised; of any other kind, a RuntimeError that names it.

    StopIteration is of any other kind: it would end an `all(map(candidate, ...))` of the test as true.
    """
    name, text = map(str, content)
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and kind is not StopIteration:
        with suppress(TypeError):  # UnicodeDecodeError and the like are not made from a text alone
            return kind(text)
    return RuntimeError(f"{name}: {text}" if text else name)


def judge(link: int, control: int, most: int) -> None:
    """Be the judge: load the test, then the program, run the one against the other, and tell the parent."""
    job = receive(control)
    source = job["prompt"] + "\n\n" + job["test"]
    try:
        check = (names := run(source, "judge"))["check"]
    except Exception as error:
        send(control, {"broken": last_line(error, source)})
        return
    receive(link)
    send(control, {"started": ""})
    candidate = Candidate(link, most)
    names[job["entry_point"]] = candidate
    try:
        candidate.ask([job["program"], job["entry_point"]], "loaded")
        check(candidate)
    except BaseException as error:  # whatever ends the test, ends it as failed
        send(control, {"failed": candidate.fault or last_line(error, source)})
    else:
        send(control, {"failed": candidate.fault} if candidate.fault else {"passed": ""})


def last_line(error: BaseException, source: str) -> str:
    """An exception in a line: its type and text or, where there is no text, the line of the test that raised it."""
    text, trace = str(error), error.__traceback__
    while trace is not None and not text:
        if trace.tb_frame.f_code.co_filename == "<judge>" and trace.tb_next is None:
            text = source.splitlines()[trace.tb_lineno - 1].strip()
        trace = trace.tb_next
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__


def confine(limits: dict[str, int]) -> None:
    """Set resource limits, soft and hard, never above the hard ones that are there already."""
    import resource

    for name, most in limits.items():
        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))


def main(role: str, limits: str, most: str, site: str) -> None:
    """Take the link from standard input (and the judge's control from standard output), then close both off."""
    link, control = os.dup(0), os.dup(1)
    nothing = os.open("/dev/null", os.O_RDWR)
    confine(json.loads(limits))
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    # Both stay until the other side is gone: the parent, or the judge.
    if role == "program":
        os.close(control)
        serve(link)
        os.read(link, 1)
    else:
        sys.path.append(site)
        judge(link, control, int(most))
        os.read(control, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
