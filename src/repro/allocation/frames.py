"""From scores to the frames that figures and tables of paper B show: one code for the printed scores and for ours."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from repro.allocation.results import ACCURACY, KEYS, METRICS, chance, matrix
from repro.laws.allocation import NAME, Allocation, analyse_allocation, best_fraction
from repro.laws.allocation.scores import equal_answers, with_errors

Fits = Mapping[tuple[str, str], Allocation]  # by benchmark and metric
Pairs = list[tuple[dict[str, Any], dict[str, Any], str]]  # two trials and what comparing them is called
FEWEST = 6  # allocations with SFT that Equation 1 needs
NORMAL = 1.96


class Results(Protocol):
    """Scores and laws of the paper or of our runs; frames have benchmark and metric unless they say otherwise."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """What scores are measured by; where that is one thing, pages do not name it."""

    @property
    def fits(self) -> Fits:
        """Equation 1 for each benchmark and metric."""

    @property
    def points(self) -> pd.DataFrame:
        """The scores drawn with the law: sft_tokens, score, low, high; trained (a name of `points`) of ours."""

    @property
    def baselines(self) -> pd.DataFrame:
        """Level lines to measure scores against: name, score. None unless there are scores of a base model."""
        return pd.DataFrame(columns=["benchmark", "metric", "name", "score"]).astype({"score": float})

    @property
    def other_budgets(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Table 4, of one benchmark and metric: the scores and the best split of each budget, predicted and tested.

        points: budget (as text), cpt_fraction, sft_tokens, score, low, high; marks: budget, mark ("predicted" | "tested
        best"), cpt_fraction, sft_tokens.
        """

    @property
    def curves(self) -> pd.DataFrame:
        """Equation 1 with its 95% band: sft_tokens, cpt_fraction, score, low, high (NaN without); none where there are
        too few scores for a criterion of its parameters.
        """
        columns = ["benchmark", "metric", "sft_tokens", "cpt_fraction", "score", "low", "high"]
        drawn = [
            fit.curve().assign(benchmark=name, metric=metric)
            for (name, metric), fit in self.fits.items()
            if fit.alternatives.set_index("law")["delta_aicc"][NAME] < np.inf
        ]
        if not drawn:
            return pd.DataFrame(columns=columns, dtype=float)
        return pd.concat(drawn, ignore_index=True).rename(columns={"lower": "low", "upper": "high"})[columns]

    @property
    def optima(self) -> pd.DataFrame:
        """The peak of each benchmark and metric, and the test of equal scores beside it.

        Columns sft_tokens, low, high, cpt_fraction (NaN without a peak); highest (SFT tokens of the
        best score); p_value; slope_p (of the test that the scores have no slope in ln S); peak_shown; p_value_holm,
        slope_p_holm: see :func:`holm`; printed_tokens beside them where the paper gives a peak.
        """
        rows = []
        for (name, metric), fit in self.fits.items():
            best = fit.optimum
            low, high = best.interval or (np.nan, np.nan)
            rows.append({
                "benchmark": name, "metric": metric,
                "sft_tokens": best.sft_tokens, "low": low, "high": high,
                "cpt_fraction": best.cpt_fraction,
                "highest": float(fit.points["sft_tokens"].iloc[int(fit.points["score"].argmax())]),
                "p_value": fit.flatness.p_value, "slope_p": fit.trend.p_value, "peak_shown": fit.peak_shown,
            })  # fmt: skip
        columns = ["benchmark", "metric", "sft_tokens", "low", "high", "cpt_fraction", "highest"]
        columns += ["p_value", "slope_p", "peak_shown"]
        frame = pd.DataFrame(rows, columns=columns)
        return holm(frame.astype({"sft_tokens": float, "cpt_fraction": float, "peak_shown": bool}))

    @property
    def alternatives(self) -> pd.DataFrame:
        """Equation 1 beside others: law, parameters, criterion ("AIC", "AICc" or "QAICc"), delta_aicc, loo."""
        columns = ["benchmark", "metric", "law", "parameters", "criterion", "delta_aicc", "loo"]
        frames = [
            fit.alternatives.assign(benchmark=name, metric=metric, criterion=fit.criterion)
            for (name, metric), fit in self.fits.items()
        ]
        return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)

    @property
    def ablation(self) -> pd.DataFrame:
        """Scores of SFT alone (first) and of the same after CPT (second), as `results.compare` has them."""

    @property
    def cpt_steps(self) -> pd.DataFrame:
        """Table A.1: cpt_steps, score, se, p_value (that all are equal)."""


def fits(items: pd.DataFrame, *, budget: int, bootstrap: int, predict: Iterable[float] = ()) -> dict[Any, Allocation]:
    """Equation 1 for each benchmark and metric, on the allocations of the main budget.

    items: of one domain, as `Study.items` has them. Errors come from the questions, resampled alike at every
    allocation. What has fewer than `FEWEST` allocations with SFT, or no scores, is left out.
    """
    mine = items[items["kind"] == "allocation"]
    fitted: dict[Any, Allocation] = {}
    for benchmark in mine["benchmark"].unique():
        for metric in METRICS:
            answers = matrix(mine, str(benchmark), metric)
            table = answers.index.to_frame(index=False)
            # Whole steps may make one SFT run of two allocations whose CPT differs by a step: the first of them counts.
            answers = answers[~table.duplicated(["sft_tokens", "seed"]).to_numpy()]
            table = answers.index.to_frame(index=False)
            if answers.shape[1] < 2 or table.loc[table["sft_tokens"] > 0, "sft_tokens"].nunique() < FEWEST:
                continue
            rows = table[["sft_tokens", "seed"]].assign(score=answers.mean(axis=1).to_numpy())
            fitted[str(benchmark), metric] = analyse_allocation(
                rows, budget=budget, bootstrap=bootstrap, predict=predict, answers=answers.to_numpy(float)
            )
    return fitted


def with_ends(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores with the ends of their 95% intervals, low and high: Wilson's for accuracy, normal otherwise."""
    low, high = frame["score"] - NORMAL * frame["se"], frame["score"] + NORMAL * frame["se"]
    shares = (frame["metric"] == ACCURACY) & (frame["n_items"] > 0)
    wilson = with_errors(frame[shares])
    low.loc[shares], high.loc[shares] = wilson["low"].to_numpy(), wilson["high"].to_numpy()
    return frame.assign(low=low, high=high)


def holm(tests: pd.DataFrame) -> pd.DataFrame:
    """The same with <name>_holm beside each test, corrected by Holm's method for all rows; NaN without a test."""
    for name in tests.columns.intersection(["p_value", "slope_p", "slope_p_without"]):
        there = tests[name].astype(float).dropna()
        corrected = multipletests(there, method="holm")[1] if len(there) else there
        tests = tests.assign(**{f"{name}_holm": pd.Series(corrected, index=there.index, dtype=float)})
    return tests


def baselines(scores: pd.DataFrame) -> pd.DataFrame:
    """The base model's scores and, for accuracy where it is known, chance: benchmark, metric, name, score."""
    base = scores[scores["kind"] == "base"].assign(name="base model")
    base = base.loc[:, ["benchmark", "metric", "name", "score"]]
    by_chance = base.loc[base["metric"] == ACCURACY, :]
    by_chance = by_chance.assign(name="chance", score=by_chance["benchmark"].map(chance)).dropna(subset=["score"])
    return pd.concat([base, by_chance], ignore_index=True).drop_duplicates()


def other_budgets(scores: pd.DataFrame, fits: Fits, benchmark: str, metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Our runs at other budgets as `Results.other_budgets`, by one metric of one benchmark; scores average seeds."""
    mine = (scores["kind"] == "other budget") & (scores["benchmark"] == benchmark) & (scores["metric"] == metric)
    places = ["budget", "cpt_tokens", "sft_tokens", "metric"]
    means = scores[mine].dropna(subset=["score"]).groupby(places, sort=False)[["score", "se", "n_items"]].mean()
    rows = with_ends(means.reset_index())
    rows = rows.assign(cpt_fraction=1 - rows["sft_tokens"] / rows["budget"])
    peak = fits[benchmark, metric].optimum.sft_tokens if (benchmark, metric) in fits else None
    marks: list[dict[str, Any]] = []
    for budget, part in rows.groupby("budget", sort=False):
        tokens, best = float(str(budget)), part.sort_values("score").iloc[-1]
        head = {"budget": f"{tokens:,.0f} tokens"}
        if peak is not None and (fraction := best_fraction(tokens, peak)) is not None:
            marks.append(head | {"mark": "predicted", "cpt_fraction": fraction, "sft_tokens": peak})
        place = {"cpt_fraction": best["cpt_fraction"], "sft_tokens": best["sft_tokens"]}
        marks.append(head | {"mark": "tested best", **place})
    named = rows.assign(budget=[f"{budget:,.0f} tokens" for budget in rows["budget"]])
    return named, pd.DataFrame(marks, columns=["budget", "mark", "cpt_fraction", "sft_tokens"])


def equal(answers: pd.DataFrame) -> float:
    """The p value of "all rows of answers are equal", paired by question; NaN for fewer than two."""
    values = answers.to_numpy(float)
    if len(values) < 2 or values.shape[1] < 2 or np.ptp(values, axis=0).max() == 0:
        return float("nan")
    return equal_answers(values)[2]


def split_pairs(scores: pd.DataFrame, budget: int) -> Pairs:
    """SFT on the whole budget against every other allocation of it, which saw as many tokens (unlike `ablation_pairs`),
    as `results.compare` takes them. Empty where the whole budget was never SFT.
    """
    mine = scores[(scores["kind"] == "allocation") & (scores["budget"] == budget)]
    alone = mine[mine["cpt_tokens"] == 0].sort_values("sft_tokens").groupby(["domain", "seed"]).tail(1)
    name = "{sft_tokens:,.0f} SFT, {cpt_tokens:,.0f} CPT"
    return _pairs(alone, mine[mine["cpt_tokens"] > 0], KEYS, ["domain", "seed"], name)


def ablation_pairs(scores: pd.DataFrame) -> Pairs:
    """Each SFT-only trial and the allocation with the same SFT tokens after CPT, as `results.compare` takes them."""
    same = ["domain", "sft_tokens", "seed"]
    both = scores[(scores["kind"] == "allocation") & (scores["cpt_tokens"] > 0)]
    return _pairs(scores[scores["kind"] == "SFT only"], both, ["kind", *same], same, "{sft_tokens:,.0f} SFT tokens")


def _pairs(alone: pd.DataFrame, both: pd.DataFrame, keys: list[str], same: list[str], name: str) -> Pairs:
    """Trials of the two with the same values of some of their ``keys``; seeds are named where there are several."""
    pairs = alone[keys].drop_duplicates().merge(both[keys].drop_duplicates(), on=same, suffixes=("_alone", ""))
    name += " ({seed})" if both["seed"].nunique() > 1 else ""
    return [
        ({key: row.get(f"{key}_alone", row[key]) for key in keys}, {key: row[key] for key in keys}, name.format(**row))
        for row in cast(list[dict[str, Any]], pairs.to_dict("records"))
    ]
