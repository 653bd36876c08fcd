"""A study: its stages run when first needed, where its parameters say, and a page ends with what made its numbers."""

import html
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import floor
from pathlib import Path
from typing import Any

import psutil
import yaml

from repro.data.domains import PACKAGES
from repro.data.files import OfFolder
from repro.data.packages import wheel
from repro.data.sources import FolderSource, HubFolderSource, HubSource, OfHub, Source, package_source
from repro.home import home
from repro.output import safe
from repro.params import AllocationParams, OriginParams, Params, ParamsError, SourceParams
from repro.runs import Machine, Stage, Store, run
from repro.runs.batch import Batch
from repro.runs.folder import Corrupt, Missing, Stuck
from repro.runs.spec import Needs, closure
from repro.runs.store import RECORD
from repro.runs.workers import Cluster, Local, Scheduler
from repro.stages.texts import Material, Text

Slots = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Where:
    """A machine as stages see it, and the workers that execute them."""

    machine: Machine
    cluster: Cluster


def where(params: Params | AllocationParams, store: Store) -> Where:
    """Where the runs of a study execute; ParamsError if this machine does not have what the parameters ask for."""
    needs: dict[str, Needs] = {
        kind: Needs(devices=need.devices, memory_gib=need.memory_gib or 0) for kind, need in params.resources.items()
    }
    share = max((need.devices for need in needs.values()), default=1)
    slots, cluster = _elsewhere(params, store, share) if params.cluster else _here(params, needs, share)
    options = params.model_dump(include={"micro_batch", "checkpoint_seconds"})
    return Where(Machine(slots=slots, needs=needs, **options), cluster)


def _elsewhere(params: Params | AllocationParams, store: Store, share: int) -> tuple[Slots, Cluster]:
    given = params.cluster
    assert given is not None
    slots = (_cuda(range(given.gpus)) or ("cpu",) * share,)
    if given.scheduler is not None:
        return slots, Scheduler(address=given.scheduler)
    assert given.batch is not None and isinstance(params.workers, int)  # as the schema has it
    options = given.model_dump(exclude={"batch", "scheduler"})
    return slots, Batch(system=given.batch, workers=params.workers, logs=store.root / "logs", **options)


def _here(params: Params | AllocationParams, needs: dict[str, Needs], share: int) -> tuple[Slots, Cluster]:
    count = 0
    if params.device != "cpu":
        import torch

        count = torch.cuda.device_count()
    if params.device == "cuda" and not count:
        raise ParamsError("device: cuda is not available here; allowed are auto and cpu")
    if count and share > count:
        kind = next(kind for kind, need in needs.items() if need.devices == share)
        raise ParamsError(f"resources.{kind}.devices: must be at most {count}, the GPUs here, not {share}")
    # Devices that do not fill a worker's share stay idle.
    slots = tuple(_cuda(range(first, first + share)) for first in range(0, count - share + 1, share))
    memory = max((need.memory_gib for need in needs.values()), default=0.0)
    workers = params.workers if isinstance(params.workers, int) else _fitting(len(slots), share, memory)
    if memory > Local(workers=workers).memory_gib:
        kind = next(kind for kind, need in needs.items() if need.memory_gib == memory)
        have = f"{Local().memory_gib:.0f} GiB here, for {workers} worker{'s' * (workers > 1)}"
        raise ParamsError(f"resources.{kind}.memory_gib: {memory:g} GiB a worker are more than there are ({have})")
    return slots or (("cpu",) * share,), Local(workers=workers)


def _fitting(slots: int, share: int, memory: float) -> int:
    """The number of workers that there are GPUs, or else cores, and main memory for."""
    cores = min(psutil.cpu_count(logical=False) or 1, len(os.sched_getaffinity(0)))
    workers = slots or cores // share
    if memory:
        workers = min(workers, floor(Local().memory_gib / memory))
    return max(workers, 1)


def _cuda(numbers: range) -> tuple[str, ...]:
    return tuple(f"cuda:{number}" for number in numbers)


def sources(given: tuple[SourceParams, ...], field: str) -> tuple[Source, ...]:
    """The sources that the parameter ``field`` names; ParamsError if a package or folder is missing or has no text."""
    return tuple(_source(source, f"{field}[{number}]") for number, source in enumerate(given))


def _source(source: SourceParams, field: str) -> Source:
    if source.package is not None:
        try:
            return package_source(source.package, source.topics, source.part)
        except ValueError as error:
            raise ParamsError(f"{field}.package: {error}") from error
    if source.folder is not None:
        with local(source.folder, f"{field}.folder") as folder:
            return FolderSource.of(folder, **stated(source, FolderSource))
    if source.directory is not None:
        return HubFolderSource(folder=source.directory, **stated(source, HubFolderSource))
    return HubSource(**stated(source, HubSource))


def stated(given: OriginParams, kind: type) -> dict[str, Any]:
    """What parameters say of the fields of a source, a class of `repro.data`, but where it is."""
    names = {field.name for field in fields(kind)} & given.model_fields_set - {"folder"}
    values = {name: getattr(given, name) for name in names} | {"dataset": given.hub}
    return {name: value for name, value in values.items() if value is not None}


@contextmanager
def local(folder: str, field: str) -> Iterator[Path]:
    """Where the folder that the parameter ``field`` names lies; what is wrong with its files becomes a ParamsError."""
    try:
        yield Path(os.path.realpath(home() / Path(folder).expanduser()))
    except OSError as error:
        raise ParamsError(f"{field}: {safe(error.filename)}: {error.strerror}") from None
    except (ValueError, RuntimeError) as error:
        raise ParamsError(f"{field}: {safe(error)}") from None


def require_packages(names: Iterable[str]) -> None:
    """Refuse data packages that are not here or not the pinned ones; ParamsError names the file."""
    for name in names:
        try:
            wheel(PACKAGES[name])
        except (FileNotFoundError, ValueError) as error:
            raise ParamsError(str(error)) from None


class BaseDesign(ABC):
    """The stages that a set of parameters asks for."""

    @property
    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """Every stage that gives a result of its own."""

    @abstractmethod
    def require_data(self) -> None:
        """Make sure that what the stages read is here; ParamsError names what is missing or not as it should be."""

    def require_models(self) -> None:  # noqa: B027  # a design may have none
        """Refuse models in folders that text cannot be trained with; ParamsError names the folder."""

    @property
    def identity(self) -> str:
        """What decides every number of the study, the text in local folders included."""
        return " ".join(stage.key for stage in self.stages)


class NotRun(Exception):
    """A run is missing, and the study was asked not to do any."""


@dataclass(frozen=True)
class BaseStudy(ABC):
    """A study of one paper: its methods do the runs that they need and the store lacks; if not ``lazy``, NotRun."""

    store: Store
    params: Params | AllocationParams
    design: BaseDesign
    lazy: bool = field(default=True, kw_only=True)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Every stage that gives a result of its own."""
        return self.design.stages

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for whoever starts it: what is not done, or not as safely as it could be."""
        return ()

    def check_data(self, *, whole: bool) -> list[str]:
        """What is read, a line for each folder. Raises ParamsError for faults of text and pairs: before anything trains
        of everything that stages still to be done read or, if not `whole`, those that are seen without reading all.
        """
        texts = [stage for stage in closure(list(self.stages)) if isinstance(stage, Text | Material)]
        missing = [stage for stage in texts if not (whole and self.store.has(stage))]
        domains = [stage.domain for stage in missing if isinstance(stage, Material)]
        items = (one for d in domains for one in (*d.pairs, *d.questions, *d.against))
        read = [*(s for stage in missing for s in stage.sources), *items]
        try:
            checked = [one.check(whole=whole) for one in dict.fromkeys(read) if isinstance(one, OfFolder | OfHub)]
            return list(filter(None, checked))
        except (ValueError, OSError) as error:
            raise ParamsError(safe(error)) from None

    @property
    def identity(self) -> str:
        """What decides the study's numbers and, once all its runs are done, the hashes of their outputs, as a run that
        is redone on another machine may come out different.
        """
        done = all(map(self.store.has, self.stages))
        return " ".join([self.design.identity, *(self.store.outcome(stage) for stage in self.stages if done)])

    @cached_property
    def where(self) -> Where:
        """Where runs execute; torch is only asked for devices when something has to run here."""
        return where(self.params, self.store)

    def run(self, stages: Iterable[Stage]) -> None:
        """Do the stages that are missing. Raises NotRun if the study is not lazy and some are; StudyFailed naming each
        run that failed, once the others are done; ParamsError if this machine does not have what the parameters ask
        for; Unavailable if there is no such cluster.
        """
        wanted = list(stages)
        if all(self.store.has(stage) for stage in wanted):
            return
        if not self.lazy:
            raise NotRun(next(stage.label for stage in wanted if not self.store.has(stage)))
        place = self.where
        run(wanted, self.store, place.machine, on=place.cluster, title=self.params.preset, whole=self.stages)

    def file(self, stage: Stage, name: str) -> Path:
        """One file of a finished stage; a spoilt one is set aside, with a message, and redone; else StudyFailed."""
        return self._sound(stage, lambda: self.store.file(stage, name))

    def finished(self, stage: Stage) -> Path:
        """The folder of a finished stage; a spoilt one is done again, as by :meth:`file`."""
        return self._sound(stage, lambda: self.store.finished(stage))

    def _sound(self, stage: Stage, look: Callable[[], Path]) -> Path:
        try:
            return look()
        except Stuck:
            raise
        except (Corrupt, Missing) as error:
            print(f"repro: {error}; it is done again", file=sys.stderr, flush=True)
            if not self.store.has(stage):
                self.run([stage])
            return look()

    def status(self) -> list[dict[str, Any]]:
        """Every stage, upstream ones too: key, label, status, seconds (None if not done), path, freed (its weights)."""
        return [self._row(stage) for stage in closure(list(self.stages))]

    def _row(self, stage: Stage) -> dict[str, Any]:
        record = None
        try:  # first, because it sets aside what is spoilt
            record = self.store.record(stage) if self.store.has(stage) else None
        except (Corrupt, Missing) as error:
            print(f"repro: {error}", file=sys.stderr, flush=True)
        return {
            "key": stage.key,
            "label": stage.label,
            "status": self.store.status(stage),
            "seconds": record["seconds"] if record else None,
            "path": str(self.store.path(stage)),
            "freed": self.store.has(stage) and not self.store.whole(stage),
        }

    def colophon(self) -> "Colophon":
        """What stands behind a page's numbers: parameters, commits, packages, hardware, seconds."""
        stages = closure(list(self.stages))
        records = [json.loads(self.file(stage, RECORD).read_text()) for stage in stages if self.store.has(stage)]
        return Colophon.of(self.params, records)


@dataclass(frozen=True)
class Colophon:
    """Parameters, commits, package versions, hardware and seconds behind a page; shows itself as folded HTML."""

    preset: str
    parameters: str
    commits: tuple[str, ...]
    packages: tuple[str, ...]
    hardware: tuple[str, ...]
    runs: int
    seconds: float

    @classmethod
    def of(cls, params: Params | AllocationParams, records: list[dict[str, Any]]) -> "Colophon":
        """From the parameters of a study and the records of its finished runs."""
        chosen = json.loads(params.model_dump_json(exclude_defaults=True))
        return cls(
            preset=params.preset,
            parameters=yaml.safe_dump(chosen, sort_keys=False, default_flow_style=None, width=100),
            commits=_distinct(record["commit"] for record in records),
            packages=_distinct(", ".join(map(" ".join, record["packages"].items())) for record in records),
            hardware=_distinct(record["hardware"] for record in records),
            runs=len(records),
            seconds=sum(record["seconds"] for record in records),
        )

    def _repr_html_(self) -> str:
        summary = (
            f"The study behind this page: {self.runs} runs, {self.seconds:,.0f} seconds of computing, "
            f"parameters “{self.preset}”"
        )
        facts = {"Commit": self.commits, "Hardware": self.hardware, "Packages": self.packages}
        rows = "".join(f"<dt>{name}</dt><dd>{html.escape('; '.join(v))}</dd>" for name, v in facts.items())
        return (
            f'<details class="colophon"><summary>{html.escape(summary)}</summary>'
            f"<dl>{rows}</dl><pre>{html.escape(self.parameters)}</pre></details>"
        )


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
