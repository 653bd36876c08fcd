"""What a fit returns: parameters, goodness, intervals, bootstrap, a summary to read, and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from repro.laws.projection import Array, Grid, normalised, profile, profile_interval, solve

if TYPE_CHECKING:
    from repro.laws.separable import Law

EDGE = 1e-3  # share of a parameter's range that counts as being at its bound
CONDITION = 1e3  # condition number of the normalised columns from which coefficients are said to trade off
UNDETERMINED = 1e-9  # a direction in parameter space that moves the curve less than this, relatively
SPARE = 2
LEVEL = 0.05


@dataclass(frozen=True)
class Fit:
    """A fitted law. ``params`` holds the nonlinear parameters first, then the coefficients; read it as fixed.

    sse: (weighted) sum of squared residuals; n: number of points; warnings: what a reader of the numbers
    should know.
    """

    law: Law
    params: Mapping[str, float]
    sse: float
    n: int
    warnings: tuple[str, ...]
    x: Array = field(repr=False, compare=False)
    y: Array = field(repr=False, compare=False)
    weights: Array = field(repr=False, compare=False)

    @classmethod
    def of(cls, law: Law, params: Mapping[str, float], x: Array, y: Array, weights: Array) -> Fit:
        """The fit of ``law`` with these parameters to these (validated) data."""
        sse = float(np.sum(weights * (y - law.evaluate(params, x)) ** 2))
        bare = cls(law, params, sse, len(x), (), x, y, weights)
        return cls(law, params, sse, len(x), tuple(_warnings(bare)), x, y, weights)

    @property
    def spare(self) -> int:
        """Residual degrees of freedom: points minus parameters."""
        return self.n - len(self.params)

    @property
    def rse(self) -> float:
        """Residual standard error sqrt(sse / spare), in the units of y; NaN with no spare points."""
        return float(np.sqrt(self.sse / self.spare)) if self.spare else float("nan")

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

    def conf_int(self, alpha: float = LEVEL) -> pd.DataFrame:
        """Intervals of confidence 1 - alpha: columns lower, upper; one row for each parameter.

        Nonlinear parameters: profile likelihood with the F(1, spare) limit, everything else refitted; a side
        that the data leave open ends at the declared bound. Coefficients: the delta method with Student's t,
        from the Jacobian in all parameters; wide and symmetric where a coefficient is barely determined,
        infinite where it is not determined at all (exponents that meet). Both take residuals as independent:
        along a trajectory they are correlated, and :meth:`bootstrap` is the more honest answer. NaN with no
        spare points.

        Raises:
            ValueError: if alpha is not strictly between 0 and 1.

        """
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must lie strictly between 0 and 1, not {alpha}")
        rows = self._intervals(alpha) if self.spare else [(float("nan"), float("nan"))] * len(self.params)
        return pd.DataFrame(rows, index=pd.Index(list(self.params), name="parameter"), columns=["lower", "upper"])

    def _intervals(self, alpha: float) -> list[tuple[float, float]]:
        problem, _ = self.law.problem(self.x, self.y, self.weights)
        theta, _ = self.law.split(self.params)
        limit = problem.sse(theta) * (1 + stats.f.ppf(1 - alpha, 1, self.spare) / self.spare)
        rows = [profile_interval(problem, place, theta, limit) for place in range(len(theta))]
        half = stats.t.ppf(1 - alpha / 2, self.spare) * self._standard_errors()
        return rows + [(c - h, c + h) for c, h in zip(self.params.values(), half, strict=True)][len(theta) :]

    def _standard_errors(self) -> Array:
        """Asymptotic standard errors of all parameters, shape (k,), by the delta method; inf where open."""
        theta, linear = self.law.split(self.params)
        slopes = []
        for place in range(len(theta)):
            step = np.zeros_like(theta)
            step[place] = 1e-5 * max(1.0, abs(theta[place]))
            change = self.law.basis(self.x, theta + step) - self.law.basis(self.x, theta - step)
            slopes.append(change @ linear / (2 * step[place]))
        jacobian = np.column_stack([*slopes, self.law.basis(self.x, theta)])
        unit, length = normalised(np.sqrt(self.weights)[:, None] * jacobian)
        _, singular, directions = np.linalg.svd(unit, full_matrices=False)
        kept = singular > UNDETERMINED * singular[0]
        errors = self.rse * np.sqrt(np.sum((directions[kept].T / singular[kept]) ** 2, axis=1)) / length
        lost = np.any(np.abs(directions[~kept]) > np.sqrt(UNDETERMINED), axis=0)
        return np.where(lost, np.inf, errors)

    def bootstrap(self, n: int = 200, seed: int = 0) -> pd.DataFrame:
        """Parameters of ``n`` refits to simulated data: one row each, one column for each parameter.

        Parametric with AR(1) errors: responses are the fitted curve plus Gaussian noise of standard deviation
        ``rse`` whose lag-one correlation, in order of x, is that of the residuals (clipped to 0..0.95).
        Losses at neighbouring checkpoints share their drift, which a shuffling of residuals would destroy.
        Seeded, so repeatable.

        Raises:
            ValueError: with no spare points, when there are no residuals to learn from, or n < 1.

        """
        if not self.spare:
            raise ValueError(f"{self.law.name}: no spare points, so there is no noise to simulate")
        if n < 1:
            raise ValueError(f"a bootstrap needs at least one replicate, not {n}")
        problem, scale = self.law.problem(self.x, self.y, self.weights)
        grid = Grid.over(problem)
        clean = np.sqrt(self.weights) * self.predict(self.x)
        rows = []
        for noise in self._noise(n, np.random.default_rng(seed)):
            z = clean + noise
            rows.append(self.law.solution(solve(problem, grid, z / scale), z, self.x, self.weights))
        return pd.DataFrame(rows)

    def _noise(self, n: int, rng: np.random.Generator) -> Array:
        """AR(1) noise for the weighted residuals, shape (n, points)."""
        order = np.argsort(self.x, kind="stable")
        residual = (np.sqrt(self.weights) * (self.y - self.predict(self.x)))[order]
        power = float(residual @ residual)
        rho = float(np.clip(residual[1:] @ residual[:-1] / power, 0, 0.95)) if power > 0 else 0.0
        shocks = self.rse * rng.standard_normal((n, self.n))
        walk = np.empty_like(shocks)
        walk[:, order[0]] = shocks[:, 0]
        for place in range(1, self.n):
            walk[:, order[place]] = rho * walk[:, order[place - 1]] + np.sqrt(1 - rho**2) * shocks[:, place]
        return walk

    def summary(self, alpha: float = LEVEL) -> str:
        """The fit as text: goodness, then each parameter with its interval, then warnings."""
        interval = self.conf_int(alpha)
        width = max(len(name) for name in self.params)
        lines = [
            f"{self.law.name}: {self.law.latex}",
            f"n = {self.n}   sse = {self.sse:.4g}   rse = {self.rse:.4g}   R2 = {self.r2:.6f}",
            f"AIC = {self.aic:.2f}   AICc = {self.aicc:.2f}   BIC = {self.bic:.2f}",
            f"{'':{width}}  {'estimate':>12}  {f'[{alpha / 2:g}':>12}  {f'{1 - alpha / 2:g}]':>12}",
        ]
        rows = zip(self.params.items(), interval["lower"], interval["upper"], strict=True)
        for (name, value), low, high in rows:
            lines.append(f"{name:{width}}  {value:12.6g}  {low:12.6g}  {high:12.6g}")
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def _warnings(fit: Fit) -> list[str]:
    few = f"{fit.n} points for {len(fit.params)} parameters: the fit is hardly tested"
    return [*([few] if fit.spare < SPARE else []), *_at_bounds(fit), *_trade_offs(fit), *_logarithms(fit)]


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
    unit, _ = normalised(np.sqrt(fit.weights)[:, None] * fit.law.basis(fit.x, theta))
    if unit.shape[1] < 2 or np.linalg.cond(unit) < CONDITION:
        return []
    alike = np.abs(np.triu(unit.T @ unit, k=1))
    one, two = np.unravel_index(int(np.argmax(alike)), alike.shape)
    pair = f"{fit.law.linear[one].name} and {fit.law.linear[two].name}"
    return [f"{pair} trade off, their basis functions being nearly equal: trust the curve, not the two numbers"]


def _logarithms(fit: Fit) -> list[str]:
    # Only for one power: of two, one can nearly always be swapped for a logarithm.
    if fit.law.conditioned is None or not fit.spare or len(fit.law.nonlinear) > 1:
        return []
    problem, _ = fit.law.problem(fit.x, fit.y, fit.weights)
    theta, _ = fit.law.split(fit.params)
    limit = problem.sse(theta) * (1 + stats.f.ppf(1 - LEVEL, 1, fit.spare) / fit.spare)
    return [
        f"{part.name} = {fit.params[part.name]:.4g} cannot be told from 0: a logarithm fits as well"
        for place, part in enumerate(fit.law.nonlinear)
        if part.singular == 0 and profile(problem, place, 0.0, theta)[0] <= limit
    ]
