"""The four laws of paper A (CMR scaling law), with the names of its equations, alternatives to each, and the turning
point of the general loss: the root of Equation 27 (Section 5.3, Appendix B).

T is counted in any unit and must be positive: the laws describe increments of the loss, which are 0 by definition at
T = 0, so those rows are left out of a fit. R is the domain share of tokens, 0 < R < 1 in Section 5.1.

Exponents may take either sign unless a law says otherwise, and near 0 a power beside a constant is a logarithm:
alpha grows without limit while the curve stays put (the paper's Table 4 has alpha = 260 with s = -0.0002). The search
therefore runs in Box-Cox columns (x^s - 1)/s, which pass smoothly through log x at s = 0; what is reported are the
paper's parameters.

Each law stands first in a tuple with its alternatives: others that a careful reader would try. Whatever is in the tuple
is fitted, compared (:mod:`repro.laws.comparison`) and shown on the page on fits; alternatives of L(R) also widen the
interval of the critical ratio where the data do not reject them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import boxcox

from repro.laws.law import Law, Linear, Nonlinear
from repro.laws.solver import Array

Column = NDArray[Any] | float

MERGED = 1e-12  # half the distance of two exponents at which sinh(h ln x) / h is ln x to rounding
COEFFICIENTS = (Linear("alpha"), Linear("beta"))

# The largest multiplier the paper solves with (Section 5.3: 100 to 7000). There the turning point is within
# half a percent of its limit, the maximum of the general loss itself; at 100 it comes some 5 to 40% earlier.
LAGRANGE = 7000.0
HORIZON = 10.0  # how far turning points are searched for, in multiples of T_max
FLOOR = 1e-6  # share of T_max: a curve that falls from there on falls from the start
CELLS = 400
HALVINGS = 45  # of a cell of the search: to the last digit

Status = Literal["inside", "extrapolated", "none"]
Interval = tuple[float, float]


def _power(x: NDArray[Any], s: Any) -> tuple[Column, ...]:
    return x**s, 1.0


def _power_conditioned(x: Array, s: Any) -> tuple[Column, ...]:
    return boxcox(x, s), 1.0


def _two_powers_conditioned(x: Array, s: Any, r: Any) -> tuple[Column, ...]:
    # The span of 1, x^s and x^r, without cancellation as the exponents meet: the last column tends to x^s ln x.
    middle, half, logs = (s + r) / 2, np.maximum(np.abs(r - s) / 2, MERGED), np.log(x)
    power = x**middle
    return 1.0, (power * np.cosh(half * logs) - 1) / middle, power * np.sinh(half * logs) / half


def _logarithm(x: NDArray[Any]) -> tuple[Column, ...]:
    return np.log(x), 1.0


def _line(x: NDArray[Any]) -> tuple[Column, ...]:
    return x, 1.0


def _exponential(x: NDArray[Any], k: Any) -> tuple[Column, ...]:
    # Through the straight line at k = 0: alpha is the slope and beta the loss at R = 0.
    rate = np.where(k == 0, 1.0, k)
    return np.where(k == 0, x, np.expm1(rate * x) / rate), 1.0


def _power_law(name: str, latex: str, s: Nonlinear, linear: tuple[Linear, Linear] = COEFFICIENTS) -> Law:
    return Law(name, latex, (s,), linear, basis=_power, conditioned=_power_conditioned)


RATIO_LAW = _power_law(
    "loss against mixture ratio", r"L(R) = \alpha R^{s} + \beta", Nonlinear("s", -3.0, 5.0, singular=0.0)
)
"""Section 5.1: loss (nats per token) at the end of training against the domain share R, for either loss."""

RATIO_LAWS = (
    RATIO_LAW,
    Law("logarithm in R", r"L(R) = \alpha \ln R + \beta", (), COEFFICIENTS, _logarithm),
    Law(
        name="exponential in R",
        latex=r"L(R) = \alpha (e^{kR} - 1) / k + \beta",
        nonlinear=(Nonlinear("k", -20.0, 20.0),),
        linear=COEFFICIENTS,
        basis=_exponential,
    ),
    Law("straight line in R", r"L(R) = \alpha R + \beta", (), COEFFICIENTS, _line),
)

DOMAIN_TOKEN_LAW = _power_law(
    "domain loss increment against tokens",
    r"\Delta L_{dom}(T) = \alpha_1 T^{s_1} + \beta_1",
    Nonlinear("s1", -3.0, 3.0, singular=0.0),
    (Linear("alpha1"), Linear("beta1")),
)
"""Equation 6, first line (Section 5.2): the domain loss minus its value before continual pre-training."""

DOMAIN_TOKEN_LAWS = (
    DOMAIN_TOKEN_LAW,
    Law("logarithm in T", r"\Delta L_{dom}(T) = \alpha \ln T + \beta", (), COEFFICIENTS, _logarithm),
    Law(
        name="exponential saturation",
        latex=r"\Delta L_{dom}(T) = \alpha e^{-kT} + \beta",
        # Time constants from half a hundredth of T_max to ten T_max, beyond which the curve is a straight line.
        nonlinear=(Nonlinear("k", 0.001, 2.0),),
        linear=COEFFICIENTS,
        basis=lambda t, k: (np.exp(-k * t), 1.0),
    ),
)

GENERAL_TOKEN_LAW = Law(
    name="general loss increment against tokens",
    latex=r"\Delta L_{gen}(T) = \alpha_2 T^{s_2} + \alpha_3 T^{s_3} + \beta_2",
    nonlinear=(Nonlinear("s2", 0.02, 1.0), Nonlinear("s3", 0.02, 1.0)),
    linear=(Linear("alpha2"), Linear("alpha3"), Linear("beta2")),
    basis=lambda x, s, r: (x**s, x**r, 1.0),
    conditioned=_two_powers_conditioned,
    ordered=True,
)
"""Equation 6, second line (Section 5.2): the general loss increment; two terms, so that it can rise and then fall.

Exponents lie between 0 and 1, as all but one of the paper's do: an increment starts at a finite value, and no loss
moves faster the longer one trains. Without that limit noise bends fits into curves that dip before they rise, or
rise without end after they fall. The two terms are interchangeable; fits report s2 < s3.
"""

GENERAL_TOKEN_LAWS = (
    GENERAL_TOKEN_LAW,
    _power_law("one power of T", r"\Delta L_{gen}(T) = \alpha T^{s} + \beta", DOMAIN_TOKEN_LAW.nonlinear[0]),
    Law(  # what two powers tend to as their exponents meet: one parameter fewer
        name="powers that meet",
        latex=r"\Delta L_{gen}(T) = \alpha T^{s} + \gamma T^{s} \ln T + \beta",
        nonlinear=(replace(GENERAL_TOKEN_LAW.nonlinear[0], name="s"),),
        linear=(Linear("alpha"), Linear("gamma"), Linear("beta")),
        basis=lambda t, s: (t**s, t**s * np.log(t), 1.0),
    ),
    Law(  # the same limit with both exponents at 0
        name="quadratic in ln T",
        latex=r"\Delta L_{gen}(T) = \alpha \ln T + \gamma \ln^2 T + \beta",
        nonlinear=(),
        linear=(Linear("alpha"), Linear("gamma"), Linear("beta")),
        basis=lambda t: (np.log(t), np.log(t) ** 2, 1.0),
    ),
)

CMR_LAW = _power_law(
    "critical mixture ratio against tokens",
    r"R_{CMR}(T) = \alpha_4 T^{s_4} + \beta_3",
    Nonlinear("s4", -3.0, 3.0, singular=0.0),
    (Linear("alpha4"), Linear("beta3")),
)
"""Equation 8 (Section 5.3): the ratio whose general loss turns at T, so the critical ratio at T_max = T."""

CMR_LAWS = (
    CMR_LAW,
    Law("logarithm in T", r"R_{CMR}(T) = \alpha \ln T + \beta", (), COEFFICIENTS, _logarithm),
    Law("straight line in T", r"R_{CMR}(T) = \alpha T + \beta", (), COEFFICIENTS, _line),
)


def increments(domain: Mapping[str, float], general: Mapping[str, float], t: ArrayLike) -> dict[str, Array]:
    """Equation 6 at ``t`` (>= 0, any shape): "general" and "domain", nats per token; 0 by definition at t = 0."""
    at = np.asarray(t, dtype=float)
    positive = np.where(at == 0, 1.0, at)
    laws = {"general": (GENERAL_TOKEN_LAW, general), "domain": (DOMAIN_TOKEN_LAW, domain)}
    return {name: np.where(at == 0, 0.0, law.evaluate(values, positive)) for name, (law, values) in laws.items()}


@dataclass(frozen=True)
class TurningPoint:
    """T0 in units of the laws: "inside" up to T_max, "extrapolated" up to `HORIZON`, None with "none". interval: 95%,
    where a bootstrap gave one; its upper end is infinite where the loss may not turn at all.
    """

    value: float | None
    status: Status
    interval: Interval | None = None


def turning_points(
    domain: Mapping[str, ArrayLike], general: Mapping[str, ArrayLike], *, lagrange: float, t_max: float
) -> Array:
    """Where d/dT (dL_dom + lagrange dL_gen) goes from positive to negative: the root of Equation 27, bracketed.

    domain: alpha1, s1, beta1 of Equation 6, each a number or (B,). general: alpha2, s2, alpha3, s3, beta2 of Equation
    6, each a number or (B,). lagrange: the multiplier lambda; ``math.inf`` gives the maximum of the general loss
    itself. t_max: end of training, in the unit of T of the coefficients.

    The crossings, shape (B,): a sum of three powers of T changes from + to - at most once. A curve that falls all the
    way up to t_max has turned at 0.0; one still rising at `HORIZON` times t_max has none, NaN. Raises ValueError for a
    missing or non-finite coefficient, or lagrange <= 0 or t_max <= 0.
    """
    if not (lagrange > 0 and 0 < t_max < np.inf):
        raise ValueError(f"a turning point needs lagrange > 0 and t_max > 0, not {lagrange} and {t_max}")
    DOMAIN_TOKEN_LAW.require(domain)
    GENERAL_TOKEN_LAW.require(general)
    # Equation 27 times T over lambda, as a function of u = ln(T / t_max); divided by lambda, it holds for infinity too.
    terms = [(domain["alpha1"], domain["s1"], 1 / lagrange), (general["alpha2"], general["s2"], 1.0)]
    terms.append((general["alpha3"], general["s3"], 1.0))
    powers = [np.atleast_1d(np.asarray(power, dtype=float)) for _, power, _ in terms]
    scales = [w * np.asarray(c) * s * t_max**s for (c, _, w), s in zip(terms, powers, strict=True)]
    if not all(np.isfinite(scale).all() for scale in scales):
        raise ValueError(f"the slope of the laws is not finite with {dict(domain)} and {dict(general)}")

    def slope(u: Array) -> Array:
        """At u (B, m) or (m,): shape (B, m)."""
        return np.asarray(sum(c[:, None] * np.exp(s[:, None] * u) for c, s in zip(scales, powers, strict=True)))

    grid = np.linspace(np.log(FLOOR), np.log(HORIZON), CELLS)
    sign = slope(grid)
    turns = (sign[:, :-1] > 0) & (sign[:, 1:] <= 0)
    cell = np.argmax(turns, axis=1)
    left, right = grid[cell], grid[cell + 1]
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        rising = slope(middle[:, None])[:, 0] > 0
        left, right = np.where(rising, middle, left), np.where(rising, right, middle)
    crossings = t_max * np.exp((left + right) / 2)
    before = sign[:, grid <= 0]
    falling = np.where(np.all(before <= 0, axis=1) & np.any(before < 0, axis=1), 0.0, np.nan)
    return np.where(turns.any(axis=1), crossings, falling)


def turning_point(
    domain: Mapping[str, float], general: Mapping[str, float], *, lagrange: float, t_max: float
) -> TurningPoint:
    """:func:`turning_points` for one pair of curves, with its status."""
    value = float(turning_points(domain, general, lagrange=lagrange, t_max=t_max)[0])
    if np.isnan(value):
        return TurningPoint(None, "none")
    return TurningPoint(value, "inside" if value <= t_max else "extrapolated")
