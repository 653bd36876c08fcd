"""Separable laws: declare the basis, and one engine fits them all.

A :class:`Law` is y = sum_j c_j a_j(x; theta): nonlinear parameters theta with bounds, linear coefficients c
with an optional sign, the basis functions a_j, and LaTeX for the reader. ``law.fit(x, y)`` returns a
:class:`~repro.laws.Fit`. Every column is normalised and y is scaled by its spread before anything is solved;
so for laws whose columns only rescale with x (power laws), multiplying x or y by a constant changes
coefficients and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repro.laws.projection import Array, Grid, Problem, coefficients, solve
from repro.laws.results import Fit

# Exponents are reported no closer than this to a value (or to each other) where coefficients would become
# infinite. The curve moves by about this much, relatively: far less than any loss is known.
GAP = 1e-5

Basis = Callable[[NDArray[Any], Array], NDArray[Any]]


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
    """A separable law.

    basis: (x (n,), theta (q,)) -> (n, p), one column for each linear coefficient, in NumPy operations that
        also take complex x (:meth:`derivative` relies on it).
    conditioned: optionally another basis of the same column space that stays well behaved where ``basis``
        degenerates; used for the search, never for what is reported. Only for laws without signs.
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
        if not self.nonlinear or not self.linear:
            raise ValueError(f"{self.name}: a separable law needs a nonlinear and a linear parameter")
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

    def split(self, params: Mapping[str, float]) -> tuple[Array, Array]:
        """(theta (q,), coefficients (p,)) of a mapping. Raises ValueError if a name is missing."""
        missing = [name for name in self.names if name not in params]
        if missing:
            raise ValueError(f"{self.name}: no value for {', '.join(missing)}; it needs {', '.join(self.names)}")
        theta = np.array([params[part.name] for part in self.nonlinear], dtype=float)
        return theta, np.array([params[part.name] for part in self.linear], dtype=float)

    def evaluate(self, params: Mapping[str, float], x: ArrayLike) -> Array:
        """The law at ``x`` (any shape), same shape; infinite or NaN where the basis is.

        Raises:
            ValueError: if ``params`` lacks a name.

        """
        theta, linear = self.split(params)
        at = np.asarray(x, dtype=float)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            return np.asarray(self.basis(at.ravel(), theta) @ linear).reshape(at.shape)

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
        return np.asarray((self.basis(at.ravel() + 1j * step, theta) @ linear).imag / step).reshape(at.shape)

    def fit(self, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> Fit:
        """The global least-squares fit to x (n,), y (n,), with optional weights (n,) > 0 (inverse variances).

        Raises:
            ValueError: shapes differ, values are not finite, weights are not positive, there are fewer points
                than parameters, or the basis is not finite at some x.

        """
        at, values, weight = self._checked(x, y, weights)
        problem, scale = self.problem(at, values, weight)
        try:
            theta = solve(problem, Grid.over(problem))
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
        return Fit.of(self, self.solution(theta, problem.z * scale, at, weight), at, values, weight)

    def problem(self, x: Array, y: Array, weights: Array) -> tuple[Problem, float]:
        """The numerical problem of one data set, and the factor its responses were divided by."""
        root = np.sqrt(weights)
        z = root * y
        scale = float(np.linalg.norm(root * (y - np.average(y, weights=weights)))) or 1.0
        search = self.conditioned or self.basis
        return Problem(
            columns=lambda theta: root[:, None] * search(x, theta),
            z=z / scale,
            low=np.array([part.low for part in self.nonlinear]),
            high=np.array([part.high for part in self.nonlinear]),
            signs=tuple(part.sign for part in self.linear),
            ordered=self.ordered,
        ), scale

    def solution(self, theta: Array, z: Array, x: Array, weights: Array) -> dict[str, float]:
        """Parameters by name: ``theta`` kept off singular values, and the coefficients of ``basis`` there."""
        reported = self._separated(theta)
        design = np.sqrt(weights)[:, None] * self.basis(x, reported)
        linear = coefficients(design, z, tuple(part.sign for part in self.linear))
        return dict(zip(self.names, [*map(float, reported), *map(float, linear)], strict=True))

    def _separated(self, theta: Array) -> Array:
        apart = np.sort(theta) if self.ordered else np.array(theta)
        for place, part in enumerate(self.nonlinear):
            if part.singular is not None and abs(apart[place] - part.singular) < GAP:
                apart[place] = part.singular + np.copysign(GAP, apart[place] - part.singular)
            if self.ordered and place and apart[place] - apart[place - 1] < GAP:
                apart[place - 1] = min(apart[place - 1], part.high - GAP)
                apart[place] = apart[place - 1] + GAP
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
