"""Variable projection: the linear half of every fit.

A separable law is y = sum_j c_j a_j(x; theta). Given theta the coefficients c are a linear least-squares problem, so
they are projected out and only theta is searched (:mod:`repro.laws.search`). Everything is done for many data sets at
once (a bootstrap is a thousand of them): arrays have the data sets in front and the points last.

Golub & Pereyra (2003), "Separable nonlinear least squares: the variable projection method and its applications".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Columns = list[Array]

RANK = 1e-12  # a normalised column closer than this to the span of the earlier ones adds nothing


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

    def residual(self, theta: Array) -> Array:
        """What the best coefficients at theta (M, q) leave of the (one) data set: shape (M, n)."""
        return project(self.columns(theta), self.z, self.signs).residual

    def sse(self, theta: Array) -> Array:
        """Sum of squares of :meth:`residual`, shape (M,)."""
        return np.asarray(np.sum(self.residual(theta) ** 2, axis=-1), dtype=float)


class Projection(NamedTuple):
    """coefficients (..., p), residual (..., n), and an orthonormal basis of the columns in use, p of (..., n)."""

    coefficients: Array
    residual: Array
    directions: Columns


def dot(one: Array, other: Array) -> Array:
    return np.asarray(np.einsum("...n,...n->...", one, other), dtype=float)


def orthonormal(columns: Columns) -> tuple[Columns, list[list[Array]]]:
    """Gram-Schmidt, twice for each column: (q, r) with column_j = sum_i r[i][j] q_i.

    A column that adds no direction becomes 0, with r_jj = 0.
    """
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
    """Coefficients from the triangular factor and the parts of z along each direction, last one first."""
    found: Columns = [np.zeros(0)] * len(along)
    for j in reversed(range(len(along))):
        rest = along[j]
        for k in range(j + 1, len(along)):
            rest = rest - r[j][k - j] * found[k]
        pivot = r[j][0]
        found[j] = np.where(pivot > 0, rest / np.where(pivot > 0, pivot, 1.0), 0.0)
    return found


def project(columns: Columns, z: Array, signs: tuple[int, ...]) -> Projection:
    """The best coefficients (those with a declared sign held to it) and what they leave of z.

    The signed problem has few columns, so every set of columns left out is tried: the solution is the best of those
    whose unconstrained coefficients have the right signs.
    """
    if not any(signs):
        return _least_squares(columns, z)
    held = [j for j, sign in enumerate(signs) if sign]
    best, legal = _signed(columns, z, signs, out=())
    best = best._replace(residual=np.where(legal[..., None], best.residual, np.inf))
    for count in range(1, len(held) + 1):
        for out in combinations(held, count):
            best = _better(best, *_signed(columns, z, signs, out))
    return best


def _signed(
    columns: Columns, z: Array, signs: tuple[int, ...], out: tuple[int, ...]
) -> tuple[Projection, NDArray[np.bool_]]:
    """The solution without the columns ``out``, and where its coefficients have the right signs."""
    found = _least_squares([np.zeros_like(c) if j in out else c for j, c in enumerate(columns)], z)
    return found, np.all(found.coefficients * np.array(signs) >= 0, axis=-1)


def _better(best: Projection, found: Projection, legal: NDArray[np.bool_]) -> Projection:
    with np.errstate(invalid="ignore"):
        swap = legal & (dot(found.residual, found.residual) < dot(best.residual, best.residual))
    pick = swap[..., None]
    return Projection(
        np.where(pick, found.coefficients, best.coefficients),
        np.where(pick, found.residual, best.residual),
        [np.where(pick, new, old) for new, old in zip(found.directions, best.directions, strict=True)],
    )
