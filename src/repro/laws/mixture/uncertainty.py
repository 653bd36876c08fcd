"""From the noise of loss curves to draws of everything that follows from them.

For each draw, every curve of a group is replaced by one with the noise its residuals show (:mod:`repro.laws.noise`),
Equation 6 is fitted to it, and Equation 27 solved. :mod:`repro.laws.mixture.critical` takes it from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repro.laws import noise
from repro.laws.intervals import influence
from repro.laws.mixture.turning import turning_points
from repro.laws.projection import Array
from repro.laws.results import Fit

LEAST = 0.05  # of a point's noise that the fit must leave over for it to be scaled up from there


class Curve(NamedTuple):
    """One ratio of a group: both fits, and the run (seed) of each of their points, in the fits' order."""

    domain: Fit
    general: Fit
    runs: NDArray[np.generic]


class Solver(NamedTuple):
    """What Equation 27 is solved with: lambda, T_max in the unit of the laws, and the horizon in multiples of it."""

    lagrange: float
    t_max: float
    horizon: float


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of one group, n of them, over its r ratios.

    general, domain: parameters of Equation 6 for each ratio, n rows each. times: T0 (n, r), NaN where a curve does not
    turn. general_end, domain_end: (n, r) deviations of the increments at the last point of each curve.
    """

    general: tuple[pd.DataFrame, ...]
    domain: tuple[pd.DataFrame, ...]
    times: Array
    general_end: Array
    domain_end: Array
    method: noise.Method


def draw(curves: Sequence[Curve], solver: Solver, n: int, entropy: Sequence[int]) -> Draws:
    """``n`` draws of a group; ``entropy`` seeds them.

    With several runs, the same ones are drawn for every ratio and for both losses: a seed is one base model, seen
    everywhere. With one, each curve has noise of its own, with a correlation estimated from all curves of its loss.
    """
    method: noise.Method = "runs" if any(len(np.unique(curve.runs)) > 1 for curve in curves) else "ar1"
    general, general_end = _refitted([c.general for c in curves], curves, method, n, [*entropy, 0])
    domain, domain_end = _refitted([c.domain for c in curves], curves, method, n, [*entropy, 1])
    times = [
        turning_points(_arrays(d), _arrays(g), lagrange=solver.lagrange, t_max=solver.t_max, horizon=solver.horizon)
        for g, d in zip(general, domain, strict=True)
    ]
    return Draws(general, domain, np.stack(times, axis=1), general_end, domain_end, method)


def _arrays(frame: pd.DataFrame) -> dict[str, Array]:
    return {str(name): frame[name].to_numpy(float) for name in frame}


def _refitted(
    fits: Sequence[Fit], curves: Sequence[Curve], method: noise.Method, n: int, entropy: list[int]
) -> tuple[tuple[pd.DataFrame, ...], Array]:
    """Parameters for each fit, and the deviations of the last point, (n, r)."""
    rho = _common(fits) if method == "ar1" else None
    frames, ends = [], []
    for number, (fit, curve) in enumerate(zip(fits, curves, strict=True)):
        rng = np.random.default_rng([*entropy[:-1]] if method == "runs" else [*entropy, number])
        drawn = noise.draws(fit, n, rng, runs=curve.runs, method=method, correlation=rho)
        found = fit.law.fit_many(drawn.x, drawn.y, drawn.weights)
        frames.append(pd.DataFrame(found))
        ends.append(_end(fit, drawn, found))
    return tuple(frames), np.stack(ends, axis=1)


def _end(fit: Fit, drawn: noise.Drawn, found: dict[str, Array]) -> Array:
    """How far the last point deviates in each draw, (n,).

    Of several runs, from their mean. Of one, from the curve refitted, scaled to the noise of a point that had no part
    in the fit: drift so slow that the law follows it is the course of this run, and its end was measured.
    """
    last = int(np.argmax(drawn.x))
    if drawn.method == "runs":
        return np.asarray(drawn.y[:, last] - np.mean(fit.y[fit.x == drawn.x[last]]))
    left = 1 - float(np.sum(influence(fit)[last] ** 2))
    apart = drawn.y[:, last] - fit.law.evaluate_many(found, drawn.x[[last]])[:, 0]
    return np.asarray(apart / np.sqrt(max(left, LEAST)))


def _common(fits: Sequence[Fit]) -> float:
    """The lag-one correlation of all curves of one loss."""
    residuals, bases = [], []
    for fit in fits:
        order = np.argsort(fit.x, kind="stable")
        residuals.append((fit.y - fit.predict(fit.x))[order])
        bases.append(influence(fit)[order])
    return noise.ar1(residuals, bases)
