"""The engine: recovery, scale, signs, intervals, bootstrap, and what it refuses or warns of."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import f, t

from repro.laws import DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, Fit, Law, Linear, Nonlinear

T = np.linspace(3, 100, 30)


def saturating(sign: int = 0) -> Law:
    """c exp(-k x) + d: one law of another kind, defined at x = 0, with an optional sign on c."""

    def basis(x: NDArray, k: NDArray) -> tuple[NDArray, float]:
        return np.exp(-k * x), 1.0

    return Law("saturation", "c e^{-kx} + d", (Nonlinear("k", 0.01, 5.0),), (Linear("c", sign), Linear("d")), basis)


def noisy(seed: int = 0, spread: float = 0.003) -> tuple[NDArray, NDArray]:
    truth = {"s1": -0.3, "alpha1": 1.2, "beta1": -0.7}
    noise = spread * np.random.default_rng(seed).standard_normal(len(T))
    return T, DOMAIN_TOKEN_LAW.evaluate(truth, T) + noise


def ends(fit: Fit, name: str, alpha: float = 0.05) -> tuple[float, float]:
    low, high = fit.conf_int(alpha).loc[name].to_numpy(float)
    return float(low), float(high)


def test_recovers_clean_parameters() -> None:
    truth = {"k": 0.8, "c": -2.0, "d": 3.0}
    x = np.linspace(0, 6, 12)
    fit = saturating().fit(x, saturating().evaluate(truth, x))
    assert fit.params == pytest.approx(truth, rel=1e-6)
    assert fit.r2 == pytest.approx(1)
    assert fit.predict(x) == pytest.approx(fit.y)


def test_sign_is_held_and_said() -> None:
    x = np.linspace(0, 6, 12)
    y = saturating().evaluate({"k": 0.8, "c": -2.0, "d": 3.0}, x)
    assert saturating(-1).fit(x, y).params == pytest.approx(saturating().fit(x, y).params, rel=1e-6)
    held = saturating(+1).fit(x, y)
    assert held.params["c"] == 0
    assert held.params["d"] == pytest.approx(y.mean())
    assert any("c is held at its bound 0" in text for text in held.warnings)


def test_units_change_only_coefficients() -> None:
    for law, (x, y) in ((DOMAIN_TOKEN_LAW, noisy()), (GENERAL_TOKEN_LAW, noisy())):
        one, other = law.fit(x, y), law.fit(2e8 * x, 1e-3 * y)
        for part in law.nonlinear:
            assert other.params[part.name] == pytest.approx(one.params[part.name], rel=1e-5, abs=1e-5)
        assert other.r2 == pytest.approx(one.r2, rel=1e-9)
        assert other.predict(2e8 * x) == pytest.approx(1e-3 * one.predict(x), rel=1e-6)


def test_weights_act_as_repetition() -> None:
    x, y = noisy()
    weights = np.where(np.arange(len(x)) % 3 == 0, 2.0, 1.0)
    twice = weights == 2
    repeated = DOMAIN_TOKEN_LAW.fit(np.r_[x, x[twice]], np.r_[y, y[twice]])
    assert DOMAIN_TOKEN_LAW.fit(x, y, weights).params == pytest.approx(repeated.params, rel=1e-6)


def test_goodness_by_hand() -> None:
    x, y = noisy()
    fit = DOMAIN_TOKEN_LAW.fit(x, y)
    sse = float(np.sum((y - fit.predict(x)) ** 2))
    assert fit.sse == pytest.approx(sse)
    assert fit.rse == pytest.approx(np.sqrt(sse / 27))
    assert fit.r2 == pytest.approx(1 - sse / np.sum((y - y.mean()) ** 2))
    assert fit.aic == pytest.approx(30 * (np.log(2 * np.pi * sse / 30) + 1) + 8)
    assert fit.aicc == pytest.approx(fit.aic + 2 * 4 * 5 / 25)
    assert fit.bic == pytest.approx(fit.aic - 8 + 4 * np.log(30))


def test_intervals_cover() -> None:
    hits = 0
    for seed in range(60):
        low, high = ends(DOMAIN_TOKEN_LAW.fit(*noisy(seed)), "s1", 0.1)
        hits += low < -0.3 < high
    assert 47 <= hits <= 60  # 54 expected, standard deviation 2.3


def test_interval_meets_the_f_limit_and_widens() -> None:
    fit = DOMAIN_TOKEN_LAW.fit(*noisy())
    wide, narrow = fit.conf_int(0.01), fit.conf_int(0.1)
    assert (wide["lower"] < narrow["lower"]).all() and (narrow["upper"] < wide["upper"]).all()
    problem = fit.law.problem(fit.x, fit.y[None], fit.weights)
    best = problem.sse(np.array([[fit.params["s1"]]]))
    for edge in ends(fit, "s1", 0.1):
        assert problem.sse(np.array([[edge]])) == pytest.approx(best * (1 + f.ppf(0.9, 1, 27) / 27), rel=1e-4)


def test_interval_of_two_exponents_keeps_their_order() -> None:
    fit = GENERAL_TOKEN_LAW.fit(*noisy())
    for name in ("s2", "s3"):
        low, high = ends(fit, name)
        assert low <= fit.params[name] <= high


def test_bootstrap_repeats_and_agrees_with_the_interval() -> None:
    fit = DOMAIN_TOKEN_LAW.fit(*noisy())
    draws = fit.bootstrap(150, seed=1)
    assert draws.equals(fit.bootstrap(150, seed=1))
    assert list(draws.columns) == ["s1", "alpha1", "beta1"]
    low, high = ends(fit, "s1")
    spread = np.quantile(draws["s1"], [0.025, 0.975])
    assert spread[1] - spread[0] == pytest.approx(high - low, rel=0.5)


def test_bootstrap_is_wider_for_correlated_residuals() -> None:
    x, y = noisy(spread=0)
    drift = 0.005 * np.sin(np.linspace(0, 3 * np.pi, len(x)))
    shuffled = np.random.default_rng(0).permutation(drift)
    smooth, rough = DOMAIN_TOKEN_LAW.fit(x, y + drift), DOMAIN_TOKEN_LAW.fit(x, y + shuffled)
    assert smooth.bootstrap(100)["s1"].std() / smooth.rse > 1.3 * rough.bootstrap(100)["s1"].std() / rough.rse


def test_summary_reads() -> None:
    text = DOMAIN_TOKEN_LAW.fit(*noisy()).summary()
    for part in ("n = 30", "R2 =", "s1", "alpha1", "beta1", "[0.025", "0.975]"):
        assert part in text


@pytest.mark.parametrize(
    ("x", "y", "weights", "message"),
    [
        ([1, 2, 3, 4], [1, 2, np.nan, 4], None, "y has values that are not finite"),
        ([1, 2, np.inf, 4], [1, 2, 3, 4], None, "x has values that are not finite"),
        ([1, 2], [1, 2], None, "2 points cannot determine 3 parameters"),
        ([1, 2, 3, 4], [1, 2, 3], None, "equally long"),
        ([1, 2, 3, 4], [1, 2, 3, 4], [1, 1, 0, 1], "weights must be positive"),
        ([0, 1, 2, 3], [1, 2, 3, 4], None, r"rows \[0\] of x"),
    ],
)
def test_refuses(x: list[float], y: list[float], weights: list[float] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DOMAIN_TOKEN_LAW.fit(x, y, weights)


def test_refuses_bad_settings() -> None:
    fit = DOMAIN_TOKEN_LAW.fit(*noisy())
    with pytest.raises(ValueError, match="alpha"):
        fit.conf_int(1.5)
    with pytest.raises(ValueError, match="at least one"):
        fit.bootstrap(0)
    with pytest.raises(ValueError, match="'wild'; it must be one of 'ar1', 'runs'"):
        fit.bootstrap(3, method="wild")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no value for s1"):
        DOMAIN_TOKEN_LAW.evaluate({"alpha1": 1.0, "beta1": 0.0}, 1.0)
    with pytest.raises(ValueError, match="bounds"):
        Law("bad", "", (Nonlinear("k", 1, 1),), (Linear("c"),), saturating().basis)
    with pytest.raises(ValueError, match="repeat"):
        Law("bad", "", (Nonlinear("k", 0, 1),), (Linear("k"),), saturating().basis)


def test_a_basis_that_does_not_fit_its_declaration_is_refused() -> None:
    short = Law("short", "", (), (Linear("a"), Linear("b")), lambda x: (x,))
    with pytest.raises(ValueError, match="short: a basis of 1 columns for 2 coefficients"):
        short.fit(T, T)
    infinite = Law("infinite", "", (Nonlinear("k", -1, 1),), (Linear("a"),), lambda x, k: (x**k,))
    with pytest.raises(ValueError, match=r"infinite: rows \[0\] of x: a basis function is not finite there"):
        infinite.fit(np.append(0.0, T), np.append(0.0, T))


def test_positive_exponents_take_zero() -> None:
    def basis(x: NDArray, s: NDArray) -> tuple[NDArray, float]:
        return x**s, 1.0

    law = Law("root", "a x^s + b", (Nonlinear("s", 0.05, 3.0),), (Linear("a"), Linear("b")), basis)
    truth = {"s": 0.5, "a": 2.0, "b": -1.0}
    x = np.arange(8.0)
    assert law.fit(x, law.evaluate(truth, x)).params == pytest.approx(truth, rel=1e-6)


def test_no_spare_points() -> None:
    fit = DOMAIN_TOKEN_LAW.fit([1, 2, 4], [1.0, 0.6, 0.4])
    assert any("hardly tested" in text for text in fit.warnings)
    assert fit.sse == pytest.approx(0, abs=1e-20)
    assert np.isnan(fit.rse) and fit.conf_int().isna().all(axis=None)
    with pytest.raises(ValueError, match="no spare points"):
        fit.bootstrap(10)


def test_constant_data_is_survived() -> None:
    fit = DOMAIN_TOKEN_LAW.fit(T, np.full_like(T, 2.0))
    assert fit.predict(T) == pytest.approx(2.0)
    assert np.isnan(fit.r2)


def test_band_is_the_spread_of_refits() -> None:
    x, y = noisy()
    fit = DOMAIN_TOKEN_LAW.fit(x, y)
    band = fit.interval([5.0, 50.0, 95.0])
    draws = DOMAIN_TOKEN_LAW.fit_many(
        x, fit.predict(x) + fit.rse * np.random.default_rng(0).standard_normal((2000, 30))
    )
    curves = DOMAIN_TOKEN_LAW.evaluate_many(draws, [5.0, 50.0, 95.0])
    half = (band["upper"] - band["lower"]).to_numpy() / 2
    assert half == pytest.approx(2.05 * curves.std(axis=0), rel=0.15)
    drawn = fit.with_draws(fit.bootstrap(200), "as a test")
    assert drawn.interval(50.0)["upper"].iloc[0] > fit.predict(50.0) and "as a test" in drawn.summary()


def test_many_fits_are_the_single_ones() -> None:
    rng = np.random.default_rng(0)
    x, y = noisy()
    many = y + 0.002 * rng.standard_normal((5, len(x)))
    for law in (DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, saturating(-1)):
        found = law.fit_many(x, many)
        for place, row in enumerate(many):
            one = law.fit(x, row)
            params = {name: float(values[place]) for name, values in found.items()}
            left = float(np.sum((row - law.evaluate(params, x)) ** 2))
            assert left == pytest.approx(one.sse, rel=1e-6)
    shared = DOMAIN_TOKEN_LAW.fit_many(x, many)["s1"]
    own = DOMAIN_TOKEN_LAW.fit_many(np.broadcast_to(x, many.shape), many, np.ones_like(many))["s1"]
    assert own == pytest.approx(shared, abs=1e-6)


def test_a_point_of_weight_zero_is_not_there() -> None:
    x, y = noisy()
    weights = np.ones((2, len(x)))
    weights[1, ::3] = 0
    spoilt = np.tile(y, (2, 1))
    spoilt[1, ::3] = 99.0
    found = DOMAIN_TOKEN_LAW.fit_many(x, spoilt, weights)["s1"]
    left = weights[1] > 0
    assert found[1] == pytest.approx(DOMAIN_TOKEN_LAW.fit(x[left], y[left]).params["s1"], abs=1e-5)


def test_a_law_without_nonlinear_parameters_is_ordinary_least_squares() -> None:
    line = Law("line", "a x + b", (), (Linear("a"), Linear("b")), lambda x: (x, 1.0))
    x, y = noisy()
    slope, level = np.polyfit(x, y, 1)
    fit = line.fit(x, y)
    assert fit.params == pytest.approx({"a": slope, "b": level})
    low, high = ends(fit, "a")
    residual = y - slope * x - level
    error = np.sqrt(residual @ residual / 28 / np.sum((x - x.mean()) ** 2))
    assert (high - low) / 2 == pytest.approx(t.ppf(0.975, 28) * error, rel=1e-6)
