"""The whole of paper A's fitting on a frame of losses: Equation 6, L(R), feasible ratios, critical ratio."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from repro.laws.mixture.groups import Group, Settings, group_of
from repro.laws.mixture.laws import increments
from repro.laws.mixture.losses import trajectories
from repro.laws.mixture.turning import HORIZON, LAGRANGE

EPSILON = 0.05  # Appendix C: the paper's tolerance, nats per token


@dataclass(frozen=True)
class Analysis:
    """All groups of a losses frame, in its order. t_max and unit are in tokens; the laws count T in units."""

    groups: tuple[Group, ...]
    settings: Settings
    points: pd.DataFrame = field(repr=False, compare=False)

    @property
    def t_max(self) -> float:
        return self.settings.t_max

    @property
    def unit(self) -> float:
        return self.settings.unit

    @property
    def epsilon(self) -> float:
        return self.settings.epsilon

    @property
    def lagrange(self) -> float:
        return self.settings.lagrange

    @property
    def method(self) -> str:
        """How the intervals were got, in words; empty without a bootstrap."""
        words = dict.fromkeys(laws.general.method for group in self.groups for laws in group.token_laws)
        return "; ".join(words) if self.settings.bootstrap else ""

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


def analyse(
    losses: pd.DataFrame,
    *,
    t_max: float | None = None,
    epsilon: float = EPSILON,
    lagrange: float = LAGRANGE,
    unit: float | None = None,
    horizon: float = HORIZON,
    bootstrap: int = 0,
    seed: int = 0,
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
        bootstrap: how many draws the intervals come from; 0 gives none. Several seeds deviate as whole runs;
            one trajectory has correlated noise, drawn as such (:mod:`repro.laws.noise`). With draws, Equation 8 weighs
            each turning point by its precision, which moves its value too.
        seed: of the draws.

    Losses at T_max are measured ones (mean over seeds) where a trajectory reaches it, else the token law's
    prediction. What does not exist is None, and a warning of its group says why.

    Raises:
        ValueError: for a missing column, a value out of range, no rows at 0 tokens, or a setting out of
            range.

    """
    runs = trajectories(losses)
    end = float(losses["tokens"].max()) if t_max is None else float(t_max)
    unit = end / 100 if unit is None else float(unit)
    settings = Settings(end, unit, epsilon, lagrange, horizon, bootstrap, seed)
    groups = tuple(group_of(run, settings) for run in runs)
    points = pd.concat([run.measured(end) for run in runs], ignore_index=True)
    return Analysis(groups, settings, points)
