"""Tests to be read beside every peak: are all scores equal, and do they change steadily with ln S?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import Table
from statsmodels.stats.proportion import proportions_chisquare

from repro.laws.allocation.scores import Scores, equal_answers
from repro.laws.law import Fit, Law
from repro.laws.solver import Array

SIMULATIONS = 999


@dataclass(frozen=True)
class Flatness:
    """A test of "the score is the same at every allocation". df: degrees of freedom, two of them (numerator,
    denominator) for an F statistic. method: the test in words.
    """

    statistic: float
    df: float | tuple[float, float]
    p_value: float
    method: str


@dataclass(frozen=True)
class Trend:
    """A test of "the score does not change with ln S": it sees a steady change that a test with more degrees of freedom
    can miss. slope: of the score, for each unit of ln S (NaN where all scores are equal). method: the test in words.
    """

    slope: float
    p_value: float
    method: str


def trend(scores: Scores) -> Trend:
    """The slope of the scores in ln S, tested as the data allow.

    Enough repeated runs, or neither answers nor items: a t test of the least-squares slope. With answers: a t test of
    each question's slope, over the questions. With items: the Cochran-Armitage test (Agresti 2013, Section 3.4).
    """
    logs, values = np.log(scores.tokens), scores.values
    if scores.equal:
        return Trend(float("nan"), 1.0, "no test: all scores are equal")
    line = stats.linregress(logs, values)
    if scores.errors != "runs" and scores.answers is not None:
        away = logs - logs.mean()
        slopes = away @ scores.answers / (away @ away)
        test = stats.ttest_1samp(slopes, 0.0)
        return Trend(float(line.slope), float(test.pvalue), "t test of the slope over the same questions")
    if scores.errors != "runs" and scores.items is not None:
        right = values * scores.items
        table = Table(np.column_stack([right, scores.items - right]), shift_zeros=False)
        association = table.test_ordinal_association(row_scores=logs, col_scores=np.array([1.0, 0.0]))
        return Trend(float(line.slope), float(association.pvalue), "Cochran-Armitage test for a trend in proportions")
    return Trend(float(line.slope), float(line.pvalue), "t test of the least-squares slope")


def flatness(scores: Scores, fit: Fit, seed: int = 0) -> Flatness:
    """The test that the data allow.

    Enough repeated runs: one-way analysis of variance, which includes all that differs between runs. Else, with the
    answers to each question: a test that pairs them (Cochran's Q, Hotelling's T squared). Else, with items: the
    chi-square test of equal proportions. None of these: the F statistic of Equation 1 against a flat line.
    """
    if scores.equal:
        return Flatness(0.0, float(scores.allocations - 1), 1.0, "no test: all scores are equal")
    if scores.errors == "runs":
        test = stats.f_oneway(*scores.groups())
        dfs = float(scores.allocations - 1), float(scores.within)
        return Flatness(float(test.statistic), dfs, float(test.pvalue), "one-way analysis of variance between runs")
    if scores.answers is not None:
        return Flatness(*equal_answers(scores.answers))
    if scores.items is None:
        return _against_flat_line(fit, seed)
    statistic, p_value, _ = proportions_chisquare(scores.values * scores.items, scores.items)
    df = float(len(scores.items) - 1)
    return Flatness(float(statistic), df, float(p_value), "chi-square test of equal proportions")


def _against_flat_line(fit: Fit, seed: int) -> Flatness:
    """F of Equation 1 against a constant, its p value from simulated constants with Gaussian noise.

    Where the truth is flat, mu, sigma and s_min are not identified and are free to fit noise, so F does not follow its
    usual distribution (Davies 1977, 1987). Nor does it depend on the level or the size of the noise, so standard normal
    scores give its distribution.
    """
    why = "because mu, sigma and s_min mean nothing where the truth is flat and the F tables do not hold"
    method = f"F of Equation 1 against a flat line; p value from {SIMULATIONS} simulated flat data sets, {why}"
    extra, df_resid = len(fit.params) - 1, fit.df_resid
    df = float(extra), float(df_resid)
    if not df_resid:
        return Flatness(float("nan"), df, float("nan"), method)
    simulated = _null(fit.law, tuple(fit.x), seed)
    total = np.atleast_1d(np.sum((fit.y - fit.y.mean()) ** 2))
    observed = float(_f(total, np.atleast_1d(fit.sse), extra, df_resid)[0])
    p_value = (1 + int(np.sum(simulated >= observed))) / (SIMULATIONS + 1)
    return Flatness(observed, df, p_value, method)


@lru_cache(maxsize=16)
def _null(law: Law, x: tuple[float, ...], seed: int) -> Array:
    """F on simulated flat data sets, (SIMULATIONS,): the same for all scores at the same allocations."""
    null = np.random.default_rng(seed).standard_normal((SIMULATIONS, len(x)))
    left = np.sum((null - law.evaluate_many(law.fit_many(x, null), x)) ** 2, axis=1)
    total = np.sum((null - null.mean(axis=1, keepdims=True)) ** 2, axis=1)
    return _f(total, left, len(law.names) - 1, len(x) - len(law.names))


def _f(total: Array, left: Array, extra: int, df_resid: int) -> Array:
    """The F statistic: 0 where there is nothing to explain, infinite where all of it is."""
    explained = np.maximum(total - left, 0.0) / extra
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(explained > 0, explained / (left / df_resid), 0.0), dtype=float)
