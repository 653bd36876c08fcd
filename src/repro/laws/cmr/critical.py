"""The critical mixture ratio (Definition 3 of paper A) by both of its conditions, with intervals from bootstrap draws.

By turning point: Equation 8 (Section 5.3) at T_max. Its interval comes from where each draw's turning points pass
T_max, which needs no law; Equation 8 is used only for draws in which they do not pass it between two ratios. By
tolerance: where L(R) (Section 5.1) of the general loss crosses what is tolerated.

Either interval is widened to hold the value itself, and that of an alternative law where the data do not reject it: the
form of a law is uncertain too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from repro.laws.cmr.laws import CMR_LAW, CMR_LOGARITHM, RATIO_LAW, RATIO_LAWS
from repro.laws.cmr.turning import FLOOR, Interval, TurningPoint
from repro.laws.inference import LEVEL
from repro.laws.law import Fit
from repro.laws.solver import Array

MOST = 0.5  # share of draws in which a thing must exist for it to have an interval
SOME = 0.05  # warn if more than this share of draws lacks it

PAIRS = 3  # Equation 8 has three parameters
EXACT = 1e-3  # turning points are taken to be known no better than this, relatively
BEND = 0.3  # R grows about linearly with T0 to this power, in the paper's fits and in ours
RARE = 0.05  # the least share of draws with a turning point that its precision is scaled by

TINY = 1e-9  # the smallest ratio at which a law with a negative exponent is evaluated


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
    curve that falls from the start does not say when it turned. Fewer than three of them give no value. The value must
    agree with the turning points themselves, late ones (after ``t_max``, or never) and early ones (up to it): where the
    law falls with T, is not positive, or contradicts them, the value is the place where they pass ``t_max`` between two
    neighbouring ratios, and None where there is no such place.

    Args:
        points: (R, T0) of each ratio.
        t_max: end of training, in the unit of T0.
        draws: T0 of a bootstrap, (n, r) for the r points in their order, NaN where a curve does not turn. Each turning
            point is then weighted by its precision: those far beyond the data are known much worse than those within.

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
    weights = None if drawn is None else _precision(law, drawn[:, there])
    if weights is not None:
        law = CMR_LAW.fit(times[there], ratios[there], weights)
    value, warnings, contradicted = _value(law, times, ratios, t_max)
    warnings = [*_pair_warnings(times[there], t_max), *warnings]
    if value is None or drawn is None or weights is None:
        return ByTurningPoint(value, law, None, contradicted), warnings
    smooth, parameters = _critical_ratios(drawn, ratios, t_max, weights, there)
    law = law.with_draws(parameters, "each curve's bootstrap, refitted")
    crossed = crossings(drawn, ratios, t_max)
    values = np.where(np.isnan(crossed), smooth, crossed)
    interval, more = _interval("turning point", values, value, lambda: _alternative_ratios(law, t_max))
    return ByTurningPoint(value, law, interval, contradicted), [*warnings, *more]


def crossings(times: Array, ratios: Array, t_max: float) -> Array:
    """Where T0 passes ``t_max`` between two neighbouring ratios, in each draw (n, r) of ascending ratios: (n,), NaN
    where it does not do so between any two of them; the largest such place where there are several.

    This is the critical ratio without a law. Interpolation is linear in T0^-0.3, which is 0 for a curve that never
    turns, so such curves count. Equation 8 has to leave them out: among ratios that turn late it sees only those that
    happen to turn early, and errs upwards.
    """
    late = np.where(np.isnan(times), 0.0, np.maximum(times, FLOOR * t_max) ** -BEND) / t_max**-BEND
    before, after = late[:, :-1], late[:, 1:]
    crossed = (before >= 1) & (after < 1)
    share = (before - 1) / np.where(crossed, before - after, 1.0)
    place = ratios[:-1] + share * np.diff(ratios)
    return np.where(crossed.any(axis=1), np.max(np.where(crossed, place, -np.inf), axis=1), np.nan)


@dataclass(frozen=True)
class ByTolerance:
    """The largest ratio in [0, 1] whose general loss rises by at most ``epsilon`` nats at T_max, or None."""

    epsilon: float
    value: float | None
    interval: Interval | None = None


def by_tolerance(
    law: Fit | None, base: float, epsilon: float, draws: Array | None = None
) -> tuple[ByTolerance, list[str]]:
    """The largest R in [0, 1] with L(R) - ``base`` <= ``epsilon``; L(R) is the general loss at T_max.

    L is monotone, so this is 1, None or one crossing; a warning says where it is not the crossing, or outside the
    ratios fitted. draws: the losses that ``law`` was fitted to in each draw of a bootstrap, (n, r).
    """
    if law is None:
        return ByTolerance(epsilon, None), ["no critical ratio by tolerance: there is no L(R) of the general loss"]
    value = _crossing(law, base + epsilon)
    if value is None:
        text = f"no critical ratio by tolerance: the fitted general loss exceeds {epsilon:g} at every ratio"
        return ByTolerance(epsilon, None), [text]
    warnings = _crossing_warnings(law, value, epsilon)
    if draws is None:
        return ByTolerance(epsilon, value), warnings
    drawn = _tolerance_ratios(law.draws if law.draws is not None else ratio_draws(law, draws), base + epsilon)
    interval, more = _interval(
        "tolerance", drawn, value, lambda: _alternative_crossings(law, base + epsilon, draws)
    )  # fmt: skip
    return ByTolerance(epsilon, value, interval), [*warnings, *more]


def ratio_draws(law: Fit, losses: Array) -> pd.DataFrame:
    """Parameters of L(R) for each draw of the losses (n, r) that ``law`` was fitted to."""
    return pd.DataFrame(RATIO_LAW.fit_many(law.x, losses, law.weights))


def interval_of(draws: Array, alpha: float = LEVEL) -> Interval | None:
    """Percentiles of what exists in at least half of the draws (n,); infinite draws count, NaN ones do not."""
    there = draws[~np.isnan(draws)]
    if not len(there) or len(there) < MOST * len(draws):
        return None
    low, high = np.quantile(there, [alpha / 2, 1 - alpha / 2], method="inverted_cdf")
    return float(low), float(high)


def stretched(interval: Interval, *values: float) -> Interval:
    """The interval, made to hold the values as well."""
    return min([interval[0], *values]), max([interval[1], *values])


def ratio_label(ratio: float) -> str:
    """A ratio as the fraction it is (0.125 -> "1/8"), or as a decimal if its denominator exceeds 64."""
    fraction = Fraction(ratio).limit_denominator(64)
    return str(fraction) if abs(float(fraction) - ratio) < 1e-9 else f"{ratio:.4g}"


def _interval(
    route: str, drawn: Array, value: float, alternatives: Callable[[], Mapping[str, float]]
) -> tuple[Interval | None, list[str]]:
    """The interval of the draws, stretched to the value and to those of alternative laws; with what to know of it."""
    lacking = float(np.isnan(drawn).mean())
    bounds = interval_of(drawn)
    if bounds is None:
        return None, [f"no interval by {route}: {lacking:.0%} of the bootstrap draws have no critical ratio"]
    warnings = [f"{lacking:.0%} of the bootstrap draws have no critical ratio by {route}"] if lacking > SOME else []
    if not bounds[0] <= value <= bounds[1]:
        span = f"{bounds[0]:.3g} to {bounds[1]:.3g}"
        warnings.append(f"the law's {value:.3g} by {route} lies outside what the draws give without it, {span}")
    low, high = stretched(bounds, value)
    outside = {name: other for name, other in alternatives().items() if not low <= other <= high}
    warnings += [
        f"the interval by {route} was widened to hold {other:.3g}, from another law that fits as well ({name})"
        for name, other in outside.items()
    ]
    return stretched((low, high), *outside.values()), warnings


def _value(law: Fit, times: Array, ratios: Array, t_max: float) -> tuple[float | None, list[str], bool]:
    """Equation 8 at ``t_max`` if it agrees with the turning points, else where these pass ``t_max``, else None; with
    warnings, and whether the turning points contradict the law.
    """
    value = float(law.predict(t_max))
    if float(CMR_LAW.derivative(law.params, t_max)) <= 0:
        fault = "falls with T"
    elif not value > 0:
        fault = f"gives {value:.3g} at T_max, no positive ratio"
    elif _agrees(np.array([min(value, 1.0)]), times[None], ratios, t_max)[0]:
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


def _agrees(value: Array, times: Array, ratios: Array, t_max: float) -> NDArray[np.bool_]:
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


def _precision(law: Fit, times: Array) -> Array:
    """Weights (r,) for Equation 8: inverse variances of R at the turning points of draws (n, r), by the slope of
    ``law``, an unweighted fit to these points.
    """
    there = np.isfinite(times) & (times > 0)
    logs = np.log(np.where(there, times, np.nan))
    share = np.maximum(there.mean(axis=0), RARE)
    middle = [
        np.nanquantile(column, [0.16, 0.84]) if there_.any() else (0.0, 1.0)
        for column, there_ in zip(logs.T, there.T, strict=True)
    ]
    spread = np.maximum(np.ptp(middle, axis=1) / 2, EXACT) / share
    slope = np.abs(law.params["alpha4"] * law.params["s4"]) * law.x ** law.params["s4"]
    return np.asarray(1 / np.maximum(slope * spread, np.finfo(float).tiny) ** 2)


def _critical_ratios(
    times: Array, ratios: Array, t_max: float, weights: Array, there: NDArray[np.bool_]
) -> tuple[Array, pd.DataFrame]:
    """Equation 8 through those (T0, R) of each draw (n, r) that take part (``there``, (r,)): its value at ``t_max``
    (n,), NaN where it is not positive, falls, or contradicts the turning points; and its parameters, one row each.
    """
    own, shares = times[:, there], np.broadcast_to(ratios[there], (len(times), int(there.sum())))
    known = np.isfinite(own) & (own > 0)
    law = pd.DataFrame(CMR_LAW.fit_many(np.where(known, own, t_max), shares, weights * known))
    law[known.sum(axis=1) < PAIRS] = np.nan
    value = np.minimum((law["alpha4"] * t_max ** law["s4"] + law["beta3"]).to_numpy(float), 1.0)
    sound = (law["alpha4"] * law["s4"] > 0).to_numpy() & (value > 0) & _agrees(value, times, ratios, t_max)
    return np.where(sound, value, np.nan), law


def _alternative_ratios(law: Fit, t_max: float) -> dict[str, float]:
    """The value at ``t_max`` of the logarithm, the limit of Equation 8 as its exponent tends to 0, where a
    likelihood-ratio test (chi-square, one degree of freedom; the weights are inverse variances) does not reject it.
    """
    limit = CMR_LOGARITHM.fit(law.x, law.y, law.weights)
    if limit.sse - law.sse > stats.chi2.ppf(1 - LEVEL, 1):
        return {}
    return {CMR_LOGARITHM.name: float(np.clip(limit.predict(t_max), 0, 1))}


def _pair_warnings(times: Array, t_max: float) -> list[str]:
    texts = []
    if len(times) == PAIRS:
        texts.append("Equation 8 passes through its three turning points: nothing is left to test it")
    if np.any(np.diff(times) <= 0):
        texts.append("turning points do not grow with the ratio, as Equation 8 assumes")
    if not times.min() <= t_max <= times.max():
        span = f"{_amount(times.min())} to {_amount(times.max())}"
        texts.append(f"Equation 8 is extrapolated: T_max = {_amount(t_max)}, turning points {span}")
    return texts


def _amount(tokens: float) -> str:
    return f"{tokens:,.0f}" if tokens >= 1000 else f"{tokens:.4g}"


def _tolerance_ratios(law: pd.DataFrame, limit: float) -> Array:
    """Where L(R) of each draw reaches ``limit``: (n,), 1 where it never does, NaN where it is above throughout."""
    ends = RATIO_LAW.evaluate_many({name: law[name].to_numpy() for name in RATIO_LAW.names}, [TINY, 1.0])
    with np.errstate(invalid="ignore", divide="ignore"):
        crossing = ((limit - law["beta"]) / law["alpha"]) ** (1 / law["s"])
    inside = np.where(ends[:, 0] > limit, np.nan, crossing)
    return np.where(ends[:, 1] <= limit, 1.0, inside)


def _crossing(law: Fit, limit: float) -> float | None:
    """The largest R in [0, 1] at which a law of R is at most ``limit``; the law must be monotone."""
    if float(law.predict(1.0)) <= limit:
        return 1.0
    if float(law.predict(TINY)) > limit:
        return None
    return float(brentq(lambda ratio: float(law.predict(ratio)) - limit, TINY, 1.0))


def _crossing_warnings(law: Fit, value: float, epsilon: float) -> list[str]:
    if value == 1:
        return [f"the fitted general loss stays within {epsilon:g} up to R = 1"]
    low, high = float(law.x.min()), float(law.x.max())
    if low <= value <= high:
        return []
    span = f"{ratio_label(low)} to {ratio_label(high)}"
    return [f"the critical ratio by tolerance is extrapolated: {value:.3g}, fitted {span}"]


def _alternative_crossings(law: Fit, limit: float, draws: Array) -> dict[str, float]:
    """Where the alternatives to L(R) cross ``limit``, those that a chi-square test on the draws' noise accepts."""
    low, high = np.quantile(draws, [0.16, 0.84], axis=0)  # draws of few runs have no variance
    error = np.maximum((high - low) / 2, np.finfo(float).eps * np.max(np.abs(law.y)))
    crossings_of = {}
    for alternative in RATIO_LAWS:
        if alternative.name == law.law.name or len(law.x) <= len(alternative.names):
            continue
        fit = alternative.fit(law.x, law.y, 1 / error**2)
        crossing = _crossing(fit, limit)
        if crossing is not None and fit.sse <= stats.chi2.ppf(1 - LEVEL, fit.df_resid):
            crossings_of[alternative.name] = crossing
    return crossings_of
