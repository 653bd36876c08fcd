"""The whole of paper A's fitting on a frame of losses: Equation 6, L(R), feasible ratios, critical ratio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from repro.laws.critical import (
    HORIZON,
    LAGRANGE,
    CriticalRatio,
    TurningPoint,
    by_tolerance,
    by_turning_point,
    ratio_label,
    turning_point,
)
from repro.laws.losses import Base, Trajectories, trajectories
from repro.laws.mixture import DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, RATIO_LAW, increments
from repro.laws.results import Fit

EPSILON = 0.05  # Appendix C: the paper's tolerance, nats per token
AT_END = 0.01  # a trajectory reaches T_max when its last point is within this share of it


class TokenLaws(NamedTuple):
    """Equation 6 at one mixture ratio: both fits, T in units, and the turning point they imply."""

    ratio: float
    domain: Fit
    general: Fit
    turning_point: TurningPoint


@dataclass(frozen=True)
class Group:
    """One model size on one domain.

    ratio_law: L(R) at T_max of the "general" and the "domain" loss. token_laws: ascending ratio. feasible:
    Definition 2 among the ratios measured: T0 <= T_max and a general increment at T_max within the tolerance.
    """

    size: str
    domain: str
    base: Base
    ratio_law: dict[str, Fit | None]
    token_laws: tuple[TokenLaws, ...]
    feasible: tuple[float, ...]
    critical_ratio: CriticalRatio
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Analysis:
    """All groups of a losses frame, in its order. t_max and unit are in tokens; the laws count T in units."""

    groups: tuple[Group, ...]
    t_max: float
    unit: float
    epsilon: float
    lagrange: float
    points: pd.DataFrame = field(repr=False, compare=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every group's warnings, each naming its group."""
        return tuple(f"{group.size}, {group.domain}: {text}" for group in self.groups for text in group.warnings)

    def measured(self) -> pd.DataFrame:
        """Measured increments at T > 0, mean over seeds.

        Columns size, domain_name, ratio, t, general, domain, kind ("measured");
        t is in hundredths of T_max; general and domain are loss minus its value before continual
        pre-training.
        """
        return self.points.copy()

    def curves(self, t: ArrayLike) -> pd.DataFrame:
        """Equation 6 as fitted, at ``t`` (hundredths of T_max, >= 0): the columns of :meth:`measured`.

        kind is "fitted" up to t = 100 and "extrapolated" beyond. At t = 0 both increments are 0 by
        definition.
        """
        at = np.atleast_1d(np.asarray(t, dtype=float))
        units = at * self.t_max / 100 / self.unit
        frames = [
            pd.DataFrame({
                "size": group.size, "domain_name": group.domain, "ratio": laws.ratio, "t": at,
                **increments(laws.domain.params, laws.general.params, units),
                "kind": np.where(at <= 100, "fitted", "extrapolated"),
            })
            for group in self.groups
            for laws in group.token_laws
        ]  # fmt: skip
        return pd.concat(frames or [self.points.iloc[:0]], ignore_index=True)


@dataclass(frozen=True)
class _Settings:
    t_max: float
    unit: float
    epsilon: float
    lagrange: float
    horizon: float

    def __post_init__(self) -> None:
        for name in ("t_max", "unit", "lagrange"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")
        if not self.epsilon >= 0:
            raise ValueError(f"epsilon is {self.epsilon}; it must be 0 or more")

    @property
    def end(self) -> float:
        """T_max in the unit of the laws."""
        return self.t_max / self.unit


def analyse(
    losses: pd.DataFrame,
    *,
    t_max: float | None = None,
    epsilon: float = EPSILON,
    lagrange: float = LAGRANGE,
    unit: float | None = None,
    horizon: float = HORIZON,
) -> Analysis:
    """Sections 4 and 5 on a frame of losses, one group for each (size, domain).

    Args:
        losses: columns ratio, tokens, general_loss, domain_loss; optional size, domain, seed. Rows with
            tokens = 0 hold the model before continual pre-training (one for each seed, or one for all; their
            ratio is not read).
        t_max: T_max in tokens; default: the most tokens in the frame. Later rows are kept out of every fit.
        epsilon: tolerated rise of the general loss, nats per token (Definition 1, Appendix C).
        lagrange: the multiplier of Equation 27; by default the largest the paper uses, where turning points
            are within half a percent of the maximum of the general loss.
        unit: tokens in one unit of T; default T_max / 100, so that training ends at T = 100 as in the paper.
        horizon: how far ahead turning points are looked for, in multiples of T_max.

    Losses at T_max are measured ones (mean over seeds) where a trajectory reaches it, else the token law's
    prediction. What does not exist is None, and a warning of its group says why.

    Raises:
        ValueError: for a missing column, a value out of range, no rows at 0 tokens, or a setting out of
            range.

    """
    runs = trajectories(losses)
    end = float(losses["tokens"].max()) if t_max is None else float(t_max)
    settings = _Settings(end, end / 100 if unit is None else float(unit), epsilon, lagrange, horizon)
    groups = tuple(_group(run, settings) for run in runs)
    points = pd.concat([run.measured(end) for run in runs], ignore_index=True)
    return Analysis(groups, end, settings.unit, epsilon, lagrange, points)


def _group(run: Trajectories, settings: _Settings) -> Group:
    warnings: list[str] = []
    inside = run.points[run.points["tokens"] <= settings.t_max * (1 + 1e-9)]
    laws, ends = [], {}
    for _, rows in inside.groupby("ratio"):
        ratio = float(rows["ratio"].iloc[0])
        found = _token_laws(ratio, rows, settings, warnings)
        if found is not None:
            laws.append(found)
        at_end = _increments_at_end(rows, found, settings, warnings)
        if at_end is not None:
            ends[ratio] = at_end
    ratio_law = {
        "general": _ratio_law("general", {r: run.base.general + end[0] for r, end in ends.items()}, warnings),
        "domain": _ratio_law("domain", {r: run.base.domain + end[1] for r, end in ends.items()}, warnings),
    }
    turning, more = by_turning_point([(item.ratio, item.turning_point) for item in laws], settings.end)
    tolerance, yet_more = by_tolerance(ratio_law["general"], run.base.general, settings.epsilon)
    feasible = tuple(
        item.ratio for item in laws if item.turning_point.status == "inside" and ends[item.ratio][0] <= settings.epsilon
    )
    if laws and not feasible:
        warnings.append("no measured ratio is feasible")
    critical = CriticalRatio(turning, tolerance)
    every = (*warnings, *more, *yet_more)
    return Group(run.size, run.domain, run.base, ratio_law, tuple(laws), feasible, critical, every)


def _token_laws(ratio: float, rows: pd.DataFrame, settings: _Settings, warnings: list[str]) -> TokenLaws | None:
    if len(rows) < len(GENERAL_TOKEN_LAW.names):
        warnings.append(f"R = {ratio_label(ratio)}: {len(rows)} points up to T_max are too few for Equation 6")
        return None
    t = rows["tokens"].to_numpy(float) / settings.unit
    domain = DOMAIN_TOKEN_LAW.fit(t, rows["domain"].to_numpy(float))
    general = GENERAL_TOKEN_LAW.fit(t, rows["general"].to_numpy(float))
    point = turning_point(
        domain.params,
        general.params,
        lagrange=settings.lagrange,
        t_max=settings.end,
        horizon=settings.horizon,
    )
    if point.status == "none":
        text = f"the general loss does not turn within {settings.horizon:g} T_max"
        warnings.append(f"R = {ratio_label(ratio)}: {text}")
    return TokenLaws(ratio, domain, general, point)


def _increments_at_end(
    rows: pd.DataFrame, laws: TokenLaws | None, settings: _Settings, warnings: list[str]
) -> tuple[float, float] | None:
    """(general, domain) increment at T_max, measured where the trajectory gets there, else predicted."""
    last = rows[rows["tokens"] == rows["tokens"].max()]
    if last["tokens"].iloc[0] >= (1 - AT_END) * settings.t_max:
        return float(last["general"].mean()), float(last["domain"].mean())
    ratio = float(rows["ratio"].iloc[0])
    if laws is None:
        warnings.append(f"R = {ratio_label(ratio)}: no loss at T_max, measured or predicted")
        return None
    warnings.append(f"R = {ratio_label(ratio)}: training ends before T_max; its losses there are predicted")
    return float(laws.general.predict(settings.end)), float(laws.domain.predict(settings.end))


def _ratio_law(name: str, losses: dict[float, float], warnings: list[str]) -> Fit | None:
    """L(R) of Section 5.1 through the ratios strictly between 0 and 1."""
    interior = {ratio: loss for ratio, loss in losses.items() if 0 < ratio < 1}
    if len(interior) < len(RATIO_LAW.names):
        warnings.append(f"no L(R) of the {name} loss: {len(interior)} ratios between 0 and 1, it needs 3")
        return None
    return RATIO_LAW.fit(list(interior), list(interior.values()))
