"""Equations 1 and 2 on the scores of our own runs, as the frames that figures and tables draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from repro.allocation.results import ACCURACY, METRICS, chance, matrix
from repro.laws.allocation import Allocation, analyse_allocation, best_fraction
from repro.laws.allocation.scores import equal_answers

Fits = Mapping[tuple[str, str], Allocation]
Pairs = list[tuple[dict[str, Any], dict[str, Any], str]]  # two trials and what comparing them is called
FEWEST = 6  # allocations with SFT that Equation 1 needs
NORMAL = 1.96


def fits(items: pd.DataFrame, *, budget: int, bootstrap: int, predict: Iterable[float] = ()) -> dict[Any, Allocation]:
    """Equation 1 for each benchmark and metric, on the allocations of the main budget.

    items: of one domain, as `Study.items` has them. Errors come from the questions, resampled alike at every
    allocation. What has fewer than `FEWEST` allocations with SFT, or no scores, is left out.
    """
    mine = items[items["kind"] == "allocation"]
    found: dict[Any, Allocation] = {}
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
            found[str(benchmark), metric] = analyse_allocation(
                rows, budget=budget, bootstrap=bootstrap, predict=predict, answers=answers.to_numpy(float)
            )
    return found


def with_ends(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores with the ends of their 95% intervals, low and high: Wilson's for accuracy, normal otherwise."""
    low, high = frame["score"] - NORMAL * frame["se"], frame["score"] + NORMAL * frame["se"]
    shares = (frame["metric"] == ACCURACY) & (frame["n_items"] > 0)
    part = frame[shares]
    ends = proportion_confint(part["score"] * part["n_items"], part["n_items"], method="wilson")
    for column, values in zip((low, high), ends, strict=True):
        column.loc[shares] = np.asarray(values, dtype=float)
    return frame.assign(low=low, high=high)


def points(found: pd.DataFrame) -> pd.DataFrame:
    """Scores as `figures.study_scores` draws them: benchmark, metric, trained, sft_tokens, score, low, high."""
    trained = {"allocation": "CPT and SFT", "SFT only": "SFT only"}
    rows = found[found["kind"].isin(trained)]
    return with_ends(rows.assign(trained=rows["kind"].map(trained)))


def curves(found: Fits) -> pd.DataFrame:
    """Equation 1 with its 95% band: benchmark, metric, sft_tokens, cpt_fraction, score, low, high."""
    columns = ["benchmark", "metric", "sft_tokens", "cpt_fraction", "score", "low", "high"]
    drawn = [one.curve().assign(benchmark=name, metric=metric) for (name, metric), one in found.items()]
    if not drawn:
        return pd.DataFrame(columns=columns, dtype=float)
    return pd.concat(drawn, ignore_index=True).rename(columns={"lower": "low", "upper": "high"})[columns]


def optima(found: Fits) -> pd.DataFrame:
    """The peak of each benchmark and metric, and the test of equal scores beside it.

    Columns benchmark, metric; sft_tokens, low, high; cpt_fraction, cpt_low, cpt_high (NaN without a peak); highest (SFT
    tokens of the best score); statistic, p_value, test; edge (whether the peak or its interval reaches the edge of what
    was tried); preferred (the law of least AIC, "" where there are too few allocations to compare all three).
    """
    rows = []
    for (name, metric), one in found.items():
        best, test = one.optimum, one.flatness
        (low, high), (cpt_low, cpt_high) = (ends or (np.nan, np.nan) for ends in (best.interval, best.cpt_interval))
        rows.append({
            "benchmark": name, "metric": metric,
            "sft_tokens": best.sft_tokens, "low": low, "high": high,
            "cpt_fraction": best.cpt_fraction, "cpt_low": cpt_low, "cpt_high": cpt_high,
            "highest": float(one.points["sft_tokens"].iloc[int(one.points["score"].argmax())]),
            "statistic": test.statistic, "p_value": test.p_value, "test": test.method,
            "edge": _at_edge(one, low, high), "preferred": _preferred(one),
        })  # fmt: skip
    columns = ["benchmark", "metric", "sft_tokens", "low", "high", "cpt_fraction", "cpt_low", "cpt_high", "highest"]
    columns += ["statistic", "p_value", "test", "edge", "preferred"]
    return pd.DataFrame(rows, columns=columns).astype({"sft_tokens": float, "cpt_fraction": float})


def _preferred(one: Allocation) -> str:
    comparable = bool(np.isfinite(one.alternatives["delta_aicc"]).all())
    return str(one.alternatives["law"].iloc[0]) if comparable else ""


def warnings(found: Fits) -> pd.DataFrame:
    """What the analysis warns of: benchmark, metric, warning."""
    rows = [(name, metric, text) for (name, metric), one in found.items() for text in one.warnings]
    return pd.DataFrame(rows, columns=["benchmark", "metric", "warning"])


def _at_edge(one: Allocation, low: float, high: float) -> bool:
    tokens, peak = one.points["sft_tokens"], one.optimum.sft_tokens
    ends = [end for end in (low, high, peak) if end is not None and end == end]
    return not ends or min(ends) <= tokens.min() * 1.001 or max(ends) >= tokens.max() / 1.001


def baselines(found: pd.DataFrame) -> pd.DataFrame:
    """The base model's scores and, for accuracy where it is known, chance: benchmark, metric, name, score."""
    base = found[found["kind"] == "base"].assign(name="base model")
    base = base.loc[:, ["benchmark", "metric", "name", "score"]]
    by_chance = base.loc[base["metric"] == ACCURACY, :]
    by_chance = by_chance.assign(name="chance", score=by_chance["benchmark"].map(chance)).dropna(subset=["score"])
    return pd.concat([base, by_chance], ignore_index=True).drop_duplicates()


def rivals(found: Fits) -> pd.DataFrame:
    """Equation 1 beside a flat line and a quadratic: benchmark, metric, law, parameters, criterion, delta_aicc, loo.

    criterion: what delta_aicc is a difference of: "AIC", "AICc" or "QAICc" (:func:`repro.laws.comparison.compare`).
    """
    columns = ["benchmark", "metric", "law", "parameters", "criterion", "delta_aicc", "loo"]
    if not found:
        return pd.DataFrame(columns=columns)
    frames = [
        one.alternatives.assign(benchmark=name, metric=metric, criterion=one.criterion)
        for (name, metric), one in found.items()
    ]
    return pd.concat(frames, ignore_index=True)[columns]


def tested(found: pd.DataFrame, law: Fits, benchmark: str, metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Other budgets as `figures.budgets` draws Table 4: their scores, and the best predicted and tested.

    Returns:
        points: budget (as text), cpt_fraction, sft_tokens, score, low, high. marks: budget, mark ("predicted" |
        "tested best"), cpt_fraction, sft_tokens.

    """
    rows = found[(found["kind"] == "other budget") & (found["benchmark"] == benchmark) & (found["metric"] == metric)]
    places = ["budget", "cpt_tokens", "sft_tokens", "metric"]
    means = rows.dropna(subset=["score"]).groupby(places, sort=False)[["score", "se", "n_items"]].mean().reset_index()
    rows = with_ends(means)
    rows = rows.assign(cpt_fraction=1 - rows["sft_tokens"] / rows["budget"])
    peak = law[benchmark, metric].optimum.sft_tokens if (benchmark, metric) in law else None
    marks: list[dict[str, Any]] = []
    for budget, part in rows.groupby("budget", sort=False):
        best: Any = part.sort_values("score").iloc[-1]
        label = f"{float(str(budget)):,.0f} tokens"
        head = {"budget": label}
        if peak is not None and (fraction := best_fraction(float(str(budget)), peak)) is not None:
            marks.append(head | {"mark": "predicted", "cpt_fraction": fraction, "sft_tokens": peak})
        place = {"cpt_fraction": best["cpt_fraction"], "sft_tokens": best["sft_tokens"]}
        marks.append(head | {"mark": "tested best", **place})
    shown = rows.assign(budget=[f"{budget:,.0f} tokens" for budget in rows["budget"]])
    return shown, pd.DataFrame(marks, columns=["budget", "mark", "cpt_fraction", "sft_tokens"])


def steps(items: pd.DataFrame, found: pd.DataFrame, tokens_a_step: int) -> pd.DataFrame:
    """Our Table A.1: benchmark, metric, cpt_steps, score, se, p_value (that all are equal, paired by question).

    items, found: from `Study.items` and `Study.scores`; the first seed only. p_value is NaN for fewer than two.
    """
    rows = found[(found["kind"] == "CPT ablation")]
    rows = rows[rows["seed"] == rows["seed"].min()].dropna(subset=["score"])
    mine = items[(items["kind"] == "CPT ablation") & (items["seed"] == items["seed"].min())]
    tested = [
        {"benchmark": name, "metric": metric, "p_value": _equal(matrix(mine, str(name), metric))}
        for name in rows["benchmark"].unique()
        for metric in METRICS
    ]
    columns = ["benchmark", "metric", "p_value"]
    rows = rows.assign(cpt_steps=rows["cpt_tokens"] / tokens_a_step).merge(pd.DataFrame(tested, columns=columns))
    chosen: pd.DataFrame = rows[["benchmark", "metric", "cpt_steps", "score", "se", "p_value"]]
    return chosen


def _equal(answers: pd.DataFrame) -> float:
    values = answers.to_numpy(float)
    if len(values) < 2 or values.shape[1] < 2 or np.ptp(values, axis=0).max() == 0:
        return float("nan")
    return equal_answers(values)[2]


def split_pairs(found: pd.DataFrame, budget: int) -> Pairs:
    """SFT on the whole budget against every other allocation of it, as `results.compare` takes them.

    Here both have seen as many tokens, unlike in `ablation_pairs`. Empty where the whole budget was never SFT.
    """
    keys = ["domain", "cpt_tokens", "sft_tokens", "seed"]
    mine = found.loc[(found["kind"] == "allocation") & (found["budget"] == budget), keys].drop_duplicates()
    seeds = mine["seed"].nunique() > 1
    alone = mine[mine["cpt_tokens"] == 0].sort_values("sft_tokens").groupby(["domain", "seed"]).tail(1)
    pairs = alone.merge(mine[mine["cpt_tokens"] > 0], on=["domain", "seed"], suffixes=("_alone", ""))
    return [
        (
            {"kind": "allocation", "budget": budget, "cpt_tokens": 0}
            | {"domain": row["domain"], "seed": row["seed"], "sft_tokens": row["sft_tokens_alone"]},
            {"kind": "allocation", "budget": budget} | {key: row[key] for key in keys},
            f"{row['sft_tokens']:,.0f} SFT, {row['cpt_tokens']:,.0f} CPT" + (f" ({row['seed']})" if seeds else ""),
        )
        for row in cast(list[dict[str, Any]], pairs.to_dict("records"))
    ]


def ablation_pairs(found: pd.DataFrame) -> Pairs:
    """Each SFT-only trial and the allocation with the same SFT tokens after CPT, as `results.compare` takes them."""
    keys = ["domain", "sft_tokens", "seed"]
    alone = found.loc[found["kind"] == "SFT only", keys].drop_duplicates()
    both = found.loc[(found["kind"] == "allocation") & (found["cpt_tokens"] > 0), keys].drop_duplicates()
    seeds = found["seed"].nunique() > 1
    return [
        (
            {"kind": "SFT only"} | place,
            {"kind": "allocation"} | place,
            f"{place['sft_tokens']:,.0f} SFT tokens: CPT before, or not" + (f" ({place['seed']})" if seeds else ""),
        )
        for place in cast(list[dict[str, Any]], alone.merge(both).to_dict("records"))
    ]
