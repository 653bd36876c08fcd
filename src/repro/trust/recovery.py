"""Recovery studies: synthetic data of known truth, analysed like any other, to see whether intervals hold the truth.

:func:`coverage` simulates studies of paper A, :func:`allocation_coverage` those of paper B. :class:`Recovery` makes
either a stage, cached like a training run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd

from repro.laws.allocation.law import NAMES, allocation_law
from repro.laws.allocation.optimum import optimum
from repro.laws.allocation.scores import Scores, checked
from repro.laws.cmr.analysis import EPSILON, analyse
from repro.laws.cmr.laws import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, RATIO_LAW
from repro.laws.law import Fit
from repro.laws.noise import ar1_series
from repro.laws.solver import Array
from repro.runs.spec import Stage, Work

RATIOS = tuple(float(Fraction(text)) for text in ("1/8", "1/4", "1/3", "1/2", "3/4", "1"))
POINTS = 25  # losses along each trajectory
CROWDING = 1.5  # they lie at shares ** 1.5 of the run: closer where the loss moves fast
CORRELATION = 0.45  # of neighbouring points
BASE = 3.5  # losses before continual pretraining, nats per token

ALLOCATIONS = 16
BUDGET = 30e9
TOKENS = (1e5, 1e7)
REFITS_TOGETHER = 2000  # refits solved in one call

RECOVERY = "recovery.csv"
SETS_A_STAGE = 25  # some ten seconds, so that workers share the study and an interruption loses little
OPERATIONS = {"critical ratio": 8e7, "best allocation": 3e7}  # per draw: operations of training that take as long

Recovered = Literal["critical ratio", "best allocation"]


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
        general_noise = ar1_series(rng, 1, len(t), 0.0015 + 0.006 * ratio**2, CORRELATION)[0]
        domain_noise = ar1_series(rng, 1, len(t), 0.004, CORRELATION)[0]
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
    return pd.concat([_study(number, draws, seed, seeds) for number in range(sets)], ignore_index=True)


def _study(number: int, draws: int, seed: int, seeds: int) -> pd.DataFrame:
    rng = np.random.default_rng([seed, number])
    truth = Truth.drawn(rng)
    (group,) = analyse(truth.losses(rng, seeds), unit=1.0, bootstrap=draws, seed=seed + number).groups
    critical = group.critical_ratio
    estimates: list[tuple[str, float, float, Any]] = [
        ("by turning point", np.nan, truth.by_turning_point, critical.turning_point),
        ("by tolerance", np.nan, truth.by_tolerance, critical.tolerance),
        *(("turning point", laws.ratio, truth.turn(laws.ratio), laws.turning_point) for laws in group.token_laws),
    ]
    rows = [
        {"quantity": quantity, "ratio": ratio, **_row(true, estimate.value, estimate.interval)}
        for quantity, ratio, true, estimate in estimates
    ]
    return pd.DataFrame(rows).assign(set=number)


def _row(truth: float, value: float | None, interval: tuple[float, float] | None) -> dict[str, float | bool]:
    low, high = interval or (np.nan, np.nan)
    estimate = np.nan if value is None else value
    return {
        "truth": truth, "estimate": estimate, "lower": low, "upper": high, "covered": bool(low <= truth <= high),
    }  # fmt: skip


class Simulated(NamedTuple):
    """Scores as :func:`repro.laws.allocation.analyse_allocation` takes them, and the parameters behind them."""

    scores: pd.DataFrame
    truth: Mapping[str, float]


def simulate_scores(rng: np.random.Generator) -> Simulated:
    """One study of 16 allocations, even in ln S over two decades, with a clear peak and binomial noise.

    Truths are drawn anew each time: a baseline of 0.3 to 0.5, a peak 5 to 15 points high, between 20% and 80% of the
    range of ln S and 10% to 30% of it wide, a cliff that costs up to 10 points at the fewest tokens; 1,000 to 4,000
    items, so standard errors of 0.8 to 1.6 points.
    """
    tokens = np.geomspace(*TOKENS, ALLOCATIONS)
    low, high = np.log(TOKENS)
    s_min = float(rng.uniform(0, 0.9) * tokens[0])
    truth = {
        "p_base": float(rng.uniform(0.3, 0.5)),
        "amplitude": float(rng.uniform(0.05, 0.15)),
        "mu": float(rng.uniform(low + 0.2 * (high - low), high - 0.2 * (high - low))),
        "sigma": float(rng.uniform(0.1, 0.3) * (high - low)),
        "s_min": s_min,
        "penalty": float(rng.uniform(0, 0.1) * (tokens[0] - s_min)),
    }
    items = int(rng.integers(1000, 4001))
    share = np.clip(allocation_law(tokens).evaluate(truth, tokens), 0, 1)
    scores = pd.DataFrame({"sft_tokens": tokens, "score": rng.binomial(items, share) / items, "n_items": items})
    return Simulated(scores, truth)


def allocation_coverage(sets: int = 200, draws: int = 100, seed: int = 0) -> pd.DataFrame:
    """95% percentile intervals of the best SFT count on simulated studies with a known one.

    One row for each set: truth, estimate, lower, upper (SFT tokens; the last three NaN where no peak was found) and
    covered. The mean of covered should be near 0.95; the median of upper / lower says how much the intervals tell.
    Raises ValueError if sets or draws is below 1.
    """
    if sets < 1 or draws < 1:
        raise ValueError(f"a coverage study needs at least one set and one draw, not {sets} and {draws}")
    rng = np.random.default_rng(seed)
    size = max(1, REFITS_TOGETHER // draws)
    rows: list[dict[str, float | bool]] = []
    for start in range(0, sets, size):
        simulated = [simulate_scores(rng) for _ in range(min(size, sets - start))]
        for study, (data, fit) in zip(simulated, _fitted(simulated, draws, rng), strict=True):
            best = optimum(data, fit)
            rows.append(_row(float(np.exp(study.truth["mu"])), best.sft_tokens, best.interval))
    return pd.DataFrame(rows)


def _fitted(simulated: list[Simulated], draws: int, rng: np.random.Generator) -> list[tuple[Scores, Fit]]:
    """Each set with its fit and draws; the refits of all sets in one call, as all share S and have equal weights."""
    data = [checked(study.scores, BUDGET) for study in simulated]
    tokens, law = data[0].tokens, allocation_law(data[0].tokens)
    params = law.fit_many(tokens, np.stack([scores.values for scores in data]))
    fits = [
        Fit.of(law, {name: float(params[name][k]) for name in NAMES}, tokens, scores.values, scores.weights())
        for k, scores in enumerate(data)
    ]
    noisy = [fit.predict(tokens) + scores.noise(fit, draws, rng) for scores, fit in zip(data, fits, strict=True)]
    refits = law.fit_many(tokens, np.concatenate(noisy))
    each = {name: np.split(refits[name], len(data)) for name in NAMES}
    tables = [pd.DataFrame({name: each[name][k] for name in NAMES}) for k in range(len(data))]
    return [(scores, replace(fit, draws=table)) for scores, fit, table in zip(data, fits, tables, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Recovery(Stage):
    """``sets`` synthetic studies analysed with ``draws`` bootstrap draws; ``number`` seeds them."""

    version: ClassVar[int] = 4
    law: Recovered
    number: int
    sets: int
    draws: int

    @property
    def label(self) -> str:
        return f"recover the {self.law}, {self.number + 1}"

    @property
    def cost(self) -> float:
        return OPERATIONS[self.law] * self.sets * self.draws

    def execute(self, work: Work) -> None:
        study = coverage if self.law == "critical ratio" else allocation_coverage
        study(self.sets, self.draws, self.number).to_csv(work.path / RECOVERY, index=False)


def recoveries(sets: int, draws: int) -> tuple[Recovery, ...]:
    """Stages that together make ``sets`` sets for each of the two laws."""
    sizes = [min(SETS_A_STAGE, sets - start) for start in range(0, sets, SETS_A_STAGE)]
    laws: tuple[Recovered, ...] = ("critical ratio", "best allocation")
    return tuple(
        Recovery(law=law, number=number, sets=size, draws=draws) for law in laws for number, size in enumerate(sizes)
    )


def read_recovery(path: Path) -> pd.DataFrame:
    """One row for each set and quantity: truth, estimate, lower, upper (inf for an open side), covered."""
    return pd.read_csv(path)
