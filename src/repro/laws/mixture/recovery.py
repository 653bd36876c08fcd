"""Is the interval of the critical ratio honest? Studies with a known truth, analysed as any other.

Each synthetic study has its own truth, drawn within the range that small models show: general curves that follow
Equation 6 with turning points exactly on Equation 8 and ends exactly on L(R), so that the critical ratio is known by
both routes; and AR(1) noise about as large and as correlated as the residuals of real runs, growing with R.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from repro.laws.mixture.analysis import EPSILON, analyse
from repro.laws.mixture.laws import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, RATIO_LAW
from repro.laws.noise import walk
from repro.laws.projection import Array

RATIOS = tuple(float(Fraction(text)) for text in ("1/8", "1/4", "1/3", "1/2", "3/4", "1"))
POINTS = 25  # losses along each trajectory
CROWDING = 1.5  # they lie at shares ** 1.5 of the run: closer where the loss moves fast
CORRELATION = 0.45  # of neighbouring points
BASE = 3.5  # losses before continual pretraining, nats per token


@dataclass(frozen=True)
class Truth:
    """One synthetic study: Equation 8, L(R) of the general increment at T = 100, and the exponents of Equation 6."""

    cmr: dict[str, float]
    end: dict[str, float]
    s2: float
    s3: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Truth:
        """A truth with a critical ratio between 0.25 and 0.75."""
        at_end, s4, beta3 = rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.5), rng.uniform(-0.25, 0.0)
        cmr = {"s4": s4, "alpha4": (at_end - beta3) / 100**s4, "beta3": beta3}
        tolerated, s, beta = rng.uniform(0.25, 0.7), rng.uniform(0.6, 1.6), rng.uniform(-0.06, 0.0)
        end = {"s": s, "alpha": (EPSILON - beta) / tolerated**s, "beta": beta}
        return cls(cmr, end, rng.uniform(0.2, 0.45), rng.uniform(0.6, 0.95))

    @property
    def by_turning_point(self) -> float:
        return float(CMR_LAW.evaluate(self.cmr, 100.0))

    @property
    def by_tolerance(self) -> float:
        return float(((EPSILON - self.end["beta"]) / self.end["alpha"]) ** (1 / self.end["s"]))

    def turn(self, ratio: float) -> float:
        """T0 of a ratio, in hundredths of the run."""
        return float(((ratio - self.cmr["beta3"]) / self.cmr["alpha4"]) ** (1 / self.cmr["s4"]))

    def general(self, ratio: float) -> dict[str, float]:
        """Equation 6 for a ratio: a rise that grows with R, the turning point, and the end."""
        turn, rise = self.turn(ratio), 0.02 + 0.35 * ratio**2.5
        pull = self.s2 / self.s3 * turn ** (self.s2 - self.s3)
        highest = min(turn, 100.0)
        scale = rise / (highest**self.s2 - pull * highest**self.s3)
        last = scale * (100**self.s2 - pull * 100**self.s3)
        level = float(RATIO_LAW.evaluate(self.end, ratio)) - last
        return {"s2": self.s2, "s3": self.s3, "alpha2": scale, "alpha3": -scale * pull, "beta2": level}

    def losses(self, rng: np.random.Generator, seeds: int = 1) -> pd.DataFrame:
        """A frame as :func:`repro.laws.analyse` takes it, with noise; tokens are hundredths of the run."""
        t = 100 * (np.arange(1, POINTS + 1) / POINTS) ** CROWDING
        start = {"ratio": 0.0, "tokens": [0.0], "general_loss": BASE, "domain_loss": BASE}
        frames = [pd.DataFrame(start).assign(seed=seed) for seed in range(seeds)]
        frames += [self._trajectory(rng, ratio, t).assign(seed=seed) for seed in range(seeds) for ratio in RATIOS]
        return pd.concat(frames, ignore_index=True)

    def _trajectory(self, rng: np.random.Generator, ratio: float, t: Array) -> pd.DataFrame:
        domain = {"s1": 0.25, "alpha1": -0.2 * ratio, "beta1": 0.1 * ratio}
        general_noise = walk(rng, 1, len(t), 0.0015 + 0.006 * ratio**2, CORRELATION)[0]
        domain_noise = walk(rng, 1, len(t), 0.004, CORRELATION)[0]
        return pd.DataFrame({
            "ratio": ratio,
            "tokens": t,
            "general_loss": BASE + GENERAL_TOKEN_LAW.evaluate(self.general(ratio), t) + general_noise,
            "domain_loss": BASE + DOMAIN_TOKEN_LAW.evaluate(domain, t) + domain_noise,
        })  # fmt: skip


def coverage(sets: int, draws: int, seed: int = 0, seeds: int = 1) -> pd.DataFrame:
    """``sets`` synthetic studies, each analysed with ``draws`` bootstrap draws: one row for each and each quantity.

    Columns set, quantity ("by turning point" | "by tolerance" | "turning point"), ratio (NaN but for turning points),
    truth, estimate, lower, upper (NaN where there is none; an open side is inf), covered. Turning points are in
    hundredths of the run. seeds: runs at each ratio.
    """
    return pd.concat([_rows(number, draws, seed, seeds) for number in range(sets)], ignore_index=True)


def _rows(number: int, draws: int, seed: int, seeds: int) -> pd.DataFrame:
    rng = np.random.default_rng([seed, number])
    truth = Truth.drawn(rng)
    (group,) = analyse(truth.losses(rng, seeds), unit=1.0, bootstrap=draws, seed=seed + number).groups
    critical = group.critical_ratio
    rows: list[dict[str, Any]] = [
        _row("by turning point", np.nan, truth.by_turning_point, critical.turning_point),
        _row("by tolerance", np.nan, truth.by_tolerance, critical.tolerance),
        *(_row("turning point", laws.ratio, truth.turn(laws.ratio), laws.turning_point) for laws in group.token_laws),
    ]
    return pd.DataFrame(rows).assign(set=number)


def _row(quantity: str, ratio: float, truth: float, found: Any) -> dict[str, Any]:
    low, high = (np.nan, np.nan) if found.interval is None else found.interval
    estimate = np.nan if found.value is None else found.value
    values = {"truth": truth, "estimate": estimate, "lower": low, "upper": high}
    return {"quantity": quantity, "ratio": ratio, **values, "covered": bool(low <= truth <= high)}
