"""Whether scores show a peak: Equation 1 against curves that only rise or only fall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from repro.laws.allocation.flatness import Flatness
from repro.laws.allocation.optimum import Optimum
from repro.laws.allocation.scores import Scores
from repro.laws.inference import LEVEL
from repro.laws.law import Fit, Law
from repro.laws.solver import Array

SIMULATIONS = 300  # at most, behind the p value
TOGETHER = 30  # of them, before asking whether more can matter
ENOUGH = 15  # simulated data sets with as good a peak: more would not make p small
ASKED = 0.01  # for the p value: a peak decides how a budget is spent, and a single outlying score can look like one
EXACT = 1e-20  # share of the sum of squares about the mean up to which what a law leaves is rounding


@dataclass(frozen=True)
class Peak:
    """p_value: of "the best monotone law holds" against Equation 1 (NaN where not tested). against: that law's name.
    missing: in words, why the data show no peak; empty where they show one.
    """

    p_value: float
    against: str
    missing: tuple[str, ...]


def peak(data: Scores, fit: Fit, best: Optimum, test: Flatness, rivals: Sequence[Law], seed: int = 0) -> Peak:
    """A peak is shown where the test of equal scores rejects, the peak and its interval lie inside what was tried, and
    no monotone law, of ``rivals``, describes the scores as well (p at most `ASKED`).
    """
    if best.sft_tokens is None or data.equal or best.interval is None:
        none = "Equation 1 has none" if best.sft_tokens is None else "it has no interval, which takes a bootstrap"
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
