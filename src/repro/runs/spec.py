"""A stage is a frozen value; its key is a hash of everything that decides its result. The stages it builds on are
fields, so the key is a Merkle hash, and where and how fast it runs (`Machine`) is no part of it.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

KEY_LENGTH = 16
SCRATCH = "checkpoint"
LATER = {"identity": "later"}  # metadata of a field that counts only where it is not at its default


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a stage needs of its worker: devices, each with a process that does its share, and GiB of main memory."""

    devices: int = 1
    memory_gib: float = 0.0

    @property
    def resources(self) -> dict[str, float]:
        """What a worker must declare to have, as dask's scheduler counts it; one device needs no declaration."""
        needed = {"devices": self.devices if self.devices > 1 else 0, "memory_gib": self.memory_gib}
        return {name: amount for name, amount in needed.items() if amount}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where stages run; changing any of it must not change what they mean.

    slots: the devices of each worker, handed out in turn: "cpu", "cuda:0" ...; micro_batch: how many items a stage
    takes at once, None for all; checkpoint_seconds: how often it saves what it needs to resume; needs: what stages need
    of a worker, by `Stage.kind`; those not named need one device.
    """

    slots: tuple[tuple[str, ...], ...] = (("cpu",),)
    micro_batch: int | None = None
    checkpoint_seconds: float = 60.0
    needs: Mapping[str, Needs] = dataclasses.field(default_factory=dict)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices at hand, once `of_worker` has chosen them."""
        return self.slots[0]

    @property
    def device(self) -> str:
        """The first of them."""
        return self.devices[0]

    def at_once(self, count: int) -> int:
        """How many of `count` items to take at once: as many as training takes, because those fit into memory."""
        return min(self.micro_batch or count, count)

    def of_worker(self, number: int) -> "Machine":
        """The machine as worker `number` (from 0) sees it."""
        return replace(self, slots=(self.slots[number % len(self.slots)],))

    def for_stage(self, stage: "Stage") -> "Machine":
        """With as many of the devices at hand as `stage` needs; ValueError if there are fewer."""
        count = self.needs.get(stage.kind, Needs()).devices
        if count > len(self.devices):
            raise ValueError(f"{stage.label} needs {count} devices, but this worker has {', '.join(self.devices)}")
        return replace(self, slots=(self.devices[:count],))


@dataclass(frozen=True)
class Work:
    """What a stage works with. path: the folder to fill, empty but for what an interrupted attempt left in `scratch`;
    inputs: gives the finished folder of an upstream stage; report: takes the fraction done, 0 to 1.
    """

    path: Path
    inputs: Callable[["Stage"], Path]
    machine: Machine
    report: Callable[[float], None]

    @property
    def scratch(self) -> Path:
        """Where to keep what resumption needs: it outlives a failed attempt, and is no part of the result."""
        return self.path / SCRATCH


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a study. Subclasses are frozen dataclasses that fill a folder in `execute`."""

    version: ClassVar[int] = 1  # raised by hand when the code changes what the stage computes
    weights: ClassVar[str | None] = None  # pattern of the files that only downstream stages read
    effort: ClassVar[float] = 0.0  # the cost of a stage whose fields do not decide it

    def execute(self, work: Work) -> None:  # noqa: ARG002
        """Fill ``work.path``, all but `Work.scratch` as the result. Not retried are FloatingPointError (divergence)
        and ValueError (wrong input).
        """
        raise TypeError(f"{type(self).__name__} does not define execute")

    @property
    def cost(self) -> float:
        """Rough work, as floating-point operations of training; only plans, progress and scheduling use it."""
        return self.effort

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
    def kind(self) -> str:
        """The name of its class in lower case."""
        return type(self).__name__.lower()

    @property
    def folder(self) -> str:
        """The name of the stage's folder in a store."""
        return f"{self.kind}-{self.key}"

    def upstream(self) -> Iterator["Stage"]:
        """The stages among the fields, in field order."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, Stage):
                    yield item


def canonical(value: Any) -> Any:
    """`value` as JSON literals with one spelling per meaning, without fields marked ``metadata={"identity": False}``
    (where a file lies on this machine, say) and those marked ``LATER`` at their default: a field that came later leaves
    the keys of earlier runs as they were. Raises TypeError for anything without a stable serialisation (a path, a set,
    an open file, a function), ValueError for NaN and infinities.
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
            named = [field for field in dataclasses.fields(value) if _counts(field, value)]
            head = {"type": type(value).__name__} | ({"version": value.version} if isinstance(value, Stage) else {})
            return head | {field.name: canonical(getattr(value, field.name)) for field in named}
    raise TypeError(f"{type(value).__name__} has no stable serialisation and cannot be part of a stage")


def _counts(field: "dataclasses.Field[Any]", value: Any) -> bool:
    how = field.metadata.get("identity", True)
    return bool(how) and (how != "later" or getattr(value, field.name) != field.default)


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
