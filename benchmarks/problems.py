"""Fitting problems for the laws: random ones of realistic size and noise, and the curves of a study."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repro.laws import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, RATIO_LAW, Analysis, Law
from repro.laws.allocation import allocation_law

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Problem:
    """One law and one data set."""

    law: Law
    x: Array
    y: Array


def random_problems(count: int, seed: int) -> Iterator[Problem]:
    """``count`` problems, the laws of both papers in turn."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        yield KINDS[number % len(KINDS)](rng)


def study_problems(analysis: Analysis) -> Iterator[Problem]:
    """Every fit of an analysis: L(R), both lines of Equation 6 and Equation 8."""
    for group in analysis.groups:
        fits = [fit for laws in group.token_laws for fit in (laws.domain, laws.general)]
        last = (group.ratio_law["general"], group.ratio_law["domain"], group.critical_ratio.turning_point.law)
        for fit in (*fits, *last):
            if fit is not None:
                yield Problem(fit.law, fit.x, fit.y)


def _drifting(rng: np.random.Generator, count: int, spread: float) -> Array:
    """Noise along a trajectory: neighbouring checkpoints share part of it."""
    share = rng.uniform(0, 0.8)
    noise = rng.standard_normal(count)
    for place in range(1, count):
        noise[place] = share * noise[place - 1] + np.sqrt(1 - share**2) * noise[place]
    return np.asarray(spread * noise)


def _power(rng: np.random.Generator, law: Law, x: Array, exponents: tuple[float, float], change: float) -> Array:
    """One power of x plus a constant, whose values differ by ``change`` over the range of x."""
    s = rng.uniform(*exponents)
    shape = law.evaluate(dict(zip(law.names, (s, 1.0, 0.0), strict=True)), x)
    return np.asarray(change * (shape - shape[0]) / np.ptp(shape))


def _ratio(rng: np.random.Generator) -> Problem:
    """Losses at 4 to 8 ratios: 0.02 to 0.6 nats apart, known to 0.3 to 3% of that."""
    x = np.sort(rng.choice(np.arange(1, 20), size=rng.integers(4, 9), replace=False)) / 20
    change = rng.choice([-1, 1]) * rng.uniform(0.02, 0.6)
    y = rng.uniform(1, 4) + _power(rng, RATIO_LAW, x, (-1.5, 2.0), change)
    return Problem(RATIO_LAW, x, y + abs(change) * rng.uniform(0.003, 0.03) * rng.standard_normal(len(x)))


def _domain(rng: np.random.Generator) -> Problem:
    """A falling domain loss at 10 to 40 checkpoints, noise 0.3 to 3% of the fall."""
    x = np.linspace(rng.uniform(1, 6), 100, rng.integers(10, 41))
    change = -rng.uniform(0.05, 1)
    y = _power(rng, DOMAIN_TOKEN_LAW, x, (-1.2, 0.8), change) - rng.uniform(0, 0.3)
    return Problem(DOMAIN_TOKEN_LAW, x, y + _drifting(rng, len(x), abs(change) * rng.uniform(0.003, 0.03)))


def _general(rng: np.random.Generator) -> Problem:
    """A general loss that rises and may fall again, at 10 to 40 checkpoints, noise 0.5 to 5% of its range."""
    x = np.linspace(rng.uniform(1, 6), 100, rng.integers(10, 41))
    s, r = np.sort(rng.uniform(0.05, 0.95, 2))
    peak = rng.uniform(20, 300)
    y = x**s / s - peak ** (s - r) * x**r / r if rng.random() < 0.8 else x**s
    y = rng.uniform(0.01, 0.3) * (y - y[0]) / np.ptp(y)
    return Problem(GENERAL_TOKEN_LAW, x, y + _drifting(rng, len(x), np.ptp(y) * rng.uniform(0.005, 0.05)))


def _critical(rng: np.random.Generator) -> Problem:
    """4 to 7 turning points that grow with the ratio, known to 1 to 5%."""
    x = np.sort(np.exp(rng.uniform(np.log(4), np.log(300), rng.integers(4, 8))))
    y = rng.uniform(0.05, 0.3) + _power(rng, CMR_LAW, x, (-1.0, 1.5), rng.uniform(0.2, 0.6))
    return Problem(CMR_LAW, x, y * (1 + rng.uniform(0.01, 0.05) * rng.standard_normal(len(x))))


def _allocation(rng: np.random.Generator) -> Problem:
    """Scores at 8 to 17 numbers of SFT tokens (millions): a peak in ln S, a cliff, and sampling noise."""
    x = np.geomspace(rng.uniform(0.2, 1), rng.uniform(20, 80), rng.integers(8, 18))
    mu, sigma, edge = rng.uniform(np.log(1.5), np.log(10)), rng.uniform(0.3, 1.2), x[0] * rng.uniform(0.1, 0.9)
    height = rng.uniform(0.03, 0.2)
    penalty = height * (x[0] - edge) * rng.uniform(0, 1)
    law = allocation_law(x)
    y = rng.uniform(0.2, 0.6) + height * np.exp(-(((np.log(x) - mu) / sigma) ** 2) / 2) - penalty / (x - edge)
    return Problem(law, x, y + rng.uniform(0.02, 0.2) * height * rng.standard_normal(len(x)))


KINDS: tuple[Callable[[np.random.Generator], Problem], ...] = (_ratio, _domain, _general, _critical, _allocation)
