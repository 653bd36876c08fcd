"""Turning points and the critical mixture ratio of paper A (Definitions 1 to 3, Section 5, Appendix B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from repro.laws.mixture import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW
from repro.laws.projection import Array
from repro.laws.results import Fit

# The largest multiplier the paper solves with (Section 5.3: 100 to 7000). There the turning point is within
# half a percent of its limit, the maximum of the general loss itself; at 100 it comes some 5 to 40% earlier.
LAGRANGE = 7000.0
HORIZON = 10.0  # how many T_max ahead a turning point is looked for
FLOOR = 1e-6  # share of T_max: a curve that falls from there on falls from the start
CELLS = 1500
PAIRS = 3  # Equation 8 has three parameters
TINY = 1e-9  # the smallest ratio at which a law with a negative exponent is asked

Status = Literal["inside", "extrapolated", "none"]


@dataclass(frozen=True)
class TurningPoint:
    """T0 in units of the laws: "inside" up to T_max, "extrapolated" up to the horizon, None with "none"."""

    value: float | None
    status: Status


@dataclass(frozen=True)
class ByTurningPoint:
    """The critical ratio from Equation 8 at T_max, and that law's fit; each None where it does not exist."""

    value: float | None
    law: Fit | None


@dataclass(frozen=True)
class ByTolerance:
    """The largest ratio in [0, 1] whose general loss rises by at most ``epsilon`` nats at T_max, or None."""

    epsilon: float
    value: float | None


@dataclass(frozen=True)
class CriticalRatio:
    """The critical mixture ratio (Definition 3) by both routes."""

    turning_point: ByTurningPoint
    tolerance: ByTolerance


def turning_point(
    domain: Mapping[str, float],
    general: Mapping[str, float],
    *,
    lagrange: float,
    t_max: float,
    horizon: float = HORIZON,
) -> TurningPoint:
    """Where d/dT (dL_dom + lagrange dL_gen) goes from positive to negative: the root of Equation 27,
    bracketed.

    Args:
        domain: alpha1, s1, beta1 of Equation 6.
        general: alpha2, s2, alpha3, s3, beta2 of Equation 6.
        lagrange: the multiplier lambda; ``math.inf`` gives the maximum of the general loss itself.
        t_max: end of training, in the unit of T of the coefficients.
        horizon: how far to look, in multiples of t_max.

    Returns:
        The crossing: three powers of T have at most one from + to -. A curve that falls all the
        way up to t_max has turned at 0.0, "inside". A curve still rising at the end of the range has none.

    Raises:
        ValueError: for a missing or non-finite coefficient, or lagrange <= 0, t_max <= 0 or horizon < 1.

    """
    if not (lagrange > 0 and 0 < t_max < np.inf and 1 <= horizon < np.inf):
        given = f"{lagrange}, {t_max}, {horizon}"
        raise ValueError(f"a turning point needs lagrange > 0, t_max > 0, horizon >= 1, not {given}")

    def slope(t: ArrayLike) -> Array:
        # Equation 27 divided by lambda, so that an infinite multiplier needs no case of its own.
        return GENERAL_TOKEN_LAW.derivative(general, t) + DOMAIN_TOKEN_LAW.derivative(domain, t) / lagrange

    times = np.geomspace(FLOOR * t_max, horizon * t_max, CELLS)
    slopes = slope(times)
    if not np.isfinite(slopes).all():
        raise ValueError(f"the slope of the laws is not finite with {dict(domain)} and {dict(general)}")
    turns = np.flatnonzero((slopes[:-1] > 0) & (slopes[1:] <= 0))
    if turns.size:
        left, right = times[turns[0]], times[turns[0] + 1]
        value = float(brentq(lambda t: float(slope(t)), left, right, xtol=1e-12 * t_max, rtol=1e-12))
        return TurningPoint(value, "inside" if value <= t_max else "extrapolated")
    return TurningPoint(0.0, "inside") if np.all(slopes[times <= t_max] <= 0) else TurningPoint(None, "none")


def by_turning_point(points: Sequence[tuple[float, TurningPoint]], t_max: float) -> tuple[ByTurningPoint, list[str]]:
    """Equation 8 through (T0, R), and its value at ``t_max``; with the warnings that belong to it.

    Only ratios that rise before they turn take part (T0 > 0, extrapolated ones included, as in the paper): a
    curve that falls from the start does not say when it turned. The value is None with fewer than three of
    them, where the law falls with T (a critical ratio cannot), or where it is not positive at ``t_max``;
    above 1 it is 1.
    """
    pairs = sorted((ratio, point.value) for ratio, point in points if point.value)
    if len(pairs) < PAIRS:
        text = f"no critical ratio by turning point: {len(pairs)} ratios have one, Equation 8 needs {PAIRS}"
        return ByTurningPoint(None, None), [text]
    ratios, times = np.array(pairs).T
    law = CMR_LAW.fit(times, ratios)
    warnings = _pair_warnings(times, t_max)
    value = float(law.predict(t_max))
    if float(CMR_LAW.derivative(law.params, t_max)) <= 0:
        text = "no critical ratio by turning point: Equation 8 falls with T"
        return ByTurningPoint(None, law), [*warnings, text]
    if not value > 0:
        text = f"no critical ratio by turning point: Equation 8 gives {value:.3g} at T_max, no positive ratio"
        return ByTurningPoint(None, law), [*warnings, text]
    if value > 1:
        warnings.append(f"Equation 8 gives a critical ratio of {value:.3g} at T_max; clipped to 1")
    return ByTurningPoint(min(value, 1.0), law), warnings


def _pair_warnings(times: Array, t_max: float) -> list[str]:
    found = []
    if len(times) == PAIRS:
        found.append("Equation 8 passes through its three turning points: nothing is left to test it")
    if np.any(np.diff(times) <= 0):
        found.append("turning points do not grow with the ratio, as Equation 8 assumes")
    if not times.min() <= t_max <= times.max():
        span = f"{times.min():.4g} to {times.max():.4g}"
        found.append(f"Equation 8 is extrapolated: T_max = {t_max:.4g}, turning points {span}")
    return found


def by_tolerance(law: Fit | None, base: float, epsilon: float) -> tuple[ByTolerance, list[str]]:
    """The largest R in [0, 1] with L(R) - ``base`` <= ``epsilon``; L(R) is the general loss at T_max.

    L is monotone, so this is 1, None or one crossing. Warns where it is not the crossing, or outside the
    ratios fitted.
    """
    if law is None:
        text = "no critical ratio by tolerance: there is no L(R) of the general loss"
        return ByTolerance(epsilon, None), [text]

    def excess(ratio: float) -> float:
        return float(law.predict(ratio)) - base - epsilon

    if excess(1.0) <= 0:
        return ByTolerance(epsilon, 1.0), [f"the fitted general loss stays within {epsilon:g} up to R = 1"]
    if excess(TINY) > 0:
        text = f"no critical ratio by tolerance: the fitted general loss exceeds {epsilon:g} at every ratio"
        return ByTolerance(epsilon, None), [text]
    value = float(brentq(excess, TINY, 1.0))
    low, high = float(law.x.min()), float(law.x.max())
    if low <= value <= high:
        return ByTolerance(epsilon, value), []
    span = f"{ratio_label(low)} to {ratio_label(high)}"
    text = f"the critical ratio by tolerance is extrapolated: {value:.3g}, fitted {span}"
    return ByTolerance(epsilon, value), [text]


def ratio_label(ratio: float) -> str:
    """A ratio as the fraction it is (0.125 -> "1/8"), or as a decimal if it is none of small denominator."""
    fraction = Fraction(ratio).limit_denominator(64)
    return str(fraction) if abs(float(fraction) - ratio) < 1e-9 else f"{ratio:.4g}"
