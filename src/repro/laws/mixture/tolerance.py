"""The critical ratio by tolerance: the largest ratio whose general loss ends within epsilon of its start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq

from repro.laws.mixture.laws import RATIO_LAW
from repro.laws.mixture.rivals import RATIO_LAWS
from repro.laws.mixture.spread import held, ratio_label, widened
from repro.laws.mixture.turning import Interval
from repro.laws.projection import Array
from repro.laws.results import LEVEL, Fit

TINY = 1e-9  # the smallest ratio at which a law with a negative exponent is asked


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

    L is monotone, so this is 1, None or one crossing. Warns where it is not the crossing, or outside the
    ratios fitted. draws: the losses that ``law`` was fitted to in each draw of a bootstrap, (n, r).
    """
    if law is None:
        text = "no critical ratio by tolerance: there is no L(R) of the general loss"
        return ByTolerance(epsilon, None), [text]
    value = _crossing(law, base + epsilon)
    if value is None:
        text = f"no critical ratio by tolerance: the fitted general loss exceeds {epsilon:g} at every ratio"
        return ByTolerance(epsilon, None), [text]
    warnings = _crossing_warnings(law, value, epsilon)
    if draws is None:
        return ByTolerance(epsilon, value), warnings
    drawn = tolerance_ratios(law.draws if law.draws is not None else ratio_draws(law, draws), base + epsilon)
    interval, more = held("tolerance", drawn, value)
    if interval is not None:
        interval, yet_more = widened("tolerance", interval, _rival_crossings(law, base + epsilon, draws))
        more += yet_more
    return ByTolerance(epsilon, value, interval), [*warnings, *more]


def ratio_draws(law: Fit, losses: Array) -> pd.DataFrame:
    """Parameters of L(R) for each draw of the losses (n, r) that ``law`` was fitted to."""
    return pd.DataFrame(RATIO_LAW.fit_many(law.x, losses, law.weights))


def tolerance_ratios(law: pd.DataFrame, limit: float) -> Array:
    """Where L(R) of each draw reaches ``limit``: (n,), 1 where it never does, NaN where it is above throughout."""
    ends = RATIO_LAW.evaluate_many({name: law[name].to_numpy() for name in RATIO_LAW.names}, [TINY, 1.0])
    with np.errstate(invalid="ignore", divide="ignore"):
        crossing = ((limit - law["beta"]) / law["alpha"]) ** (1 / law["s"])
    inside = np.where(ends[:, 0] > limit, np.nan, crossing)
    return np.where(ends[:, 1] <= limit, 1.0, inside)


def _crossing(law: Fit, limit: float) -> float | None:
    """The largest R in [0, 1] at which a monotone law is at most ``limit``."""
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


def _rival_crossings(law: Fit, limit: float, draws: Array) -> dict[str, float]:
    """Where the rivals of L(R) cross, those that the noise of the losses does not reject."""
    low, high = np.quantile(draws, [0.16, 0.84], axis=0)  # draws of few runs have no variance
    error = np.maximum((high - low) / 2, np.finfo(float).eps * np.max(np.abs(law.y)))
    found = {}
    for rival in RATIO_LAWS:
        if rival.name == law.law.name or len(law.x) <= len(rival.names):
            continue
        fit = rival.fit(law.x, law.y, 1 / error**2)
        crossing = _crossing(fit, limit)
        if crossing is not None and fit.sse <= stats.chi2.ppf(1 - LEVEL, fit.spare):
            found[rival.name] = crossing
    return found
