"""Separable laws: declare the basis, and one engine fits them all.

A :class:`Law` is y = sum_j c_j a_j(x; theta): nonlinear parameters theta with bounds, linear coefficients c
with an optional sign, the basis functions a_j, and LaTeX for the reader. ``law.fit(x, y)`` returns a
:class:`~repro.laws.Fit`. Every column is normalised and y is scaled by its spread before anything is solved;
so for laws whose columns only rescale with x (power laws), multiplying x or y by a constant changes
coefficients and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repro.laws.projection import Array, Problem, project
from repro.laws.results import Fit
from repro.laws.search import PRECISE, QUICK, solve

# Exponents are reported no closer than this to a value (or to each other) where coefficients would become
# infinite. The curve moves by about this much, relatively: far less than any loss is known.
GAP = 1e-5

HUBER = 1.345  # residuals beyond this many robust standard deviations count linearly: 95% efficient on Gaussian noise
CONSTANT = 1e-13  # responses, or what a term adds to them, that differ by no more than this share are the same
MAD = 0.6745  # the median absolute deviation of a standard Gaussian
REWEIGHTINGS = 50
SETTLED = 1e-9

Loss = Literal["squares", "huber"]
Basis = Callable[..., Sequence[NDArray[Any] | float]]


@dataclass(frozen=True)
class Nonlinear:
    """A nonlinear parameter searched in [low, high].

    ``singular`` is a value at which the law's columns coincide and coefficients diverge (an exponent of 0
    beside a constant); a law that has one also declares a ``conditioned`` basis.
    """

    name: str
    low: float
    high: float
    singular: float | None = None


@dataclass(frozen=True)
class Linear:
    """A linear coefficient; ``sign`` +1 or -1 holds it to that side of zero, 0 leaves it free."""

    name: str
    sign: int = 0


@dataclass(frozen=True)
class Law:
    """A separable law. One without nonlinear parameters is ordinary linear least squares.

    basis: ``basis(x, *theta)`` gives one column for each linear coefficient, an array or a number. Data sets are
        solved many at a time, so x and theta may have leading axes: elementwise NumPy operations only, which also take
        complex x (:meth:`derivative` relies on it).
    conditioned: optionally another basis of the same column space that stays well behaved where ``basis``
        degenerates; used for the search, never for what is reported, and given x divided by its largest absolute
        value. Only for laws without signs.
    ordered: the nonlinear parameters are interchangeable and are reported in ascending order.

    x = 0 is legal exactly where ``basis`` is finite at 0 for every theta within the bounds: positive
    exponents take it, exponents that may be negative do not.
    """

    name: str
    latex: str
    nonlinear: tuple[Nonlinear, ...]
    linear: tuple[Linear, ...]
    basis: Basis
    conditioned: Basis | None = None
    ordered: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a declaration that cannot be fitted."""
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"{self.name}: parameter names repeat: {', '.join(self.names)}")
        if not self.linear:
            raise ValueError(f"{self.name}: a separable law needs a linear coefficient")
        for parameter in self.nonlinear:
            if not parameter.low < parameter.high:
                raise ValueError(f"{self.name}: {parameter.name} has bounds {parameter.low}, {parameter.high}")
        if any(part.sign not in (-1, 0, 1) for part in self.linear):
            raise ValueError(f"{self.name}: a sign is -1, 0 or 1")
        if self.conditioned is not None and any(part.sign for part in self.linear):
            raise ValueError(f"{self.name}: signs belong to the columns of basis, so conditioned cannot be used")

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names, nonlinear first."""
        return (*(part.name for part in self.nonlinear), *(part.name for part in self.linear))

    @property
    def signs(self) -> tuple[int, ...]:
        """The declared sign of each coefficient."""
        return tuple(part.sign for part in self.linear)

    def require(self, params: Mapping[str, Any]) -> None:
        """Raises ValueError if ``params`` lacks a name."""
        missing = [name for name in self.names if name not in params]
        if missing:
            raise ValueError(f"{self.name}: no value for {', '.join(missing)}; it needs {', '.join(self.names)}")

    def split(self, params: Mapping[str, float]) -> tuple[Array, Array]:
        """(theta (q,), coefficients (p,)) of a mapping. Raises ValueError if a name is missing."""
        self.require(params)
        theta = np.array([params[part.name] for part in self.nonlinear], dtype=float)
        return theta, np.array([params[part.name] for part in self.linear], dtype=float)

    def columns(self, x: NDArray[Any], theta: Array) -> NDArray[Any]:
        """The basis functions at x (n,) for one theta (q,), shape (n, p)."""
        return np.stack([np.broadcast_to(part, x.shape) for part in self.basis(x, *theta)], axis=-1)

    def evaluate(self, params: Mapping[str, float], x: ArrayLike) -> Array:
        """The law at ``x`` (any shape), same shape; infinite or NaN where the basis is.

        Raises:
            ValueError: if ``params`` lacks a name.

        """
        theta, linear = self.split(params)
        at = np.asarray(x, dtype=float)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            return np.asarray(self.columns(at.ravel(), theta) @ linear).reshape(at.shape)

    def evaluate_many(self, params: Mapping[str, Array], x: ArrayLike) -> Array:
        """The law at ``x`` (n,) for many parameter sets, each name (B,): shape (B, n)."""
        at = np.asarray(x, dtype=float)
        theta = [np.asarray(params[part.name], dtype=float)[:, None] for part in self.nonlinear]
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            parts = zip(self.linear, self.basis(at, *theta), strict=True)
            return np.asarray(sum(np.asarray(params[c.name], dtype=float)[:, None] * column for c, column in parts))

    def derivative(self, params: Mapping[str, float], x: ArrayLike) -> Array:
        """d/dx of the law at ``x`` > 0 (any shape), same shape, by the complex step: exact to rounding.

        Raises:
            ValueError: if ``params`` lacks a name or some x is not positive.

        """
        theta, linear = self.split(params)
        at = np.asarray(x, dtype=float)
        if not np.all(at > 0):
            raise ValueError(f"{self.name}: the derivative is taken at x > 0 only")
        step = 1e-30 * at.ravel()
        slope = (self.columns(at.ravel() + 1j * step, theta) @ linear).imag / step
        return np.asarray(slope).reshape(at.shape)

    def fit(self, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None, loss: Loss = "squares") -> Fit:
        """The global least-squares fit to x (n,), y (n,), with optional weights (n,) > 0 (inverse variances).

        With ``loss="huber"`` residuals beyond 1.345 robust standard deviations count linearly, by iterated
        reweighting; each round is a global fit, and the final weights are those of the result.

        Raises:
            ValueError: shapes differ, values are not finite, weights are not positive, there are fewer points
                than parameters, or the basis is not finite at some x.

        """
        at, values, weight = self._checked(x, y, weights)
        fit = Fit.of(self, self._solved(at, values, weight), at, values, weight)
        if loss == "squares":
            return fit
        if loss != "huber":
            raise ValueError(f"{self.name}: loss is {loss!r}; it must be 'squares' or 'huber'")
        return self._robust(fit, weight)

    def _robust(self, fit: Fit, prior: Array) -> Fit:
        for _ in range(REWEIGHTINGS):
            residual = np.sqrt(prior) * (fit.y - fit.predict(fit.x))
            scale = float(np.median(np.abs(residual))) / MAD
            if scale == 0:  # half the points are met exactly: what deviates is left out as far as numbers allow
                scale = np.finfo(float).eps * float(np.max(np.abs(fit.y)))
            reach = HUBER * scale / np.maximum(np.abs(residual), np.finfo(float).tiny)
            weight = prior * np.minimum(1.0, reach)
            before, fit = fit, Fit.of(self, self._solved(fit.x, fit.y, weight), fit.x, fit.y, weight, robust=True)
            change = np.max(np.abs(fit.predict(fit.x) - before.predict(fit.x)))
            if change <= SETTLED * np.ptp(fit.y):
                break
        return fit

    def _solved(self, x: Array, y: Array, weights: Array) -> dict[str, float]:
        found = self._solutions(x, y[None], weights, PRECISE)
        return {name: float(values[0]) for name, values in found.items()}

    def fit_many(self, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> dict[str, Array]:
        """The global fits to many data sets at once: y (B, n) at x, (n,) or (B, n); each parameter (B,).

        Nonlinear parameters are good to seven digits of their range, which is what bootstrap draws need. Weights (n,)
        or (B, n) may be 0 here: such a point is not there.

        Raises:
            ValueError: values are not finite, or the basis is not finite at some x.

        """
        at, values = np.asarray(x, dtype=float), np.atleast_2d(np.asarray(y, dtype=float))
        weight = np.ones_like(at) if weights is None else np.asarray(weights, dtype=float)
        if not (np.isfinite(at).all() and np.isfinite(values).all() and np.isfinite(weight).all()):
            raise ValueError(f"{self.name}: x, y or weights have values that are not finite")
        return self._solutions(at, values, weight, QUICK)

    def problem(self, x: Array, y: Array, weights: Array) -> Problem:
        """The numerical problem of data sets y (B, n) at x and weights, each (n,) or (B, n)."""
        root = np.sqrt(weights)
        z = root * y
        total = np.maximum(np.sum(weights * np.ones_like(y), axis=-1, keepdims=True), np.finfo(float).tiny)
        middle = np.sum(weights * y, axis=-1, keepdims=True) / total
        spread = np.linalg.norm(root * (y - middle), axis=-1, keepdims=True)
        reach = np.max(np.abs(x), axis=-1, keepdims=True)
        return Problem(
            basis=self.conditioned or self.basis,
            x=x / np.where(reach > 0, reach, 1.0) if self.conditioned else x,
            root=root,
            z=z / np.where(spread > CONSTANT * np.linalg.norm(z, axis=-1, keepdims=True), spread, np.inf),
            low=np.array([part.low for part in self.nonlinear], dtype=float),
            high=np.array([part.high for part in self.nonlinear], dtype=float),
            signs=self.signs,
            ordered=self.ordered,
        )

    def _solutions(self, x: Array, y: Array, weights: Array, tolerance: float) -> dict[str, Array]:
        try:
            theta = solve(self.problem(x, y, weights), tolerance)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
        return self.solutions(theta, x, y, weights)

    def solutions(self, theta: Array, x: Array, y: Array, weights: Array) -> dict[str, Array]:
        """Parameters by name, each (B,), for theta (B, q): kept off singular values, with the coefficients of ``basis``
        there.
        """
        reported = self._separated(theta)
        root = np.sqrt(weights)
        shape = np.broadcast_shapes(np.shape(x), y.shape)
        parts = self.basis(x, *(reported[:, k, None] for k in range(reported.shape[1])))
        columns = [np.broadcast_to(root * part, shape) for part in parts]
        linear = project(columns, root * y, self.signs).coefficients
        linear = np.where(self._rounding(columns, linear, root * y), 0.0, linear)
        values = [*reported.T, *linear.T]
        return dict(zip(self.names, values, strict=True))

    def _rounding(self, columns: list[Array], linear: Array, z: Array) -> NDArray[np.bool_]:
        """Which signed coefficients (B, p) add no more than rounding to their data set: these are at their bound, 0."""
        length = np.stack([np.linalg.norm(column, axis=-1) for column in columns], axis=-1)
        size = np.linalg.norm(z, axis=-1)[..., None]
        return np.asarray((np.array(self.signs) != 0) & (np.abs(linear) * length <= CONSTANT * size))

    def _separated(self, theta: Array) -> Array:
        apart = np.sort(theta, axis=1) if self.ordered else np.array(theta)
        for place, part in enumerate(self.nonlinear):
            if part.singular is not None:
                off = apart[:, place] - part.singular
                apart[:, place] = np.where(np.abs(off) < GAP, part.singular + np.copysign(GAP, off), apart[:, place])
            if self.ordered and place:
                before, after = apart[:, place - 1], apart[:, place]
                # Their mean is kept where the bounds let it: the curve then moves only in second order.
                middle = np.clip((before + after) / 2, part.low + GAP / 2, part.high - GAP / 2)
                near = after - before < GAP
                apart[:, place - 1] = np.where(near, middle - GAP / 2, before)
                apart[:, place] = np.where(near, middle + GAP / 2, after)
        return apart

    def _checked(self, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None) -> tuple[Array, Array, Array]:
        at, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        weight = np.ones_like(values) if weights is None else np.asarray(weights, dtype=float)
        if at.ndim != 1 or at.shape != values.shape or at.shape != weight.shape:
            shapes = f"x {at.shape}, y {values.shape}, weights {weight.shape}"
            raise ValueError(f"{self.name}: x, y and weights must be one-dimensional and equally long, not {shapes}")
        for label, array in (("x", at), ("y", values), ("weights", weight)):
            if not np.isfinite(array).all():
                raise ValueError(f"{self.name}: {label} has values that are not finite")
        if not np.all(weight > 0):
            raise ValueError(f"{self.name}: weights must be positive")
        if len(at) < len(self.names):
            raise ValueError(f"{self.name}: {len(at)} points cannot determine {len(self.names)} parameters")
        return at, values, weight
