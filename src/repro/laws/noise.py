"""What the noise of a fit is, and new data sets drawn with it.

Four kinds, by what the data are:

* "ar1": one trajectory. Neighbouring checkpoints share their drift, so residuals follow a first-order autoregression
  whose correlation and standard deviation are estimated by restricted maximum likelihood: the fit has bent towards the
  drift, and plain residuals make it look smaller and rougher than it is.
* "blocks": one trajectory, without a model of its noise: a moving-block bootstrap of the residuals.
* "runs": several runs (seeds). Each deviates from the curve as a whole: nothing is assumed about the noise within one.
* "binomial": scores that are shares of a known number of items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from repro.laws.inference import influence
from repro.laws.solver import Array

if TYPE_CHECKING:
    from repro.laws.law import Fit

Method = Literal["ar1", "blocks", "runs", "binomial"]

CORRELATIONS = np.linspace(0, 0.98, 50)
FEW_RUNS = 3
FAR = 0.5

WORDS: dict[str, str] = {
    "ar1": "parametric bootstrap with AR(1) errors by restricted maximum likelihood",
    "blocks": "moving-block bootstrap of the residuals",
    "runs": "bootstrap over runs, each run's deviation as a whole",
    "binomial": "parametric bootstrap with binomial errors of the scores",
}


@dataclass(frozen=True, eq=False)
class Drawn:
    """Data sets to refit: x (m,), y (n, m), weights (m,), and how they were made."""

    x: Array
    y: Array
    weights: Array
    method: Method


@dataclass(frozen=True, eq=False)
class Runs:
    """What the deviation of each run (by its label) is multiplied by in each draw, (n,), and a uniform number (n,) that
    says how far off their estimated spread is.
    """

    times: Mapping[Any, Array]
    luck: Array

    @classmethod
    def drawn(cls, labels: ArrayLike, n: int, rng: np.random.Generator) -> Runs:
        """For every label there is, whatever their order."""
        return cls({label: rng.standard_normal(n) for label in np.unique(labels).tolist()}, rng.uniform(size=n))


def draws(
    fit: Fit,
    n: int,
    rng: np.random.Generator,
    *,
    runs: ArrayLike | None = None,
    items: ArrayLike | None = None,
    method: Method | None = None,
    correlation: float | None = None,
    shared: Runs | None = None,
) -> Drawn:
    """``n`` data sets like the one of ``fit``.

    Args:
        fit: a fit with at least one spare point, or with items.
        n: how many.
        rng: the source of randomness.
        runs: label of each point's run (k,); two or more different ones make "runs" the default method.
        items: number of items behind each score (k,); makes "binomial" the default.
        method: one of the four, instead of the default.
        correlation: for "ar1", a lag-one correlation known from elsewhere, such as other curves of the same study.
        shared: for "runs", what each run's deviation is multiplied by, where the same runs appear on several curves.

    Raises:
        ValueError: for n < 1, a method whose data are missing, or no spare point to learn the noise from.

    """
    if n < 1:
        raise ValueError(f"a bootstrap needs at least one replicate, not {n}")
    labels = None if runs is None else np.asarray(runs)
    several = labels is not None and len(np.unique(labels)) > 1
    chosen: Method = method or ("binomial" if items is not None else "runs" if several else "ar1")
    if chosen == "binomial":
        if items is None:
            raise ValueError("a binomial bootstrap needs the number of items behind each score")
        count = np.asarray(items, dtype=float)
        share = np.clip(fit.predict(fit.x), 0, 1)
        return Drawn(fit.x, rng.binomial(count.astype(int), share, (n, fit.n)) / count, fit.weights, chosen)
    if chosen == "runs":
        if labels is None or not several:
            raise ValueError("a bootstrap over runs needs two or more runs")
        return _by_run(fit, labels, Runs.drawn(labels, n, rng) if shared is None else shared)
    if not fit.spare:
        raise ValueError(f"{fit.law.name}: no spare points, so there is no noise to simulate")
    order = np.argsort(fit.x, kind="stable")
    root = np.sqrt(fit.weights)
    residual = (root * (fit.y - fit.predict(fit.x)))[order]
    if chosen == "blocks":
        noise = _blocks(rng, residual * np.sqrt(fit.n / fit.spare), n)
    else:
        basis = influence(fit)[order]
        rho = ar1([residual], [basis]) if correlation is None else correlation
        noise = walk(rng, n, fit.n, marginal(residual, basis, rho), rho, fit.n - basis.shape[1])
    y = np.empty_like(noise)
    y[:, order] = noise
    return Drawn(fit.x, fit.predict(fit.x) + y / root, fit.weights, chosen)


def ar1(residuals: Sequence[Array], bases: Sequence[Array]) -> float:
    """The lag-one correlation that several series have in common, each with a variance of its own.

    Restricted maximum likelihood on a grid from 0 to 0.98: residuals (n,) in order along the trajectory, and
    orthonormal bases (n, k) of the directions in which their fits could bend. A series whose own estimate is far from
    the median of all is left out: one with hardly any noise shows how its law bends, and would speak for the others.
    """
    scores = np.array([
        [_restricted(residual, basis, rho) for rho in CORRELATIONS]
        for residual, basis in zip(residuals, bases, strict=True)
    ])  # fmt: skip
    own = CORRELATIONS[np.argmax(scores, axis=1)]
    alike = np.abs(own - np.median(own)) <= FAR
    return float(CORRELATIONS[int(np.argmax(scores[alike].sum(axis=0)))])


def marginal(residual: Array, basis: Array, rho: float) -> float:
    """Standard deviation of one value of the AR(1) process, by restricted maximum likelihood given ``rho``."""
    rest, _ = _whitened(residual, basis, rho)
    return float(np.sqrt(rest / max(1, len(residual) - basis.shape[1])))


def walk(rng: np.random.Generator, n: int, points: int, sigma: float, rho: float, spare: int | None = None) -> Array:
    """``n`` stationary AR(1) series, shape (n, points).

    With ``spare``, sigma was estimated with that many degrees of freedom, and each series has one of its own, as far
    off as such an estimate may be.
    """
    own = np.full((n, 1), sigma) if spare is None else sigma * np.sqrt(spare / rng.chisquare(spare, (n, 1)))
    shocks = own * rng.standard_normal((n, points))
    for place in range(1, points):
        shocks[:, place] = rho * shocks[:, place - 1] + np.sqrt(1 - rho**2) * shocks[:, place]
    return shocks


def _whitened(residual: Array, basis: Array, rho: float) -> tuple[float, float]:
    """(generalised sum of squares left by the basis, log determinant of the basis' information)."""

    def white(series: Array) -> Array:
        rest = series.copy()
        rest[1:] -= rho * series[:-1]
        rest[1:] /= np.sqrt(1 - rho**2)
        return rest

    q, r = np.linalg.qr(white(basis))
    rest = white(residual)
    rest = rest - q @ (q.T @ rest)
    diagonal = np.abs(np.diag(r))
    return float(rest @ rest), float(2 * np.sum(np.log(np.maximum(diagonal, np.finfo(float).tiny))))


def _restricted(residual: Array, basis: Array, rho: float) -> float:
    """Twice the restricted log likelihood of AR(1) errors, without constants, its variance maximised out."""
    rest, information = _whitened(residual, basis, rho)
    if rest <= 0:
        return 0.0
    spare = max(1, len(residual) - basis.shape[1])
    return float(-((len(residual) - 1) * np.log(1 - rho**2) + information + spare * np.log(rest)))


def _blocks(rng: np.random.Generator, residual: Array, n: int) -> Array:
    """Moving blocks of about n^(1/3) residuals, (n, points)."""
    points = len(residual)
    length = max(2, round(points ** (1 / 3)))
    count = -(-points // length)
    starts = rng.integers(0, points - length + 1, (n, count))
    places = (starts[:, :, None] + np.arange(length)).reshape(n, -1)[:, :points]
    centred = residual - residual.mean()
    return np.asarray(centred[places], dtype=float)


def _by_run(fit: Fit, labels: NDArray[np.generic], shared: Runs) -> Drawn:
    """The fitted curve, and about it each run's residuals taken whole, times a random number of the run's own.

    Drawing k runs with replacement would do for many; a few have too few different samples, and their spread is known
    too poorly. The random numbers are Student's with k - 1 degrees of freedom, so that intervals are as wide as k runs
    warrant. Runs need not be measured at the same x.
    """
    names = np.unique(labels).tolist()
    spare = len(names) - 1
    scale = np.sqrt(len(names) / spare) * np.sqrt(spare / stats.chi2.ppf(shared.luck, spare))
    residual = fit.y - fit.predict(fit.x)
    own = np.stack([shared.times[label] * scale for label in labels.tolist()], axis=1)
    x, place = np.unique(fit.x, return_inverse=True)
    total = np.zeros(len(x))
    np.add.at(total, place, fit.weights)
    moved = np.zeros((len(x), len(scale)))
    np.add.at(moved, place, (own * (fit.weights * residual)).T)
    return Drawn(x, fit.predict(x) + moved.T / total, total, "runs")
