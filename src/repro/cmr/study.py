"""A study of paper A: runs what its parameters ask for and hands out the results as frames."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from repro import params as parameters
from repro.cmr import corpora
from repro.cmr.design import Design, design
from repro.home import home
from repro.laws import Analysis, analyse
from repro.params import Params
from repro.runs import Store
from repro.show import display
from repro.stages.adapt import Continue
from repro.stages.pretrain import Pretrain
from repro.stages.training import LOSSES, read_losses
from repro.study.base import BaseStudy
from repro.trust.recovery import RECOVERY, Law, read_recovery


def begin(namespace: Mapping[str, Any]) -> "Study":
    """The study that a notebook's parameters ask for: call it with ``globals()`` right after the parameters cell.

    Raises:
        ParamsError: one line naming the parameter that is wrong and what is allowed.

    """
    display.enable()
    return open_study(parameters.from_notebook(namespace))


def open_study(params: Params) -> "Study":
    """The study of checked parameters, its runs kept in the project's store.

    Raises:
        ParamsError: if a source of text does not exist.

    """
    return Study(store=Store(home() / "_runs"), params=params, design=design(params))


@dataclass(frozen=True)
class Study(BaseStudy):
    """Runs lazily: each method first does the runs it needs that the store does not hold, showing progress."""

    params: Params
    design: Design

    @property
    def sizes(self) -> tuple[str, ...]:
        """Labels of the model sizes, smallest first."""
        return tuple(dict.fromkeys(stage.size for stage in self.design.pretraining))

    @property
    def domain(self) -> str:
        return self.params.domain.name

    @property
    def second_domain(self) -> str:
        return self.params.second_domain.name

    def shapes(self) -> pd.DataFrame:
        """The models as the columns of Table 1, with their parameter counts."""
        rows = [
            {
                "size": stage.size,
                "hidden_size": stage.shape.hidden,
                "intermediate_size": stage.shape.intermediate,
                "attention_heads": stage.shape.heads,
                "layers": stage.shape.layers,
                "vocabulary_size": stage.vocabulary,
                "parameters": stage.parameters,
            }
            for stage in self.design.pretraining
        ]
        return pd.DataFrame(rows).drop_duplicates(ignore_index=True)

    def corpora(self) -> pd.DataFrame:
        """What the corpora hold, one row per corpus and part: see :func:`repro.cmr.corpora.contents`."""
        self.run([self.design.general, *self.design.domains])
        return corpora.contents(self.design, self.file)

    def distances(self) -> pd.DataFrame:
        """How far each corpus lies from the general text: see :func:`repro.cmr.corpora.distances`."""
        self.run([self.design.general, *self.design.domains])
        return corpora.distances(self.design, self.file)

    def pretraining(self) -> pd.DataFrame:
        """Validation loss while pretraining: columns size, seed, tokens, general_loss (nats per token)."""
        self.run(self.design.pretraining)
        frames = [
            read_losses(self.file(stage, LOSSES))
            .rename(columns={"general": "general_loss"})
            .assign(size=stage.size, seed=stage.seed)
            for stage in self.design.pretraining
        ]
        return pd.concat(frames, ignore_index=True)

    def losses(self) -> pd.DataFrame:
        """Validation losses of continual pretraining, one row per point of each run.

        Columns size, domain, ratio, seed, tokens, general_loss, domain_loss (nats per token), and general_se,
        domain_se, the standard errors over held-out sequences of the changes since tokens = 0.
        """
        self.run(self.design.continual)
        return pd.concat([self._losses(stage) for stage in self.design.continual], ignore_index=True)

    def _losses(self, stage: Continue) -> pd.DataFrame:
        frame = read_losses(self.file(stage, LOSSES))
        frame = frame.rename(columns={"general": "general_loss", "domain": "domain_loss"})
        return frame.assign(
            size=stage.base.size,
            domain=stage.domain.text.name,
            ratio=float(stage.ratio),
            seed=stage.seed,
        )

    def analysis(self) -> Analysis:
        """The laws of sections 4 and 5 on the losses of every size and domain."""
        settings = self.params
        return analyse(
            self.losses(), epsilon=settings.epsilon, lagrange=settings.lagrange, bootstrap=settings.bootstrap
        )

    def recovery(self, law: Law) -> pd.DataFrame:
        """Synthetic studies of known truth, one row for each interval: see :mod:`repro.trust.recovery`.

        law: "critical ratio" (columns of :func:`repro.laws.mixture.recovery.coverage`) or "best allocation" (those of
        :func:`repro.laws.allocation.recovery.allocation_coverage`).
        """
        stages = [stage for stage in self.design.recovery if stage.law == law]
        self.run(stages)
        return pd.concat([read_recovery(self.file(stage, RECOVERY)) for stage in stages], ignore_index=True)

    def runs(self) -> pd.DataFrame:
        """The training runs: stage, size, domain, ratio, seed, parameters, tokens, seconds (NaN if not done)."""
        stages: list[Pretrain | Continue] = [*self.design.pretraining, *self.design.continual]
        return pd.DataFrame([self._run_row(stage) for stage in stages])

    def _run_row(self, stage: Pretrain | Continue) -> dict[str, Any]:
        if isinstance(stage, Pretrain):
            base, kind, domain, ratio = stage, "pretraining", None, math.nan
        else:
            base, kind, domain, ratio = stage.base, "continual", stage.domain.text.name, float(stage.ratio)
        return {
            "stage": kind,
            "size": base.size,
            "domain": domain,
            "ratio": ratio,
            "seed": stage.seed,
            "parameters": base.parameters,
            "tokens": stage.training.whole_tokens,
            "seconds": self.store.record(stage)["seconds"] if self.store.has(stage) else math.nan,
        }
