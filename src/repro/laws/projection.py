"""Variable projection: the numerics under every law.

A separable law is y = sum_j c_j a_j(x; theta). Given theta the coefficients c are a linear least-squares
problem, so they are projected out and only theta is searched: a grid over its bounds, all cells scored in one
batched QR, then Gauss-Newton (:func:`scipy.optimize.least_squares`) from the best cells. Nothing here is
random.

Golub & Pereyra (2003), "Separable nonlinear least squares: the variable projection method and its
applications".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter
from scipy.optimize import brentq, least_squares, nnls

Array = NDArray[np.float64]

GRID = {1: 61, 2: 31}  # points per axis; laws with more nonlinear parameters get a coarser grid
COARSE = 11
STARTS = 3
RANK = 1e-12  # a normalised column closer than this to the span of the earlier ones adds nothing
TOLERANCE = 1e-14
EVALUATIONS = 200
MARGIN = 1e-6  # least room left to a parameter that another one hems in


@dataclass(frozen=True, eq=False)
class Problem:
    """One data set seen by one law.

    columns: theta (q,) -> weighted design matrix (n, p); z: (n,) weighted responses, scaled to unit spread;
    low, high: (q,) bounds; signs: declared sign of each column's coefficient (0 free); ordered: theta
    ascends.
    """

    columns: Callable[[Array], Array]
    z: Array
    low: Array
    high: Array
    signs: tuple[int, ...]
    ordered: bool = False

    def residual(self, theta: Array, z: Array | None = None) -> Array:
        """What the best coefficients at ``theta`` leave of ``z``: shape (n,)."""
        target = self.z if z is None else z
        design = self.columns(theta)
        if any(self.signs):
            return target - design @ coefficients(design, target, self.signs)
        q = orthonormal(design)
        return target - q @ (q.T @ target)

    def sse(self, theta: Array) -> float:
        """Sum of squares of :meth:`residual`."""
        return float(np.sum(self.residual(theta) ** 2))


def normalised(design: Array) -> tuple[Array, Array]:
    """(design with columns of unit length, those lengths); a zero column keeps length 1."""
    length = np.sqrt(np.sum(design**2, axis=-2))
    length = np.where(length > 0, length, 1.0)
    return design / length[..., None, :], length


def orthonormal(design: Array) -> Array:
    """Orthonormal basis of the column space, shape (..., n, p); columns that add no direction become 0."""
    q, r = np.linalg.qr(normalised(design)[0])
    kept = np.abs(np.diagonal(r, axis1=-2, axis2=-1)) > RANK
    return np.asarray(q * kept[..., None, :], dtype=float)


def coefficients(design: Array, z: Array, signs: tuple[int, ...]) -> Array:
    """Least-squares coefficients (p,), those with a declared sign held to it.

    Free columns are projected out first, so that the signed ones are exactly a non-negative problem.
    """
    unit, length = normalised(design)
    signed = np.array(signs, dtype=float)
    solution = np.zeros(len(signs))
    free, held = signed == 0, signed != 0
    if held.any():
        q = orthonormal(unit[:, free]) if free.any() else np.zeros((len(z), 0))
        part = unit[:, held] * signed[held]
        solution[held] = signed[held] * nnls(part - q @ (q.T @ part), z - q @ (q.T @ z))[0]
    if free.any():
        solution[free] = np.linalg.lstsq(unit[:, free], z - unit @ solution, rcond=RANK)[0]
    return solution / length


@dataclass(frozen=True, eq=False)
class Grid:
    """Every cell of the bounds: axes, thetas (m, q), the mask of cells in use, and their bases (m, n, p)."""

    shape: tuple[int, ...]
    thetas: Array
    used: NDArray[np.bool_]
    designs: Array

    @classmethod
    def over(cls, problem: Problem) -> Grid:
        """The deterministic grid of a problem. Raises ValueError where the basis is not finite."""
        q = len(problem.low)
        count = GRID.get(q, COARSE)
        axes = [np.linspace(a, b, count) for a, b in zip(problem.low, problem.high, strict=True)]
        thetas = np.array(list(product(*axes)))
        used = np.all(np.diff(thetas, axis=1) > 0, axis=1) if problem.ordered else np.ones(len(thetas), dtype=bool)
        with np.errstate(all="ignore"):
            designs = np.stack([problem.columns(theta) for theta in thetas[used]])
        if not np.isfinite(designs).all():
            rows = np.flatnonzero(~np.isfinite(designs).all(axis=(0, 2)))
            raise ValueError(f"rows {rows.tolist()} of x: a basis function is not finite there within the bounds")
        return cls((count,) * q, thetas, used, designs)

    def starts(self, problem: Problem, z: Array) -> Array:
        """The best local minima of the sum of squares over the grid, best first: (at most STARTS, q)."""
        score = np.full(len(self.thetas), np.inf)
        if any(problem.signs):
            fits = (z - a @ coefficients(a, z, problem.signs) for a in self.designs)
            score[self.used] = [float(r @ r) for r in fits]
        else:
            q = orthonormal(self.designs)
            score[self.used] = z @ z - np.sum((z @ q) ** 2, axis=-1)
        valley = (score <= minimum_filter(score.reshape(self.shape), size=3).ravel()) & np.isfinite(score)
        best = np.flatnonzero(valley)
        return np.asarray(self.thetas[best[np.argsort(score[best], kind="stable")][:STARTS]], dtype=float)


def refine(problem: Problem, start: Array, z: Array | None = None) -> Array:
    """The local minimum next to ``start``, shape (q,), within the bounds."""
    found = least_squares(
        problem.residual, start, jac="3-point", bounds=(problem.low, problem.high), max_nfev=EVALUATIONS,
        xtol=TOLERANCE, ftol=TOLERANCE, gtol=TOLERANCE, kwargs={"z": z},
    )  # fmt: skip
    return np.asarray(found.x, dtype=float)


def solve(problem: Problem, grid: Grid, z: Array | None = None) -> Array:
    """The global minimum over the bounds, shape (q,)."""
    target = problem.z if z is None else z
    candidates = [refine(problem, start, target) for start in grid.starts(problem, target)]
    return min(candidates, key=lambda theta: float(np.sum(problem.residual(theta, target) ** 2)))


def profile(problem: Problem, index: int, value: float, theta: Array) -> tuple[float, Array]:
    """(sum of squares, theta) with one nonlinear parameter held at ``value`` and the others refitted from
    ``theta``.

    Where theta ascends the others stay on their side of ``value``.
    """
    held = np.array(theta, dtype=float)
    held[index] = value
    if len(held) == 1:
        return problem.sse(held), held
    places = np.arange(len(held))
    others = places != index
    low, high = problem.low[others], problem.high[others]
    if problem.ordered:
        after = places[others] > index
        low = np.where(after, np.minimum(value, high - MARGIN), low)
        high = np.where(after, high, np.maximum(value, low + MARGIN))

    def residual(part: Array) -> Array:
        held[others] = part
        return problem.residual(held)

    found = least_squares(residual, np.clip(held[others], low, high), bounds=(low, high), max_nfev=EVALUATIONS)
    held[others] = found.x
    return float(2 * found.cost), held


def profile_interval(problem: Problem, index: int, theta: Array, limit: float) -> tuple[float, float]:
    """Where one parameter's profile stays below ``limit``; a side that never leaves it ends at its bound."""
    return (
        _crossing(problem, index, theta, limit, float(problem.low[index])),
        _crossing(problem, index, theta, limit, float(problem.high[index])),
    )


def _crossing(problem: Problem, index: int, theta: Array, limit: float, bound: float) -> float:
    warm = np.array(theta, dtype=float)

    def excess(value: float) -> float:
        nonlocal warm
        found, warm = profile(problem, index, value, warm)
        return found - limit

    inner = float(theta[index])
    step = (bound - inner) / 1000
    while abs(bound - inner) > 1e-9 * max(1.0, abs(bound)):
        outer = inner + step
        if abs(outer - inner) >= abs(bound - inner):
            outer = bound
        if excess(outer) > 0:
            return float(brentq(excess, inner, outer, rtol=1e-6)) if excess(inner) < 0 else inner
        inner, step = outer, 2 * step
    return bound
