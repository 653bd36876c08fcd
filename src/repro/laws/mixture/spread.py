"""Intervals of ratios from draws, made to hold what they ought to."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from repro.laws.mixture.turning import Interval
from repro.laws.projection import Array
from repro.laws.results import LEVEL

MOST = 0.5  # share of draws in which a thing must exist for it to have an interval
SOME = 0.05  # share of draws without it from which that is worth a warning


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


def held(route: str, drawn: Array, value: float) -> tuple[Interval | None, list[str]]:
    """The interval of the draws, made to hold the value, and a warning where draws lack one."""
    lacking = float(np.isnan(drawn).mean())
    found = interval_of(drawn)
    if found is None:
        return None, [f"no interval by {route}: {lacking:.0%} of the bootstrap draws have no critical ratio"]
    warnings = [f"{lacking:.0%} of the bootstrap draws have no critical ratio by {route}"] if lacking > SOME else []
    if not found[0] <= value <= found[1]:
        span = f"{found[0]:.3g} to {found[1]:.3g}"
        warnings.append(f"the law's {value:.3g} by {route} lies outside what the draws give without it, {span}")
    return stretched(found, value), warnings


def widened(route: str, interval: Interval, rivals: dict[str, float]) -> tuple[Interval, list[str]]:
    """The interval stretched to the rivals outside it, and a warning for each."""
    low, high = interval
    outside = {name: value for name, value in rivals.items() if not low <= value <= high}
    warnings = [
        f"the interval by {route} was widened to hold {value:.3g}, from another law that fits as well ({name})"
        for name, value in outside.items()
    ]
    return stretched(interval, *outside.values()), warnings


def ratio_label(ratio: float) -> str:
    """A ratio as the fraction it is (0.125 -> "1/8"), or as a decimal if it is none of small denominator."""
    fraction = Fraction(ratio).limit_denominator(64)
    return str(fraction) if abs(float(fraction) - ratio) < 1e-9 else f"{ratio:.4g}"
