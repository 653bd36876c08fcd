"""What the data say about the parameters of one fit: intervals, and warnings for whoever reads the numbers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from repro.laws.solver import Array, Problem, refine

LEVEL = 0.05  # of tests, and of what intervals leave out

UNDETERMINED = 1e-9  # a direction in parameter space that moves the curve less than this, relatively
STEP = 1e-6  # of a parameter's range, for derivatives
PLACES = 24  # on each side of the estimate at which a profile is taken
ELSEWHERE = (0.1, 0.5, 0.9)  # shares of the range from which the other parameters start as well

EDGE = 1e-3  # share of a parameter's range that counts as being at its bound
CONDITION = 1e3  # condition number of the normalised columns from which coefficients are said to trade off
ALIKE = 0.9999  # cosine from which two basis functions count as nearly equal
FEW = 2  # residual degrees of freedom below which a fit is hardly tested
CONSTANT = 1e-12  # spread of y, as a share of its size, up to which it is rounding


class Design(NamedTuple):
    """A fit of q nonlinear parameters and p coefficients to n points, as inference and noise see it.

    name: of the law. names: of the parameters, nonlinear first. singular: for each nonlinear parameter, the value at
    which basis functions coincide, or None. columns: the basis functions (m, p) at x (m,) and theta (q,). theta (q,)
    and linear (p,): the estimates. x, y, weights: (n,). rse: residual standard error. df_resid: residual degrees of
    freedom. problem: the scaled sum of squares as a function of theta.
    """

    name: str
    names: tuple[str, ...]
    singular: tuple[float | None, ...]
    columns: Callable[[Array, Array], NDArray[Any]]
    theta: Array
    linear: Array
    x: Array
    y: Array
    weights: Array
    rse: float
    df_resid: int
    problem: Problem

    def predict(self, x: Array) -> Array:
        """The fitted curve at ``x`` (m,)."""
        return np.asarray(self.columns(x, self.theta) @ self.linear)

    @property
    def residual(self) -> Array:
        """y minus the fitted curve, (n,)."""
        return self.y - self.predict(self.x)


def conf_int(design: Design, alpha: float) -> Array:
    """Profile-likelihood, then delta-method intervals, (q + p, 2), of confidence 1 - alpha; NaN if df_resid is 0."""
    if not design.df_resid:
        return np.full((len(design.names), 2), np.nan)
    limit = profile_limit(design, alpha)
    bounds = zip(design.problem.low.tolist(), design.problem.high.tolist(), strict=True)
    profiled = [[_crossing(design, place, limit, bound) for bound in ends] for place, ends in enumerate(bounds)]
    half = _quantile(design, alpha) * standard_errors(design)[len(design.theta) :]
    return np.array([*profiled, *zip(design.linear - half, design.linear + half, strict=True)])


def band(design: Design, x: Array, alpha: float) -> Array:
    """Half the width of the curve's pointwise interval at ``x`` (m,), by the delta method; NaN if df_resid is 0."""
    if not design.df_resid:
        return np.full(len(x), np.nan)
    _, singular, right, length = _directions(design)
    kept = singular > UNDETERMINED * singular[0]
    moved = (_jacobian(design, x) / length) @ right[kept].T / singular[kept]
    return np.asarray(_quantile(design, alpha) * (design.rse * np.sqrt(np.sum(moved**2, axis=1))))


def _quantile(design: Design, alpha: float) -> float:
    return float(stats.t.ppf(1 - alpha / 2, design.df_resid))


def tangent_basis(design: Design) -> Array:
    """Orthonormal basis, (n, at most q + p), of the directions in which the weighted fit can bend."""
    left, singular, _, _ = _directions(design)
    return left[:, singular > UNDETERMINED * singular[0]]


def standard_errors(design: Design) -> Array:
    """Asymptotic standard errors of all parameters, (q + p,), by the delta method; inf where undetermined."""
    _, singular, right, length = _directions(design)
    kept = singular > UNDETERMINED * singular[0]
    errors = design.rse * np.sqrt(np.sum((right[kept].T / singular[kept]) ** 2, axis=1)) / length
    lost = np.any(np.abs(right[~kept]) > np.sqrt(UNDETERMINED), axis=0)
    return np.where(lost, np.inf, errors)


def _directions(design: Design) -> tuple[Array, Array, Array, Array]:
    """Singular vectors and values of the weighted Jacobian with unit columns, and the columns' lengths."""
    weighted = np.sqrt(design.weights)[:, None] * _jacobian(design, design.x)
    length = np.sqrt(np.sum(weighted**2, axis=0))
    length = np.where(length > 0, length, 1.0)
    left, singular, right = np.linalg.svd(weighted / length, full_matrices=False)
    return left, singular, right, length


def _jacobian(design: Design, x: Array) -> Array:
    """Derivatives of the curve at ``x`` (m,) by the parameters, nonlinear ones first: (m, q + p)."""
    reach = STEP * (design.problem.high - design.problem.low)
    slopes = []
    for place, size in enumerate(reach):
        step = np.where(np.arange(len(reach)) == place, size, 0.0)
        change = design.columns(x, design.theta + step) - design.columns(x, design.theta - step)
        slopes.append(change @ design.linear / (2 * size))
    return np.column_stack([*slopes, design.columns(x, design.theta)])


def profile(design: Design, index: int, value: float, theta: Array) -> tuple[float, Array]:
    """(sum of squares, theta (q,)) with one parameter held at ``value``, refitted from ``theta`` and from elsewhere."""
    problem = design.problem
    reach = problem.high - problem.low
    starts = np.array([theta, *(problem.low + share * reach for share in ELSEWHERE)])
    starts[:, index] = value
    if len(theta) == 1:
        return float(problem.sse(starts[:1])[0]), starts[0]
    low, high = np.tile(problem.low, (len(starts), 1)), np.tile(problem.high, (len(starts), 1))
    low[:, index] = high[:, index] = value
    thetas, sums = refine(problem, starts, np.zeros(len(starts), dtype=int), low, high, tolerance=1e-9)
    best = int(np.argmin(sums))
    return float(sums[best]), thetas[best]


def profile_limit(design: Design, alpha: float) -> float:
    """The profiled sum of squares up to which a value is within its interval: the limit of F(1, df_resid)."""
    least = design.problem.sse(design.theta[None])[0]
    return float(least * (1 + stats.f.ppf(1 - alpha, 1, design.df_resid) / design.df_resid))


def _crossing(design: Design, index: int, limit: float, bound: float) -> float:
    """How far towards ``bound`` one parameter's profile stays below ``limit``; the bound where it never leaves it."""
    estimate, warm = design.theta[index], design.theta

    def excess(value: float) -> float:
        nonlocal warm
        sse, warm = profile(design, index, value, warm)
        return sse - limit

    inner = float(estimate)
    for share in (np.arange(1, PLACES + 1) / PLACES) ** 2:
        outer = float(estimate + share * (bound - estimate))
        if excess(outer) > 0:
            return float(brentq(excess, inner, outer, rtol=1e-6)) if excess(inner) < 0 else inner
        inner = outer
    return bound


def warnings(design: Design) -> tuple[str, ...]:
    """Few points, parameters at bounds, collinear basis functions, a power that a logarithm replaces."""
    if np.ptp(design.y) <= CONSTANT * np.max(np.abs(design.y)):
        return ("y does not vary: parameters mean nothing",)
    few = f"{len(design.y)} points for {len(design.names)} parameters: the fit is hardly tested"
    texts = [few] if design.df_resid < FEW else []
    return (*texts, *_at_bounds(design), *_trade_offs(design), *_logarithm(design))


def _at_bounds(design: Design) -> list[str]:
    problem, nonlinear = design.problem, design.names[: len(design.theta)]
    texts = []
    for name, value, low, high in zip(nonlinear, design.theta, problem.low, problem.high, strict=True):
        if min(value - low, high - value) < EDGE * (high - low):
            texts.append(f"{name} = {value:.4g} is at its bound")
    coefficients = zip(design.names[len(design.theta) :], design.linear, problem.signs, strict=True)
    return texts + [f"{name} is held at its bound 0" for name, value, sign in coefficients if sign and value == 0]


def _trade_offs(design: Design) -> list[str]:
    """Collinearity, by the condition number of the normalised columns and by the cosines between them."""
    weighted = np.sqrt(design.weights)[:, None] * design.columns(design.x, design.theta)
    length = np.sqrt(np.sum(weighted**2, axis=0))
    unit = weighted / np.where(length > 0, length, 1.0)
    if unit.shape[1] < 2:
        return []
    condition = float(np.linalg.cond(unit))
    if condition < CONDITION:
        return []
    cosines = np.abs(np.triu(unit.T @ unit, k=1))
    first, second = np.unravel_index(int(np.argmax(cosines)), cosines.shape)
    if cosines[first, second] > ALIKE:
        names = design.names[len(design.theta) :]
        pair = f"{names[first]} and {names[second]}"
        return [f"{pair} trade off, their basis functions being nearly equal: trust the curve, not the two numbers"]
    return [f"the basis functions are nearly dependent (condition {condition:.1g}): trust the curve, not the numbers"]


def _logarithm(design: Design) -> list[str]:
    # Only for one power: of two, one can nearly always be swapped for a logarithm.
    if design.singular != (0.0,) or not design.df_resid:
        return []
    if profile(design, 0, 0.0, design.theta)[0] > profile_limit(design, LEVEL):
        return []
    return [f"{design.names[0]} = {design.theta[0]:.4g} cannot be told from 0: a logarithm fits as well"]
