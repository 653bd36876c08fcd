"""A study of paper B: runs what its parameters ask for and hands out the results as frames."""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from statistics import mean
from typing import Any, ClassVar

import pandas as pd

from repro import params as parameters
from repro.allocation import frames, results
from repro.allocation.design import Design, PhaseDrift, Trial, design
from repro.data.corpora import STATISTICS, TRAINING, read_statistics
from repro.home import home
from repro.lm.evaluation import PROGRAMS
from repro.lm.models import PackageModel
from repro.params import AllocationParams
from repro.runs import Stage, Store
from repro.show import display
from repro.show.words import Facts, join
from repro.stages.evaluate import DRIFT, HELD_OUT, ITEMS, Adapted
from repro.stages.lora import PROGRESS, Cpt, Sft, name_of, read_progress, read_training
from repro.study.base import BaseStudy
from repro.study.reading import pairs, preparing, texts


def begin(namespace: Mapping[str, Any]) -> "Study":
    """The study that a notebook's parameters ask for: call it with ``globals()`` right after the parameters cell.
    ParamsError names the parameter that is wrong and what is allowed.
    """
    display.enable()
    study = open_study(parameters.from_notebook(namespace, AllocationParams))
    if study.params.unsafe_no_sandbox:
        print(*study.notes, sep="\n", file=sys.stderr)
    return study


def open_study(params: AllocationParams) -> "Study":
    """The study of these parameters, in the project's store; ParamsError if a source, model or benchmark is missing."""
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
    """Runs lazily. not_executed: why programs that models write are not executed here, "" where they are."""

    params: AllocationParams
    design: Design
    not_executed: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        if self.params.unsafe_no_sandbox:
            return ("programs that models write are executed without a sandbox (--unsafe-no-sandbox)",)
        asked = {(t.evaluation.key, name) for t in self.design.trials for name in t.evaluation.benchmarks}
        left_out = [name for _, name in asked if name in PROGRAMS]
        words = f"the programs of {len(left_out)} models are not executed: {self.not_executed}"
        return (words,) if self.not_executed else ()

    @property
    def base_name(self) -> str:
        """What the base model is, with what a data package did to its weights."""
        source = getattr(self.design.base, "source", None)
        return source.described if isinstance(source, PackageModel) else name_of(self.design.base)

    @property
    def scale(self) -> Facts:
        """How little results rest on, for the prose: parameters in millions, numbers of everything else."""
        chosen, before = self.params, [trial.before for trial in self.design.trials]
        asked = {name for domain in chosen.domains for name in domain.benchmarks}
        programs = [results.TITLES[name] for name in PROGRAMS if name in asked]
        return {
            "model": self.base_name, "parameters": self.design.base.parameters / 1e6, "budget": chosen.budget,
            "steps": max((stage.steps for stage in before if isinstance(stage, Cpt)), default=0),
            "questions": chosen.benchmark_items, "examples": chosen.drift_examples, "seeds": len(chosen.seeds),
            "not_run": f"{join(programs)} ({self.not_executed})" if self.not_executed else "none",
        }  # fmt: skip

    def prepare(self, *names: str) -> None:
        """Do side by side what several methods need, named as these are: `prepare("held_out", "tuning")`."""
        design, models = self.design, [trial.model for trial in self.design.trials]
        needs: dict[str, Iterable[Stage]] = {
            "materials": preparing(design.stages),
            "exposure": design.materials,
            "examples": design.materials,
            "base_scores": self._evaluations(self._base_trials),
            "items": self._evaluations(design.trials),
            "held_out": design.held_out,
            "tuning": models,
            "tokens": models,
            "drift": [*(drift.stage for drift in (*design.drift, *design.floor)), *models],
            "ratio_drift": [*(drift.stage for drift in design.ratio_drift), *models],
        }
        self.run(stage for name in names for stage in needs[name])

    def materials(self) -> pd.DataFrame:
        """What each domain holds: one row per domain and part, see :func:`repro.allocation.results.contents`."""
        self.prepare("materials")
        materials, replays = self.design.materials, self.design.replays
        beside = [f", for {material.name}" if len(materials) > 1 else "" for material in materials]
        named = {material.name: material for material in materials}
        named |= {f"{replay.name}{text}": replay for replay, text in zip(replays, beside, strict=True)}
        told = {name: read_statistics(self.file(m, STATISTICS)) for name, m in named.items()}
        often = {row["stage"].text: row["epochs"] for row in texts(self) if row["part"] == TRAINING}
        tuned = [(row["stage"].material, row) for row in pairs(self)]
        for name, material in named.items():
            told[name] |= {"epochs": often.get(material), "tuned": [row for of, row in tuned if of == material]}
        return results.contents(told)

    def exposure(self) -> pd.DataFrame:
        """How much training shows of right and of wrong choices: domain, benchmark, where, right, wrong (shares)."""
        self.prepare("exposure")
        told = {stage.name: read_statistics(self.file(stage, STATISTICS)) for stage in self.design.materials}
        rows = [{"domain": name, **row} for name, statistics in told.items() for row in statistics["exposure"]]
        frame = pd.DataFrame(rows, columns=["domain", "benchmark", "where", "right", "wrong"])
        return frame.replace({"benchmark": results.TITLES})

    def examples(self) -> pd.DataFrame:
        """A pair and a question of each domain: see :func:`repro.allocation.results.examples`."""
        self.prepare("examples")
        return results.examples([(stage, self.finished(stage)) for stage in self.design.materials])

    def held_out(self) -> pd.DataFrame:
        """Losses on held-out text along CPT, nats per token: see :func:`repro.allocation.results.held_out`."""
        self.prepare("held_out")
        return results.held_out(
            (stage, self._trained(stage.model, Cpt), pd.read_parquet(self.file(stage, HELD_OUT)))
            for stage in self.design.held_out
        )

    def base_scores(self) -> pd.DataFrame:
        """The base model's scores before any training, as `results.scores` has them."""
        self.prepare("base_scores")
        return results.scores(self._answers(self._base_trials))

    def items(self) -> pd.DataFrame:
        """Every question of every trial: `results.KEYS` and the columns of `Evaluate`'s result. Programs have their
        verdicts where they are executed; elsewhere `right` is missing and `status` "not run".
        """
        self.prepare("items")
        return self._answers(self.design.trials)

    def results(self) -> "StudyResults":
        """The scores of every trial, and the laws fitted to them; fitted once, as many claims and figures ask."""
        return self._results

    @cached_property
    def _results(self) -> "StudyResults":
        return StudyResults(self.items(), self.params)

    def tuning(self) -> pd.DataFrame:
        """The training loss of SFT after different amounts of CPT: see :func:`repro.allocation.results.tuning`."""
        self.prepare("tuning")
        tuned = {trial.model.key: trial for trial in self.design.trials if isinstance(trial.model, Sft)}
        return results.tuning([
            read_training(self.file(trial.model, PROGRESS)).assign(**self._place(trial))
            for trial in tuned.values()
            if trial.seed == self.params.seeds[0] and trial.kind != "fixed steps"
        ])  # fmt: skip

    def drift(self, by: str = "sft_tokens") -> pd.DataFrame:
        """Drift from the base to CPT and from CPT to SFT (Figure 3), or by "layer": see `results.phases`."""
        self.prepare("drift")
        return self._phases(self.design.drift, by)

    def drift_floor(self) -> pd.DataFrame:
        """Drift between models of which only the seed differs, as :meth:`drift` has it; empty where none was run."""
        return self._phases(self.design.floor)

    def _phases(self, found: Iterable[PhaseDrift], by: str = "sft_tokens") -> pd.DataFrame:
        found = list(found)
        self.run([stage for drift in found for stage in (drift.stage, drift.trial.before, drift.trial.model)])
        drifts = [
            pd.read_parquet(self.file(drift.stage, DRIFT)).assign(phase=drift.phase, **self._place(drift.trial))
            for drift in found
        ]
        return results.phases(drifts, self.params.drift_estimator, by)

    def ratio_drift(self) -> pd.DataFrame:
        """Drift between neighbouring allocations (Figure 2), one row per category: see `results.between`."""
        self.prepare("ratio_drift")
        drifts = [
            pd.read_parquet(self.file(drift.stage, DRIFT)).assign(
                model=drift.model,
                domain=drift.more.domain,
                sft_from=self._place(drift.more)["sft_tokens"],
                sft_to=self._place(drift.fewer)["sft_tokens"],
            )
            for drift in self.design.ratio_drift
        ]
        return results.between(drifts, self.params.drift_estimator)

    def tokens(self) -> pd.DataFrame:
        """Tokens trained, and those that training every trial by itself would take: see `results.tokens`."""
        self.prepare("tokens")
        took = lambda run: float(self.store.record(run)["seconds"])  # noqa: E731
        return results.tokens(self.design.trials, lambda run: self._trained(run, type(run)), took)

    @property
    def _base_trials(self) -> list[Trial]:
        return [trial for trial in self.design.trials if trial.kind == "base"]

    def _answers(self, trials: Iterable[Trial]) -> pd.DataFrame:
        return labelled(pd.concat([self._items(trial) for trial in trials], ignore_index=True))

    def _items(self, trial: Trial) -> pd.DataFrame:
        frame = pd.read_parquet(self.file(trial.evaluation, ITEMS))
        for verdicts in (pd.read_parquet(self.file(stage, ITEMS)) for stage in trial.programs):
            others = frame[~frame["benchmark"].isin(verdicts["benchmark"].unique())]
            frame = pd.concat([others, verdicts], ignore_index=True)
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

    @staticmethod
    def _evaluations(trials: Iterable[Trial]) -> list[Stage]:
        return [stage for trial in trials for stage in (trial.evaluation, *trial.programs)]


def labelled(items: pd.DataFrame) -> pd.DataFrame:
    """Questions under the titles of benchmarks, with the domain in those that several domains have."""
    domains = items.groupby("benchmark")["domain"].nunique()
    shared = items["benchmark"].isin(domains[domains > 1].index)
    named = items["benchmark"].replace(results.TITLES)
    named = named.where(~shared, named + ", " + items["domain"])
    # Allocations that whole steps make the same are one.
    return items.assign(benchmark=named).drop_duplicates([*results.KEYS, "benchmark", "item"], ignore_index=True)


@dataclass(frozen=True, eq=False)
class StudyResults(frames.Results):
    """The scores of our runs (``items``, as `Study.items` has them), and the laws fitted to them."""

    items: pd.DataFrame
    params: AllocationParams
    metrics: ClassVar[tuple[str, ...]] = results.METRICS

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row for each trial, benchmark and metric: see :func:`repro.allocation.results.scores`."""
        return results.scores(self.items)

    @property
    def allocations(self) -> pd.DataFrame:
        """The scores that Table 6 has: the main budget's allocations."""
        return self.scores[self.scores["kind"] == "allocation"]

    @cached_property
    def fits(self) -> frames.Fits:
        others = [other.budget for other in self.params.other_budgets]
        settings = {"budget": self.params.budget, "bootstrap": self.params.bootstrap, "predict": others}
        parts = self.items.groupby("domain", sort=False)
        return {key: fit for _, part in parts for key, fit in frames.fits(part, **settings).items()}  # type: ignore[arg-type]

    @property
    def points(self) -> pd.DataFrame:
        trained = {"allocation": "CPT and SFT", "SFT only": "SFT only"}
        trained |= {"snapshot": "snapshots of one SFT", "fixed steps": "SFT of fixed steps"}
        rows = self.scores[self.scores["kind"].isin(trained)]
        named = rows["kind"].map(trained).mask((rows["kind"] == "allocation") & (rows["cpt_tokens"] == 0), "SFT only")
        keys = ["benchmark", "metric", "seed", "sft_tokens", "trained"]  # all of it SFT is both a split and SFT alone
        return frames.with_ends(rows.assign(trained=named).drop_duplicates(keys))

    @property
    def baselines(self) -> pd.DataFrame:
        return frames.baselines(self.scores)

    @property
    def other_budgets(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """By the log-likelihood of the first benchmark, the best split predicted from the peak of Equation 1."""
        first = str(self.scores["benchmark"].iloc[0])
        return frames.other_budgets(self.scores, self.fits, first, results.LIKELIHOOD)

    @cached_property
    def ablation(self) -> pd.DataFrame:
        """CPT and SFT against SFT alone, question by question: see :func:`repro.allocation.results.compare`."""
        return self._compared(frames.ablation_pairs)

    @cached_property
    def splits(self) -> pd.DataFrame:
        """Every allocation against SFT on the whole budget, question by question: see `results.compare`."""
        return self._compared(partial(frames.split_pairs, budget=self.params.budget))

    def _compared(self, pairs_of: Callable[[pd.DataFrame], frames.Pairs]) -> pd.DataFrame:
        """`results.compare` by each metric; pairs_of: takes the scores to the trials to compare."""
        pairs = pairs_of(self.scores)
        return pd.concat([results.compare(self.items, metric, pairs) for metric in self.metrics], ignore_index=True)

    @property
    def cpt_steps(self) -> pd.DataFrame:
        """Of the first seed only."""
        rows, mine = (frame[frame["kind"] == "CPT ablation"] for frame in (self.scores, self.items))
        rows = rows[rows["seed"] == rows["seed"].min()].dropna(subset=["score"])
        mine = mine[mine["seed"] == self.items["seed"].min()]
        keys = list(zip(rows["benchmark"], rows["metric"], strict=True))
        tests = {key: frames.equal(results.matrix(mine, *key)) for key in dict.fromkeys(keys)}
        steps = rows["cpt_tokens"] / (self.params.cpt_batch * self.params.cpt_length)
        rows = rows.assign(cpt_steps=steps, p_value=[tests[key] for key in keys])
        chosen: pd.DataFrame = rows[["benchmark", "metric", "cpt_steps", "score", "se", "p_value"]]
        return chosen.reset_index(drop=True)

    @property
    def score_line(self) -> pd.DataFrame:
        """The log-likelihood of each domain's first benchmark by allocation: domain, sft_tokens, score, low, high."""
        rows = self.allocations
        first = rows.drop_duplicates("domain")[["domain", "benchmark"]]
        rows = rows[(rows["metric"] == results.LIKELIHOOD) & (rows["seed"] == self.params.seeds[0])].merge(first)
        return frames.with_ends(rows)
