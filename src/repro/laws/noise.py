"""What the noise of a fit is, and new data sets drawn with it, for a bootstrap.

Two kinds, by what the data are:

* "ar1": one trajectory. Neighbouring checkpoints share their drift, so residuals follow a first-order autoregression
  whose correlation and standard deviation are estimated by restricted maximum likelihood (REML): the fit has bent
  towards the drift, and plain residuals make it look smaller and rougher than it is.
* "runs": several runs (seeds). Each deviates from the curve as a whole: nothing is assumed about the noise within one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from repro.laws.inference import Design, tangent_basis
from repro.laws.solver import Array

Method = Literal["ar1", "runs"]

CORRELATIONS = np.linspace(0, 0.98, 50)
FEW_RUNS = 3
FAR = 0.5  # a series whose own correlation is further than this from the median of all is left out

WORDS: dict[str, str] = {
    "ar1": "parametric bootstrap with AR(1) errors by restricted maximum likelihood",
    "runs": "bootstrap over runs, each run's deviation as a whole",
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
    """Random numbers of n draws of a bootstrap over runs. multipliers: by the label of a run, standard normal (n,), for
    its deviation. spread_quantile: uniform (n,), the quantile at which the estimated spread of the runs lies.
    """

    multipliers: Mapping[Any, Array]
    spread_quantile: Array

    @classmethod
    def drawn(cls, labels: ArrayLike, n: int, rng: np.random.Generator) -> Runs:
        """For every different label, whatever their order."""
        return cls({label: rng.standard_normal(n) for label in np.unique(labels).tolist()}, rng.uniform(size=n))


def draws(
    design: Design,
    n: int,
    rng: np.random.Generator,
    *,
    runs: ArrayLike | None = None,
    method: Method | None = None,
    correlation: float | None = None,
    shared: Runs | None = None,
) -> Drawn:
    """``n`` data sets like the one of a fit, drawn by ``rng``. Raises ValueError for n < 1, an unknown method or one
    whose data are missing, or no residuals to learn the noise from.

    runs: label of each point's run (k,); two or more different ones make "runs" the default method. correlation: for
    "ar1", a lag-one correlation known from elsewhere, such as other curves of the same study. shared: for "runs", the
    random numbers, where the same runs appear on several curves.
    """
    if n < 1:
        raise ValueError(f"a bootstrap needs at least one replicate, not {n}")
    if method not in (None, *WORDS):
        raise ValueError(f"method is {method!r}; it must be one of {', '.join(map(repr, WORDS))}")
    labels = None if runs is None else np.asarray(runs)
    several = labels is not None and len(np.unique(labels)) > 1
    chosen: Method = method or ("runs" if several else "ar1")
    if chosen == "runs":
        if labels is None or not several:
            raise ValueError("a bootstrap over runs needs two or more runs")
        return _by_run(design, labels, Runs.drawn(labels, n, rng) if shared is None else shared)
    if not design.df_resid:
        raise ValueError(f"{design.name}: no spare points, so there is no noise to simulate")
    series = along(design)
    rho = ar1([series]) if correlation is None else correlation
    residual, basis = series
    df_resid = len(residual) - basis.shape[1]
    noise = ar1_series(rng, n, len(residual), marginal(residual, basis, rho), rho, df_resid)
    y = np.empty_like(noise)
    y[:, np.argsort(design.x, kind="stable")] = noise
    return Drawn(design.x, design.predict(design.x) + y / np.sqrt(design.weights), design.weights, chosen)


def along(design: Design) -> tuple[Array, Array]:
    """Weighted residuals (n,) of a fit in order along the trajectory, and an orthonormal basis (n, k) of the directions
    in which it could bend.
    """
    order = np.argsort(design.x, kind="stable")
    return (np.sqrt(design.weights) * design.residual)[order], tangent_basis(design)[order]


def ar1(series: Iterable[tuple[Array, Array]]) -> float:
    """The lag-one correlation that several series have in common, each with a variance of its own.

    Restricted maximum likelihood on a grid from 0 to 0.98, from what :func:`along` gives of each. A series whose own
    estimate is far from the median of all is left out: one with hardly any noise shows how its law bends, not how the
    others' noise does.
    """
    scores = np.array([[_restricted(*each, rho) for rho in CORRELATIONS] for each in series])
    own = CORRELATIONS[np.argmax(scores, axis=1)]
    near = np.abs(own - np.median(own)) <= FAR
    return float(CORRELATIONS[int(np.argmax(scores[near].sum(axis=0)))])


def marginal(residual: Array, basis: Array, rho: float) -> float:
    """Standard deviation of one value of the AR(1) process, by restricted maximum likelihood given ``rho``."""
    rest, _ = _whitened(residual, basis, rho)
    return float(np.sqrt(rest / max(1, len(residual) - basis.shape[1])))


def ar1_series(
    rng: np.random.Generator, n: int, points: int, sigma: float, rho: float, df_resid: int | None = None
) -> Array:
    """``n`` stationary AR(1) series, shape (n, points), with standard deviation sigma and lag-one correlation rho.

    With ``df_resid``, sigma is an estimate with that many degrees of freedom: each series then has a standard deviation
    of its own, sigma over the root of a chi-square draw per degree of freedom, which makes them Student's t.
    """
    own = np.full((n, 1), sigma) if df_resid is None else sigma * np.sqrt(df_resid / rng.chisquare(df_resid, (n, 1)))
    series = own * rng.standard_normal((n, points))
    for place in range(1, points):
        series[:, place] = rho * series[:, place - 1] + np.sqrt(1 - rho**2) * series[:, place]
    return series


def whitened(series: Array, rho: float, starts: NDArray[np.intp] | int = 0) -> Array:
    """Series (n,) or (n, k) without the AR(1) correlation of neighbours; at ``starts`` new runs begin."""
    white = series.copy()
    white[1:] = (series[1:] - rho * series[:-1]) / np.sqrt(1 - rho**2)
    white[starts] = series[starts]
    return white


def _whitened(residual: Array, basis: Array, rho: float) -> tuple[float, float]:
    """(generalised sum of squares left by the basis, log determinant of the basis' information)."""
    q, r = np.linalg.qr(whitened(basis, rho))
    rest = whitened(residual, rho)
    rest = rest - q @ (q.T @ rest)
    diagonal = np.abs(np.diag(r))
    return float(rest @ rest), float(2 * np.sum(np.log(np.maximum(diagonal, np.finfo(float).tiny))))


def _restricted(residual: Array, basis: Array, rho: float) -> float:
    """Twice the restricted log likelihood of AR(1) errors, without constants, its variance maximised out."""
    rest, information = _whitened(residual, basis, rho)
    if rest <= 0:
        return 0.0
    df_resid = max(1, len(residual) - basis.shape[1])
    return float(-((len(residual) - 1) * np.log(1 - rho**2) + information + df_resid * np.log(rest)))


def _by_run(design: Design, labels: NDArray[np.generic], shared: Runs) -> Drawn:
    """The fitted curve, and about it each run's residuals taken whole, times a random number of the run's own.

    Drawing k runs with replacement would do for many; a few have too few different samples, and their spread is known
    too poorly. The random numbers are Student's with k - 1 degrees of freedom, so that intervals are as wide as k runs
    warrant. Runs need not be measured at the same x.
    """
    names = np.unique(labels).tolist()
    df = len(names) - 1
    scale = np.sqrt(len(names) / df) * np.sqrt(df / stats.chi2.ppf(shared.spread_quantile, df))
    own = np.stack([shared.multipliers[label] * scale for label in labels.tolist()], axis=1)
    x, place = np.unique(design.x, return_inverse=True)
    total = np.zeros(len(x))
    np.add.at(total, place, design.weights)
    moved = np.zeros((len(x), len(scale)))
    np.add.at(moved, place, (own * (design.weights * design.residual)).T)
    return Drawn(x, design.predict(x) + moved.T / total, total, "runs")
