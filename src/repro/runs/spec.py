"""A stage is a frozen value; its key is a hash of everything that decides its result.

The stages a stage builds on are fields of it, so the key is a Merkle hash and there is no second list of
dependencies to keep true. Where and how fast a stage runs (`Machine`) is never part of it.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

KEY_LENGTH = 16


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where stages run; changing any of it must not change what they mean.

    devices: "cpu", or "cuda:0", "cuda:1" ..., shared out among the workers in turn; micro_batch: how many items a
    stage takes at once, None for all; checkpoint_seconds: how often it saves what it needs to resume.
    """

    devices: tuple[str, ...] = ("cpu",)
    micro_batch: int | None = None
    checkpoint_seconds: float = 60.0

    @property
    def device(self) -> str:
        """The device of this worker, once `of_worker` has chosen it: the first."""
        return self.devices[0]

    def of_worker(self, number: int) -> "Machine":
        """The machine as worker `number` (from 0) sees it, with one device."""
        return replace(self, devices=(self.devices[number % len(self.devices)],))


@dataclass(frozen=True)
class Work:
    """What a stage is handed to do its work.

    path: the folder to fill, which may hold what an interrupted attempt left; inputs: the finished folder of
    an upstream stage; report: call it with the fraction of the work done, 0 to 1.
    """

    path: Path
    inputs: Callable[["Stage"], Path]
    machine: Machine
    report: Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a study. Subclasses are frozen dataclasses that fill a folder in `execute`."""

    version: ClassVar[int] = 1  # raised by hand when the code changes what the stage computes

    def execute(self, work: Work) -> None:  # noqa: ARG002
        """Fill ``work.path``; every file in it becomes part of the result."""
        raise TypeError(f"{type(self).__name__} does not say how it is executed")

    @property
    def cost(self) -> float:
        """Rough work in floating-point operations; only progress bars and scheduling use it."""
        return 0.0

    @property
    def label(self) -> str:
        """A few words for progress bars and listings."""
        return type(self).__name__

    @cached_property
    def key(self) -> str:
        """Hash of the canonical JSON of the stage, upstream stages included."""
        text = json.dumps(canonical(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]

    @property
    def folder(self) -> str:
        """The name of the stage's folder in a store."""
        return f"{type(self).__name__.lower()}-{self.key}"

    def upstream(self) -> Iterator["Stage"]:
        """The stages among the fields, in field order."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, Stage):
                    yield item


def canonical(value: Any) -> Any:
    """`value` as JSON literals with one spelling per meaning.

    Fields marked ``metadata={"identity": False}`` (where a file lies on this machine, say) are left out.

    Raises:
        TypeError: for anything without a stable serialisation (a path, a set, an open file, a function).
        ValueError: for NaN and infinities, which JSON cannot hold.

    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} cannot be part of a stage's identity")
            return value
        case Fraction():
            return f"{value.numerator}/{value.denominator}"
        case tuple():
            return [canonical(item) for item in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return _fields(value)
    raise TypeError(f"{type(value).__name__} has no stable serialisation and cannot be part of a stage")


def _fields(value: Any) -> dict[str, Any]:
    fields = {f.name: canonical(getattr(value, f.name)) for f in dataclasses.fields(value) if _is_identity(f)}
    kind = {"type": type(value).__name__}
    return kind | ({"version": value.version} if isinstance(value, Stage) else {}) | fields


def _is_identity(field: dataclasses.Field[Any]) -> bool:
    return bool(field.metadata.get("identity", True))


def closure(stages: list[Stage]) -> list[Stage]:
    """`stages` and all they build on, each once, upstream first."""
    ordered: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.key not in ordered:
            for earlier in stage.upstream():
                visit(earlier)
            ordered[stage.key] = stage

    for stage in stages:
        visit(stage)
    return list(ordered.values())
