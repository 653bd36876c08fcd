"""Scores of trials, question by question and in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.weightstats import DescrStatsW

from repro.lm.evaluation import PROGRAMS

ACCURACY, LIKELIHOOD = "accuracy", "log-likelihood"
METRICS = (ACCURACY, LIKELIHOOD)
KEYS = ["kind", "domain", "budget", "cpt_tokens", "sft_tokens", "seed"]
FOUR_CHOICES = (
    "hpo_terms", "elements", "python_docstrings", "wikipedia_titles",
    "medqa_4options", "chembench4k", "mmlu", "hellaswag",
)  # fmt: skip


def chance(benchmark: str) -> float | None:
    """What guessing scores by accuracy; None where that is not known. A name may end in its domain: "mmlu, health"."""
    name = benchmark.split(",")[0]
    return 0.25 if name in FOUR_CHOICES else 0.0 if name in PROGRAMS else None


def scores(items: pd.DataFrame) -> pd.DataFrame:
    """One row for each trial, benchmark and metric: `KEYS`, benchmark, metric, score, se, n_items.

    accuracy: share of questions answered rightly, with its binomial standard error; log-likelihood: of the right
    answer, in nats for each of its bytes, a mean over questions with its standard error. A benchmark that was not run
    has no score.
    """
    rows: list[dict[str, Any]] = []
    for key, part in items.groupby([*KEYS, "benchmark"], sort=False, dropna=False):
        head = dict(zip([*KEYS, "benchmark"], key, strict=True))
        for metric in METRICS:
            values = per_item(part, metric).dropna()
            rows.append(head | {"metric": metric, **_mean(values, metric)})
    return pd.DataFrame(rows)


def per_item(items: pd.DataFrame, metric: str) -> pd.Series:
    """What each question contributes to a metric; NaN where it was not run."""
    if metric == ACCURACY:
        return items["right"].astype("Float64").astype(float)
    return items["logprob"] / items["length"]


def _mean(values: pd.Series, metric: str) -> dict[str, float]:
    count = len(values)
    if not count:
        return {"score": np.nan, "se": np.nan, "n_items": 0}
    score = float(values.mean())
    variance = score * (1 - score) if metric == ACCURACY else float(values.var(ddof=1))
    return {"score": score, "se": float(np.sqrt(variance / count)), "n_items": count}


def matrix(items: pd.DataFrame, benchmark: str, metric: str) -> pd.DataFrame:
    """A metric question by question: one row for each trial (by `KEYS`), one column for each item.

    Questions that some trial was not asked are left out.
    """
    part = items[items["benchmark"] == benchmark]
    part = part.assign(value=per_item(part, metric))
    return part.pivot(index=KEYS, columns="item", values="value").dropna(axis="columns")


_COMPARED = [
    "name", "benchmark", "metric", "items", "both", "only_first", "only_second", "difference", "low", "high", "p_value",
]  # fmt: skip


def compare(
    items: pd.DataFrame, metric: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any], str]]
) -> pd.DataFrame:
    """Two trials question by question, for each of `pairs`: (first, second, name of the comparison).

    Columns name, benchmark, metric, items, both, only_first, only_second, difference (second less first), low, high
    (95%), p_value: for right answers McNemar's exact test and Bonett and Price's interval; for log-likelihoods a paired
    t test (statsmodels) and its interval.
    """
    rows = []
    for first, second, name in pairs:
        ours, theirs = (_select(items, where) for where in (first, second))
        for benchmark in ours["benchmark"].unique():
            a, b = (
                per_item(frame[frame["benchmark"] == benchmark].set_index("item"), metric).dropna()
                for frame in (ours, theirs)
            )
            shared = a.index.intersection(b.index)
            if len(shared) > 1:
                found = _paired(a[shared], b[shared], metric)
                rows.append({"name": name, "benchmark": benchmark, "metric": metric, **found})
    return pd.DataFrame(rows, columns=_COMPARED)


def _select(items: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    chosen = pd.Series(True, index=items.index)
    for column, value in where.items():
        chosen &= items[column] == value
    return items[chosen]


def _paired(first: pd.Series, second: pd.Series, metric: str) -> dict[str, float]:
    change = (second - first).to_numpy(float)
    found = {"items": len(change), "difference": float(change.mean())}
    if metric == ACCURACY:
        return found | _mcnemar(first.astype(bool), second.astype(bool))
    found |= {"both": np.nan, "only_first": np.nan, "only_second": np.nan}
    if np.ptp(change) == 0:  # then there is no spread to make an interval from
        return found | {"low": np.nan, "high": np.nan, "p_value": np.nan}
    stats = DescrStatsW(change)
    low, high = stats.tconfint_mean()
    return found | {"low": float(low), "high": float(high), "p_value": float(stats.ttest_mean()[1])}


def _mcnemar(first: pd.Series, second: pd.Series) -> dict[str, float]:
    both, lost, won = int((first & second).sum()), int((first & ~second).sum()), int((~first & second).sum())
    table = [[both, lost], [won, len(first) - both - lost - won]]
    found = {"both": both, "only_first": lost, "only_second": won, "p_value": float(mcnemar(table, exact=True).pvalue)}
    # Bonett and Price (2012): Wald's interval with half an answer added to each of the four kinds, which holds the
    # difference as often as it says even where few questions are answered differently.
    count = len(first) + 2
    gain, loss = (won + 1) / count, (lost + 1) / count
    half = norm.ppf(0.975) * np.sqrt((gain + loss - (gain - loss) ** 2) / count)
    return found | {"low": float(max(gain - loss - half, -1)), "high": float(min(gain - loss + half, 1))}
