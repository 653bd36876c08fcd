"""A study: its stages run when they are first needed, and a page ends with what produced its numbers."""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.params import AllocationParams, Params
from repro.runs import Stage, Store, run
from repro.runs.folder import Corrupt, Missing, Stuck
from repro.runs.spec import closure
from repro.runs.store import RECORD
from repro.show.colophon import Colophon
from repro.study.where import Where, where


class BaseDesign(ABC):
    """The stages that a set of parameters asks for."""

    @property
    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """Every stage that gives a result of its own."""

    @abstractmethod
    def require_data(self) -> None:
        """Make sure that what the stages read is here; ParamsError names what is missing or not as it should be."""

    @property
    def identity(self) -> str:
        """What decides every number of the study, the text in local folders included."""
        return " ".join(stage.key for stage in self.stages)


class NotRun(Exception):
    """A run is missing, and the study was asked not to do any."""


@dataclass(frozen=True)
class BaseStudy(ABC):
    """A study of one paper. Each of its methods first does the runs it needs that the store does not hold.

    lazy: whether it does; if not, a method that needs another run raises NotRun.
    """

    store: Store
    params: Params | AllocationParams
    design: BaseDesign
    lazy: bool = field(default=True, kw_only=True)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Every stage that gives a result of its own."""
        return self.design.stages

    @property
    def identity(self) -> str:
        """What decides the study's numbers and, once all its runs are done, the hashes of their outputs.

        A run whose output was freed or spoilt, and which is redone on another machine, may come out different.
        """
        done = all(map(self.store.has, self.stages))
        return " ".join([self.design.identity, *(self.store.outcome(stage) for stage in self.stages if done)])

    @cached_property
    def where(self) -> Where:
        """Where runs execute; torch is only asked for devices when something has to run here."""
        return where(self.params, self.store)

    def run(self, stages: Iterable[Stage]) -> None:
        """Do the stages that are missing.

        Raises:
            NotRun: if the study is not lazy and some are.
            StudyFailed: naming each run that failed, once the others are done.
            ParamsError: if this machine does not have what the parameters ask for.
            Unavailable: if there is no such cluster.

        """
        wanted = list(stages)
        if all(self.store.has(stage) for stage in wanted):
            return
        if not self.lazy:
            raise NotRun(next(stage.label for stage in wanted if not self.store.has(stage)))
        place = self.where
        run(wanted, self.store, place.machine, on=place.cluster, title=self.params.preset, whole=self.stages)

    def file(self, stage: Stage, name: str) -> Path:
        """One file of a finished stage. A spoilt stage is set aside, with a message, and done again.

        Raises:
            StudyFailed: if doing it again fails.

        """
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

    def colophon(self) -> Colophon:
        """What stands behind a page's numbers: parameters, commits, packages, hardware, seconds."""
        stages = closure(list(self.stages))
        records = [json.loads(self.file(stage, RECORD).read_text()) for stage in stages if self.store.has(stage)]
        return Colophon.of(self.params, records)
