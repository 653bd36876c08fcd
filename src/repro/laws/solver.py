"""The engine of every fit: variable projection (Golub & Pereyra 1973), from a grid instead of starting values.

At given nonlinear parameters theta the coefficients are a linear least-squares problem (:func:`project`), so only theta
is searched for (:func:`solve`): on a grid over its bounds, then by Levenberg-Marquardt from the best cells, with
Kaufman's form of the Jacobian of the projected residual, and by Newton's method at the end. Nothing here is random.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

Array = NDArray[np.float64]
Columns = list[Array]

RANK = 1e-12  # a normalised column closer than this to the span of the earlier ones adds nothing

GRID = {1: 61, 2: 31, 3: 15}  # cells per axis by the number of nonlinear parameters
COARSE = 7
STARTS = 3
PRECISE, QUICK = 1e-13, 1e-7  # last step, as a share of a parameter's range: for one fit, and for bootstrap draws
STEPS = 100
DIFFERENCE = 6e-6  # half-width of the central differences by theta, as a share of its range
BLOCKS = 3  # per axis
CURVATURE = 1e-5  # half-width of the differences of the gradient, as a share of the range
FLAT = 1e-10  # least eigenvalue of the scaled curvature that counts as a minimum
NEWTON = 8  # full Newton steps at most, where Gauss-Newton creeps along a bent valley
HEAVY = 1e9  # damping from which on steps are too short to help


@dataclass(frozen=True, eq=False)
class Problem:
    """Data sets seen by one law.

    basis: (x, *theta) -> p columns; x, root: (n,) shared by all data sets, or (B, n); root is the square root of the
    weights; z: (B, n) responses times root, scaled to unit spread; low, high: (q,) bounds; signs: (p,) declared sign of
    each coefficient (0 free); ordered: theta is interchangeable, and ascends.
    """

    basis: Callable[..., Sequence[Array | float]]
    x: Array
    root: Array
    z: Array
    low: Array
    high: Array
    signs: tuple[int, ...]
    ordered: bool = False

    def columns(self, theta: Array, rows: NDArray[np.intp] | None = None) -> Columns:
        """Weighted columns at theta (M, q), of the data sets ``rows`` (M,): each (M, n)."""
        x, root = (part if part.ndim == 1 or rows is None else part[rows] for part in (self.x, self.root))
        return self._columns(theta, x, root)

    def grid_columns(self, thetas: Array) -> Columns:
        """Weighted columns at thetas (m, q), each (1 or B, m, n)."""
        x, root = (part[None, None, :] if part.ndim == 1 else part[:, None, :] for part in (self.x, self.root))
        return self._columns(thetas[None], x, root)

    def _columns(self, theta: Array, x: Array, root: Array) -> Columns:
        parts = self.basis(x, *(theta[..., k, None] for k in range(theta.shape[-1])))
        shape = np.broadcast_shapes(x.shape, root.shape, (*theta.shape[:-1], 1))
        return [np.broadcast_to(root * part, shape) for part in parts]

    def sse(self, theta: Array) -> Array:
        """The sum of squares that the best coefficients at theta (M, q) leave of the (one) data set: (M,)."""
        return np.asarray(np.sum(project(self.columns(theta), self.z, self.signs).residual ** 2, axis=-1), dtype=float)


class Projection(NamedTuple):
    """coefficients (..., p), residual (..., n), and an orthonormal basis of the columns in use, p of (..., n)."""

    coefficients: Array
    residual: Array
    directions: Columns


def dot(one: Array, other: Array) -> Array:
    return np.asarray(np.einsum("...n,...n->...", one, other), dtype=float)


def orthonormal(columns: Columns) -> tuple[Columns, list[list[Array]]]:
    """Gram-Schmidt, twice: (q, r) with column_j = sum_i r[i][j] q_i; 0, with r_jj = 0, where that adds no direction."""
    q: Columns = []
    r: list[list[Array]] = [[] for _ in columns]
    for column in columns:
        length = np.sqrt(dot(column, column))
        rest = column / np.where(length > 0, length, 1.0)[..., None]
        along = [np.zeros_like(length) for _ in q]
        for _ in range(2):
            for i, direction in enumerate(q):
                part = dot(direction, rest)
                along[i] = along[i] + part
                rest = rest - part[..., None] * direction
        left = np.sqrt(dot(rest, rest))
        kept = (left > RANK) & (length > 0)
        for i, part in enumerate(along):
            r[i].append(part * length)
        r[len(q)].append(np.where(kept, left * length, 0.0))
        q.append(rest * np.where(kept, 1 / np.where(kept, left, 1.0), 0.0)[..., None])
    return q, r


def _least_squares(columns: Columns, z: Array) -> Projection:
    """Coefficients without regard to signs; a column that adds no direction gets 0."""
    q, r = orthonormal(columns)
    along, residual = [], z
    for direction in q:
        part = dot(direction, residual)
        residual = residual - part[..., None] * direction
        along.append(part)
    return Projection(np.stack(np.broadcast_arrays(*substituted(r, along)), axis=-1), residual, q)


def substituted(r: list[list[Array]], along: Columns) -> Columns:
    """Coefficients by back substitution in the triangular factor, from the parts of z along each direction."""
    coefficients: Columns = [np.zeros(0)] * len(along)
    for j in reversed(range(len(along))):
        rest = along[j]
        for k in range(j + 1, len(along)):
            rest = rest - r[j][k - j] * coefficients[k]
        pivot = r[j][0]
        coefficients[j] = np.where(pivot > 0, rest / np.where(pivot > 0, pivot, 1.0), 0.0)
    return coefficients


def project(columns: Columns, z: Array, signs: tuple[int, ...]) -> Projection:
    """Least-squares coefficients, those with a declared sign held to it, and the residual of z: there are few columns,
    so every set of those left out is tried, and the best whose unconstrained coefficients have the right signs is
    taken.
    """
    if not any(signs):
        return _least_squares(columns, z)

    def signed(out: tuple[int, ...]) -> Projection:
        solution = _least_squares([np.zeros_like(c) if j in out else c for j, c in enumerate(columns)], z)
        legal = np.all(solution.coefficients * np.array(signs) >= 0, axis=-1, keepdims=True)
        return solution._replace(residual=np.where(legal, solution.residual, np.inf))

    def better(one: Projection, other: Projection) -> Projection:
        return _picked(dot(other.residual, other.residual) < dot(one.residual, one.residual), other, one)

    return reduce(better, map(signed, _left_out(signs)))


def _left_out(signs: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every set of columns that have a sign, none first."""
    held = [j for j, sign in enumerate(signs) if sign]
    return (out for count in range(len(held) + 1) for out in combinations(held, count))


def _picked(pick: NDArray[np.bool_], new: Projection, old: Projection) -> Projection:
    """The new projection where ``pick`` says so, the old one elsewhere."""
    pick = pick[..., None]
    return Projection(
        np.where(pick, new.coefficients, old.coefficients),
        np.where(pick, new.residual, old.residual),
        [np.where(pick, after, before) for after, before in zip(new.directions, old.directions, strict=True)],
    )


def _grid(problem: Problem) -> tuple[tuple[int, ...], Array, NDArray[np.bool_]]:
    """Cells per axis, thetas (m, q) of all cells, and which of them are in use."""
    q = len(problem.low)
    count = GRID.get(q, COARSE)
    axes = [np.linspace(low, high, count) for low, high in zip(problem.low, problem.high, strict=True)]
    thetas = np.array(list(product(*axes)))
    used = np.all(np.diff(thetas, axis=1) > 0, axis=1) if problem.ordered else np.ones(len(thetas), dtype=bool)
    return (count,) * q, thetas, used


def _scores(problem: Problem, thetas: Array) -> Array:
    """The sum of squares at each of thetas (m, q) for each data set: (B, m)."""
    with np.errstate(all="ignore"):
        columns = problem.grid_columns(thetas)
    bad = np.any([~np.isfinite(column) for column in columns], axis=(0, 2))
    if bad.any():
        where = np.flatnonzero(bad.any(axis=0)).tolist()
        raise ValueError(f"rows {where} of x: a basis function is not finite there within the bounds")
    z = problem.z
    best = np.full((len(z), len(thetas)), np.inf)
    for out in _left_out(problem.signs):
        kept = [j for j in range(len(columns)) if j not in out]
        q, r = orthonormal([columns[j] for j in kept])
        along = [z @ d[0].T if len(d) == 1 else np.matmul(d, z[:, :, None])[..., 0] for d in q]
        score = np.repeat(dot(z, z)[:, None], len(thetas), axis=1)
        for part in along:
            score -= part**2
        if any(problem.signs):
            for j, coefficient in zip(kept, substituted(r, along), strict=True):
                score = np.where(coefficient * problem.signs[j] >= 0, score, np.inf)
        best = np.minimum(best, score)
    return best


def _starts(problem: Problem, everywhere: bool) -> tuple[NDArray[np.intp], Array]:
    """(data set, theta) of the best local minima over the grid, at most STARTS for each data set. ``everywhere`` adds
    the best cell of each block of the grid: a valley can be narrower than the grid can see.
    """
    shape, thetas, used = _grid(problem)
    score = np.full((len(problem.z), len(thetas)), np.inf)
    score[:, used] = _scores(problem, thetas[used])
    around = minimum_filter(score.reshape(-1, *shape), size=(1, *[3] * len(shape))).reshape(score.shape)
    valley = np.where(score <= around, score, np.inf)
    best = np.argsort(valley, axis=1, kind="stable")[:, :STARTS]
    there = np.isfinite(np.take_along_axis(valley, best, axis=1))
    if everywhere:
        blocks = np.stack([block[np.argmin(score[:, block], axis=1)] for block in _blocks(shape)], axis=1)
        best = np.concatenate([best, blocks], axis=1)
        there = np.concatenate([there, np.isfinite(np.take_along_axis(score, blocks, axis=1))], axis=1)
    rows = np.repeat(np.arange(len(score)), best.shape[1])[there.ravel()]
    return rows, thetas[best[there]]


def _blocks(shape: tuple[int, ...]) -> list[NDArray[np.intp]]:
    """The cells of each of BLOCKS ** q equal blocks of the grid."""
    place = [np.unravel_index(np.arange(np.prod(shape)), shape)[k] * BLOCKS // count for k, count in enumerate(shape)]
    label = np.ravel_multi_index(place, (BLOCKS,) * len(shape))
    return [np.flatnonzero(label == block) for block in range(BLOCKS ** len(shape))]


def _jacobian(problem: Problem, theta: Array, rows: NDArray[np.intp], at: Projection) -> Array:
    """Kaufman's Jacobian of the projected residual, (M, q, n): the part of dA/dtheta c outside the columns in use."""
    slopes = []
    for k in range(theta.shape[1]):
        step = DIFFERENCE * (problem.high[k] - problem.low[k])
        middle = np.clip(theta[:, k], problem.low[k] + step, problem.high[k] - step)
        sides = []
        for value in (middle - step, middle + step):
            moved = theta.copy()
            moved[:, k] = value
            sides.append(problem.columns(moved, rows))
        change = sum(
            (after - before) * (at.coefficients[:, j] / (2 * step))[:, None]
            for j, (before, after) in enumerate(zip(*sides, strict=True))
        )
        slope = np.asarray(change)
        for direction in at.directions:
            slope = slope - dot(direction, slope)[:, None] * direction
        slopes.append(-slope)
    return np.stack(slopes, axis=1)


def refine(
    problem: Problem,
    theta: Array,
    rows: NDArray[np.intp],
    low: Array | None = None,
    high: Array | None = None,
    tolerance: float = PRECISE,
) -> tuple[Array, Array]:
    """The local minima next to theta (M, q) of data sets rows (M,): (theta (M, q), sum of squares (M,)). By
    Levenberg-Marquardt within the problem's bounds, or low and high (each (M, q)); where these meet, a parameter is
    held.
    """
    shape = theta.shape
    low = np.broadcast_to(problem.low if low is None else low, shape)
    high = np.broadcast_to(problem.high if high is None else high, shape)
    best, sums = np.clip(theta, low, high), np.empty(len(theta))
    work = np.arange(len(theta))
    here, damping = best.copy(), np.full(len(theta), 1e-3)
    at = project(problem.columns(here, rows), problem.z[rows], problem.signs)
    sums[:] = dot(at.residual, at.residual)
    for _ in range(STEPS):
        if not len(work):
            break
        own, least, most = rows[work], low[work], high[work]
        jacobian = _jacobian(problem, here, own, at)
        trial = np.clip(here + _step(jacobian, at.residual, here, least, most, damping), least, most)
        moved = np.max(np.abs(trial - here) / (problem.high - problem.low), axis=1)
        new = project(problem.columns(trial, own), problem.z[own], problem.signs)
        total = dot(new.residual, new.residual)
        better = total < sums[work]
        gained = ~better | (sums[work] - total > tolerance**1.5 * sums[work])
        here, at = np.where(better[:, None], trial, here), _picked(better, new, at)
        damping = np.where(better, np.maximum(damping / 8, 1e-15), damping * 6)
        best[work], sums[work] = here, np.where(better, total, sums[work])
        on = (moved > tolerance) & (damping < HEAVY) & gained
        work, here, damping = work[on], here[on], damping[on]
        at = Projection(at[0][on], at[1][on], [d[on] for d in at[2]])
    return best, sums


def _step(jacobian: Array, residual: Array, here: Array, low: Array, high: Array, damping: Array) -> Array:
    """The damped Gauss-Newton step, (M, q); parameters pushed against a bound stay there."""
    gradient = np.einsum("mqn,mn->mq", jacobian, residual)
    curvature = np.einsum("mqn,mrn->mqr", jacobian, jacobian)
    held = ((here <= low) & (gradient >= 0)) | ((here >= high) & (gradient <= 0))
    free = ~held
    curvature = curvature * (free[:, :, None] & free[:, None, :])
    diagonal = np.einsum("mqq->mq", curvature)
    floor = 1e-14 * np.max(diagonal, axis=1, keepdims=True) + np.finfo(float).tiny
    scale = np.where(free, np.maximum(diagonal, floor), 1.0)
    identity = np.eye(here.shape[1])
    system = curvature + (damping[:, None] * scale + held)[:, :, None] * identity
    system = system + np.finfo(float).tiny * identity
    step = -np.linalg.solve(system, (gradient * free)[..., None])[..., 0]
    return np.where(np.isfinite(step), step, 0.0)


def solve(problem: Problem, tolerance: float = PRECISE) -> Array:
    """The global minimum over the bounds for each data set, shape (B, q)."""
    if not len(problem.low):
        return np.zeros((len(problem.z), 0))
    precise = tolerance == PRECISE
    rows, theta = _starts(problem, everywhere=precise)
    minima, sums = refine(problem, theta, rows, tolerance=tolerance)
    order = np.lexsort((sums, rows))
    first = order[np.unique(rows[order], return_index=True)[1]]
    return _polish(problem, minima[first]) if precise else minima[first]


def _gradient(problem: Problem, theta: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
    """Half the gradient of the sum of squares by theta, exact, (M, q), and the sum of squares, (M,)."""
    at = project(problem.columns(theta, rows), problem.z[rows], problem.signs)
    jacobian = _jacobian(problem, theta, rows, at)
    return np.einsum("mqn,mn->mq", jacobian, at.residual), dot(at.residual, at.residual)


def _polish(problem: Problem, theta: Array) -> Array:
    """Newton steps from theta (B, q) with the curvature that Gauss-Newton leaves out; parameters at a bound stay."""
    rows, q = np.arange(len(theta)), theta.shape[1]
    step = CURVATURE * (problem.high - problem.low)
    gradient, sums = _gradient(problem, theta, rows)
    for _ in range(NEWTON):
        inside = (theta > problem.low + step) & (theta < problem.high - step)
        curvature = np.zeros((len(theta), q, q))
        for k in range(q):
            shift = step[k] * np.eye(q)[k]
            ahead, behind = (
                _gradient(problem, np.clip(theta + s, problem.low, problem.high), rows)[0] for s in (shift, -shift)
            )
            curvature[:, k] = (ahead - behind) / (2 * step[k])
        both = inside[:, :, None] & inside[:, None, :]
        system = np.where(both, (curvature + curvature.swapaxes(1, 2)) / 2, np.eye(q))
        scale = np.sqrt(np.maximum(np.abs(np.einsum("mqq->mq", system)), np.finfo(float).tiny))
        system = system / (scale[:, :, None] * scale[:, None, :])
        convex = np.linalg.eigvalsh(system)[:, 0] > FLAT
        system = np.where(convex[:, None, None], system, np.eye(q))
        move = np.linalg.solve(system, np.where(inside, gradient, 0.0)[:, :, None] / scale[:, :, None])[:, :, 0] / scale
        trial = np.clip(theta - np.where(convex[:, None], move, 0.0), problem.low, problem.high)
        new_gradient, total = _gradient(problem, trial, rows)
        better = total < sums
        if not better.any():
            break
        theta = np.where(better[:, None], trial, theta)
        gradient, sums = np.where(better[:, None], new_gradient, gradient), np.where(better, total, sums)
    return theta
