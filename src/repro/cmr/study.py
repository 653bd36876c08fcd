"""A study of paper A: runs what its parameters ask for and hands out what came out as frames and results."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon

from repro import params as parameters
from repro.cmr.design import Design, design
from repro.cmr.frames import DomainResults
from repro.data.corpora import REPLAY, STATISTICS, TRAINING, VALIDATION, read_statistics, read_texts
from repro.data.documents import WHOLE
from repro.home import home
from repro.laws import Analysis, analyse
from repro.params import Params
from repro.runs import Store
from repro.show import display
from repro.stages.texts import Base, Tokens, tokens_of
from repro.stages.training import LOSSES, Continue, Pretrain, read_losses
from repro.study.base import BaseStudy
from repro.study.reading import texts
from repro.trust.recovery import RECOVERY, Recovered

EXCERPT = 400  # characters
# The columns of Table 1 -> their names in a shape of ours, and in a model's configuration.
SHAPE = {
    "hidden_size": ("hidden", "hidden_size"),
    "intermediate_size": ("intermediate", "intermediate_size"),
    "attention_heads": ("heads", "num_attention_heads"),
    "layers": ("layers", "num_hidden_layers"),
    "vocabulary_size": ("vocabulary", "vocab_size"),
}
_KNOWN: dict[tuple[str, str], DomainResults] = {}  # an analysis takes seconds, and a page's claims ask for the same


def begin(namespace: Mapping[str, Any]) -> "Study":
    """The study that a notebook's parameters ask for: call it with ``globals()`` right after the parameters cell.
    ParamsError names the parameter that is wrong and what is allowed.
    """
    display.enable()
    return open_study(parameters.from_notebook(namespace))


def open_study(params: Params) -> "Study":
    """The study of these parameters, in the project's store; ParamsError if a source or model is missing."""
    return Study(store=Store(home() / "_runs"), params=params, design=design(params))


@dataclass(frozen=True)
class Study(BaseStudy):
    """Runs lazily: each method first does the runs it needs that the store does not hold, showing progress."""

    params: Params
    design: Design

    def corpora(self) -> pd.DataFrame:
        """One row per corpus and part, in the columns of :func:`repro.study.reading.texts` with corpus for name, and
        per corpus its licences and how many near-duplicates of held-out documents were dropped.
        """
        self.run([self.design.general, *self.design.domains])
        rows = texts(self)
        of = [row.pop("stage").text for row in rows]
        return pd.DataFrame(rows).rename(columns={"name": "corpus"}).assign(
            licences=["; ".join(dict.fromkeys(source.licence for source in text.sources)) for text in of],
            near_duplicates=[read_statistics(self.file(text, STATISTICS))["near_duplicates"] for text in of],
        )  # fmt: skip

    def distances(self) -> pd.DataFrame:
        """How far each corpus lies from the general pretraining text: columns corpus, distance, share.

        distance: Jensen-Shannon's (base 2, so between 0 and 1) between the frequencies of tokens. The first row,
        general text kept from pretraining, or held-out text of a pretrained model's study, is what two samples of the
        same text give. share: of the characters of the
        general text, how many come from other documents of the very sources of the corpus (NaN in that row).
        """
        general, domains = self.design.general, self.design.domains
        self.run([general, *domains])
        own = (
            ("general, kept from pretraining", REPLAY) if self.design.pretraining else ("general, held out", VALIDATION)
        )
        parts = [(general, TRAINING), (general, own[1]), *((stage, TRAINING) for stage in domains)]
        counts = pd.DataFrame([self._frequencies(*part) for part in parts]).fillna(0).to_numpy()
        distances = [float(jensenshannon(counts[0], of, base=2)) for of in counts[1:]]
        names, shares = [own[0], *(stage.text.name for stage in domains)], [math.nan, *map(self._share, domains)]
        return pd.DataFrame({"corpus": names, "distance": distances, "share": shares})

    def _share(self, domain: Tokens) -> float:
        """The share of the general text that comes from the sources of a domain."""
        general = self.design.general.text
        whole = [replace(source, part=WHOLE) for source in domain.text.sources]
        shared = [source.label for source in general.sources if replace(source, part=WHOLE) in whole]
        kept = pd.DataFrame(read_statistics(self.file(general, STATISTICS))["kept"])
        return float(kept.loc[kept["source"].isin(shared), "characters"].sum() / kept["characters"].sum())

    def _frequencies(self, stage: Tokens, part: str) -> np.ndarray:
        folder = self.file(stage, f"{part}.bin").parent
        return np.bincount(tokens_of(folder, part, stage.dtype))

    def excerpts(self) -> pd.DataFrame:
        """How the training text of each corpus begins: columns corpus, text (the first `EXCERPT` characters)."""
        stages = [self.design.general, *self.design.domains]
        self.run(stages)
        folders = [self.file(stage.text, STATISTICS).parent for stage in stages]
        texts = [next(iter(read_texts(folder, TRAINING)))[:EXCERPT] + " ..." for folder in folders]
        return pd.DataFrame({"corpus": [stage.text.name for stage in stages], "text": texts})

    def shapes(self) -> pd.DataFrame:
        """The models in the columns of Table 1, and parameters; NaN where a pretrained one has no such number."""
        return pd.DataFrame([self._shape(model) for model in self.design.models])

    def _shape(self, model: Pretrain | Base) -> dict[str, Any]:
        if isinstance(model, Pretrain):
            known, place = {**vars(model.shape), "vocabulary": model.vocabulary}, 0
        else:
            self.run([model])
            known, place = json.loads(self.file(model, "config.json").read_text()), 1
        numbers = {column: known.get(names[place], math.nan) for column, names in SHAPE.items()}
        return {"size": model.size, **numbers, "parameters": model.parameters}

    def pretraining(self) -> pd.DataFrame:
        """Validation losses of pretraining, if there is any: size, seed, tokens, general_loss (nats per token)."""
        self.run(self.design.pretraining)
        frames = [
            read_losses(self.file(stage, LOSSES))
            .rename(columns={"general": "general_loss"})
            .assign(size=stage.size, seed=stage.seed)
            for stage in self.design.pretraining
        ]
        none = pd.DataFrame(columns=["size", "seed", "tokens", "general_loss"])
        return pd.concat(frames, ignore_index=True) if frames else none

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
        domain, ratio = stage.domain.text.name, float(stage.ratio)
        return frame.assign(size=stage.base.size, domain=domain, ratio=ratio, seed=stage.seed)

    def analysis(self) -> Analysis:
        """The laws of sections 4 and 5 on the losses of every size and domain."""
        return self._analysis(self.losses())

    def results(self, domain: str | None = None) -> DomainResults:
        """The results on one domain, by default the one of every size; ValueError if there is no such domain."""
        losses, name = self.losses(), domain or self.params.domain.name
        rows = losses[losses["domain"] == name]
        if rows.empty:
            raise ValueError(f"no domain {name!r} in this study; there are {', '.join(losses['domain'].unique())}")
        if (self.identity, name) not in _KNOWN:
            _KNOWN[self.identity, name] = DomainResults(self._analysis(rows))
        return _KNOWN[self.identity, name]

    def learning_rates(self) -> pd.DataFrame:
        """`DomainResults.critical_ratios` of the smallest size on its first domain by continual learning_rate."""
        first = self.design.continual[0]
        same = first.base.size, first.domain
        own = [run for run in self.design.continual if (run.base.size, run.domain) == same]
        runs = sorted([*own, *self.design.rates], key=lambda run: run.training.peak)
        self.run(runs)
        rows = []
        for rate, alike in groupby(runs, key=lambda run: run.training.peak):
            losses = pd.concat(map(self._losses, alike), ignore_index=True)
            rows.append(DomainResults(self._analysis(losses)).critical_ratios().assign(learning_rate=rate))
        return pd.concat(rows, ignore_index=True)

    def _analysis(self, losses: pd.DataFrame) -> Analysis:
        chosen = self.params
        return analyse(losses, epsilon=chosen.epsilon, lagrange=chosen.lagrange, bootstrap=chosen.bootstrap)

    def recovery(self, law: Recovered) -> pd.DataFrame:
        """Synthetic studies of known truth, a row for each interval, in the columns of
        :func:`repro.trust.recovery.coverage` with ratios, seeds, form, or of
        :func:`repro.trust.recovery.allocation_coverage`.
        """
        stages = [stage for stage in self.design.recovery if stage.law == law]
        self.run(stages)
        return pd.concat([pd.read_csv(self.file(stage, RECOVERY)) for stage in stages], ignore_index=True)

    def runs(self) -> pd.DataFrame:
        """The training runs: stage, size, domain, ratio, seed, parameters, tokens, seconds (NaN if not done)."""
        stages: list[Pretrain | Continue] = [*self.design.pretraining, *self.design.continual, *self.design.rates]
        return pd.DataFrame([self._run_row(stage) for stage in stages])

    def _run_row(self, stage: Pretrain | Continue) -> dict[str, Any]:
        base: Pretrain | Base = stage if isinstance(stage, Pretrain) else stage.base
        kind, domain, ratio = "pretraining", None, math.nan
        if isinstance(stage, Continue):
            kind, domain, ratio = "continual", stage.domain.text.name, float(stage.ratio)
        return {
            "stage": kind, "size": base.size, "domain": domain, "ratio": ratio, "seed": stage.seed,
            "parameters": base.parameters, "tokens": stage.training.whole_tokens,
            "seconds": self.store.record(stage)["seconds"] if self.store.has(stage) else math.nan,
        }  # fmt: skip
