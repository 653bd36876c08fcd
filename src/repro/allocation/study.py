"""A study of paper B: runs what its parameters ask for and hands out the results as frames."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from statistics import mean
from typing import Any

import pandas as pd

from repro import params as parameters
from repro.allocation import facts, fitted, results
from repro.allocation.design import Design, Trial, design
from repro.data.corpora import STATISTICS, read_statistics
from repro.home import home
from repro.laws.allocation import Allocation
from repro.lm.evaluation import PROGRAMS
from repro.params import AllocationParams
from repro.runs import Stage, Store
from repro.show import display
from repro.show.words import join
from repro.stages.drift import DRIFT
from repro.stages.evaluate import HELD_OUT, ITEMS
from repro.stages.lora import PROGRESS, Cpt, Sft, name_of, read_progress, read_training
from repro.stages.models import Adapted
from repro.study.base import BaseStudy


def begin(namespace: Mapping[str, Any]) -> "Study":
    """The study that a notebook's parameters ask for: call it with ``globals()`` right after the parameters cell.

    Raises:
        ParamsError: one line naming the parameter that is wrong and what is allowed.

    """
    display.enable()
    return open_study(parameters.from_notebook(namespace, AllocationParams))


def open_study(params: AllocationParams) -> "Study":
    """The study of checked parameters, its runs kept in the project's store.

    Raises:
        ParamsError: if a source of text, a model or a benchmark does not exist.

    """
    store, asked = Store(home() / "_runs"), design(params)
    programs = [program for trial in asked.trials for program in trial.programs]
    if all(store.has(program) for program in programs):  # what was executed elsewhere counts here too
        return Study(store=store, params=params, design=asked)
    missing = why_not_executed(params)
    return Study(store=store, params=params, design=design(params, programs=not missing), not_executed=missing)


def why_not_executed(params: AllocationParams) -> str:
    """Why programs that models write are not executed here; "" where they are, or where none is asked for."""
    wanted = {name for domain in params.domains for name in domain.benchmarks} & set(PROGRAMS)
    if not wanted or params.unsafe_no_sandbox:
        return ""
    from repro.sandbox import probe

    return probe() or ""


@dataclass(frozen=True)
class Study(BaseStudy):
    """Runs lazily: each method first does the runs it needs that the store does not hold, showing progress.

    not_executed: why programs are not executed here, "" where they are.
    """

    params: AllocationParams
    design: Design
    not_executed: str = ""

    @property
    def domains(self) -> tuple[str, ...]:
        """The names of the domains, the main one first."""
        return tuple(material.name for material in self.design.materials)

    @property
    def base_name(self) -> str:
        """What the base model is called."""
        return name_of(self.design.base)

    @property
    def domain_list(self) -> str:
        """The domains in a phrase."""
        return join(self.domains)

    @property
    def execution(self) -> str:
        """A sentence on programs that models write; "" where no benchmark asks for any."""
        return facts.execution(self.params, self.not_executed)

    @property
    def noise(self) -> str:
        """A sentence on what the intervals of the law hold."""
        return facts.noise(self.params)

    def recipe(self) -> tuple[dict[str, str], dict[str, str]]:
        """The recipes of CPT and of SFT, by the aspects of Tables A.2 and A.3."""
        return facts.recipes(self.params)

    def words(self, name: str) -> str:
        """A sentence for a part of the study that a preset may leave out, "" where it runs: "cpt_ablation" or so."""
        return facts.left_out(self.params, name)

    def materials(self) -> pd.DataFrame:
        """What each domain holds: one row per domain and part, see :func:`repro.allocation.results`."""
        stages = [*self.design.materials, *self.design.replays]
        self.run(stages)
        pairs = zip(self.design.replays, self.domains, strict=True)
        several = len(self.domains) > 1
        names = [*self.domains, *(f"{replay.name}, for {name}" if several else replay.name for replay, name in pairs)]
        counts = [read_statistics(self.file(stage, STATISTICS)) for stage in stages]
        return results.contents(dict(zip(names, counts, strict=True)))

    def exposure(self) -> pd.DataFrame:
        """How much training shows of right and of wrong choices: see :func:`repro.allocation.results.exposure`."""
        self.run(self.design.materials)
        found = {stage.name: read_statistics(self.file(stage, STATISTICS)) for stage in self.design.materials}
        return results.exposure(found)

    def examples(self) -> pd.DataFrame:
        """A pair and a question of each domain: columns domain, use, prompt, answer, others."""
        stages = [*self.design.materials]
        self.run(stages)
        return results.examples({stage.name: self.finished(stage) for stage in stages}, stages)

    def held_out(self) -> pd.DataFrame:
        """Losses on held-out text along CPT, nats per token: see :func:`repro.allocation.results.held_out`."""
        self.run(self.design.held_out)
        frames = [
            (stage, self._trained(stage.model, Cpt), pd.read_parquet(self.file(stage, HELD_OUT)))
            for stage in self.design.held_out
        ]
        return results.held_out(frames)

    def training(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """CPT and SFT, trained side by side: :meth:`held_out` and :meth:`tuning`."""
        self.run([*self.design.held_out, *(trial.model for trial in self.design.trials)])
        return self.held_out(), self.tuning()

    def items(self) -> pd.DataFrame:
        """Every question of every trial, trial by trial: `results.KEYS`, and the columns of `Evaluate`'s result.

        A benchmark whose programs are executed has their verdicts; without, `right` is missing and `status` "not run".
        """
        return self._every_item.copy()

    @cached_property
    def _every_item(self) -> pd.DataFrame:
        self.run(self._evaluations(self.design.trials))
        return self._labelled(pd.concat([self._items(trial) for trial in self.design.trials], ignore_index=True))

    def _labelled(self, items: pd.DataFrame) -> pd.DataFrame:
        """With the domain in the names of benchmarks that several domains have."""
        shared = items.groupby("benchmark")["domain"].nunique()
        several = items["benchmark"].isin(shared[shared > 1].index)
        named = items["benchmark"].where(~several, items["benchmark"] + ", " + items["domain"])
        # Allocations that whole steps make the same are one.
        return items.assign(benchmark=named).drop_duplicates([*results.KEYS, "benchmark", "item"], ignore_index=True)

    def _items(self, trial: Trial) -> pd.DataFrame:
        frame = pd.read_parquet(self.file(trial.evaluation, ITEMS))
        for one in (pd.read_parquet(self.file(stage, ITEMS)) for stage in trial.programs):
            frame = pd.concat([frame[~frame["benchmark"].isin(one["benchmark"].unique())], one], ignore_index=True)
        return frame.assign(**self._place(trial))

    def _place(self, trial: Trial) -> dict[str, Any]:
        """Where a trial stands, in tokens really trained on: the mean over its seeds, so that these are one place."""
        place = attrgetter("kind", "domain", "budget", "cpt_tokens", "sft_tokens")
        same = [other for other in self.design.trials if place(other) == place(trial)]
        return {
            "kind": trial.kind,
            "domain": trial.domain,
            "budget": trial.budget,
            "cpt_tokens": round(mean(self._trained(other.before, Cpt) for other in same)),
            "sft_tokens": round(mean(self._trained(other.model, Sft) for other in same)),
            "seed": trial.seed,
        }

    def _trained(self, model: Adapted, kind: type[Stage]) -> int:
        if not isinstance(model, kind):
            return 0
        return int(read_progress(self.file(model, PROGRESS))["tokens"])

    def _evaluations(self, trials: Iterable[Trial]) -> list[Stage]:
        return [stage for trial in trials for stage in (trial.evaluation, *trial.programs)]

    def scores(self) -> pd.DataFrame:
        """One row for each trial, benchmark and metric: see :func:`repro.allocation.results`."""
        return results.scores(self.items())

    def allocations(self, scores: pd.DataFrame) -> pd.DataFrame:
        """The rows of a frame of scores that Table 6 has: the main budget's allocations."""
        return scores[scores["kind"] == "allocation"]

    def setup(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What there is before any training, made side by side: :meth:`materials` and :meth:`base_scores`."""
        trials = [trial for trial in self.design.trials if trial.kind == "base"]
        self.run([*self.design.materials, *self.design.replays, *self._evaluations(trials)])
        return self.materials(), self.base_scores()

    def base_scores(self) -> pd.DataFrame:
        """The base model's scores before any training, as :meth:`scores` has them."""
        trials = [trial for trial in self.design.trials if trial.kind == "base"]
        self.run(self._evaluations(trials))
        return results.scores(self._labelled(pd.concat([self._items(trial) for trial in trials], ignore_index=True)))

    def fits(self) -> dict[Any, Allocation]:
        """Equation 1 for each benchmark and metric: see :func:`repro.allocation.fitted.fits`."""
        others = [one.budget for one in self.params.other_budgets]
        settings = {"budget": self.params.budget, "bootstrap": self.params.bootstrap, "predict": others}
        parts = self.items().groupby("domain", sort=False)
        return {key: fit for _, part in parts for key, fit in fitted.fits(part, **settings).items()}  # type: ignore[arg-type]

    def ablation(self) -> pd.DataFrame:
        """CPT and SFT against SFT alone, question by question: see :func:`repro.allocation.results.compare`."""
        return self._compared(fitted.ablation_pairs)

    def splits(self) -> pd.DataFrame:
        """Every allocation against SFT on the whole budget, question by question: see `results.compare`."""
        return self._compared(partial(fitted.split_pairs, budget=self.params.budget))

    def _compared(self, pairs_of: Callable[[pd.DataFrame], fitted.Pairs]) -> pd.DataFrame:
        """`results.compare` by each metric; pairs_of: takes the scores to the trials to compare."""
        items = self.items()
        pairs = pairs_of(results.scores(items))
        return pd.concat([results.compare(items, metric, pairs) for metric in results.METRICS], ignore_index=True)

    def cpt_steps(self) -> pd.DataFrame:
        """The CPT ablation as Table A.1: see :func:`repro.allocation.fitted.steps`."""
        items = self.items()
        return fitted.steps(items, results.scores(items), self.params.cpt_batch * self.params.cpt_length)

    def other_budgets(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Other budgets as Table 4, by the log-likelihood of the first benchmark: see `fitted.tested`."""
        scores = self.scores()
        return fitted.tested(scores, self.fits(), str(scores["benchmark"].iloc[0]), results.LIKELIHOOD)

    def score_line(self) -> pd.DataFrame:
        """The log-likelihood of each domain's first benchmark by allocation: domain, sft_tokens, score, low, high."""
        rows = self.allocations(self.scores())
        first = rows.drop_duplicates("domain")[["domain", "benchmark"]]
        rows = rows[(rows["metric"] == results.LIKELIHOOD) & (rows["seed"] == self.params.seeds[0])].merge(first)
        found: pd.DataFrame = fitted.with_ends(rows)
        return found

    def tuning(self) -> pd.DataFrame:
        """The training loss of SFT after different amounts of CPT: domain, cpt_tokens, step, loss (nats per token)."""
        trials = {trial.model.key: trial for trial in self.design.trials if isinstance(trial.model, Sft)}
        self.run(trial.model for trial in trials.values())
        frames = [
            read_training(self.file(trial.model, PROGRESS)).assign(**self._place(trial))
            for trial in trials.values()
            if trial.seed == self.params.seeds[0]
        ]
        return results.tuning(frames)

    def drifts(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Drift through the phases and between allocations: :meth:`drift` and :meth:`ratio_drift`."""
        self.run([*(one.stage for one in self.design.drift), *(one.stage for one in self.design.ratio_drift)])
        return self.drift(), self.ratio_drift()

    def drift(self) -> pd.DataFrame:
        """Drift from the base to CPT and from CPT to SFT (Figure 3), one row per layer: see `results.phases`."""
        self.run([*(one.stage for one in self.design.drift), *(trial.model for trial in self.design.trials)])
        frames = [
            pd.read_parquet(self.file(one.stage, DRIFT)).assign(phase=one.phase, **self._place(one.trial))
            for one in self.design.drift
        ]
        return results.phases(frames, self.params.drift_estimator)

    def ratio_drift(self) -> pd.DataFrame:
        """Drift between neighbouring allocations (Figure 2), one row per category: see `results.between`."""
        self.run([*(one.stage for one in self.design.ratio_drift), *(trial.model for trial in self.design.trials)])
        frames = [
            pd.read_parquet(self.file(one.stage, DRIFT)).assign(
                model=one.model,
                domain=one.more.domain,
                sft_from=self._place(one.more)["sft_tokens"],
                sft_to=self._place(one.fewer)["sft_tokens"],
            )
            for one in self.design.ratio_drift
        ]
        return results.between(frames, self.params.drift_estimator)

    def tokens(self) -> pd.DataFrame:
        """Tokens trained against tokens that training every trial by itself would take: phase, trained, naive."""
        self.run(trial.model for trial in self.design.trials)
        return results.tokens(self.design.trials, lambda run: self._trained(run, type(run)))
