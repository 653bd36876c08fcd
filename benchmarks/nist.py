"""NIST's certified nonlinear regressions, fitted as every law is: from a fixed grid, without starting values.

The folder ``nist_files`` holds files of the Statistical Reference Datasets of the National Institute of
Standards and Technology (public domain; trailing blanks removed). They are all its nonlinear regressions that are
separable with at most three nonlinear parameters. Left out: Gauss1, Gauss2 and Gauss3 (five nonlinear parameters),
Nelson (two predictors) and Roszman1 (its arctangent has a fixed coefficient).

``python -m benchmarks.nist`` records the digits that a page of the book shows.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import repro.trust
from repro.laws import Law, Linear, Nonlinear
from repro.laws.law import Basis

CERTIFIED = 11  # digits that NIST certifies
EXACT = 1e-11  # Lanczos1 is an exact sum: its residuals, 1e-13, are the rounding of its printed data

Array = NDArray[Any]
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


def polynomial(x: Array, *coefficients: float) -> Array:
    return np.asarray(sum(c * x**power for power, c in enumerate(coefficients)))


def rational(x: Array, *below: float, above: int) -> tuple[Array, ...]:
    """Columns 1, x, ... x^above, over 1 + below_1 x + below_2 x^2 + ..."""
    denominator = polynomial(x, 1.0, *below)
    return tuple(x**power / denominator for power in range(above + 1))


def waves(x: Array, b4: float, b7: float) -> tuple[Array | float, ...]:
    angles = [2 * np.pi * x / period for period in (12, b4, b7)]
    return (1.0, *(wave(angle) for angle in angles for wave in (np.cos, np.sin)))


def decays(x: Array, *rates: float) -> tuple[Array, ...]:
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


class Certified(NamedTuple):
    """One file: NIST's level of difficulty ("lower" | "average" | "higher"), its certified parameters and residual
    standard deviation, and the data x, y (n,).
    """

    level: str
    params: dict[str, float]
    spread: float
    x: Array
    y: Array


def read(name: str) -> Certified:
    """A file of the layout that NIST uses; raises ValueError for another."""
    text = (Path(__file__).parent / "nist_files" / f"{name}.dat").read_text(encoding="utf-8")
    number = r"([-+.\dE]+)"
    params = {b: float(v) for b, v in re.findall(rf"^ *(b\d+) = +\S+ +\S+ +{number}", text, re.MULTILINE)}
    spread = re.search(rf"Residual Standard Deviation: +{number}", text)
    data = re.search(r"^Data: +y +x\s", text, re.MULTILINE)
    level = re.search(r"(\w+) Level of Difficulty", text)
    if not (params and spread and data and level):
        raise ValueError(f"{name}.dat is not laid out as NIST's files are")
    y, x = np.array([line.split() for line in text[data.end() :].splitlines() if line.strip()], dtype=float).T
    return Certified(level[1].lower(), params, float(spread[1]), x, y)


def agreeing(value: float, certified: float) -> float:
    """NIST's log relative error: how many leading digits agree, at most as many as are certified."""
    error = abs(value - certified) / abs(certified)
    return float(min(CERTIFIED, -np.log10(error))) if error > 0 else float(CERTIFIED)


def agreement(regression: Regression) -> dict[str, float]:
    """Agreeing digits of each parameter and of the residual standard deviation ("rse"). Lanczos1 has no "rse" unless
    its residuals exceed 1e-11: they are rounding, of which no digit could agree.
    """
    certified = read(regression.name)
    fit = regression.law.fit(certified.x, certified.y)
    params = regression.certified(fit.params)
    agreed = {name: agreeing(params[name], value) for name, value in certified.params.items()}
    exact = certified.spread < EXACT and fit.rse < EXACT
    return agreed if exact else {**agreed, "rse": agreeing(fit.rse, certified.spread)}


def digits() -> pd.DataFrame:
    """Every regression fitted now, in NIST's order of difficulty.

    Columns problem, level, points, nonlinear, linear (numbers of parameters), digits (the fewest that agree in any
    parameter), rse_digits (of the residual standard deviation; NaN where the residuals are mere rounding).
    """
    rows = []
    for regression in REGRESSIONS:
        agreed = agreement(regression)
        spread = agreed.pop("rse", np.nan)
        certified = read(regression.name)
        rows.append({
            "problem": regression.name, "level": certified.level, "points": len(certified.x),
            "nonlinear": len(regression.nonlinear), "linear": len(regression.linear),
            "digits": min(agreed.values()), "rse_digits": spread,
        })  # fmt: skip
    order = {"lower": 0, "average": 1, "higher": 2}
    return pd.DataFrame(rows).sort_values("level", key=lambda c: c.map(order), kind="stable", ignore_index=True)


if __name__ == "__main__":
    digits().round(2).to_csv(Path(repro.trust.__path__[0]) / "recorded" / "nist.csv", index=False)
