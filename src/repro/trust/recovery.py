"""Recovery studies: synthetic data of known truth, analysed like any other, to see whether intervals hold the truth."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from repro.laws.allocation.law import NAMES, allocation_law
from repro.laws.allocation.peak import optimum
from repro.laws.allocation.scores import Scores, checked
from repro.laws.cmr.analysis import EPSILON, analyse
from repro.laws.cmr.bootstrap import BOUNDS
from repro.laws.cmr.critical import interval_of
from repro.laws.cmr.laws import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW
from repro.laws.law import Fit
from repro.laws.noise import ar1_series
from repro.laws.solver import Array
from repro.runs.spec import Stage, Work

DESIGNS = {
    4: ("1/8", "1/3", "1/2", "3/4"),
    6: ("1/8", "1/4", "1/3", "1/2", "3/4", "1"),
    9: ("1/16", "1/8", "1/4", "1/3", "3/8", "1/2", "5/8", "3/4", "1"),
}
POINTS = 25  # losses along each trajectory
CROWDING = 1.5  # they lie at shares ** 1.5 of the run: closer where the loss moves fast
CORRELATIONS = (0.2, 0.7)  # of neighbouring points
BASE = 3.5  # losses before continual pretraining, nats per token
SEQUENCES = 64  # held-out sequences
SPREAD = 0.09  # standard deviation between runs of the critical ratio by turning point, as we measured it
END_SPREAD = 0.02  # relative, of the general increment at the end
FINE = np.linspace(0.02, 1.2, 60)  # ratios between which a mean over runs is interpolated
HELD_OUT = 0.03  # nats: how much a held-out sequence's loss moves with training apart from the others'
EXPONENTS = tuple(f"exponents up to {bound:g}" for bound in BOUNDS)  # those of Equation 6
POPULATION = 64  # runs whose mean is taken for the truth of several seeds

ALLOCATIONS = 16
BUDGET = 30e9
TOKENS = (1e5, 1e7)
REFITS_TOGETHER = 2000  # refits solved in one call

RECOVERY = "recovery.csv"
SETS_A_STAGE = 25  # some ten seconds, so that workers share the study and an interruption loses little
OPERATIONS = {"critical ratio": 2e8, "best allocation": 3e7}  # per draw: operations of training that take as long

Recovered = Literal["critical ratio", "best allocation"]
End = Literal["power", "exponential", "steep"]
ENDS: tuple[End, ...] = ("power", "exponential", "steep")
CELLS = tuple(itertools.product(DESIGNS, (1, 2, 3), ENDS))  # ratios, seeds, form of the end
Reach = Literal["across", "below", "above", "nothing"]
REACHES: tuple[Reach, ...] = ("across", "below", "above", "nothing")
HOPELESS: dict[Reach, int] = {"below": 6, "above": 6, "nothing": 2}  # each in one of so many studies besides
APART = 1.5  # ratios that do not reach the critical one end a factor of this before it


@dataclass(frozen=True)
class Truth:
    """One run of a synthetic study: Equation 8, the general increment at T = 100 as a function of R, and the exponents
    of Equation 6.

    form: of the increment: L(R) of Section 5.1, an exponential, or a line that rises steeply toward R = 1. end: its
    coefficients: alpha, beta, and s (the exponent, the rate, or the power of the steep rise).
    """

    cmr: dict[str, float]
    end: dict[str, float]
    s2: float
    s3: float
    form: End = "power"

    @classmethod
    def drawn(cls, rng: np.random.Generator, form: End = "power") -> Truth:
        """A truth with a critical ratio between 0.25 and 0.65."""
        at_end, s4, beta3 = rng.uniform(0.25, 0.65), rng.uniform(0.25, 0.5), rng.uniform(-0.25, 0.0)
        cmr = {"s4": s4, "alpha4": (at_end - beta3) / 100**s4, "beta3": beta3}
        tolerated, beta = rng.uniform(0.25, 0.65), rng.uniform(-0.06, 0.0)
        lows, highs = {"power": (0.6, 1.6), "exponential": (1.0, 5.0), "steep": (8.0, 16.0)}[form]
        end = {"s": rng.uniform(lows, highs), "alpha": 1.0, "beta": beta}
        truth = cls(cmr, end, rng.uniform(0.2, 0.45), rng.uniform(0.6, 0.95), form)
        return replace(truth, end=end | {"alpha": (EPSILON - beta) / (truth.increment(tolerated) - beta)})

    def run(self, rng: np.random.Generator) -> Truth:
        """Another run of the same study: what turns, and how high it ends, differ as runs do."""
        turn = self.by_turning_point + SPREAD * rng.standard_normal()
        alpha4 = (np.clip(turn, 0.1, 0.95) - self.cmr["beta3"]) / 100 ** self.cmr["s4"]
        rise = self.end["alpha"] * np.exp(END_SPREAD * rng.standard_normal())
        return replace(self, cmr=self.cmr | {"alpha4": float(alpha4)}, end=self.end | {"alpha": float(rise)})

    def increment(self, ratio: float) -> float:
        """The general increment at T = 100, nats per token."""
        s = self.end["s"]
        shape = {"power": ratio**s, "exponential": np.expm1(s * ratio) / s, "steep": ratio + 2 * ratio**s}[self.form]
        return float(self.end["alpha"] * shape + self.end["beta"])

    @property
    def by_turning_point(self) -> float:
        return float(CMR_LAW.evaluate(self.cmr, 100.0))

    @property
    def by_tolerance(self) -> float:
        return float(brentq(lambda ratio: self.increment(ratio) - EPSILON, 1e-9, 2.0))

    def turn(self, ratio: float) -> float:
        """T0 of a ratio, in hundredths of the run."""
        return float(((ratio - self.cmr["beta3"]) / self.cmr["alpha4"]) ** (1 / self.cmr["s4"]))

    def general(self, ratio: float) -> dict[str, float]:
        """Equation 6 for a ratio: a rise that grows with R, the turning point, and the end."""
        turn, rise = self.turn(ratio), 0.02 + 0.35 * ratio**2.5
        pull = self.s2 / self.s3 * turn ** (self.s2 - self.s3)
        highest = min(turn, 100.0)
        scale = rise / (highest**self.s2 - pull * highest**self.s3)
        level = self.increment(ratio) - scale * (100**self.s2 - pull * 100**self.s3)
        return {"s2": self.s2, "s3": self.s3, "alpha2": scale, "alpha3": -scale * pull, "beta2": level}

    def slope(self, ratio: float, t: Array) -> Array:
        """d/dT of the general increment at T (any shape, > 0)."""
        p = self.general(ratio)
        return np.asarray(p["alpha2"] * p["s2"] * t ** (p["s2"] - 1) + p["alpha3"] * p["s3"] * t ** (p["s3"] - 1))

    def losses(
        self, rng: np.random.Generator, ratios: Sequence[float], sequences: Array, seed: int, still: bool = False
    ) -> pd.DataFrame:
        """A run's frame as :func:`repro.laws.analyse` takes it, with noise; tokens are hundredths of the run.

        sequences: (m, 1 + r), how much each held-out sequence's loss moves with training in general and at each ratio.
        still: whether the general loss is noise alone.
        """
        t = 100 * (np.arange(1, POINTS + 1) / POINTS) ** CROWDING
        rho, own = rng.uniform(*CORRELATIONS), rng.normal(0, 0.3, len(sequences))
        own += BASE - own.mean()
        start = {"ratio": 0.0, "tokens": 0.0, "domain_loss": BASE, "general_sequences": [own]}
        frames = [pd.DataFrame(start)]
        for ratio, alone in zip(ratios, sequences[:, 1:].T, strict=True):
            domain = {"s1": 0.25, "alpha1": -0.2 * ratio, "beta1": 0.1 * ratio}
            noise = ar1_series(rng, 1, len(t), 0.0015 + 0.006 * ratio**2, rho)[0]
            mean = noise if still else GENERAL_TOKEN_LAW.evaluate(self.general(ratio), t) + noise
            moves = HELD_OUT * ((0.3 + ratio) * sequences[:, 0] + alone / 2)
            general = [own + a + b * moves for a, b in zip(mean, np.sqrt(t / 100), strict=True)]
            at = BASE + DOMAIN_TOKEN_LAW.evaluate(domain, t) + ar1_series(rng, 1, len(t), 0.004, rho)[0]
            frames.append(pd.DataFrame({"ratio": ratio, "tokens": t, "general_sequences": general, "domain_loss": at}))
        frame = pd.concat(frames, ignore_index=True).assign(seed=seed)
        return frame.assign(general_loss=frame["general_sequences"].map(np.mean))


class Known(NamedTuple):
    """What a study's answers should be: both critical ratios, and T0 at each ratio, in hundredths of the run."""

    by_turning_point: float
    by_tolerance: float
    turns: tuple[float, ...]


def known(runs: Sequence[Truth], ratios: Sequence[float]) -> Known:
    """The truth of one run, or of the mean over many."""
    if len(runs) == 1:
        only = runs[0]
        return Known(only.by_turning_point, only.by_tolerance, tuple(only.turn(ratio) for ratio in ratios))
    at_end = np.mean([[float(run.slope(ratio, np.array(100.0))) for ratio in FINE] for run in runs], axis=0)
    rise = np.mean([[run.increment(ratio) for ratio in FINE] for run in runs], axis=0) - EPSILON
    logs = np.linspace(-3, 9, 400)
    curves = [np.mean([run.slope(ratio, np.exp(logs)) for run in runs], axis=0) for ratio in ratios]
    turns = tuple(float(np.exp(_root(logs, -curve))) for curve in curves)
    return Known(_root(FINE, at_end), _root(FINE, rise), turns)


def _root(x: Array, y: Array) -> float:
    """Where y turns from negative to positive for the last time, by linear interpolation; NaN if it does not."""
    places = np.flatnonzero((y[:-1] < 0) & (y[1:] >= 0))
    if not len(places):
        return float("nan")
    k = places[-1]
    return float(x[k] - y[k] * (x[k + 1] - x[k]) / (y[k + 1] - y[k]))


def coverage(
    sets: int, draws: int, seed: int = 0, seeds: int = 1, count: int = 6, form: End = "power", reach: Reach = "across"
) -> pd.DataFrame:
    """``sets`` synthetic studies, each analysed with ``draws`` bootstrap draws: one row for each quantity and law.

    Columns set, quantity ("by turning point" | "by tolerance" | "turning point"), law ("all" as the analysis has it, or
    the one whose draws alone give the interval), ratio (NaN but for turning points), truth, estimate, lower, upper (NaN
    where there is none; an open side is inf), covered, bound (whether the answer is one). Turning points are in
    hundredths of the run. seeds: runs at each ratio; with one, the truth is that run's own, else the mean over runs.
    count: of ratios, one of `DESIGNS`. form: of the increment at the end. reach: whether the ratios lie on both sides
    of the critical ones, or all below, or all above; or whether there is "nothing", noise alone.
    """
    studies = [_study(number, draws, seed, seeds, count, form, reach) for number in range(sets)]
    return pd.concat(studies, ignore_index=True)


def simulate_losses(
    rng: np.random.Generator, seeds: int = 1, count: int = 6, form: End = "power", reach: Reach = "across"
) -> tuple[Known, pd.DataFrame]:
    """One study as :func:`repro.laws.analyse` takes it, and its truth; arguments as of :func:`coverage`. Runs of
    several seeds see the same held-out sequences, and differ as runs do.
    """
    centre = Truth.drawn(rng, form)
    shares = np.array([float(Fraction(text)) for text in DESIGNS[count]])
    both = (centre.by_turning_point, centre.by_tolerance)
    if reach == "below":
        shares *= min(both) / APART / shares[-1]
    elif reach == "above":
        shares = np.linspace(min(max(both) * APART, 0.9), 1.0, len(shares))
    ratios = shares.tolist()
    population = [centre.run(rng) for _ in range(POPULATION)] if seeds > 1 else [centre]
    sequences = rng.standard_normal((SEQUENCES, 1 + len(ratios))) * (reach != "nothing")
    still = reach == "nothing"
    runs = [run.losses(rng, ratios, sequences, place, still) for place, run in enumerate(population[:seeds])]
    return known(population, ratios), pd.concat(runs, ignore_index=True)


def _study(number: int, draws: int, seed: int, seeds: int, count: int, form: End, reach: Reach) -> pd.DataFrame:
    rng = np.random.default_rng([seed, number, seeds, count, ENDS.index(form), REACHES.index(reach)])
    truth, losses = simulate_losses(rng, seeds, count, form, reach)
    (group,) = analyse(losses, unit=1.0, bootstrap=draws, seed=seed + number).groups
    critical, rows = group.critical_ratio, []
    for quantity, true, found in (
        ("by turning point", truth.by_turning_point, critical.turning_point),
        ("by tolerance", truth.by_tolerance, critical.tolerance),
    ):
        row = {"quantity": quantity, "ratio": np.nan, "bound": found.bound is not None}
        rows.append(row | {"law": "all", **_row(true, found.value, found.interval)})
        for law, values in ({} if found.draws is None else found.draws).items():
            rows.append(row | {"law": law, **_row(true, found.value, interval_of(values.to_numpy()))})
    for place, (laws, true) in enumerate(zip(group.token_laws, truth.turns, strict=True)):
        row, turn = {"quantity": "turning point", "ratio": laws.ratio, "bound": False}, laws.turning_point
        rows.append(row | {"law": "all", **_row(true, turn.value, turn.interval)})
        if group.draws is None:
            continue
        for first, law in enumerate(EXPONENTS):
            times = group.draws.times[first :: len(EXPONENTS), place]
            times = np.where(np.isnan(times), np.inf, times)
            rows.append(row | {"law": law, **_row(true, turn.value, interval_of(times))})
    return pd.DataFrame(rows).assign(set=number)


def _row(truth: float, value: float | None, interval: tuple[float, float] | None) -> dict[str, float | bool]:
    low, high = interval or (np.nan, np.nan)
    estimate = np.nan if value is None else value
    covered = bool(low <= truth <= high)
    return {"truth": truth, "estimate": estimate, "lower": low, "upper": high, "covered": covered}


def simulate_scores(rng: np.random.Generator) -> tuple[pd.DataFrame, dict[str, float]]:
    """One study as :func:`repro.laws.allocation.analyse_allocation` takes it, and the parameters behind it: 16
    allocations, even in ln S over two decades, with a clear peak and binomial noise.

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
    return scores, truth


def allocation_coverage(sets: int = 200, draws: int = 100, seed: int = 0) -> pd.DataFrame:
    """95% percentile intervals of the best SFT count on simulated studies, a row for each: truth, estimate, lower,
    upper (SFT tokens; NaN without a peak), covered. Raises ValueError if sets or draws is below 1.
    """
    if sets < 1 or draws < 1:
        raise ValueError(f"a coverage study needs at least one set and one draw, not {sets} and {draws}")
    rng = np.random.default_rng(seed)
    rows: list[dict[str, float | bool]] = []
    for size in parts(sets, max(1, REFITS_TOGETHER // draws)):
        scores, truths = zip(*(simulate_scores(rng) for _ in range(size)), strict=True)
        studies = [checked(frame, BUDGET) for frame in scores]
        for data, fit, truth in zip(studies, _refitted(studies, draws, rng), truths, strict=True):
            best = optimum(data, fit)
            rows.append(_row(float(np.exp(truth["mu"])), best.sft_tokens, best.interval))
    return pd.DataFrame(rows)


def fitted(studies: Sequence[Scores]) -> list[Fit]:
    """Equation 1 fitted to each of some studies at the same tokens, each of equal numbers of items, in one call."""
    tokens, law = studies[0].tokens, allocation_law(studies[0].tokens)
    params = law.fit_many(tokens, np.stack([data.values for data in studies]))
    each = [{name: float(params[name][k]) for name in NAMES} for k in range(len(studies))]
    return [Fit.of(law, one, tokens, d.values, d.weights()) for d, one in zip(studies, each, strict=True)]


def _refitted(studies: Sequence[Scores], draws: int, rng: np.random.Generator) -> list[Fit]:
    """:func:`fitted` with ``draws`` of each: the refits of all studies in one call too."""
    fits = fitted(studies)
    noisy = [fit.predict(fit.x) + data.noise(fit, draws, rng) for data, fit in zip(studies, fits, strict=True)]
    refits = pd.DataFrame(fits[0].law.fit_many(fits[0].x, np.concatenate(noisy)))
    return [replace(fit, draws=refits[k * draws : (k + 1) * draws]) for k, fit in enumerate(fits)]


@dataclass(frozen=True, kw_only=True)
class Recovery(Stage):
    """``sets`` synthetic studies with ``draws`` bootstrap draws, seeded by ``number``; the rest as in `coverage`."""

    version: ClassVar[int] = 6
    law: Recovered
    number: int
    sets: int
    draws: int
    seeds: int = 1
    ratios: int = 6
    form: End = "power"
    reach: Reach = "across"

    @property
    def label(self) -> str:
        return f"recover the {self.law}, {self.number + 1}"

    @property
    def cost(self) -> float:
        return OPERATIONS[self.law] * self.sets * self.draws

    def execute(self, work: Work) -> None:
        if self.law == "critical ratio":
            study = coverage(self.sets, self.draws, self.number, self.seeds, self.ratios, self.form, self.reach).assign(
                seeds=self.seeds, ratios=self.ratios, form=self.form, reach=self.reach
            )
        else:
            study = allocation_coverage(self.sets, self.draws, self.number)
        study.to_csv(work.path / RECOVERY, index=False)


def recoveries(sets: int, draws: int) -> tuple[Recovery, ...]:
    """Stages of ``sets`` sets for each law, the critical ratio's evenly over `CELLS`, and some that cannot tell it."""
    cells: list[tuple[int, dict[str, Any]]] = []
    for place, (ratios, seeds, form) in enumerate(CELLS):
        size = sets // len(CELLS) + (place < sets % len(CELLS))
        cells.append((size, {"seeds": seeds, "ratios": ratios, "form": form}))
    cells += [(sets // part, {"reach": reach}) for reach, part in HOPELESS.items()]
    stages = [
        Recovery(law="critical ratio", number=number, sets=size, draws=draws, **cell)
        for total, cell in cells
        for number, size in enumerate(parts(total))
    ]
    best = enumerate(parts(sets))
    return (*stages, *(Recovery(law="best allocation", number=n, sets=size, draws=draws) for n, size in best))


def parts(sets: int, size: int = SETS_A_STAGE) -> list[int]:
    """``sets`` cut into parts of at most ``size``."""
    return [min(size, sets - start) for start in range(0, sets, size)]
