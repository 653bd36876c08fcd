"""Laws of several variables: Chinchilla's L(N, D), by least squares and by Huber's loss of ln L."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import huber, logsumexp

from helpers import ROOT
from repro.laws import Fit, Law, Nonlinear
from repro.laws.comparison import compare

EXAMPLE = (ROOT / "book" / "contributing.md").read_text().split("```python\n")[1].split("```")[0]
NAMES: dict[str, Any] = {}
exec(EXAMPLE.split("fit = ")[0], NAMES)
CHINCHILLA: Law = NAMES["chinchilla"]  # as the page declares it
PLANTED = {"alpha": 0.347, "beta": 0.367, "E": 1.817, "A": 477.8, "B": 2143.0}


def runs(spread: float = 0.0, count: int = 60) -> tuple[pd.DataFrame, NDArray]:
    """Models of 5e7 to 1e10 parameters on 1e9 to 5e11 tokens, and their losses; spread is that of ln L."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"N": 10 ** rng.uniform(7.7, 10, count), "D": 10 ** rng.uniform(9, 11.7, count)})
    return x, CHINCHILLA.evaluate(PLANTED, x) * np.exp(spread * rng.standard_normal(count))


@pytest.mark.parametrize("loss", ["squares", "log-huber"])
def test_the_planted_law_comes_back(loss: str) -> None:
    fit = CHINCHILLA.fit(*runs(), loss=loss)
    assert fit.params == pytest.approx(PLANTED, rel=1e-4)


def test_the_example_of_the_page_works() -> None:
    x, y = runs()
    names: dict[str, Any] = {"runs": x.assign(L=y)}
    exec(EXAMPLE, names)
    assert names["fit"].predict({"N": 7e10, "D": 1.4e12}) == pytest.approx(1.99, abs=0.05)


def test_columns_come_as_a_frame_a_mapping_or_an_array() -> None:
    x, y = runs(0.01)
    fits = [CHINCHILLA.fit(form, y) for form in (x[["D", "N"]], {"N": x["N"], "D": x["D"]}, x.to_numpy())]
    assert fits[0].params == fits[1].params == fits[2].params
    assert fits[0].predict({"N": 1e9, "D": [1e10, 1e11]}) == pytest.approx(
        fits[0].predict(np.array([[1e9, 1e10], [1e9, 1e11]])), rel=1e-12
    )


def objective(logs: NDArray, x: NDArray, y: NDArray, delta: float = 1e-3) -> float:
    """Approach 3 of Hoffmann et al.: logs holds ln A, ln B, ln E, alpha, beta."""
    a, b, e, alpha, beta = logs
    terms = np.broadcast_arrays(a - alpha * np.log(x[:, 0]), b - beta * np.log(x[:, 1]), e)
    return float(huber(delta, logsumexp(terms, axis=0) - np.log(y)).sum())


def logs_of(fit: Fit) -> NDArray:
    p = fit.params
    return np.array([np.log(p["A"]), np.log(p["B"]), np.log(p["E"]), p["alpha"], p["beta"]])


def test_log_huber_reaches_the_least_of_hoffmanns_objective_despite_outliers() -> None:
    x, y = runs(0.01)
    y[:3] *= 1.5  # runs that exploded
    fit, plain = CHINCHILLA.fit(x, y, loss="log-huber"), CHINCHILLA.fit(x, y)
    aim = partial(objective, x=x.to_numpy(), y=y)
    starts = [logs_of(fit), logs_of(plain), *np.array([[6, 7, 0.5, 0.35, 0.35], [5, 10, 0, 0.3, 0.5]])]
    searched = min(minimize(aim, start, method="Nelder-Mead", options={"maxiter": 6000}).fun for start in starts)
    assert aim(logs_of(fit)) <= searched * (1 + 1e-3)
    assert abs(fit.params["E"] - PLANTED["E"]) < abs(plain.params["E"] - PLANTED["E"])
    assert fit.robust and "Huber" in fit.summary()


@pytest.mark.ci
def test_intervals_draws_and_comparison_take_several_variables() -> None:
    x, y = runs(0.005)
    fit = CHINCHILLA.fit(x, y)
    low, high = fit.conf_int().loc["beta"]
    assert low < PLANTED["beta"] < high
    draws = fit.bootstrap(20)
    assert draws.attrs["method"] == "parametric bootstrap with independent errors"
    assert draws["alpha"].std() > 0
    runs_of = np.arange(len(y)) % 3
    assert len(fit.bootstrap(5, runs=runs_of)) == 5
    curve = fit.interval({"N": [1e9], "D": [1e14]})
    assert curve["lower"].iloc[0] < curve["value"].iloc[0] < curve["upper"].iloc[0]
    shared = Law(
        "one exponent", "", (Nonlinear("alpha", 0.05, 1.5),), CHINCHILLA.linear,
        lambda x, alpha: (1.0, x["N"] ** -alpha, x["D"] ** -alpha), variables=("N", "D"),
    )  # fmt: skip
    assert set(compare([CHINCHILLA, shared], x, y)["law"]) == {"Chinchilla", "one exponent"}
    with pytest.raises(ValueError, match="tail"):
        compare([CHINCHILLA, shared], x, y, held_out="tail")


def test_what_does_not_fit_is_refused_by_name() -> None:
    x, y = runs()
    with pytest.raises(ValueError, match="x has no column D; it needs N, D"):
        CHINCHILLA.fit(x[["N"]], y)
    with pytest.raises(ValueError, match=r"columns N, D, not the shape \(60, 3\)"):
        CHINCHILLA.fit(np.ones((60, 3)), y)
    with pytest.raises(ValueError, match="x has values that are not finite"):
        CHINCHILLA.fit(x.assign(N=np.nan), y)
    with pytest.raises(ValueError, match=r"rows .* not finite"):
        CHINCHILLA.fit(x.assign(N=0.0), y)
    with pytest.raises(ValueError, match="y and delta must be positive"):
        CHINCHILLA.fit(x, y - 3, loss="log-huber")
    with pytest.raises(ValueError, match="no trajectory"):
        CHINCHILLA.fit(*runs(0.01)).bootstrap(5, method="ar1")
