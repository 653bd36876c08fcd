"""What scores show: whether they differ or rise with ln S, the peak of Equation 1 and its interval, Equation 2."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import Table
from statsmodels.stats.proportion import proportions_chisquare

from repro.laws.allocation.scores import Scores, equal_answers
from repro.laws.inference import LEVEL
from repro.laws.law import Fit, Law
from repro.laws.solver import Array

FLAT_SIMULATIONS = 999


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
    can miss. slope: for each unit of ln S, NaN where all scores are equal. method: the test in words.
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
    method = f"F of the law against a flat line; p value from {FLAT_SIMULATIONS} simulated flat data sets, {why}"
    extra, df_resid = len(fit.params) - 1, fit.df_resid
    df = float(extra), float(df_resid)
    if not df_resid:
        return Flatness(float("nan"), df, float("nan"), method)
    simulated = _null(fit.law, tuple(fit.x), seed)
    total = np.atleast_1d(np.sum((fit.y - fit.y.mean()) ** 2))
    observed = float(_f(total, np.atleast_1d(fit.sse), extra, df_resid)[0])
    p_value = (1 + int(np.sum(simulated >= observed))) / (FLAT_SIMULATIONS + 1)
    return Flatness(observed, df, p_value, method)


@lru_cache(maxsize=16)
def _null(law: Law, x: tuple[float, ...], seed: int) -> Array:
    """F on simulated flat data sets, (FLAT_SIMULATIONS,): the same for all scores at the same allocations."""
    null = np.random.default_rng(seed).standard_normal((FLAT_SIMULATIONS, len(x)))
    left = np.sum((null - law.evaluate_many(law.fit_many(x, null), x)) ** 2, axis=1)
    total = np.sum((null - null.mean(axis=1, keepdims=True)) ** 2, axis=1)
    return _f(total, left, len(law.names) - 1, len(x) - len(law.names))


def _f(total: Array, left: Array, extra: int, df_resid: int) -> Array:
    """The F statistic: 0 where there is nothing to explain, infinite where all of it is."""
    explained = np.maximum(total - left, 0.0) / extra
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(explained > 0, explained / (left / df_resid), 0.0), dtype=float)


EDGE = 1e-3  # share of the range of ln S that counts as its edge
FINE = 2000  # places at which the highest point of the curve is looked for

Interval = tuple[float, float]


def best_fraction(budget: float, sft_tokens: float) -> float | None:
    """Equation 2: the best CPT share of ``budget`` tokens if the best number of SFT tokens does not depend on it. None
    where the budget is smaller than those. Raises ValueError if it is not a positive number.
    """
    if not (np.isfinite(budget) and budget > 0):
        raise ValueError(f"a budget is {budget}; it must be a positive number of tokens")
    return (budget - sft_tokens) / budget if sft_tokens <= budget else None


@dataclass(frozen=True)
class Optimum:
    """The peak exp(mu) in SFT tokens, and as a CPT fraction of the budget; None where Equation 1 has no peak.

    interval, cpt_interval: 95%, from the bootstrap; an end at the fewest or most tokens in the data is open. highest:
    SFT tokens at which the fitted curve is highest within the data (the cliff can shift it off the peak).
    """

    sft_tokens: float | None
    interval: Interval | None
    cpt_fraction: float | None
    cpt_interval: Interval | None
    highest: float

    def open_sides(self, tokens: Array) -> list[str]:
        """On which sides, "below" or "above", the peak or its interval reaches the end of ascending tokens (n,)."""
        if self.sft_tokens is None:
            return ["below", "above"]
        first, last = np.log(tokens[[0, -1]])
        margin = EDGE * (last - first)
        low, high = np.log(self.interval or (self.sft_tokens, self.sft_tokens))
        low, high = min(low, np.log(self.sft_tokens)), max(high, np.log(self.sft_tokens))
        return [name for name, near in (("below", low <= first + margin), ("above", high >= last - margin)) if near]


@dataclass(frozen=True)
class Prediction:
    """Equation 2 at another budget (tokens); None where there is no peak or the budget is smaller than it."""

    budget: float
    cpt_fraction: float | None
    interval: Interval | None


def optimum(data: Scores, fit: Fit) -> Optimum:
    """The peak, with its percentile interval where the fit has draws; draws without a peak count half at either end."""
    fine = np.geomspace(data.tokens[0], data.tokens[-1], FINE)
    highest = float(fine[np.argmax(fit.predict(fine))])
    if not fit.params["amplitude"] > 0:
        return Optimum(None, None, None, None, highest)
    best = float(np.clip(np.exp(fit.params["mu"]), data.tokens[0], data.tokens[-1]))
    if fit.draws is None:
        return Optimum(best, None, 1 - best / data.budget, None, highest)
    peaks = np.exp(fit.draws.loc[fit.draws["amplitude"] > 0, "mu"].to_numpy(float))
    missing = len(fit.draws) - len(peaks)
    ends = np.repeat([data.tokens[0], data.tokens[-1]], [missing // 2, missing - missing // 2])
    low, high = map(float, np.quantile(np.concatenate([peaks, ends]), [LEVEL / 2, 1 - LEVEL / 2]))
    return Optimum(best, (low, high), 1 - best / data.budget, (1 - high / data.budget, 1 - low / data.budget), highest)


def prediction(budget: float, best: Optimum) -> Prediction:
    """Equation 2 at ``budget`` tokens for this peak."""
    value = None if best.sft_tokens is None else best_fraction(budget, best.sft_tokens)
    if value is None or best.interval is None:
        return Prediction(budget, value, None)
    low, high = best.interval
    return Prediction(budget, value, (max(0.0, (budget - high) / budget), (budget - low) / budget))


SIMULATIONS = 300  # at most, behind the p value
TOGETHER = 30  # of them, before asking whether more can matter
ENOUGH = 15  # simulated data sets with as good a peak: more would not make p small
ASKED = 0.01  # for the p value: a peak decides how a budget is spent, and a single outlying score can look like one
EXACT = 1e-20  # share of the sum of squares about the mean up to which what a law leaves is rounding


@dataclass(frozen=True)
class Peak:
    """p_value: of the best monotone law, ``against``, over Equation 1; NaN if untested. missing: why none is shown."""

    p_value: float
    against: str
    missing: tuple[str, ...]


def peak(data: Scores, fit: Fit, best: Optimum, test: Flatness, rivals: Sequence[Law], seed: int = 0) -> Peak:
    """A peak is shown where the test of equal scores rejects, the peak and its interval lie inside what was tried, and
    no monotone law, of ``rivals``, describes the scores as well (p at most `ASKED`).
    """
    if best.sft_tokens is None or data.equal or best.interval is None:
        none = "the law has none" if best.sft_tokens is None else "it has no interval, which takes a bootstrap"
        return Peak(float("nan"), "", (none,))
    ((against, p_value),) = against_monotone([(data, fit)], rivals, seed)
    return Peak(p_value, against, tuple(missing(data, best, test, against, p_value)))


def missing(data: Scores, best: Optimum, test: Flatness, against: str, p_value: float) -> Iterator[str]:
    """In words, what scores that are not all equal lack for a peak to be shown."""
    if p_value > ASKED:
        yield f"a {against} describes the scores as well (p = {p_value:.2f}; a peak needs {ASKED:g})"
    if test.p_value > LEVEL:
        yield f"the test of equal scores sees no difference (p = {test.p_value:.2f})"
    if best.open_sides(data.tokens):
        yield "it, or its interval, reaches the edge of what was tried"


def against_monotone(
    studies: Sequence[tuple[Scores, Fit]], rivals: Sequence[Law], seed: int = 0
) -> list[tuple[str, float]]:
    """For each study the monotone law with the least sum of squares, and the p value of "it holds" against Equation 1.

    The statistic is F: what Equation 1 leaves less, over the variance of its residuals, or over that of the items where
    that is known and larger. Its distribution comes from scores simulated about that law (a parametric bootstrap: where
    there is no peak, its place and width mean nothing, so that no table of F holds), as many as it takes to see
    `ENOUGH` as large (Besag & Clifford 1991). Studies share tokens, and weights but for a
    factor; all are fitted at once.
    """
    fits = [fit for _, fit in studies]
    law, x, scale = fits[0].law, fits[0].x, np.array([fit.weights.mean() for fit in fits])
    weights, df = fits[0].weights / scale[0], max(fits[0].df_resid, 1)
    known = [data.errors in ("items", "answers") and data.weights() is not None for data, _ in studies]
    floor = np.where(known, 1 / scale, 0.0)

    def statistic(monotone: Array, peaked: Array, floor: Array) -> Array:
        return np.asarray((monotone - peaked) / np.maximum(np.maximum(peaked / df, floor), np.finfo(float).tiny))

    scores = np.stack([fit.y for fit in fits])
    found = [rival.fit_many(x, scores, weights) for rival in rivals]
    curves = np.stack([rival.evaluate_many(params, x) for rival, params in zip(rivals, found, strict=True)])
    left = (scores - curves) ** 2 @ weights
    best = left.argmin(axis=0)
    null, least = curves[best, np.arange(len(fits))], left.min(axis=0)
    total = (scores - scores.mean(axis=1, keepdims=True)) ** 2 @ weights
    observed = statistic(least, np.array([fit.sse for fit in fits]) / scale, floor)
    observed[least <= EXACT * total] = -np.inf
    as_good, drawn, rng = np.zeros(len(fits)), np.zeros(len(fits)), np.random.default_rng([seed, 1])
    unsure = np.arange(len(fits))
    while len(unsure):
        drawn_scores = np.concatenate([null[k] + studies[k][0].noise(fits[k], TOGETHER, rng) for k in unsure.tolist()])
        sums = [_left(each, x, drawn_scores, weights).reshape(len(unsure), TOGETHER) for each in (*rivals, law)]
        drawn_statistic = statistic(np.min(sums[:-1], axis=0), sums[-1], floor[unsure, None])
        as_good[unsure] += np.sum(drawn_statistic >= observed[unsure, None], axis=1)
        drawn[unsure] += TOGETHER
        unsure = unsure[(drawn[unsure] < SIMULATIONS) & (as_good[unsure] < ENOUGH)]
    p_values = (1 + as_good) / (1 + drawn)
    return [(rivals[place].name, float(p)) for place, p in zip(best, p_values, strict=True)]


def _left(law: Law, x: Array, scores: Array, weights: Array) -> Array:
    """The weighted sum of squares that a law leaves of each of scores (B, n): (B,)."""
    return np.asarray((scores - law.evaluate_many(law.fit_many(x, scores, weights), x)) ** 2 @ weights, dtype=float)
