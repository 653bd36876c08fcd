"""The laws a careful reader would set beside paper A's: each rival stands beside one law of
:mod:`repro.laws.mixture.laws`.

A law with nothing nonlinear is ordinary least squares. x is R (domain share) for L(R), and T in hundredths of
T_max for the others: an exponential's rate has a unit, so its bounds have one too
(:func:`repro.laws.comparison.compare_analysis` converts).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from repro.laws.mixture.laws import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, RATIO_LAW
from repro.laws.separable import Law, Linear, Nonlinear

Column = NDArray[Any] | float

COEFFICIENTS = (Linear("alpha"), Linear("beta"))


def _logarithm(x: NDArray[Any]) -> tuple[Column, ...]:
    return np.log(x), 1.0


def _line(x: NDArray[Any]) -> tuple[Column, ...]:
    return x, 1.0


def _exponential(x: NDArray[Any], k: Any) -> tuple[Column, ...]:
    rate = np.where(k == 0, 1.0, k)
    return np.where(k == 0, x, np.expm1(rate * x) / rate), 1.0


def _saturation(x: NDArray[Any], k: Any) -> tuple[Column, ...]:
    return np.exp(-k * x), 1.0


def _meeting_powers(x: NDArray[Any], s: Any) -> tuple[Column, ...]:
    return x**s, x**s * np.log(x), 1.0


def _quadratic(x: NDArray[Any]) -> tuple[Column, ...]:
    return np.log(x), np.log(x) ** 2, 1.0


RATIO_LOGARITHM = Law("logarithm in R", r"L(R) = \alpha \ln R + \beta", (), COEFFICIENTS, _logarithm)
RATIO_LINE = Law("straight line in R", r"L(R) = \alpha R + \beta", (), COEFFICIENTS, _line)
RATIO_EXPONENTIAL = Law(
    name="exponential in R",
    latex=r"L(R) = \alpha (e^{kR} - 1) / k + \beta",
    nonlinear=(Nonlinear("k", -20.0, 20.0),),
    linear=COEFFICIENTS,
    basis=_exponential,
)
"""Written so that it passes through the straight line at k = 0: alpha is the slope and beta the loss at R = 0."""

DOMAIN_LOGARITHM = Law(
    "logarithm in T", r"\Delta L_{dom}(T) = \alpha \ln T + \beta", (), COEFFICIENTS, _logarithm
)  # fmt: skip
DOMAIN_SATURATION = Law(
    name="exponential saturation",
    latex=r"\Delta L_{dom}(T) = \alpha e^{-kT} + \beta",
    nonlinear=(Nonlinear("k", 0.001, 2.0),),
    linear=COEFFICIENTS,
    basis=_saturation,
)
"""Time constants from half a hundredth of T_max to ten T_max, beyond which the curve is a straight line."""

GENERAL_ONE_POWER = Law(
    name="one power of T",
    latex=r"\Delta L_{gen}(T) = \alpha T^{s} + \beta",
    nonlinear=DOMAIN_TOKEN_LAW.nonlinear,
    linear=COEFFICIENTS,
    basis=DOMAIN_TOKEN_LAW.basis,
    conditioned=DOMAIN_TOKEN_LAW.conditioned,
)
GENERAL_MEETING_POWERS = Law(
    name="powers that meet",
    latex=r"\Delta L_{gen}(T) = \alpha T^{s} + \gamma T^{s} \ln T + \beta",
    nonlinear=(Nonlinear("s", GENERAL_TOKEN_LAW.nonlinear[0].low, GENERAL_TOKEN_LAW.nonlinear[0].high),),
    linear=(Linear("alpha"), Linear("gamma"), Linear("beta")),
    basis=_meeting_powers,
)
"""What the two powers of Equation 6 tend to as their exponents meet: one parameter fewer."""

GENERAL_QUADRATIC = Law(
    name="quadratic in ln T",
    latex=r"\Delta L_{gen}(T) = \alpha \ln T + \gamma \ln^2 T + \beta",
    nonlinear=(),
    linear=(Linear("alpha"), Linear("gamma"), Linear("beta")),
    basis=_quadratic,
)
"""The same limit with both exponents at 0."""

CMR_LOGARITHM = Law("logarithm in T", r"R_{CMR}(T) = \alpha \ln T + \beta", (), COEFFICIENTS, _logarithm)
CMR_LINE = Law("straight line in T", r"R_{CMR}(T) = \alpha T + \beta", (), COEFFICIENTS, _line)

RATIO_LAWS = (RATIO_LAW, RATIO_LOGARITHM, RATIO_EXPONENTIAL, RATIO_LINE)
DOMAIN_TOKEN_LAWS = (DOMAIN_TOKEN_LAW, DOMAIN_LOGARITHM, DOMAIN_SATURATION)
GENERAL_TOKEN_LAWS = (GENERAL_TOKEN_LAW, GENERAL_ONE_POWER, GENERAL_MEETING_POWERS, GENERAL_QUADRATIC)
CMR_LAWS = (CMR_LAW, CMR_LOGARITHM, CMR_LINE)
