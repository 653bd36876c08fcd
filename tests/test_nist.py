"""NIST's certified nonlinear regressions: the engine alone, from its fixed grid, without starting values.

tests/nist holds files of the Statistical Reference Datasets of the National Institute of Standards and
Technology (public domain; trailing blanks removed). They are all its nonlinear regressions that are separable
with at most three nonlinear parameters. Left out: Gauss1, Gauss2 and Gauss3 (five nonlinear parameters),
Nelson (two predictors) and Roszman1 (its arctangent has a fixed coefficient).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from repro.laws import Law, Linear, Nonlinear
from repro.laws.separable import Basis

FOLDER = Path(__file__).parent / "nist"
CERTIFIED = 11  # digits that NIST certifies
DIGITS = 6.0
EXACT = 1e-11  # Lanczos1 is an exact sum: its residuals, 1e-13, are the rounding of its printed data

Params = Mapping[str, float]


@dataclass(frozen=True)
class Regression:
    """One certified regression: how NIST's model is declared here, and how NIST's parameters follow."""

    name: str
    nonlinear: Mapping[str, tuple[float, float]]
    linear: tuple[str, ...]
    basis: Basis
    certified: Callable[[Params], Params] = dict
    ordered: bool = False

    @property
    def law(self) -> Law:
        ranges = tuple(Nonlinear(name, low, high) for name, (low, high) in self.nonlinear.items())
        return Law(self.name, "", ranges, tuple(map(Linear, self.linear)), self.basis, ordered=self.ordered)


def polynomial(x: NDArray, *coefficients: float) -> NDArray:
    return sum(c * x**power for power, c in enumerate(coefficients))


def rational(x: NDArray, *below: float, above: int) -> tuple[NDArray, ...]:
    """Columns 1, x, ... x^above, over 1 + below_1 x + below_2 x^2 + ..."""
    denominator = polynomial(x, 1.0, *below)
    return tuple(x**power / denominator for power in range(above + 1))


def waves(x: NDArray, b4: float, b7: float) -> tuple[NDArray | float, ...]:
    angles = [2 * np.pi * x / period for period in (12, b4, b7)]
    return (1.0, *(wave(angle) for angle in angles for wave in (np.cos, np.sin)))


def decays(x: NDArray, *rates: float) -> tuple[NDArray, ...]:
    return tuple(np.exp(-rate * x) for rate in rates)


def chwirut(name: str) -> Regression:
    return Regression(
        name, {"b1": (0, 1), "r": (0, 10)}, ("a",), lambda x, b1, r: (np.exp(-b1 * x) / (1 + r * x),),
        lambda p: {"b1": p["b1"], "b2": 1 / p["a"], "b3": p["r"] / p["a"]},
    )  # fmt: skip


def lanczos(name: str) -> Regression:
    rates = dict.fromkeys(("b2", "b4", "b6"), (0, 10))
    return Regression(name, rates, ("b1", "b3", "b5"), decays, ordered=True)


def misra(name: str, basis: Basis) -> Regression:
    return Regression(name, {"b2": (1e-5, 1e-2)}, ("b1",), basis)


REGRESSIONS = (
    Regression("DanWood", {"b2": (0, 10)}, ("b1",), lambda x, b2: (x**b2,)),
    misra("Misra1a", lambda x, b2: (1 - np.exp(-b2 * x),)),
    misra("Misra1b", lambda x, b2: (1 - (1 + b2 * x / 2) ** -2,)),
    misra("Misra1c", lambda x, b2: (1 - (1 + 2 * b2 * x) ** -0.5,)),
    misra("Misra1d", lambda x, b2: (b2 * x / (1 + b2 * x),)),
    Regression("BoxBOD", {"b2": (0.01, 10)}, ("b1",), lambda x, b2: (1 - np.exp(-b2 * x),)),
    chwirut("Chwirut1"),
    chwirut("Chwirut2"),
    lanczos("Lanczos1"),
    lanczos("Lanczos2"),
    lanczos("Lanczos3"),
    Regression(
        "MGH17", {"b4": (0.001, 0.1), "b5": (0.001, 0.1)}, ("b1", "b2", "b3"),
        lambda x, b4, b5: (1.0, *decays(x, b4, b5)), ordered=True,
    ),
    Regression(
        "Eckerle4", {"b2": (1, 50), "b3": (400, 500)}, ("a",),
        lambda x, b2, b3: (np.exp(-(((x - b3) / b2) ** 2) / 2),),
        lambda p: {**p, "b1": p["a"] * p["b2"]},
    ),
    Regression("MGH10", {"b2": (1e3, 2e4), "b3": (100, 1000)}, ("b1",), lambda x, b2, b3: (np.exp(b2 / (x + b3)),)),
    Regression(
        "MGH09", {"b3": (0, 1), "b4": (0, 1)}, ("b1", "a"),
        lambda x, b3, b4: (x**2 / (x**2 + x * b3 + b4), x / (x**2 + x * b3 + b4)),
        lambda p: {**p, "b2": p["a"] / p["b1"]},
    ),
    Regression("Bennett5", {"b2": (0, 100), "b3": (0.5, 2)}, ("b1",), lambda x, b2, b3: ((b2 + x) ** (-1 / b3),)),
    Regression("Rat42", {"b2": (0, 10), "b3": (0, 1)}, ("b1",), lambda x, b2, b3: (1 / (1 + np.exp(b2 - b3 * x)),)),
    Regression(
        "Rat43", {"b2": (0, 10), "b3": (0, 2), "b4": (0.1, 5)}, ("b1",),
        lambda x, b2, b3, b4: ((1 + np.exp(b2 - b3 * x)) ** (-1 / b4),),
    ),
    Regression(
        "Kirby2", {"b4": (-0.005, 0.005), "b5": (1e-5, 1e-4)}, ("b1", "b2", "b3"),
        lambda x, *below: rational(x, *below, above=2),
    ),
    Regression(
        "Thurber", {"b5": (0, 2), "b6": (0, 1), "b7": (0, 0.1)}, ("b1", "b2", "b3", "b4"),
        lambda x, *below: rational(x, *below, above=3),
    ),
    Regression(
        "Hahn1", {"b5": (-0.02, 0.02), "b6": (0, 1e-3), "b7": (-1e-6, 1e-6)}, ("b1", "b2", "b3", "b4"),
        lambda x, *below: rational(x, *below, above=3),
    ),
    Regression(
        "ENSO", {"b4": (20, 60), "b7": (20, 60)}, ("b1", "b2", "b3", "b5", "b6", "b8", "b9"), waves,
        # NIST names the longer period first, here periods ascend.
        lambda p: {**p, "b4": p["b7"], "b5": p["b8"], "b6": p["b9"], "b7": p["b4"], "b8": p["b5"], "b9": p["b6"]},
        ordered=True,
    ),
)  # fmt: skip


def read(name: str) -> tuple[dict[str, float], float, NDArray, NDArray]:
    """(certified parameters, certified residual standard deviation, x, y) of a file as NIST lays it out."""
    text = (FOLDER / f"{name}.dat").read_text()
    number = r"([-+.\dE]+)"
    params = {b: float(v) for b, v in re.findall(rf"^ *(b\d+) = +\S+ +\S+ +{number}", text, re.MULTILINE)}
    spread = re.search(rf"Residual Standard Deviation: +{number}", text)
    data = re.search(r"^Data: +y +x\s", text, re.MULTILINE)
    assert params and spread and data
    y, x = np.array([line.split() for line in text[data.end() :].splitlines() if line.strip()], dtype=float).T
    return params, float(spread[1]), x, y


def digits(found: float, certified: float) -> float:
    """NIST's log relative error: how many leading digits agree, at most as many as are certified."""
    error = abs(found - certified) / abs(certified)
    return min(CERTIFIED, -np.log10(error)) if error > 0 else CERTIFIED


def agreement(regression: Regression) -> dict[str, float]:
    """Agreeing digits of each parameter and of the residual standard deviation ("rse")."""
    certified, spread, x, y = read(regression.name)
    fit = regression.law.fit(x, y)
    params = regression.certified(fit.params)
    found = {name: digits(params[name], value) for name, value in certified.items()}
    return {**found, "rse": digits(fit.rse, spread)}


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda item: item.name)
def test_certified_digits(regression: Regression) -> None:
    found = agreement(regression)
    if regression.name == "Lanczos1":
        _, _, x, y = read("Lanczos1")
        assert regression.law.fit(x, y).rse < EXACT
        del found["rse"]
    assert min(found.values()) >= DIGITS, {name: round(value, 1) for name, value in found.items()}
