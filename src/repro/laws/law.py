"""Separable laws, declared by their basis, and what fitting one to data gives.

A :class:`Law` is y = sum_j c_j a_j(x; theta): nonlinear parameters theta with bounds, linear coefficients c with an
optional sign, the basis functions a_j, and LaTeX for the reader. ``law.fit(x, y)`` returns a :class:`Fit`, by variable
projection (:mod:`repro.laws.solver`). Every column is normalised and y is scaled by its spread before anything is
solved; so for laws whose columns only rescale with x (power laws), multiplying x or y by a constant changes
coefficients and nothing else.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from repro.laws import inference, noise
from repro.laws.inference import LEVEL, Design
from repro.laws.solver import PRECISE, QUICK, Array, Problem, project, solve

WIDTH = 80  # of the lines of a summary

# Exponents are reported no closer than this to a value (or to each other) where coefficients would become
# infinite. The curve moves by about this much, relatively: far less than the error of any loss.
GAP = 1e-5

CONSTANT = 1e-13  # responses, or what a term adds to them, that differ by no more than this share are the same

Basis = Callable[..., Sequence[NDArray[Any] | float]]


@dataclass(frozen=True)
class Nonlinear:
    """A nonlinear parameter searched in [low, high]. singular: a value at which the law's basis functions coincide and
    coefficients diverge (an exponent of 0 beside a constant); a law that has one also declares a ``conditioned`` basis.
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

    basis: ``basis(x, *theta)`` gives one column for each linear coefficient, an array or a number. Many data sets are
        solved at once, so x and theta may have leading axes: elementwise NumPy operations only.
    conditioned: optionally another basis of the same column space that stays well conditioned where ``basis``
        degenerates; used for the search, never for what is reported, and given x divided by its largest absolute
        value. Only for laws without signs.
    ordered: the nonlinear parameters are interchangeable and are reported in ascending order.

    x = 0 is allowed exactly where ``basis`` is finite at 0 for every theta within the bounds: by positive exponents,
    not by exponents that may be negative.
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
        """The law at ``x``, in its shape; infinite or NaN where the basis is. ValueError if ``params`` lacks a name."""
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

    def fit(self, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> Fit:
        """The global least-squares fit to x (n,), y (n,), with optional weights (n,) > 0 (inverse variances).

        Raises ValueError if shapes differ, values are not finite, weights are not positive, there are fewer points than
        parameters, or the basis is not finite at some x.
        """
        at, values, weight = self._checked(x, y, weights)
        params = {name: float(value[0]) for name, value in self._solutions(at, values[None], weight, PRECISE).items()}
        return Fit.of(self, params, at, values, weight)

    def fit_many(self, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> dict[str, Array]:
        """The global fits to many data sets at once: y (B, n) at x, (n,) or (B, n); each parameter (B,), to seven
        digits of its range, which is what bootstrap draws need. Weights (n,) or (B, n) may be 0, which leaves a point
        out. Raises ValueError if values are not finite, or the basis is not finite at some x.
        """
        at, values = np.asarray(x, dtype=float), np.atleast_2d(np.asarray(y, dtype=float))
        weight = np.ones(at.shape) if weights is None else np.asarray(weights, dtype=float)
        if not all(np.isfinite(array).all() for array in (at, values, weight)):
            raise ValueError(f"{self.name}: x, y or weights have values that are not finite")
        return self._solutions(at, values, weight, QUICK)

    def problem(self, x: Array, y: Array, weights: Array) -> Problem:
        """The numerical problem of data sets y (B, n) at x and weights, each (n,) or (B, n)."""
        root = np.sqrt(weights)
        z = root * y
        total = np.maximum(np.sum(weights * np.ones_like(y), axis=-1, keepdims=True), np.finfo(float).tiny)
        middle = np.sum(weights * y, axis=-1, keepdims=True) / total
        spread = np.linalg.norm(root * (y - middle), axis=-1, keepdims=True)
        reach = np.max(np.abs(x), axis=-1, keepdims=True) if self.conditioned else np.ones(1)
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

    def _solutions(self, x: Array, y: Array, weights: Array, tolerance: float) -> dict[str, Array]:
        """Parameters by name, each (B,): theta kept off singular values, with the coefficients of ``basis`` there."""
        lowest = [part.low for part in self.nonlinear]
        with np.errstate(all="ignore"):
            counts = [len(basis(x, *lowest)) for basis in (self.basis, self.conditioned) if basis is not None]
        if wrong := [count for count in counts if count != len(self.linear)]:
            raise ValueError(f"{self.name}: a basis of {wrong[0]} columns for {len(self.linear)} coefficients")
        try:
            theta = self._separated(solve(self.problem(x, y, weights), tolerance))
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
        root = np.sqrt(weights)
        shape = np.broadcast_shapes(np.shape(x), y.shape)
        parts = self.basis(x, *(theta[:, k, None] for k in range(theta.shape[1])))
        columns = [np.broadcast_to(root * part, shape) for part in parts]
        linear = project(columns, root * y, self.signs).coefficients
        # Signed coefficients that add no more than rounding to their data set are at their bound, 0.
        length = np.stack([np.linalg.norm(column, axis=-1) for column in columns], axis=-1)
        rounding = np.abs(linear) * length <= CONSTANT * np.linalg.norm(root * y, axis=-1)[..., None]
        linear = np.where((np.array(self.signs) != 0) & rounding, 0.0, linear)
        return dict(zip(self.names, [*theta.T, *linear.T], strict=True))

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


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    params: the nonlinear parameters, then the coefficients; do not change them. sse: (weighted) sum of squared
    residuals. n: number of points. warnings: what a reader of the numbers should know. draws: parameters of bootstrap
    refits, one row each, where :meth:`with_draws` has added them. method: where intervals come from, in words.
    """

    law: Law
    params: Mapping[str, float]
    sse: float
    n: int
    warnings: tuple[str, ...]
    x: Array = field(repr=False, compare=False)
    y: Array = field(repr=False, compare=False)
    weights: Array = field(repr=False, compare=False)
    draws: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    method: str = "profile likelihood (nonlinear parameters) and delta method (coefficients)"

    @classmethod
    def of(cls, law: Law, params: Mapping[str, float], x: Array, y: Array, weights: Array | None) -> Fit:
        """The fit of ``law`` with these parameters to these (validated) data."""
        weight = np.ones(len(y)) if weights is None else weights
        sse = float(np.sum(weight * (y - law.evaluate(params, x)) ** 2))
        bare = cls(law, params, sse, len(x), (), x, y, weight)
        return replace(bare, warnings=inference.warnings(bare.design))

    def with_draws(self, draws: pd.DataFrame, method: str) -> Fit:
        """The same fit, its intervals taken from the draws of a bootstrap."""
        return replace(self, draws=draws, method=method)

    @cached_property
    def design(self) -> Design:
        """What inference and noise need to know of this fit."""
        law, (theta, linear) = self.law, self.law.split(self.params)
        return Design(
            law.name, law.names, tuple(part.singular for part in law.nonlinear), law.columns, theta, linear,
            self.x, self.y, self.weights, self.rse, self.df_resid, law.problem(self.x, self.y[None], self.weights),
        )  # fmt: skip

    @property
    def df_resid(self) -> int:
        """Residual degrees of freedom: points minus parameters."""
        return self.n - len(self.params)

    @property
    def rse(self) -> float:
        """Residual standard error sqrt(sse / df_resid), in the units of y; with inverse variances for weights in these
        standard deviations, near 1 where the law holds. NaN with no residual degrees of freedom.
        """
        return float(np.sqrt(self.sse / self.df_resid)) if self.df_resid else float("nan")

    @property
    def r2(self) -> float:
        """1 - sse / (weighted) sum of squares about the mean, as the paper's Table 3; NaN for constant y."""
        about = float(np.sum(self.weights * (self.y - np.average(self.y, weights=self.weights)) ** 2))
        return 1 - self.sse / about if about > 0 else float("nan")

    @property
    def loglik(self) -> float:
        """Gaussian log likelihood with the variance estimated as sse / n; +inf for an exact fit."""
        if self.sse == 0:
            return float("inf")
        per_point = np.log(2 * np.pi * self.sse / self.n) + 1
        return float(-self.n / 2 * per_point + np.sum(np.log(self.weights)) / 2)

    @property
    def aic(self) -> float:
        """Akaike's criterion; the error variance counts as a parameter."""
        return 2 * (len(self.params) + 1) - 2 * self.loglik

    @property
    def aicc(self) -> float:
        """AIC corrected for small samples; +inf where n is too small for the correction."""
        k = len(self.params) + 1
        return self.aic + 2 * k * (k + 1) / (self.n - k - 1) if self.n > k + 1 else float("inf")

    @property
    def bic(self) -> float:
        """Schwarz's criterion; the error variance counts as a parameter."""
        return float((len(self.params) + 1) * np.log(self.n) - 2 * self.loglik)

    def predict(self, x: ArrayLike) -> Array:
        """The fitted law at ``x`` (any shape)."""
        return self.law.evaluate(self.params, x)

    def interval(self, x: ArrayLike, alpha: float = LEVEL) -> pd.DataFrame:
        """The fitted curve at ``x`` (m,) with its pointwise interval: columns value, lower, upper.

        From the percentiles of the draws where there are any, else by the delta method with Student's t; NaN with no
        residual degrees of freedom and no draws. It is the curve's uncertainty: a new measurement scatters about it by
        ``rse`` besides. Raises ValueError if alpha is not strictly between 0 and 1.
        """
        _check_level(alpha)
        at = np.atleast_1d(np.asarray(x, dtype=float))
        value = self.predict(at)
        if self.draws is not None:
            curves = self.law.evaluate_many({name: self.draws[name].to_numpy() for name in self.params}, at)
            low, high = np.nanquantile(curves, [alpha / 2, 1 - alpha / 2], axis=0)
        else:
            half = inference.band(self.design, at, alpha)
            low, high = value - half, value + half
        return pd.DataFrame({"value": value, "lower": low, "upper": high})

    def conf_int(self, alpha: float = LEVEL) -> pd.DataFrame:
        """Intervals of confidence 1 - alpha: columns lower, upper; one row for each parameter.

        With draws: their percentiles. Without: profile likelihood for nonlinear parameters, with the F(1, df_resid)
        limit, everything else refitted; a side that the data leave open ends at the declared bound. Coefficients by the
        delta method with Student's t, from the Jacobian in all parameters; wide and symmetric where a coefficient is
        barely determined, infinite where it is not determined at all (exponents that meet). Both take residuals as
        independent: along a trajectory they are correlated, and the draws of :meth:`bootstrap` are the more honest
        answer. NaN with no residual degrees of freedom. Raises ValueError if alpha is not strictly between 0 and 1.
        """
        _check_level(alpha)
        if self.draws is not None:
            bounds = self.draws[list(self.params)].quantile([alpha / 2, 1 - alpha / 2]).to_numpy().T
        else:
            bounds = inference.conf_int(self.design, alpha)
        return pd.DataFrame(bounds, index=pd.Index(list(self.params), name="parameter"), columns=["lower", "upper"])

    def bootstrap(self, n: int = 200, seed: int = 0, **known: Any) -> pd.DataFrame:
        """Parameters of ``n`` refits to data drawn by :func:`repro.laws.noise.draws`, from what is ``known`` (runs,
        method): one row each, one column for each parameter. Seeded, so repeatable. attrs["method"] says which
        kind of noise was used. Raises ValueError for an unknown method, n < 1, or no noise to learn from.
        """
        drawn = noise.draws(self.design, n, np.random.default_rng(seed), **known)
        frame = pd.DataFrame(self.law.fit_many(drawn.x, drawn.y, drawn.weights))
        frame.attrs["method"] = noise.WORDS[drawn.method]
        return frame

    def summary(self, alpha: float = LEVEL) -> str:
        """The fit as text: goodness, then each parameter with its interval, then warnings."""
        interval = self.conf_int(alpha)
        width = max(len(name) for name in self.params)
        lines = [
            self.law.name,
            f"least squares   n = {self.n}   sse = {self.sse:.4g}   rse = {self.rse:.4g}   R2 = {self.r2:.6f}",
            f"AIC = {self.aic:.2f}   AICc = {self.aicc:.2f}   BIC = {self.bic:.2f}",
            *textwrap.wrap(f"intervals: {self.method}", WIDTH),
            f"{'':{width}}  {'estimate':>12}  {f'[{alpha / 2:g}':>12}  {f'{1 - alpha / 2:g}]':>12}",
        ]
        rows = zip(self.params.items(), interval["lower"], interval["upper"], strict=True)
        lines += [f"{name:{width}}  {value:12.6g}  {low:12.6g}  {high:12.6g}" for (name, value), low, high in rows]
        lines += [line for text in self.warnings for line in textwrap.wrap(f"warning: {text}", WIDTH)]
        return "\n".join(lines)


def _check_level(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, not {alpha}")
