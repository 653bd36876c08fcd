"""What a fit returns: parameters, goodness, intervals, bootstrap, a summary to read, and warnings."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from repro.laws import diagnosis, intervals, noise
from repro.laws.projection import Array

if TYPE_CHECKING:
    from repro.laws.separable import Law

LEVEL = 0.05
WIDTH = 80  # of the lines of a summary


@dataclass(frozen=True)
class Fit:
    """A fitted law. ``params`` holds the nonlinear parameters first, then the coefficients; read it as fixed.

    sse: (weighted) sum of squared residuals; n: number of points; warnings: what a reader of the numbers
    should know; robust: whether weights are those of a Huber loss; draws: parameters of bootstrap refits, one row
    each, where :meth:`with_draws` has added them, and method: how they were made, in words.
    """

    law: Law
    params: Mapping[str, float]
    sse: float
    n: int
    warnings: tuple[str, ...]
    x: Array = field(repr=False, compare=False)
    y: Array = field(repr=False, compare=False)
    weights: Array = field(repr=False, compare=False)
    robust: bool = False
    draws: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    method: str = "profile likelihood (nonlinear parameters) and delta method (coefficients)"

    @classmethod
    def of(cls, law: Law, params: Mapping[str, float], x: Array, y: Array, weights: Array, robust: bool = False) -> Fit:
        """The fit of ``law`` with these parameters to these (validated) data."""
        sse = float(np.sum(weights * (y - law.evaluate(params, x)) ** 2))
        bare = cls(law, params, sse, len(x), (), x, y, weights, robust)
        return replace(bare, warnings=diagnosis.warnings(bare))

    def with_draws(self, draws: pd.DataFrame, method: str) -> Fit:
        """The same fit, its intervals taken from the draws of a bootstrap."""
        return replace(self, draws=draws, method=method)

    @property
    def spare(self) -> int:
        """Residual degrees of freedom: points minus parameters."""
        return self.n - len(self.params)

    @property
    def rse(self) -> float:
        """Residual standard error sqrt(sse / spare); NaN with no spare points. In the units of y without weights; with
        inverse variances for weights it is in these standard deviations, near 1 where the law holds.
        """
        return float(np.sqrt(self.sse / self.spare)) if self.spare else float("nan")

    @property
    def r2(self) -> float:
        """1 - sse / (weighted) sum of squares about the mean, as the paper's Table 3; NaN for constant y."""
        about = float(np.sum(self.weights * (self.y - np.average(self.y, weights=self.weights)) ** 2))
        return 1 - self.sse / about if about > 0 else float("nan")

    @property
    def loglik(self) -> float:
        """Gaussian log likelihood with the variance estimated as sse / n; +inf for an exact fit, NaN for a robust
        one, whose weights come from its own residuals.
        """
        if self.robust:
            return float("nan")
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

        From the draws where there are any, else by the delta method with Student's t; NaN with no spare points and no
        draws. It is the curve's uncertainty: a new measurement scatters about it by ``rse`` besides.
        attrs["warnings"] says how far x lies beyond the data.

        Raises:
            ValueError: if alpha is not strictly between 0 and 1.

        """
        _check_level(alpha)
        at = np.atleast_1d(np.asarray(x, dtype=float))
        value = self.predict(at)
        if self.draws is not None:
            curves = self.law.evaluate_many({name: self.draws[name].to_numpy() for name in self.params}, at)
            low, high = np.nanquantile(curves, [alpha / 2, 1 - alpha / 2], axis=0)
        elif self.spare:
            half = stats.t.ppf(1 - alpha / 2, self.spare) * intervals.band_errors(self, at)
            low, high = value - half, value + half
        else:
            low = high = np.full_like(value, np.nan)
        frame = pd.DataFrame({"value": value, "lower": low, "upper": high})
        frame.attrs["warnings"] = diagnosis.extrapolation(self, at)
        return frame

    def conf_int(self, alpha: float = LEVEL) -> pd.DataFrame:
        """Intervals of confidence 1 - alpha: columns lower, upper; one row for each parameter.

        With draws: their percentiles. Without: profile likelihood for nonlinear parameters, with the F(1, spare) limit,
        everything else refitted; a side that the data leave open ends at the declared bound. Coefficients by the delta
        method with Student's t, from the Jacobian in all parameters; wide and symmetric where a coefficient is barely
        determined, infinite where it is not determined at all (exponents that meet). Both take residuals as
        independent: along a trajectory they are correlated, and the draws of :meth:`bootstrap` are the more honest
        answer. NaN with no spare points.

        Raises:
            ValueError: if alpha is not strictly between 0 and 1.

        """
        _check_level(alpha)
        if self.draws is not None:
            bounds = self.draws[list(self.params)].quantile([alpha / 2, 1 - alpha / 2]).to_numpy().T
            rows = [(float(low), float(high)) for low, high in bounds]
        else:
            rows = self._intervals(alpha) if self.spare else [(float("nan"), float("nan"))] * len(self.params)
        return pd.DataFrame(rows, index=pd.Index(list(self.params), name="parameter"), columns=["lower", "upper"])

    def _intervals(self, alpha: float) -> list[tuple[float, float]]:
        problem = self.law.problem(self.x, self.y[None], self.weights)
        theta, linear = self.law.split(self.params)
        limit = intervals.profile_limit(self, problem, theta, alpha)
        rows = [intervals.profile_interval(problem, place, theta, limit) for place in range(len(theta))]
        half = stats.t.ppf(1 - alpha / 2, self.spare) * intervals.standard_errors(self)[len(theta) :]
        return rows + [(float(c - h), float(c + h)) for c, h in zip(linear, half, strict=True)]

    def bootstrap(
        self,
        n: int = 200,
        seed: int = 0,
        *,
        runs: ArrayLike | None = None,
        items: ArrayLike | None = None,
        method: noise.Method | None = None,
    ) -> pd.DataFrame:
        """Parameters of ``n`` refits to data drawn as :mod:`repro.laws.noise` says: one row each, one column for
        each parameter. Seeded, so repeatable. attrs["method"] says which kind of noise was used.

        Args:
            n: how many refits.
            seed: of the random numbers.
            runs: label of each point's run; with two or more, runs deviate as wholes.
            items: number of items behind each score; their binomial error is used.
            method: "ar1", "blocks", "runs" or "binomial" instead of what follows from the data.

        Raises:
            ValueError: with no spare points, when there are no residuals to learn from, or n < 1.

        """
        drawn = noise.draws(self, n, np.random.default_rng(seed), runs=runs, items=items, method=method)
        frame = pd.DataFrame(self.law.fit_many(drawn.x, drawn.y, drawn.weights))
        frame.attrs["method"] = noise.WORDS[drawn.method]
        return frame

    def summary(self, alpha: float = LEVEL) -> str:
        """The fit as text: goodness, then each parameter with its interval, then warnings."""
        interval = self.conf_int(alpha)
        width = max(len(name) for name in self.params)
        loss = "Huber loss, reweighted" if self.robust else "least squares"
        lines = [
            self.law.name,
            f"{loss}   n = {self.n}   sse = {self.sse:.4g}   rse = {self.rse:.4g}   R2 = {self.r2:.6f}",
            f"AIC = {self.aic:.2f}   AICc = {self.aicc:.2f}   BIC = {self.bic:.2f}",
            *textwrap.wrap(f"intervals: {self.method}", WIDTH),
            f"{'':{width}}  {'estimate':>12}  {f'[{alpha / 2:g}':>12}  {f'{1 - alpha / 2:g}]':>12}",
        ]
        rows = zip(self.params.items(), interval["lower"], interval["upper"], strict=True)
        for (name, value), low, high in rows:
            lines.append(f"{name:{width}}  {value:12.6g}  {low:12.6g}  {high:12.6g}")
        return "\n".join(
            [*lines, *(line for text in self.warnings for line in textwrap.wrap(f"warning: {text}", WIDTH))]
        )


def _check_level(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, not {alpha}")
