"""From coefficients of the laws, printed or fitted, to the frames that figures draw: one code for both.

T is in hundredths of T_max; ``unit`` is how many units of the laws' own T go into one of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from repro.laws import CMR_LAW, TurningPoint, increments

T_MAX = 100.0
Coefficients = Mapping[str, float]


class Trajectory(NamedTuple):
    """One size at one ratio: the coefficients of Equation 6 and the turning point they imply, in the laws' T."""

    size: str
    ratio: float
    domain: Coefficients
    general: Coefficients
    turning_point: TurningPoint


def kind_at(t: NDArray[np.float64]) -> NDArray[np.str_]:
    """ "fitted" up to the end of the run, "extrapolated" beyond."""
    return np.where(t <= T_MAX, "fitted", "extrapolated")


def turning_points(trajectories: Iterable[Trajectory], unit: float = 1.0) -> pd.DataFrame:
    """Columns size, ratio, t (NaN where there is none), general, domain (increments there), status, lower, upper.

    lower and upper are the 95% interval of t: NaN where there is none, upper infinite where the curve may never turn.
    """
    rows = []
    for one in trajectories:
        at = np.nan if one.turning_point.value is None else one.turning_point.value
        there = {name: float(value) for name, value in increments(one.domain, one.general, at).items()}
        row = {"size": one.size, "ratio": one.ratio, "t": at / unit, **there}
        low, high = ends(one.turning_point.interval)
        rows.append(row | {"status": one.turning_point.status, "lower": low / unit, "upper": high / unit})
    return pd.DataFrame(rows, columns=["size", "ratio", "t", "general", "domain", "status", "lower", "upper"])


def ends(interval: tuple[float, float] | None) -> tuple[float, float]:
    """Both ends of an interval, NaN where there is none."""
    return (np.nan, np.nan) if interval is None else interval


def ratio_curves(laws: Iterable[tuple[str, Coefficients]], t: ArrayLike, unit: float = 1.0) -> pd.DataFrame:
    """Equation 8 of each size at ``t`` (> 0), and at T_max where ``t`` spans it.

    Columns size, t, ratio (no share exceeds 1, so the law is clipped there; below 0 for small T), kind.
    """
    at = np.atleast_1d(np.asarray(t, dtype=float))
    if at.min() <= T_MAX <= at.max():
        at = np.union1d(at, T_MAX)
    frames = [pd.DataFrame(columns=["size", "t", "ratio", "kind"])]
    for size, law in laws:
        share = np.minimum(CMR_LAW.evaluate(law, at * unit), 1.0)
        frames.append(pd.DataFrame({"size": size, "t": at, "ratio": share, "kind": kind_at(at)}))
    return pd.concat(frames[1:] or frames, ignore_index=True)
