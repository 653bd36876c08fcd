"""From an analysis of losses to the frames that figures and tables draw; `published` gives the paper's own.

Every function takes an analysis of one domain; :func:`of_domain` cuts one out of a study of several.
T is in hundredths of T_max throughout, as in :meth:`repro.laws.Analysis.curves`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from repro.laws import (
    CMR_LAW,
    DOMAIN_TOKEN_LAW,
    GENERAL_TOKEN_LAW,
    RATIO_LAW,
    Analysis,
    Fit,
    Group,
    TurningPoint,
    increments,
)

T_MAX = 100.0
Coefficients = Mapping[str, float]

HELD_OUT = 1 / 4  # the ratio that the paper's Table 2 predicts from the others
TOLERANCES = (0.02, 0.05, 0.1)  # nats per token: the paper's, and others that one might have chosen


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


def trajectory_points(trajectories: Iterable[Trajectory], unit: float = 1.0) -> pd.DataFrame:
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


def law_curves(laws: Iterable[tuple[str, Coefficients]], t: ArrayLike, unit: float = 1.0) -> pd.DataFrame:
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


def of_domain(analysis: Analysis, domain: str) -> Analysis:
    """The groups of one domain.

    Raises:
        ValueError: if the analysis has none.

    """
    groups = tuple(group for group in analysis.groups if group.domain == domain)
    if not groups:
        there = dict.fromkeys(group.domain for group in analysis.groups)
        raise ValueError(f"no domain {domain!r} in this analysis; there are {', '.join(there)}")
    points = analysis.points[analysis.points["domain_name"] == domain]
    return replace(analysis, groups=groups, points=points)


def curves(analysis: Analysis, t: ArrayLike, *, band: bool = False) -> pd.DataFrame:
    """Measured increments and the fitted curves at ``t`` (> 0) together: the frame that figures take.

    No curve begins before the first point measured, where the powers of Equation 6 run away unchecked. With ``band``,
    and where the fits have draws, general_low and general_high are the 95% interval of the general curve.
    """
    measured = analysis.measured()
    fitted: pd.DataFrame = analysis.curves(t)
    laws = [laws.general for group in analysis.groups for laws in group.token_laws]
    if band and laws and all(law.draws is not None for law in laws):
        at = np.atleast_1d(np.asarray(t, dtype=float)) * _unit(analysis)
        limits = pd.concat([law.interval(at) for law in laws], ignore_index=True)
        fitted = fitted.assign(general_low=limits["lower"], general_high=limits["upper"])
    fitted = fitted.loc[fitted["t"].to_numpy() >= measured["t"].min()]
    return pd.concat([measured, fitted], ignore_index=True)


def turning_points(analysis: Analysis) -> pd.DataFrame:
    """Columns size, ratio, t (NaN where there is none), general, domain (fitted increments there), status, and lower
    and upper, the 95% interval of t (NaN where there is none; upper is infinite where the curve may never turn).
    """
    found = (
        Trajectory(group.size, laws.ratio, laws.domain.params, laws.general.params, laws.turning_point)
        for group in analysis.groups
        for laws in group.token_laws
    )
    return trajectory_points(found, _unit(analysis))


def _unit(analysis: Analysis) -> float:
    """Units of the laws in a hundredth of T_max."""
    return analysis.t_max / 100 / analysis.unit


def coefficients(analysis: Analysis) -> pd.DataFrame:
    """Equation 6 as fitted, in the columns of the paper's Table 4 (`published.table4`).

    Where the fits have draws, each coefficient has columns <name>_lower and <name>_upper beside it.
    """
    rows = [
        {"size": group.size, "ratio": laws.ratio, **_with_ends(laws.domain), **_with_ends(laws.general)}
        for group in analysis.groups
        for laws in group.token_laws
    ]
    least = ["size", "ratio", *DOMAIN_TOKEN_LAW.names, *GENERAL_TOKEN_LAW.names]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=least)


def _with_ends(fit: Fit) -> dict[str, float]:
    """The parameters of a fit, and their intervals where they come from draws."""
    if fit.draws is None:
        return dict(fit.params)
    known = fit.conf_int()
    ends = {f"{name}_{end}": float(known[end][name]) for name in fit.params for end in ("lower", "upper")}
    return dict(fit.params) | ends


def fit_quality(analysis: Analysis) -> pd.DataFrame:
    """Mean squared error and R2 of Equation 6, in the columns of the paper's Table 3 (`published.table3`)."""
    rows = []
    for group in analysis.groups:
        for laws in group.token_laws:
            for loss, fit in (("general", laws.general), ("domain", laws.domain)):
                key = {"ratio": laws.ratio, "loss": loss, "size": group.size}
                rows.append({"metric": "MSE", **key, "value": fit.sse / fit.n})
                rows.append({"metric": "R2", **key, "value": fit.r2})
    return pd.DataFrame(rows, columns=["metric", "ratio", "loss", "size", "value"])


def critical_ratios(analysis: Analysis) -> pd.DataFrame:
    """One row for each size; NaN where a thing does not exist.

    Columns size, domain, alpha4, s4, beta3 (Equation 8, T in the unit of the laws), critical_ratio (by
    turning points), tolerance_ratio (the largest whose general loss rises by at most epsilon), both (the
    smaller of the two, as Definition 2 asks for both conditions; NaN where one is missing), epsilon, feasible (a
    tuple of the measured ratios that are). The 95% intervals are turning_lower, turning_upper, tolerance_lower,
    tolerance_upper; both_lower and both_upper are the smaller of these ends: they hold where both of the others do.
    """
    return pd.DataFrame([_critical_ratio(group) for group in analysis.groups])


def _critical_ratio(group: Group) -> dict[str, object]:
    turning, tolerance = group.critical_ratio.turning_point, group.critical_ratio.tolerance
    law = dict.fromkeys(("alpha4", "s4", "beta3"), np.nan) if turning.law is None else turning.law.params
    by_turning, by_tolerance = (np.nan if by.value is None else by.value for by in (turning, tolerance))
    limits = np.array([ends(by.interval) for by in (turning, tolerance)])
    routes = {"turning": limits[0], "tolerance": limits[1], "both": np.minimum(*limits)}
    return {
        "size": group.size,
        "domain": group.domain,
        **law,
        "critical_ratio": by_turning,
        "tolerance_ratio": by_tolerance,
        "both": float(np.minimum(by_turning, by_tolerance)),
        **{f"{name}_lower": float(low) for name, (low, _) in routes.items()},
        **{f"{name}_upper": float(high) for name, (_, high) in routes.items()},
        "epsilon": tolerance.epsilon,
        "feasible": group.feasible,
    }


def tolerances(analysis: Analysis, among: Sequence[float] = TOLERANCES) -> pd.DataFrame:
    """The critical ratio at several tolerances, the analysis's own among them: a row for each size and tolerance.

    Columns size, epsilon (nats per token), tolerance_ratio with tolerance_lower and tolerance_upper, critical_ratio (by
    turning point, which no tolerance changes) and binds: "tolerance" or "turning point", whichever is smaller, so that
    it is the critical ratio of Definition 3 ("tolerance" also where the loss exceeds it at every ratio); missing where
    they are equal or one of the two is not known.
    """
    every = sorted({*among, analysis.epsilon})
    return pd.DataFrame([_at_tolerance(group, epsilon) for group in analysis.groups for epsilon in every])


def _at_tolerance(group: Group, epsilon: float) -> dict[str, object]:
    found, turning = group.by_tolerance(epsilon), group.critical_ratio.turning_point.value
    low, high = ends(found.interval)
    binds = None
    if found.value is None:
        binds = None if group.ratio_law["general"] is None else "tolerance"
    elif turning is not None and found.value != turning:
        binds = "tolerance" if found.value < turning else "turning point"
    return {
        "size": group.size,
        "epsilon": epsilon,
        "tolerance_ratio": np.nan if found.value is None else found.value,
        "tolerance_lower": float(low),
        "tolerance_upper": float(high),
        "critical_ratio": np.nan if turning is None else turning,
        "binds": binds,
    }


def two_domains(first: Analysis, other: Analysis, distances: pd.DataFrame) -> pd.DataFrame:
    """The critical ratios of the smallest size on two domains, as `tables.second_domain` takes them.

    distances: columns corpus, distance (from the general text).
    """
    rows = pd.concat([critical_ratios(analysis).head(1) for analysis in (first, other)], ignore_index=True)
    away = distances.set_index("corpus")["distance"]
    ends = [f"{name}_{end}" for name in ("turning", "tolerance", "both") for end in ("lower", "upper")]
    return rows.assign(distance=rows["domain"].map(away))[
        ["domain", "size", "distance", "critical_ratio", "tolerance_ratio", "both", *ends]
    ]


def ratio_curves(analysis: Analysis, t: ArrayLike) -> pd.DataFrame:
    """Equation 8 of every size whose critical ratio by turning point exists. Columns size, t, ratio, kind, low, high.

    low and high are the law's own 95% interval, NaN without draws; it is a share, so it ends at 0 and 1. A law that
    the turning points contradict says nothing and is left out.
    """
    found = [(group.size, group.critical_ratio.turning_point) for group in analysis.groups]
    kept = {size: by.law for size, by in found if by.law is not None and not by.contradicted}
    unit = _unit(analysis)
    drawn = law_curves([(size, law.params) for size, law in kept.items()], t, unit)
    drawn = drawn.assign(low=np.nan, high=np.nan)
    for size, law in kept.items():
        if law.draws is not None:
            rows = drawn["size"] == size
            limits = law.interval(drawn.loc[rows, "t"].to_numpy(float) * unit)[["lower", "upper"]]
            drawn.loc[rows, ["low", "high"]] = limits.clip(0, 1).to_numpy()
    return drawn


def end_losses(analysis: Analysis) -> pd.DataFrame:
    """Losses at the last point of every trajectory. Columns size, ratio, loss, value (nats per token)."""
    bases = {group.size: group.base for group in analysis.groups}
    last = analysis.points.sort_values("t", kind="stable").groupby(["size", "ratio"], sort=False).tail(1)
    rows = [
        {
            "size": row["size"],
            "ratio": row["ratio"],
            "loss": loss,
            "value": row[loss] + getattr(bases[row["size"]], loss),
        }
        for loss in ("domain", "general")
        for _, row in last.iterrows()
    ]
    order = {size: place for place, size in enumerate(bases)}
    key = {"size": lambda column: column.map(order)}
    frame = pd.DataFrame(rows)
    return frame.sort_values(
        ["loss", "size", "ratio"], key=lambda c: key.get(str(c.name), lambda x: x)(c), ignore_index=True
    )


def held_out(
    ends: pd.DataFrame, ratio: float = HELD_OUT, *, among: Sequence[float] | None = None, band: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Section 5.1: fit L(R) without one ratio and predict it.

    Args:
        ends: columns size, ratio, loss, value, as :func:`end_losses` gives them.
        ratio: the ratio held out.
        among: the ratios fitted; by default all others strictly between 0 and 1.
        band: give the law the columns low and high, its 95% interval from the few residuals it leaves (NaN where
            three ratios leave none).

    Returns:
        The two frames of `figures.loss_against_ratio`: points (kind "measured", "measured, not fitted",
        "held out, measured" or "held out, predicted") and the law (kind "fitted", or "extrapolated"
        outside the ratios known). A size without the ratio held out, or with fewer than three others, has no
        prediction.

    """
    points, fitted = [], []
    for (size, loss), rows in ends.groupby(["size", "loss"], sort=False):
        out = np.isclose(rows["ratio"], ratio)
        used = _used(rows["ratio"], among) & ~out
        kind = np.select([out, used], ["held out, measured", "measured"], "measured, not fitted")
        points.append(rows.assign(kind=kind))
        if used.sum() < len(RATIO_LAW.names):
            continue
        law = RATIO_LAW.fit(rows.loc[used, "ratio"], rows.loc[used, "value"])
        key = {"size": size, "loss": loss}
        fitted.append(pd.DataFrame(key | _along(law, rows["ratio"], rows.loc[used | out, "ratio"], band)))
        if out.any():
            value = float(law.predict(ratio))
            points.append(pd.DataFrame([key | {"ratio": ratio, "value": value, "kind": "held out, predicted"}]))
    none = pd.DataFrame(columns=["size", "loss", "ratio", "value", "kind"])
    columns = ["size", "ratio", "loss", "value", "kind"]
    return pd.concat(points, ignore_index=True)[columns], pd.concat(fitted, ignore_index=True) if fitted else none


def _used(ratios: pd.Series, among: Sequence[float] | None) -> np.ndarray:
    if among is None:
        return ratios.between(0, 1, inclusive="neither").to_numpy()
    return np.array([bool(np.isclose(ratio, among).any()) for ratio in ratios])


def _along(law: Fit, ratios: pd.Series, known: pd.Series, band: bool) -> dict[str, object]:
    """The law from the smallest to the largest ratio, "extrapolated" outside the known ones."""
    grid = np.union1d(np.linspace(float(ratios.min()), float(ratios.max()), 61), known)
    kind = np.where((grid >= known.min()) & (grid <= known.max()), "fitted", "extrapolated")
    limits = law.interval(grid) if band else None
    ends = {} if limits is None else {"low": limits["lower"].to_numpy(), "high": limits["upper"].to_numpy()}
    return {"ratio": grid, "value": law.predict(grid), "kind": kind, **ends}
