"""The critical mixture ratio (Definition 3 of paper A) by both of its conditions, with intervals from bootstrap draws.
A value never contradicts the ratios measured, and beyond them it is a bound.

The form of a law is uncertain too, so each draw gives a value by every form that the data do not reject: by tolerance a
power, an exponential and a monotone interpolation, which needs no law; by turning point Equation 8 and interpolation.
The interval holds 95% of them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from repro.laws.cmr.laws import CMR_LAW, FLOOR, HALVINGS, RATIO_LAWS, Interval, TurningPoint
from repro.laws.inference import LEVEL
from repro.laws.law import Fit, Law
from repro.laws.solver import Array

MOST = 0.5  # share of draws in which a thing must exist for it to have an interval

PAIRS = 3  # Equation 8 has three parameters
EXACT = 1e-3  # turning points are taken to be known no better than this, relatively
UNSURE = 1e-3  # hastes are taken to be known no better than this
BEND = 0.3  # R grows about linearly with T0 to this power, in the paper's fits and in ours
RARE = 0.05  # the least share of draws with a turning point that its precision is scaled by

TINY = 1e-9  # the smallest ratio at which a law with a negative exponent is evaluated
GRID = np.linspace(0, 1, 1001)  # ratios at which curves are looked through for their crossing

BETWEEN = "interpolation"  # the form without a law
UNKNOWN = (-np.inf, np.inf)
Bound = Literal["at least", "at most"]


@dataclass(frozen=True, kw_only=True)
class Critical:
    """A critical ratio, a share; None where it does not exist.

    interval: 95%. bound: "at least" or "at most" where the ratios measured give no more than that; the value is then
    the largest or the smallest of them. within: between which ratios measured it lies, infinite beyond them. draws: of
    the bootstrap, n rows, a column for each form of the law.
    """

    value: float | None
    interval: Interval | None = None
    bound: Bound | None = None
    within: Interval = UNKNOWN
    draws: pd.DataFrame | None = field(default=None, repr=False, compare=False)

    @property
    def range(self) -> Interval:
        """Where it lies, by its value or by the ratios measured."""
        return self.within if self.value is None or self.bound else (self.value, self.value)


@dataclass(frozen=True, kw_only=True)
class ByTurningPoint(Critical):
    """The critical ratio from Equation 8 at T_max, and that law's fit; each None where it does not exist. contradicted:
    the turning points contradict the law, and the value, if there is one, is theirs.
    """

    law: Fit | None
    contradicted: bool = False


@dataclass(frozen=True, kw_only=True)
class ByTolerance(Critical):
    """The largest ratio in [0, 1] whose general loss rises by at most ``epsilon`` nats at T_max."""

    epsilon: float


@dataclass(frozen=True)
class Ends:
    """General losses at T_max, nats per token: ascending ratios (r,), losses (r,), and their draws (n, r)."""

    ratios: Array
    losses: Array
    draws: Array | None = None


def bounded(value: float | None, within: Interval) -> tuple[float | None, Bound | None]:
    """A value, or the bound that takes its place where ``within`` is open to one side (to both: nothing is known)."""
    low, high = within
    if np.isinf(low) == np.isinf(high):
        return value, None
    return (low, "at least") if np.isinf(high) else (high, "at most")


def both(turning: ByTurningPoint, tolerance: ByTolerance) -> Critical:
    """The critical ratio of Definition 3, which asks for both conditions: the smaller of the two, where it is decided.
    A draw without a turning point counts where the turning points measured put it: at 0, at 1, or nowhere.
    """
    low, high = (min(ends) for ends in zip(turning.range, tolerance.range, strict=True))
    value, bound = (low, None) if low == high else bounded(None, (low, high))
    draws = None
    if tolerance.draws is not None:
        place = {"at most": 0.0, "at least": 1.0, None: np.nan}[bounded(None, turning.within)[1]]
        alone = pd.DataFrame({"where they turn": np.full(len(tolerance.draws), place)})
        turns = alone if turning.draws is None else turning.draws
        draws = pd.DataFrame({
            f"{one}; {two}": np.minimum(turns[one].to_numpy(), tolerance.draws[two].to_numpy())
            for one in turns for two in tolerance.draws
        })  # fmt: skip
    interval = _interval(draws, value, bound)
    return Critical(value=value, interval=interval, bound=bound, within=(low, high), draws=draws)


def difference(one: Critical, other: Critical) -> tuple[float, Interval | None]:
    """How much larger the other one is, with the 95% interval of the draws of both in every form, open (to 1) where
    one is a bound; NaN and None where it does not exist.
    """
    value = float("nan") if one.value is None or other.value is None else other.value - one.value
    if value != value or one.draws is None or other.draws is None:
        return value, None
    ends = interval_of((other.draws.to_numpy()[:, :, None] - one.draws.to_numpy()[:, None, :]).ravel())
    reached = [1.0] * (one.bound == "at most" or other.bound == "at least")
    reached += [-1.0] * (one.bound == "at least" or other.bound == "at most")
    return value, ends and stretched(ends, value, *reached)


def by_turning_point(
    points: Sequence[tuple[float, TurningPoint]], t_max: float, draws: Array | None = None
) -> tuple[ByTurningPoint, list[str]]:
    """Equation 8 through (T0, R), and its value at ``t_max``; with the warnings that belong to it.

    Only ratios that rise before they turn take part in the law (T0 > 0, extrapolated ones included, as in the paper): a
    curve that falls from the start does not say when it turned. Fewer than three of them give no law. The value must
    agree with the turning points themselves, late ones (after ``t_max``, or never) and early ones (up to it): where the
    law falls with T, is not positive, or contradicts them, the value is the place where they pass ``t_max`` between two
    neighbouring ratios, and None where there is no such place. Where all are late or all early it is a bound.

    points: (R, T0) of each ratio. t_max: end of training, in the unit of T0. draws: T0 of a bootstrap, (n, r) for the r
    points in their order, NaN where a curve does not turn. Each turning point is then weighted by its precision: those
    far beyond the data are known much worse than those within.
    """
    order = sorted(range(len(points)), key=lambda number: points[number][0])
    ratios = np.array([points[number][0] for number in order])
    times = np.array([np.nan if (value := points[n][1].value) is None else value for n in order], dtype=float)
    drawn = None if draws is None else draws[:, order]
    raw = _haste(times, t_max)
    haste, hastes = _in_order(raw, None if drawn is None else _haste(drawn, t_max))
    within = _room(haste, ratios)
    there, where = times > 0, _where(haste, ratios)
    place = float(crossings(haste[None], ratios)[0])
    value, law, weights, bound = None if np.isnan(place) else place, None, None, None
    fault, warnings = f"{there.sum()} ratios have a turning point, the critical-ratio law needs {PAIRS}", list[str]()
    contradicted = False
    if there.sum() >= PAIRS:
        law = CMR_LAW.fit(times[there], ratios[there])
        weights = None if drawn is None else _precision(law, drawn[:, there])
        law = law if weights is None else CMR_LAW.fit(times[there], ratios[there], weights)
        warnings, fault = _pair_warnings(times[there], t_max), _fault(law, haste, ratios, t_max)
        contradicted = bool(fault)
        value, bound = bounded(value if fault else min(float(law.predict(t_max)), 1.0), within)
    if bound:
        warnings.append(f"the critical ratio by turning point is {bound} {ratio_label(value or 0)}: {where}")
    elif value is None:
        warnings.append(f"no critical ratio by turning point: {fault}; {where}")
    elif law is None:
        warnings.append(f"interpolated between two turning points: {fault}; {where}")
    elif fault:
        crossing = f"the critical ratio by turning point is where these pass T_max, {value:.3g}"
        warnings.append(f"{fault}, which the turning points contradict: {crossing}")
    elif (beyond := float(law.predict(t_max))) > 1:
        warnings.append(f"the critical-ratio law gives {beyond:.3g} at T_max; clipped to 1")
    if np.any((haste >= 1) != (raw >= 1)):
        texts = [ratio_label(ratio) for ratio in ratios[(haste >= 1) != (raw >= 1)]]
        warnings.append(f"R = {', '.join(texts)}: which side of T_max it turns is noise, judged by its neighbours")
    interval, values = None, None
    if value is not None and drawn is not None and hastes is not None:
        crossed = crossings(hastes, ratios)
        smooth = crossed
        if law is not None and weights is not None:
            smooth, parameters = _critical_ratios(drawn, hastes, ratios, t_max, weights, there)
            law = law.with_draws(parameters, "each curve's bootstrap, refitted")
        early = hastes >= 1
        ends = np.where(early.all(axis=1), 1.0, np.where(early.any(axis=1), np.nan, 0.0))
        forms = pd.DataFrame({BETWEEN: crossed, CMR_LAW.name: smooth})
        values = forms.apply(lambda one: one.fillna(forms.mean(axis=1)).fillna(pd.Series(ends)))
        interval = _interval(values, value, bound)
    return ByTurningPoint(
        value=value, law=law, interval=interval, contradicted=contradicted, bound=bound, within=within, draws=values
    ), warnings  # fmt: skip


def _haste(times: Array, t_max: float) -> Array:
    """(T0 / T_max)^-0.3: above 1 for a curve that turns by T_max, 0 for one that never turns, so that such curves
    count; Equation 8 has to leave them out.
    """
    return np.where(np.isnan(times), 0.0, np.maximum(times / t_max, FLOOR) ** -BEND)


def _in_order(haste: Array, draws: Array | None) -> tuple[Array, Array | None]:
    """Hastes (r,) of ascending ratios, and their draws (n, r), made to fall with the ratio where the draws say that
    they do no other than by noise: by least squares, each weighted by its precision.
    """
    if draws is None or not len(haste):
        return haste, draws
    spread = np.ptp(np.quantile(draws, [0.16, 0.84], axis=0), axis=0) / 2
    weights = 1 / np.maximum(spread, UNSURE) ** 2
    ordered = -_isotonic(-haste[None], weights)[0]
    free = int((ordered != haste).sum()) - len(np.unique(ordered[ordered != haste]))
    if free and np.sum(weights * (haste - ordered) ** 2) > stats.chi2.ppf(1 - LEVEL, free):
        return haste, draws
    return ordered, -_isotonic(-draws, weights)


def _room(haste: Array, ratios: Array) -> Interval:
    """Between which of the ascending ratios (r,) their turning points put the critical one; `UNKNOWN` if mixed."""
    early = haste >= 1
    if not len(ratios) or np.any(np.diff(early.astype(int)) > 0):
        return UNKNOWN
    known = [-np.inf, *ratios.tolist(), np.inf]
    return known[int(early.sum())], known[int(early.sum()) + 1]


def crossings(haste: Array, ratios: Array) -> Array:
    """Where T0 passes T_max between two neighbouring ratios, in each draw (n, r) of ascending ratios: (n,), NaN where
    it does not do so between any two of them; the largest such place where there are several.

    This is the critical ratio without a law. Interpolation is linear in (T0 / T_max)^-0.3.
    """
    before, after = haste[:, :-1], haste[:, 1:]
    crossed = (before >= 1) & (after < 1)
    share = (before - 1) / np.where(crossed, before - after, 1.0)
    place = ratios[:-1] + share * np.diff(ratios)
    found = np.max(np.where(crossed, place, -np.inf), axis=1, initial=-np.inf)
    return np.where(np.isinf(found), np.nan, found)


def by_tolerance(ends: Ends, law: Fit | None, base: float, epsilon: float) -> tuple[ByTolerance, list[str]]:
    """The largest R in [0, 1] with L(R) - ``base`` <= ``epsilon``.

    It lies between the largest ratio measured to be within the tolerance and the next; L(R) of Section 5.1, or else a
    monotone interpolation, says where. law: L(R) at the ratios strictly between 0 and 1, with the draws of its
    parameters where ``ends`` has draws; None gives no value.
    """
    if law is None:
        text = "no critical ratio by tolerance: there is no L(R) of the general loss"
        return ByTolerance(epsilon=epsilon, value=None), [text]
    limit = base + epsilon
    low, high = (float(end[0]) for end in _bracket(ends.losses[None], ends.ratios, limit))
    by_law = float(_law_crossings(law.law, pd.DataFrame([law.params]), limit)[0])
    between = float(_interpolated(ends.losses[None], ends.ratios, limit)[0])
    value, bound = bounded(by_law if low <= by_law <= high else float(np.clip(between, low, high)), (low, high))
    warnings = []
    if bound:
        side = "stays within" if bound == "at least" else "exceeds"
        text = f"the general loss {side} {epsilon:g} at every ratio measured"
        warnings.append(f"{text}: the critical ratio by tolerance is {bound} {ratio_label(value or 0)}")
    elif not low <= by_law <= high:
        measured = f"{ratio_label(low)} is within it and {ratio_label(high)} is not"
        warnings.append(f"L(R) crosses the tolerance at {by_law:.3g}, but {measured}: interpolated between the two")
    draws = None if ends.draws is None else _tolerance_draws(ends, ends.draws, law, limit)
    ends_at, room = _interval(draws, value, bound), (low, high)
    found = ByTolerance(epsilon=epsilon, value=value, interval=ends_at, bound=bound, within=room, draws=draws)
    return found, warnings


def _tolerance_draws(ends: Ends, draws: Array, law: Fit, limit: float) -> pd.DataFrame:
    """The critical ratio in each draw (a row) by each form that the data do not reject (a column): never outside the
    ratios that the draw itself has on either side of the tolerance.
    """
    curves = _isotonic(draws)
    low, high = _bracket(curves, ends.ratios, limit)
    values = {BETWEEN: _interpolated(curves, ends.ratios, limit)}
    inside = (ends.ratios > 0) & (ends.ratios < 1)
    spread = np.quantile(draws[:, inside], [0.16, 0.84], axis=0)  # draws of few runs have no variance
    error = np.maximum(np.ptp(spread, axis=0) / 2, np.finfo(float).eps * np.max(np.abs(law.y)))
    for form in (form for form in RATIO_LAWS if form.nonlinear):
        fit = form.fit(law.x, law.y, 1 / error**2)
        if fit.df_resid and fit.sse > stats.chi2.ppf(1 - LEVEL, fit.df_resid):
            continue
        own = law.draws if form.name == law.law.name else None
        params = pd.DataFrame(form.fit_many(law.x, draws[:, inside])) if own is None else own
        values[form.name] = np.clip(_law_crossings(form, params, limit), low, high)
    return pd.DataFrame(values)


def _bracket(losses: Array, ratios: Array, limit: float) -> tuple[Array, Array]:
    """The largest ratio with a loss (n, r) of at most ``limit``, and the next one, each (n,); infinite beyond them."""
    known = np.array([-np.inf, *ratios, np.inf])
    last = np.max(np.where(losses <= limit, np.arange(1, len(ratios) + 1), 0), axis=1)
    return known[last], known[last + 1]


def _interpolated(losses: Array, ratios: Array, limit: float) -> Array:
    """Where a monotone cubic through losses (n, r) last is ``limit`` or less: (n,), 0 if nowhere, 1 at the end."""
    at = ratios[0] + (ratios[-1] - ratios[0]) * GRID
    curve = PchipInterpolator(ratios, losses, axis=1)(at)
    last = np.max(np.where(curve <= limit, np.arange(len(at)), 0), axis=1)
    after = np.minimum(last + 1, len(at) - 1)
    rows = np.arange(len(losses))
    before, step = curve[rows, last], curve[rows, after] - curve[rows, last]
    place = at[last] + (at[after] - at[last]) * (limit - before) / np.where(step > 0, step, np.inf)
    within = losses <= limit
    return np.where(~within.any(axis=1), 0.0, np.where(within[:, -1], 1.0, place))


def _isotonic(values: Array, weights: Array | None = None) -> Array:
    """The nearest values (n, r), by least squares with weights (r,), that do not fall from one column to the next."""
    return np.stack([isotonic_regression(row, weights=weights).x for row in values])


def _law_crossings(law: Law, params: pd.DataFrame, limit: float) -> Array:
    """The largest R in [0, 1], (n,), at which a monotone law is at most ``limit``; 1 if always, 0 if nowhere."""
    arrays = {name: params[name].to_numpy(float) for name in law.names}
    low, high = np.full(len(params), TINY), np.ones(len(params))
    ends = law.evaluate_many(arrays, [TINY, 1.0])
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = law.evaluate_many(arrays, middle[:, None])[:, 0] <= limit
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(ends[:, 1] <= limit, 1.0, np.where(ends[:, 0] > limit, 0.0, (low + high) / 2))


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


def _interval(draws: pd.DataFrame | None, value: float | None, bound: Bound | None) -> Interval | None:
    """95% of the draws of all forms, made to hold the value, and open to 0 or 1 where it is a bound."""
    ends = None if draws is None or value is None else interval_of(draws.to_numpy().ravel())
    if ends is None or value is None:
        return None
    open_to = {"at least": 1.0, "at most": 0.0}
    return stretched(ends, value, *([open_to[bound]] if bound else []))


def _fault(law: Fit, haste: Array, ratios: Array, t_max: float) -> str:
    """Why Equation 8 at ``t_max``, at most 1, is no critical ratio; "" where it agrees with the turning points."""
    value = float(law.predict(t_max))
    if law.params["alpha4"] * law.params["s4"] <= 0:
        return "the critical-ratio law falls with T"
    if not value > 0:
        return f"the critical-ratio law gives {value:.3g} at T_max, no positive ratio"
    agrees = _agrees(np.array([min(value, 1.0)]), haste[None], ratios)[0]
    return "" if agrees else f"the critical-ratio law gives {value:.3g} at T_max"


def _agrees(value: Array, haste: Array, ratios: Array) -> NDArray[np.bool_]:
    """Whether ratios (n,) lie where turning points (n, r) of ascending ratios leave room: at or above the early ones
    and at or below the late ones, or between the two where they are mixed.
    """
    late = haste < 1
    highest = np.max(np.where(late, -np.inf, ratios), axis=1)
    lowest = np.min(np.where(late, ratios, np.inf), axis=1)
    mixed = highest > lowest
    floor, ceiling = np.where(mixed, lowest, highest), np.where(mixed, highest, lowest)
    return np.asarray((floor <= value) & (value <= ceiling))


def _where(haste: Array, ratios: Array) -> str:
    """What the turning points alone say of the critical ratio."""
    late = haste < 1
    if not len(ratios):
        return "no ratio has enough points"
    if late.all():
        return "every ratio measured turns after T_max or never"
    if not late.any():
        return "every ratio measured has turned by T_max"
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
    times: Array, hastes: Array, ratios: Array, t_max: float, weights: Array, there: NDArray[np.bool_]
) -> tuple[Array, pd.DataFrame]:
    """Equation 8 through those (T0, R) of each draw (n, r) that take part (``there``, (r,)): its value at ``t_max``
    (n,), NaN where it is not positive, falls, or contradicts the turning points; and its parameters, one row each.
    """
    own, shares = times[:, there], np.broadcast_to(ratios[there], (len(times), int(there.sum())))
    known = np.isfinite(own) & (own > 0)
    law = pd.DataFrame(CMR_LAW.fit_many(np.where(known, own, t_max), shares, weights * known))
    law[known.sum(axis=1) < PAIRS] = np.nan
    value = np.minimum((law["alpha4"] * t_max ** law["s4"] + law["beta3"]).to_numpy(float), 1.0)
    sound = (law["alpha4"] * law["s4"] > 0).to_numpy() & (value > 0) & _agrees(value, hastes, ratios)
    return np.where(sound, value, np.nan), law


def _pair_warnings(times: Array, t_max: float) -> list[str]:
    texts = []
    if len(times) == PAIRS:
        texts.append("the critical-ratio law passes through its three turning points: nothing is left to test it")
    if np.any(np.diff(times) <= 0):
        texts.append("turning points do not grow with the ratio, as the critical-ratio law assumes")
    if not times.min() <= t_max <= times.max():
        span = f"{_amount(times.min())} to {_amount(times.max())}"
        texts.append(f"the critical-ratio law is extrapolated: T_max = {_amount(t_max)}, turning points {span}")
    return texts


def _amount(tokens: float) -> str:
    return f"{tokens:,.0f}" if tokens >= 1000 else f"{tokens:.4g}"
