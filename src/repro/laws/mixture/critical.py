"""The critical ratio by turning point: Equation 8 of paper A (Section 5.3).

Given draws of a bootstrap it has an interval, which comes from where each draw's turning points pass T_max. That takes
no law; Equation 8 serves only draws in which no two ratios lie on either side. The interval is widened to hold the
value of Equation 8, and that of a rival law where the data do not reject it: the form of a law is uncertain too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from repro.laws.mixture.laws import CMR_LAW
from repro.laws.mixture.rivals import CMR_LOGARITHM
from repro.laws.mixture.spread import held, widened
from repro.laws.mixture.turning import FLOOR, Interval, TurningPoint
from repro.laws.projection import Array
from repro.laws.results import LEVEL, Fit

PAIRS = 3  # Equation 8 has three parameters
EXACT = 1e-3  # turning points are taken to be known no better than this, relatively
BEND = 0.3  # R grows about linearly with T0 to this power, in the paper's fits and in ours
RARE = 0.05  # a turning point that hardly any draw has counts this much


@dataclass(frozen=True)
class ByTurningPoint:
    """The critical ratio from Equation 8 at T_max, and that law's fit; each None where it does not exist."""

    value: float | None
    law: Fit | None
    interval: Interval | None = None


def by_turning_point(
    points: Sequence[tuple[float, TurningPoint]], t_max: float, draws: Array | None = None
) -> tuple[ByTurningPoint, list[str]]:
    """Equation 8 through (T0, R), and its value at ``t_max``; with the warnings that belong to it.

    Only ratios that rise before they turn take part (T0 > 0, extrapolated ones included, as in the paper): a
    curve that falls from the start does not say when it turned. The value is None with fewer than three of
    them, where the law falls with T (a critical ratio cannot), or where it is not positive at ``t_max``;
    above 1 it is 1.

    Args:
        points: (R, T0) of each ratio.
        t_max: end of training, in the unit of T0.
        draws: T0 of a bootstrap, (n, r) for the r points in their order, NaN where a curve does not turn. Each turning
            point then counts by its precision: those far beyond the data are known many times worse than those within.

    """
    there = [number for number, (_, point) in enumerate(points) if point.value]
    if len(there) < PAIRS:
        text = f"no critical ratio by turning point: {len(there)} ratios have one, Equation 8 needs {PAIRS}"
        return ByTurningPoint(None, None), [text]
    there.sort(key=lambda number: points[number][0])
    ratios, times = np.array([(points[number][0], points[number][1].value) for number in there], dtype=float).T
    law = CMR_LAW.fit(times, ratios)
    own = None if draws is None else draws[:, there]
    weights = None if own is None else precision(law, own)
    if weights is not None:
        law = CMR_LAW.fit(times, ratios, weights)
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
    value = min(value, 1.0)
    if draws is None or own is None or weights is None:
        return ByTurningPoint(value, law), warnings
    smooth, parameters = critical_ratios(own, ratios, t_max, weights)
    law = law.with_draws(parameters, "each curve's bootstrap, refitted")
    every = sorted(range(len(points)), key=lambda number: points[number][0])
    crossed = crossings(draws[:, every], np.array([points[number][0] for number in every]), t_max)
    interval, more = held("turning point", np.where(np.isnan(crossed), smooth, crossed), value)
    if interval is not None:
        interval, yet_more = widened("turning point", interval, _rival_ratios(law, t_max))
        more += yet_more
    return ByTurningPoint(value, law, interval), [*warnings, *more]


def precision(law: Fit, times: Array) -> Array:
    """Weights (r,) for Equation 8: inverse variances of R at the turning points of draws (n, r), by the slope of
    ``law``, an unweighted fit to these points.
    """
    there = np.isfinite(times) & (times > 0)
    logs = np.log(np.where(there, times, np.nan))
    share = np.maximum(there.mean(axis=0), RARE)
    middle = np.array([np.nanquantile(column, [0.16, 0.84]) if there_.any() else (0.0, 1.0)
                       for column, there_ in zip(logs.T, there.T, strict=True)])  # fmt: skip
    spread = np.maximum((middle[:, 1] - middle[:, 0]) / 2, EXACT) / share
    slope = np.abs(law.params["alpha4"] * law.params["s4"]) * law.x ** law.params["s4"]
    return np.asarray(1 / np.maximum(slope * spread, np.finfo(float).tiny) ** 2)


def critical_ratios(times: Array, ratios: Array, t_max: float, weights: Array) -> tuple[Array, pd.DataFrame]:
    """Equation 8 through (T0, R) of each draw (n, r): its value at ``t_max`` (n,), NaN where
    :func:`by_turning_point` would give none; and its parameters, one row each.
    """
    there = np.isfinite(times) & (times > 0)
    at, shares = np.where(there, times, t_max), np.broadcast_to(ratios, times.shape)
    law = pd.DataFrame(CMR_LAW.fit_many(at, shares, weights * there))
    law[there.sum(axis=1) < PAIRS] = np.nan
    value = law["alpha4"] * t_max ** law["s4"] + law["beta3"]
    grows = law["alpha4"] * law["s4"] > 0
    return np.where(grows & (value > 0), np.minimum(value, 1.0), np.nan), law


def crossings(times: Array, ratios: Array, t_max: float) -> Array:
    """Where T0 passes ``t_max`` between two neighbouring ratios, in each draw (n, r) of ascending ratios: (n,), NaN
    where it does not do so between any two of them; the largest such place where there are several.

    This is the critical ratio without a law. Interpolation is linear in T0^-0.3, which is 0 for a curve that never
    turns: such curves count. Equation 8 has to leave them out, so that among ratios that turn late it sees those that
    happen to turn early, and errs upwards.
    """
    late = np.where(np.isnan(times), 0.0, np.maximum(times, FLOOR * t_max) ** -BEND) / t_max**-BEND
    before, after = late[:, :-1], late[:, 1:]
    crossed = (before >= 1) & (after < 1)
    share = (before - 1) / np.where(crossed, before - after, 1.0)
    place = ratios[:-1] + share * np.diff(ratios)
    return np.where(crossed.any(axis=1), np.max(np.where(crossed, place, -np.inf), axis=1), np.nan)


def _rival_ratios(law: Fit, t_max: float) -> dict[str, float]:
    """What the logarithm says where the turning points do not reject it; the weights are inverse variances."""
    rival = CMR_LOGARITHM.fit(law.x, law.y, law.weights)
    if rival.sse - law.sse > stats.chi2.ppf(1 - LEVEL, 1):
        return {}
    return {CMR_LOGARITHM.name: float(np.clip(rival.predict(t_max), 0, 1))}


def _pair_warnings(times: Array, t_max: float) -> list[str]:
    found = []
    if len(times) == PAIRS:
        found.append("Equation 8 passes through its three turning points: nothing is left to test it")
    if np.any(np.diff(times) <= 0):
        found.append("turning points do not grow with the ratio, as Equation 8 assumes")
    if not times.min() <= t_max <= times.max():
        span = f"{_amount(times.min())} to {_amount(times.max())}"
        found.append(f"Equation 8 is extrapolated: T_max = {_amount(t_max)}, turning points {span}")
    return found


def _amount(tokens: float) -> str:
    return f"{tokens:,.0f}" if tokens >= 1000 else f"{tokens:.4g}"
