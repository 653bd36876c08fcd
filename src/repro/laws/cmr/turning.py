"""Turning points of the general loss: the root of paper A's Equation 27 (Section 5.3, Appendix B)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from repro.laws.cmr.laws import DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW
from repro.laws.solver import Array

# The largest multiplier the paper solves with (Section 5.3: 100 to 7000). There the turning point is within
# half a percent of its limit, the maximum of the general loss itself; at 100 it comes some 5 to 40% earlier.
LAGRANGE = 7000.0
HORIZON = 10.0  # how far turning points are searched for, in multiples of T_max
FLOOR = 1e-6  # share of T_max: a curve that falls from there on falls from the start
CELLS = 400
HALVINGS = 45  # of a cell of the search: to the last digit

Status = Literal["inside", "extrapolated", "none"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class TurningPoint:
    """T0 in units of the laws: "inside" up to T_max, "extrapolated" up to the horizon, None with "none".

    interval: 95%, where a bootstrap gave one; its upper end is infinite where the loss may not turn at all.
    """

    value: float | None
    status: Status
    interval: Interval | None = None


def turning_points(
    domain: Mapping[str, ArrayLike],
    general: Mapping[str, ArrayLike],
    *,
    lagrange: float,
    t_max: float,
    horizon: float = HORIZON,
) -> Array:
    """Where d/dT (dL_dom + lagrange dL_gen) goes from positive to negative: the root of Equation 27, bracketed.

    domain: alpha1, s1, beta1 of Equation 6, each a number or (B,). general: alpha2, s2, alpha3, s3, beta2 of Equation
    6, each a number or (B,). lagrange: the multiplier lambda; ``math.inf`` gives the maximum of the general loss
    itself. t_max: end of training, in the unit of T of the coefficients. horizon: how far to look, in multiples of
    t_max.

    The crossings, shape (B,): a sum of three powers of T changes from + to - at most once. A curve that falls all the
    way up to t_max has turned at 0.0; one still rising at the horizon has none, NaN. Raises ValueError for a missing or
    non-finite coefficient, or lagrange <= 0, t_max <= 0 or horizon < 1.
    """
    if not (lagrange > 0 and 0 < t_max < np.inf and 1 <= horizon < np.inf):
        values = f"{lagrange}, {t_max}, {horizon}"
        raise ValueError(f"a turning point needs lagrange > 0, t_max > 0, horizon >= 1, not {values}")
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

    grid = np.linspace(np.log(FLOOR), np.log(horizon), CELLS)
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
    domain: Mapping[str, float],
    general: Mapping[str, float],
    *,
    lagrange: float,
    t_max: float,
    horizon: float = HORIZON,
) -> TurningPoint:
    """:func:`turning_points` for one pair of curves, with its status."""
    value = float(turning_points(domain, general, lagrange=lagrange, t_max=t_max, horizon=horizon)[0])
    if np.isnan(value):
        return TurningPoint(None, "none")
    return TurningPoint(value, "inside" if value <= t_max else "extrapolated")
