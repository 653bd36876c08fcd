"""Noise models: what they estimate, what they draw, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from repro.laws import GENERAL_TOKEN_LAW, Fit
from repro.laws.inference import tangent_basis
from repro.laws.noise import ar1, ar1_series, draws, marginal

T = 100 * (np.arange(1, 26) / 25) ** 1.5
TRUTH = {"s2": 0.3, "s3": 0.8, "alpha2": 0.02, "alpha3": -0.0015, "beta2": 0.0}


def fitted(noise: np.ndarray, x: np.ndarray = T) -> Fit:
    return GENERAL_TOKEN_LAW.fit(x, GENERAL_TOKEN_LAW.evaluate(TRUTH, x) + noise)


def test_an_ar1_series_has_the_variance_and_correlation_asked_for() -> None:
    series = ar1_series(np.random.default_rng(0), 4000, 25, 2.0, 0.6)
    assert series.std() == pytest.approx(2.0, rel=0.03)
    assert np.mean(series[:, 1:] * series[:, :-1]) / series.var() == pytest.approx(0.6, abs=0.02)
    wider = ar1_series(np.random.default_rng(0), 4000, 25, 2.0, 0.6, df_resid=10)
    assert wider.var() == pytest.approx(4 * 10 / 8, rel=0.1)  # Student's t with 10 degrees of freedom


@pytest.mark.ci
def test_restricted_likelihood_is_not_fooled_by_a_flexible_fit() -> None:
    """Plain residuals of five parameters on 25 points show about half the correlation there is."""
    rng = np.random.default_rng(1)
    sigma, rho, found, plain, sizes = 0.002, 0.5, [], [], []
    for _ in range(40):
        fits = [fitted(noise) for noise in ar1_series(rng, 4, len(T), sigma, rho)]
        residuals, bases = [fit.y - fit.predict(fit.x) for fit in fits], [tangent_basis(fit.design) for fit in fits]
        found.append(ar1(zip(residuals, bases, strict=True)))
        sizes += [marginal(r, b, found[-1]) for r, b in zip(residuals, bases, strict=True)]
        plain += [float(r[1:] @ r[:-1] / (r @ r)) for r in residuals]
    assert np.median(found) == pytest.approx(rho, abs=0.1)
    assert np.median(sizes) == pytest.approx(sigma, rel=0.12)
    assert np.median(plain) < 0.3


def test_runs_vary_as_the_mean_of_runs_does() -> None:
    rng = np.random.default_rng(2)
    seeds, spread = 6, 0.01
    x, runs = np.tile(T, seeds), np.repeat(np.arange(seeds), len(T))
    level = np.repeat(spread * rng.standard_normal(seeds), len(T))
    fit = fitted(level, x)
    drawn = draws(fit.design, 4000, rng, runs=runs)
    assert drawn.method == "runs" and drawn.x == pytest.approx(T) and drawn.y.shape == (4000, len(T))
    error = level[:: len(T)].std(ddof=1) / np.sqrt(seeds)
    low, high = np.quantile(drawn.y[:, 0] - drawn.y[:, 0].mean(), [0.025, 0.975])
    assert (high - low) / 2 == pytest.approx(t.ppf(0.975, seeds - 1) * error, rel=0.08)  # as for any mean of six
    assert np.ptp(drawn.y - drawn.y[:, :1], axis=0).max() < 1e-9  # a run moves as a whole
    assert drawn.weights == pytest.approx(np.full(len(T), seeds))


def test_one_run_is_no_basis_for_a_bootstrap_over_runs() -> None:
    fit = fitted(0.001 * np.sin(T))
    assert draws(fit.design, 3, np.random.default_rng(0), runs=np.zeros(len(T))).method == "ar1"
    with pytest.raises(ValueError, match="two or more runs"):
        draws(fit.design, 3, np.random.default_rng(0), runs=np.zeros(len(T)), method="runs")


def test_draws_say_which_noise_they_are_made_with() -> None:
    fit = fitted(0.001 * np.sin(T))
    assert "AR(1)" in fit.bootstrap(3).attrs["method"]
    assert "over runs" in fit.bootstrap(3, runs=np.arange(len(T)) % 2).attrs["method"]
    with pytest.raises(ValueError, match="at least one replicate"):
        fit.bootstrap(0)
