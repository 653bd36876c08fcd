"""A store of runs. A folder under its final name is the only sign that a stage is done.

Work happens in ``<folder>.part``; its files are hashed into ``manifest.json`` and one rename publishes it. A
process that dies leaves its ``.part``, from whose checkpoint the next attempt resumes. Weights may be freed: what is
left of a run still serves tables, and it is done again only if a stage that builds on it has to run.
"""

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from repro.runs import attempts, publishing
from repro.runs.integrity import MANIFEST
from repro.runs.progress import LOG
from repro.runs.provenance import provenance
from repro.runs.shelf import FAILURES, FREED, RECORD, Shelf, telling
from repro.runs.spec import Machine, Stage, Work, canonical


class Store(Shelf):
    """A folder of finished stages, and the making of those that are missing."""

    def build(self, stage: Stage, machine: Machine, report: Callable[[float], None], session: str = "") -> Path:
        """Do `stage` unless it is done; its upstream stages must be. Of several processes one works.

        session: what tries are counted in, see :mod:`repro.runs.attempts`; "" counts none.

        Raises:
            Unwritable: if the disk is full or nothing may be written. GaveUp: after too many tries. Corrupt: if what
                the stage builds on, or the remains of the stage itself, were not as they should be. And whatever the
                stage raises.

        """
        final, part = self.path(stage), self.part(stage)
        with self.locked(stage):
            if not self.whole(stage):
                self._clear_the_way(stage)
                if not publishing.sealed(part):
                    self._attempt(stage, part, machine, report, session)
                with telling(part):
                    _tell_differences(stage, publishing.publish(part, final, ignoring=RECORD))
        report(1.0)
        return final

    def _clear_the_way(self, stage: Stage) -> None:
        with telling(self.root):
            publishing.recover(self.path(stage))
        if self.path(stage).exists() and not self.has(stage):
            raise self.set_aside(stage, f"{self.path(stage)} has lost its {MANIFEST}")

    def _attempt(
        self, stage: Stage, part: Path, machine: Machine, report: Callable[[float], None], session: str
    ) -> None:
        try:
            with telling(part):
                publishing.prepare(part)
                if session:
                    attempts.count(part, session)
        except attempts.GaveUp as error:
            _note(part, error)
            raise
        try:
            self._work(stage, part, machine, report)
        except Exception as error:
            full = attempts.unwritable(error, part)
            if full is not None:
                raise full from error
            _note(part, error)
            raise
        with telling(part):
            publishing.seal(part)

    def _work(self, stage: Stage, part: Path, machine: Machine, report: Callable[[float], None]) -> None:
        started = time.time()
        try:
            stage.execute(Work(path=part, inputs=self.finished, machine=machine, report=report))
        except SystemExit as error:  # which nobody would take for a failure
            raise RuntimeError(f"it ended itself with exit status {error.code}") from error
        record = {"key": stage.key, "label": stage.label, "stage": canonical(stage)}
        record |= provenance(machine.device) | {"seconds": round(time.time() - started, 3)}
        (part / RECORD).write_text(json.dumps(record, indent=1) + "\n")

    def free(self, stage: Stage) -> int:
        """Remove the weights of a finished stage; returns how many bytes that was. What is left stays verified."""
        with self.locked(stage):
            files = self.weights(stage)
            size = sum(file.stat().st_size for file in files)
            if files:
                # First, so that a kill here leaves nothing unexplained; an empty file fits on a full disk too.
                (self.path(stage) / FREED).touch()
                for file in files:
                    file.unlink()
            return size


def _tell_differences(stage: Stage, names: list[str]) -> None:
    """Say so where a run whose weights had been freed has come out differently: its tables have changed with it."""
    if names:
        told = ", ".join(names)
        LOG.warning("%s, done again, is not what it was in %s: another machine?", stage.label, told)


def _note(part: Path, error: Exception) -> None:
    """Leave the traceback of a failed attempt in its folder."""
    status = "diverged" if isinstance(error, FloatingPointError) else "failed"
    with telling(part):
        (part / FAILURES[status]).write_text("".join(traceback.format_exception(error)))
