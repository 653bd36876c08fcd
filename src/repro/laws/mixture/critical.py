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
from numpy.typing import NDArray
from scipy import stats

from repro.laws.mixture.laws import CMR_LAW
from repro.laws.mixture.rivals import CMR_LOGARITHM
from repro.laws.mixture.spread import held, ratio_label, widened
from repro.laws.mixture.turning import FLOOR, Interval, TurningPoint
from repro.laws.projection import Array
from repro.laws.results import LEVEL, Fit

PAIRS = 3  # Equation 8 has three parameters
EXACT = 1e-3  # turning points are taken to be known no better than this, relatively
BEND = 0.3  # R grows about linearly with T0 to this power, in the paper's fits and in ours
RARE = 0.05  # a turning point that hardly any draw has counts this much


@dataclass(frozen=True)
class ByTurningPoint:
    """The critical ratio from Equation 8 at T_max, and that law's fit; each None where it does not exist.

    contradicted: the turning points contradict the law, and the value, if there is one, is theirs.
    """

    value: float | None
    law: Fit | None
    interval: Interval | None = None
    contradicted: bool = False


def by_turning_point(
    points: Sequence[tuple[float, TurningPoint]], t_max: float, draws: Array | None = None
) -> tuple[ByTurningPoint, list[str]]:
    """Equation 8 through (T0, R), and its value at ``t_max``; with the warnings that belong to it.

    Only ratios that rise before they turn take part in the law (T0 > 0, extrapolated ones included, as in the paper): a
    curve that falls from the start does not say when it turned. There is no value with fewer than three of them. The
    value must agree with the turning points themselves, late ones (after ``t_max``, or never) and early ones (up to
    it): where the law falls with T, is not positive, or lies elsewhere than they say, the value is the place where they
    pass ``t_max`` between two neighbouring ratios, and None where there is no such place.

    Args:
        points: (R, T0) of each ratio.
        t_max: end of training, in the unit of T0.
        draws: T0 of a bootstrap, (n, r) for the r points in their order, NaN where a curve does not turn. Each turning
            point then counts by its precision: those far beyond the data are known many times worse than those within.

    """
    order = sorted(range(len(points)), key=lambda number: points[number][0])
    ratios = np.array([points[number][0] for number in order])
    times = np.array([np.nan if (value := points[n][1].value) is None else value for n in order], dtype=float)
    drawn = None if draws is None else draws[:, order]
    there = times > 0
    if there.sum() < PAIRS:
        text = f"no critical ratio by turning point: {there.sum()} ratios have one, Equation 8 needs {PAIRS}"
        return ByTurningPoint(None, None), [f"{text}; {_where(times, ratios, t_max)}"]
    law = CMR_LAW.fit(times[there], ratios[there])
    weights = None if drawn is None else precision(law, drawn[:, there])
    if weights is not None:
        law = CMR_LAW.fit(times[there], ratios[there], weights)
    value, warnings, contradicted = _value(law, times, ratios, t_max)
    warnings = [*_pair_warnings(times[there], t_max), *warnings]
    if value is None or drawn is None or weights is None:
        return ByTurningPoint(value, law, None, contradicted), warnings
    smooth, parameters = critical_ratios(drawn, ratios, t_max, weights, there)
    law = law.with_draws(parameters, "each curve's bootstrap, refitted")
    crossed = crossings(drawn, ratios, t_max)
    interval, more = held("turning point", np.where(np.isnan(crossed), smooth, crossed), value)
    if interval is not None:
        interval, yet_more = widened("turning point", interval, _rival_ratios(law, t_max))
        more += yet_more
    return ByTurningPoint(value, law, interval, contradicted), [*warnings, *more]


def _value(law: Fit, times: Array, ratios: Array, t_max: float) -> tuple[float | None, list[str], bool]:
    """Equation 8 at ``t_max`` if it can be and agrees with the turning points, else where these pass it, else None;
    with warnings, and whether they contradict the law.
    """
    value = float(law.predict(t_max))
    if float(CMR_LAW.derivative(law.params, t_max)) <= 0:
        fault = "falls with T"
    elif not value > 0:
        fault = f"gives {value:.3g} at T_max, no positive ratio"
    elif agrees(np.array([min(value, 1.0)]), times[None], ratios, t_max)[0]:
        clipped = [f"Equation 8 gives a critical ratio of {value:.3g} at T_max; clipped to 1"] if value > 1 else []
        return min(value, 1.0), clipped, False
    else:
        fault = f"gives {value:.3g} at T_max"
    crossing = float(crossings(times[None], ratios, t_max)[0])
    if np.isnan(crossing):
        where = _where(times, ratios, t_max)
        return None, [f"no critical ratio by turning point: Equation 8 {fault}; {where}"], True
    where = f"the critical ratio by turning point is where these pass T_max, {crossing:.3g}"
    return crossing, [f"Equation 8 {fault}, which the turning points contradict: {where}"], True


def agrees(value: Array, times: Array, ratios: Array, t_max: float) -> NDArray[np.bool_]:
    """Whether ratios (n,) lie where turning points (n, r) of ascending ratios leave room: at or above the early ones
    and at or below the late ones, or between the two where they are mixed.
    """
    late = ~(times <= t_max)
    highest = np.max(np.where(late, -np.inf, ratios), axis=1)
    lowest = np.min(np.where(late, ratios, np.inf), axis=1)
    mixed = highest > lowest
    floor, ceiling = np.where(mixed, lowest, highest), np.where(mixed, highest, lowest)
    return np.asarray((floor <= value) & (value <= ceiling))


def _where(times: Array, ratios: Array, t_max: float) -> str:
    """What the turning points alone say of the critical ratio."""
    late = ~(times <= t_max)
    if not len(ratios):
        return "no ratio has enough points"
    if late.all():
        return f"every ratio measured turns after T_max or never, so it is below {ratio_label(ratios[0])}"
    if not late.any():
        return f"every ratio measured has turned by T_max, so it is at least {ratio_label(ratios[-1])}"
    low, high = sorted((float(ratios[~late].max()), float(ratios[late].min())))
    return f"it lies between {ratio_label(low)} and {ratio_label(high)}"


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


def critical_ratios(
    times: Array, ratios: Array, t_max: float, weights: Array, there: NDArray[np.bool_]
) -> tuple[Array, pd.DataFrame]:
    """Equation 8 through those (T0, R) of each draw (n, r) that take part (``there``, (r,)): its value at ``t_max``
    (n,), NaN where it cannot be or contradicts the turning points of all ratios; and its parameters, one row each.
    """
    own, shares = times[:, there], np.broadcast_to(ratios[there], (len(times), int(there.sum())))
    known = np.isfinite(own) & (own > 0)
    law = pd.DataFrame(CMR_LAW.fit_many(np.where(known, own, t_max), shares, weights * known))
    law[known.sum(axis=1) < PAIRS] = np.nan
    value = np.minimum((law["alpha4"] * t_max ** law["s4"] + law["beta3"]).to_numpy(float), 1.0)
    sound = (law["alpha4"] * law["s4"] > 0).to_numpy() & (value > 0) & agrees(value, times, ratios, t_max)
    return np.where(sound, value, np.nan), law


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
