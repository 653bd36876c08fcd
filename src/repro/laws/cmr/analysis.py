"""Paper A's Sections 4 and 5 on a frame of losses, by size and domain: Equation 6, L(R), the critical ratio."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from repro.laws import noise
from repro.laws.cmr import critical, laws as equations
from repro.laws.cmr.bootstrap import AT_END, BOUNDS, GENERAL_TOKEN_LAW_WIDE, Curve, Draws, at_end, draw
from repro.laws.cmr.critical import ratio_label
from repro.laws.cmr.losses import ABOUT, LOSSES, SEQUENCES, Base, Trajectories, cleaned, effect, trajectories
from repro.laws.law import Fit
from repro.laws.solver import Array

EPSILON = 0.05  # Appendix C: the paper's tolerance, nats per token
ROUGH = 0.1  # share of the tolerance by which losses before training may differ without a warning
UNCHANGED = "the general loss does not change by more than its noise: no turning points and no critical ratio"
ALIKE = "the general loss does not differ between ratios by more than its noise"


@dataclass(frozen=True)
class CriticalRatio:
    """The critical mixture ratio (Definition 3) by each of its conditions, and by both."""

    turning_point: critical.ByTurningPoint
    tolerance: critical.ByTolerance

    @cached_property
    def both(self) -> critical.Critical:
        """The smaller of the two, where it is decided."""
        return critical.both(self.turning_point, self.tolerance)


class TokenLaws(NamedTuple):
    """Equation 6 at one mixture ratio: both fits, T in units, and the turning point they imply."""

    ratio: float
    domain: Fit
    general: Fit
    turning_point: equations.TurningPoint


@dataclass(frozen=True)
class Group:
    """One model size on one domain.

    ratio_law: L(R) at T_max of the "general" and the "domain" loss. token_laws: by ascending ratio. feasible: the
    measured ratios that are feasible (Definition 2): T0 <= T_max and a general increment at T_max within the tolerance.
    ends: the general losses at T_max. runs: the fewest runs (seeds) at any ratio; an interval from one says nothing of
    how runs differ. held_out: whether the intervals hold the sampling of held-out sequences.
    """

    size: str
    domain: str
    base: Base
    ratio_law: dict[str, Fit | None]
    token_laws: tuple[TokenLaws, ...]
    feasible: tuple[float, ...]
    critical_ratio: CriticalRatio
    warnings: tuple[str, ...]
    ends: critical.Ends = field(repr=False, compare=False)
    runs: int
    held_out: bool
    draws: Draws | None = field(default=None, repr=False, compare=False)

    def by_tolerance(self, epsilon: float) -> critical.ByTolerance:
        """The critical ratio by tolerance as it would be at another tolerance (nats per token)."""
        return critical.by_tolerance(self.ends, self.ratio_law["general"], self.base.general, epsilon)[0]

    def by_multiplier(self, lagrange: float, settings: Settings) -> critical.ByTurningPoint:
        """The critical ratio by turning point as it would be with another multiplier in Equation 27; the same draws
        give the interval, so that multipliers compare.
        """
        solved = settings.equation_27 | {"lagrange": lagrange}
        times = None if self.draws is None else self.draws.times_at(**solved)
        return self._turning([laws.general for laws in self.token_laws], times, solved)

    def by_exponents(self, bound: float, settings: Settings) -> critical.ByTurningPoint:
        """The critical ratio by turning point with exponents of Equation 6 up to ``bound`` alone, one of `BOUNDS`; half
        of the draws have it, and give the interval.
        """
        law = dict(zip(BOUNDS, (equations.GENERAL_TOKEN_LAW, GENERAL_TOKEN_LAW_WIDE), strict=True))[bound]
        fits = [laws.general for laws in self.token_laws]
        fits = [fit if law == fit.law else law.fit(fit.x, fit.y, fit.weights) for fit in fits]
        times = None if self.draws is None else self.draws.times[BOUNDS.index(bound) :: len(BOUNDS)]
        return self._turning(fits, times, settings.equation_27)

    def _turning(
        self, general: Sequence[Fit], times: Array | None, solved: dict[str, float]
    ) -> critical.ByTurningPoint:
        """The route by other general fits, and other turning points drawn (n, r)."""
        mixed = [place for place, laws in enumerate(self.token_laws) if laws.ratio > 0]
        laws = [(self.token_laws[place], general[place]) for place in mixed]
        points = [(item.ratio, equations.turning_point(item.domain.params, fit.params, **solved)) for item, fit in laws]
        return critical.by_turning_point(points, solved["t_max"], None if times is None else times[:, mixed])[0]


@dataclass(frozen=True)
class Settings:
    """How groups are analysed: see :func:`repro.laws.analyse`."""

    t_max: float
    unit: float
    epsilon: float
    lagrange: float
    bootstrap: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a setting out of range."""
        for name in ("t_max", "unit", "lagrange"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")
        for name in ("epsilon", "bootstrap", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")

    @property
    def end(self) -> float:
        """T_max in the unit of the laws."""
        return self.t_max / self.unit

    @property
    def equation_27(self) -> dict[str, float]:
        """What turning points are solved with."""
        return {"lagrange": self.lagrange, "t_max": self.end}


@dataclass(frozen=True)
class Analysis:
    """All groups of a losses frame, in its order. Settings have t_max and unit in tokens; the laws count T in units."""

    groups: tuple[Group, ...]
    settings: Settings
    points: pd.DataFrame = field(repr=False, compare=False)

    @property
    def method(self) -> str:
        """Where the intervals come from, in words; empty without a bootstrap."""
        words = dict.fromkeys(laws.general.method for group in self.groups for laws in group.token_laws)
        return "; ".join(words) if self.settings.bootstrap else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every group's warnings, each naming its group."""
        return tuple(f"{group.size}, {group.domain}: {text}" for group in self.groups for text in group.warnings)

    def measured(self) -> pd.DataFrame:
        """Measured increments at T > 0, mean over seeds. Columns size, domain_name, ratio, t (hundredths of T_max),
        general, domain (loss minus its value before continual pre-training), kind ("measured").
        """
        return self.points.copy()

    def curves(self, t: ArrayLike) -> pd.DataFrame:
        """Equation 6 as fitted, at ``t`` (hundredths of T_max, >= 0): the columns of :meth:`measured`. kind is "fitted"
        up to t = 100 and "extrapolated" beyond. At t = 0 both increments are 0 by definition.
        """
        at = np.atleast_1d(np.asarray(t, dtype=float))
        units = at * self.settings.t_max / 100 / self.settings.unit
        frames = [
            pd.DataFrame({
                "size": group.size, "domain_name": group.domain, "ratio": laws.ratio, "t": at,
                **equations.increments(laws.domain.params, laws.general.params, units),
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
    lagrange: float = equations.LAGRANGE,
    unit: float | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> Analysis:
    """Sections 4 and 5 on a frame of losses, one group for each (size, domain).

    losses: as :func:`repro.laws.cmr.losses.trajectories` takes them; held-out sequences, where they are known, are
    resampled for the intervals. t_max: T_max in tokens; default: the most tokens in the frame. Later rows are kept out
    of every fit. epsilon: tolerated rise of the general loss, nats per token (Definition 1, Appendix C). lagrange: the
    multiplier of Equation 27; by default the largest the paper uses, where turning points are within half a percent of
    the maximum of the general loss. unit: tokens in one unit of T; default T_max / 100, so that training ends at T =
    100 as in the paper. bootstrap: how many draws the intervals come from; 0 gives none. Several seeds deviate as whole
    runs; one trajectory has autocorrelated noise (:mod:`repro.laws.noise`). With draws, Equation 8 weights each turning
    point by its precision, which moves its value too. seed: of the draws.

    Losses at T_max are measured ones where a trajectory reaches it (mean over seeds, and over the last tenth of the run
    once the curve's course is taken out), else the token law's prediction. What does not exist is None, and a warning
    of its group says why. Raises ValueError for a missing column, a value out of range, no rows at 0 tokens, or a
    setting out of range.
    """
    runs = [cleaned(run) for run in trajectories(losses)]
    end = float(losses["tokens"].max()) if t_max is None else float(t_max)
    unit = end / 100 if unit is None else float(unit)
    settings = Settings(end, unit, epsilon, lagrange, bootstrap, seed)
    groups = tuple(_group(run, settings) for run in runs)
    points = pd.concat([run.measured(end) for run in runs], ignore_index=True)
    return Analysis(groups, settings, points)


def _group(run: Trajectories, settings: Settings) -> Group:
    """The analysis of one size on one domain."""
    warnings: list[str] = [*run.notes]
    if run.disagreement > ROUGH * settings.epsilon:
        apart = f"{run.disagreement:.3g}"
        warnings.append(f"general losses at 0 tokens differ by up to {apart} within one seed: their mean is taken")
    inside = run.points[run.points["tokens"] <= settings.t_max * ABOUT]
    found = effect(inside)
    rows_of = {float(rows["ratio"].iloc[0]): rows for _, rows in inside.groupby("ratio")}
    laws = {ratio: fits for ratio, rows in rows_of.items() if (fits := _token_laws(ratio, rows, settings, warnings))}
    ends = {
        ratio: end
        for ratio, rows in rows_of.items()
        if (end := _increments_at_end(ratio, rows, laws.get(ratio), settings, warnings))
    }
    if not found.changes:  # the general loss is noise: its fits, and nothing that would follow from a change
        warnings = [*run.notes, UNCHANGED]
        laws = {r: item._replace(turning_point=equations.TurningPoint(None, "none")) for r, item in laws.items()}
    elif not found.differs and len(laws) > 1:
        warnings.append(ALIKE)
    draws = _draws(run, laws, rows_of, settings, warnings) if found.changes else None
    kept = _with_intervals(laws, draws)
    losses = {name: _at_end(run, i, ends, laws, draws) for i, name in enumerate(LOSSES)}
    ratio_law = {name: _ratio_law(name, losses[name], warnings) for name in LOSSES}
    turning = critical.ByTurningPoint(value=None, law=None)
    tolerance = critical.ByTolerance(value=None, epsilon=settings.epsilon)
    feasible: tuple[float, ...] = ()
    if found.changes:
        mixed = [place for place, item in enumerate(kept) if item.ratio > 0]  # R = 0 is a control, no domain mixture
        points = [(kept[place].ratio, kept[place].turning_point) for place in mixed]
        times = None if draws is None else draws.times[:, mixed]
        turning, more = critical.by_turning_point(points, settings.end, times)
        tolerance, last = critical.by_tolerance(
            losses["general"], ratio_law["general"], run.base.general, settings.epsilon
        )
        feasible = tuple(
            ratio
            for ratio, point in points
            if point.value is not None and point.value <= settings.end and ends[ratio][0] <= settings.epsilon
        )
        if mixed and not feasible:
            warnings.append("no measured ratio is feasible")
        warnings += [*_runs_warnings(laws, rows_of, draws), *more, *last]
    runs, held_out = int(run.points.groupby("ratio")["seed"].nunique().min()), SEQUENCES["general"] in run.points
    known = (ratio_law, kept, feasible, CriticalRatio(turning, tolerance), tuple(warnings), losses["general"])
    return Group(run.size, run.domain, run.base, *known, runs, held_out, draws)


def _token_laws(ratio: float, rows: pd.DataFrame, settings: Settings, warnings: list[str]) -> TokenLaws | None:
    if len(rows) < len(equations.GENERAL_TOKEN_LAW.names):
        warnings.append(f"R = {ratio_label(ratio)}: {len(rows)} points up to T_max are too few for the token law")
        return None
    t = rows["tokens"].to_numpy(float) / settings.unit
    weights = rows["weight"].to_numpy(float) if "weight" in rows else None  # of means of neighbours
    domain = equations.DOMAIN_TOKEN_LAW.fit(t, rows["domain"].to_numpy(float), weights)
    general = equations.GENERAL_TOKEN_LAW.fit(t, rows["general"].to_numpy(float), weights)
    point = equations.turning_point(domain.params, general.params, **settings.equation_27)
    if point.status == "inside" and point.value is not None and point.value > t.max() * (1 + AT_END):
        point = replace(point, status="extrapolated")  # T_max lies beyond the last point measured
    if point.status == "none":
        warnings.append(f"R = {ratio_label(ratio)}: the general loss does not turn within {equations.HORIZON:g} T_max")
    return TokenLaws(ratio, domain, general, point)


def _increments_at_end(
    ratio: float, rows: pd.DataFrame, laws: TokenLaws | None, settings: Settings, warnings: list[str]
) -> tuple[float, float] | None:
    """(general, domain) increment at T_max, measured where the trajectory gets there, else predicted."""
    last = rows[rows["tokens"] == rows["tokens"].max()]
    if last["tokens"].iloc[0] >= (1 - AT_END) * settings.t_max:
        if laws is None:
            return float(last["general"].mean()), float(last["domain"].mean())
        return at_end(laws.general, settings.end), at_end(laws.domain, settings.end)
    if laws is None:
        warnings.append(f"R = {ratio_label(ratio)}: no loss at T_max, measured or predicted")
        return None
    warnings.append(f"R = {ratio_label(ratio)}: training ends before T_max; its losses there are predicted")
    return float(laws.general.predict(settings.end)), float(laws.domain.predict(settings.end))


def _draws(
    run: Trajectories,
    laws: Mapping[float, TokenLaws],
    rows_of: Mapping[float, pd.DataFrame],
    settings: Settings,
    warnings: list[str],
) -> Draws | None:
    """Draws of every curve; None without a bootstrap, or if no general curve has residuals to learn the noise from."""
    if not settings.bootstrap or not laws:
        return None
    bare = [ratio_label(ratio) for ratio, item in laws.items() if not item.general.df_resid]
    if len(bare) == len(laws):
        warnings.append("no intervals: no ratio has more points than the token law has parameters")
        return None
    if bare:
        warnings.append(f"R = {', '.join(bare)}: no point to spare, so the noise is taken to be as at other ratios")
    curves = []
    for ratio, item in laws.items():
        rows = rows_of[ratio]
        sequences = {loss: np.stack(rows[name].tolist()) for loss, name in SEQUENCES.items() if name in rows}
        curves.append(Curve(ratio, item.domain, item.general, rows["seed"].to_numpy(), sequences))
    name = zlib.crc32(f"{run.size}\0{run.domain}".encode())  # seeded by name, so other groups do not matter
    return draw(curves, settings.bootstrap, [settings.seed, name], **settings.equation_27)


def _runs_warnings(
    laws: Mapping[float, TokenLaws], rows_of: Mapping[float, pd.DataFrame], draws: Draws | None
) -> list[str]:
    if draws is None or "runs" not in draws.methods:
        return []
    counts = {ratio: int(rows_of[ratio]["seed"].nunique()) for ratio in laws}
    alone = [ratio_label(ratio) for ratio, count in counts.items() if count == 1]
    few = min(count for count in counts.values() if count > 1)
    texts = [f"R = {', '.join(alone)}: one run, so how runs differ is not in its interval"] if alone else []
    if few < noise.FEW_RUNS:
        texts.append(
            f"intervals rest on {few} runs at some ratio: fewer than {noise.FEW_RUNS} hardly show how runs differ"
        )
    return texts


def _with_intervals(laws: Mapping[float, TokenLaws], draws: Draws | None) -> tuple[TokenLaws, ...]:
    """The laws with the 95% intervals of their coefficients and turning points; a draw without one counts as never."""
    if draws is None:
        return tuple(laws.values())
    drawn = []
    for place, item in enumerate(laws.values()):
        words, times = noise.WORDS[draws.methods[place]], draws.times[:, place]
        bounds, value = critical.interval_of(np.where(np.isnan(times), np.inf, times)), item.turning_point.value
        interval = None if bounds is None or np.isinf(bounds[0]) else bounds
        if interval is not None and value is not None:
            interval = critical.stretched(interval, value)
        point = replace(item.turning_point, interval=interval)
        domain = item.domain.with_draws(draws.domain[place], words)
        general = item.general.with_draws(draws.general[place], words)
        drawn.append(TokenLaws(item.ratio, domain, general, point))
    return tuple(drawn)


def _at_end(
    run: Trajectories,
    loss: int,
    increments: Mapping[float, tuple[float, float]],
    laws: Mapping[float, TokenLaws],
    draws: Draws | None = None,
) -> critical.Ends:
    """Losses at T_max, of the loss at this place of `LOSSES`; without draws if one of the ratios has none."""
    ratios = np.array(list(increments))
    losses = run.base[loss] + np.array([end[loss] for end in increments.values()])
    if draws is None or not len(ratios) or any(ratio not in laws for ratio in increments):
        return critical.Ends(ratios, losses)
    places = [list(laws).index(ratio) for ratio in increments]
    moved = (draws.general_end, draws.domain_end)[loss]
    return critical.Ends(ratios, losses, losses + moved[:, places])


def _ratio_law(name: str, ends: critical.Ends, warnings: list[str]) -> Fit | None:
    """L(R) of Section 5.1 through the ratios strictly between 0 and 1."""
    interior = (ends.ratios > 0) & (ends.ratios < 1)
    if interior.sum() < len(equations.RATIO_LAW.names):
        warnings.append(f"no L(R) of the {name} loss: {interior.sum()} ratios between 0 and 1, it needs 3")
        return None
    fit = equations.RATIO_LAW.fit(ends.ratios[interior], ends.losses[interior])
    if ends.draws is None:
        return fit
    drawn = fit.law.fit_many(fit.x, ends.draws[:, interior], fit.weights)
    return fit.with_draws(pd.DataFrame(drawn), "bootstrap of the loss curves' ends")
