"""Intervals of one fit: profile likelihood for nonlinear parameters, the delta method for coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.optimize import brentq

from repro.laws.solver import Array, Problem, refine

if TYPE_CHECKING:
    from repro.laws.law import Fit


from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repro.laws.law import Fit


UNDETERMINED = 1e-9  # a direction in parameter space that moves the curve less than this, relatively
STEP = 1e-6  # of a parameter's range, for derivatives
WALK = 24  # places on each side of the estimate at which a profile is taken
ELSEWHERE = (0.1, 0.5, 0.9)  # shares of the range from which the other parameters start as well

EDGE = 1e-3  # share of a parameter's range that counts as being at its bound
CONDITION = 1e3  # condition number of the normalised columns from which coefficients are said to trade off
ALIKE = 0.9999  # cosine from which two basis functions count as nearly equal
SPARE = 2
CONSTANT = 1e-12  # spread of y, as a share of its size, up to which it is rounding
LEVEL = 0.05
BEYOND = 2.0  # how many times beyond the largest, or short of the smallest, x a law may be asked without a word


def jacobian(fit: Fit, x: Array) -> Array:
    """Derivatives of the law by its parameters at ``x`` (m,), nonlinear ones first: shape (m, k)."""
    theta, linear = fit.law.split(fit.params)
    slopes = []
    for place in range(len(theta)):
        step = np.zeros_like(theta)
        step[place] = STEP * (fit.law.nonlinear[place].high - fit.law.nonlinear[place].low)
        change = fit.law.columns(x, theta + step) - fit.law.columns(x, theta - step)
        slopes.append(change @ linear / (2 * step[place]))
    return np.column_stack([*slopes, fit.law.columns(x, theta)])


def _directions(fit: Fit) -> tuple[Array, Array, Array, Array]:
    """Singular vectors and values of the weighted Jacobian with unit columns, and the columns' lengths."""
    weighted = np.sqrt(fit.weights)[:, None] * jacobian(fit, fit.x)
    length = np.sqrt(np.sum(weighted**2, axis=0))
    length = np.where(length > 0, length, 1.0)
    left, singular, right = np.linalg.svd(weighted / length, full_matrices=False)
    return left, singular, right, length


def influence(fit: Fit) -> Array:
    """Orthonormal basis, (n, at most k), of the directions in which the weighted fit can bend."""
    left, singular, _, _ = _directions(fit)
    return left[:, singular > UNDETERMINED * singular[0]]


def standard_errors(fit: Fit) -> Array:
    """Asymptotic standard errors of all parameters, shape (k,), by the delta method; inf where undetermined."""
    _, singular, right, length = _directions(fit)
    kept = singular > UNDETERMINED * singular[0]
    errors = fit.rse * np.sqrt(np.sum((right[kept].T / singular[kept]) ** 2, axis=1)) / length
    lost = np.any(np.abs(right[~kept]) > np.sqrt(UNDETERMINED), axis=0)
    return np.where(lost, np.inf, errors)


def band_errors(fit: Fit, x: ArrayLike) -> Array:
    """Asymptotic standard error of the fitted curve at ``x`` (m,), shape (m,), by the delta method."""
    _, singular, right, length = _directions(fit)
    kept = singular > UNDETERMINED * singular[0]
    moved = (jacobian(fit, np.asarray(x, dtype=float)) / length) @ right[kept].T / singular[kept]
    return np.asarray(fit.rse * np.sqrt(np.sum(moved**2, axis=1)))


def profile(problem: Problem, index: int, value: float, theta: Array) -> tuple[float, Array]:
    """(sum of squares, theta (q,)) with one nonlinear parameter held at ``value`` and the others refitted, from
    ``theta`` and from elsewhere.
    """
    reach = problem.high - problem.low
    starts = np.array([theta, *(problem.low + share * reach for share in ELSEWHERE)])
    starts[:, index] = value
    if len(theta) == 1:
        return float(problem.sse(starts[:1])[0]), starts[0]
    low, high = np.tile(problem.low, (len(starts), 1)), np.tile(problem.high, (len(starts), 1))
    low[:, index] = high[:, index] = value
    found, sums = refine(problem, starts, np.zeros(len(starts), dtype=int), low, high, tolerance=1e-9)
    best = int(np.argmin(sums))
    return float(sums[best]), found[best]


def profile_limit(fit: Fit, problem: Problem, theta: Array, alpha: float) -> float:
    """The sum of squares up to which a parameter's value is within its interval: the F(1, spare) limit."""
    return float(problem.sse(theta[None])[0] * (1 + stats.f.ppf(1 - alpha, 1, fit.spare) / fit.spare))


def profile_interval(problem: Problem, index: int, theta: Array, limit: float) -> tuple[float, float]:
    """Where one parameter's profile stays below ``limit``; a side that never leaves it ends at its bound."""
    return (
        _crossing(problem, index, theta, limit, float(problem.low[index])),
        _crossing(problem, index, theta, limit, float(problem.high[index])),
    )


def _crossing(problem: Problem, index: int, theta: Array, limit: float, bound: float) -> float:
    warm = theta

    def excess(value: float) -> float:
        nonlocal warm
        found, warm = profile(problem, index, value, warm)
        return found - limit

    inner = float(theta[index])
    for share in (np.arange(1, WALK + 1) / WALK) ** 2:
        outer = float(theta[index] + share * (bound - theta[index]))
        if excess(outer) > 0:
            return float(brentq(excess, inner, outer, rtol=1e-6)) if excess(inner) < 0 else inner
        inner = outer
    return bound


def warnings(fit: Fit) -> tuple[str, ...]:
    """Few points, parameters at bounds, an ill-conditioned design, a power that is a logarithm."""
    if np.ptp(fit.y) <= CONSTANT * np.max(np.abs(fit.y)):
        return ("y does not vary: parameters mean nothing",)
    few = f"{fit.n} points for {len(fit.params)} parameters: the fit is hardly tested"
    found = [few] if fit.spare < SPARE else []
    return (*found, *_at_bounds(fit), *_trade_offs(fit), *_logarithms(fit))


def extrapolation(fit: Fit, x: ArrayLike) -> tuple[str, ...]:
    """A warning if ``x`` reaches further beyond the data than a factor of two."""
    at = np.abs(np.atleast_1d(np.asarray(x, dtype=float)))
    seen = np.abs(fit.x[fit.x != 0])
    if not seen.size or not at.size:
        return ()
    found = []
    if at.max() > BEYOND * seen.max():
        found.append(f"extrapolated: {at.max() / seen.max():.3g} times beyond the data ({seen.max():.4g})")
    near = at[at > 0]
    if near.size and near.min() * BEYOND < seen.min() and not np.any(fit.x == 0):
        found.append(f"extrapolated: {seen.min() / near.min():.3g} times short of the data ({seen.min():.4g})")
    return tuple(found)


def _at_bounds(fit: Fit) -> list[str]:
    found = []
    for part in fit.law.nonlinear:
        value, margin = fit.params[part.name], EDGE * (part.high - part.low)
        if value - part.low < margin or part.high - value < margin:
            found.append(f"{part.name} = {value:.4g} is at its bound")
    zero = [f"{c.name} is held at its bound 0" for c in fit.law.linear if c.sign and fit.params[c.name] == 0]
    return found + zero


def _trade_offs(fit: Fit) -> list[str]:
    theta, _ = fit.law.split(fit.params)
    weighted = np.sqrt(fit.weights)[:, None] * fit.law.columns(fit.x, theta)
    length = np.sqrt(np.sum(weighted**2, axis=0))
    unit = weighted / np.where(length > 0, length, 1.0)
    if unit.shape[1] < 2:
        return []
    condition = float(np.linalg.cond(unit))
    if condition < CONDITION:
        return []
    alike = np.abs(np.triu(unit.T @ unit, k=1))
    one, two = np.unravel_index(int(np.argmax(alike)), alike.shape)
    if alike[one, two] > ALIKE:
        pair = f"{fit.law.linear[one].name} and {fit.law.linear[two].name}"
        return [f"{pair} trade off, their basis functions being nearly equal: trust the curve, not the two numbers"]
    return [f"the basis functions are nearly dependent (condition {condition:.1g}): trust the curve, not the numbers"]


def _logarithms(fit: Fit) -> list[str]:
    # Only for one power: of two, one can nearly always be swapped for a logarithm.
    law = fit.law
    if law.conditioned is None or not fit.spare or len(law.nonlinear) > 1:
        return []
    problem = law.problem(fit.x, fit.y[None], fit.weights)
    theta: Array = law.split(fit.params)[0]
    limit = profile_limit(fit, problem, theta, LEVEL)
    return [
        f"{part.name} = {fit.params[part.name]:.4g} cannot be told from 0: a logarithm fits as well"
        for place, part in enumerate(law.nonlinear)
        if part.singular == 0 and profile(problem, place, 0.0, theta)[0] <= limit
    ]
