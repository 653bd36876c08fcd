"""What figures and tables draw: `Results`, of the paper and of our runs alike. T is in hundredths of T_max."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from repro.laws import Analysis, Fit, Group
from repro.laws.cmr.bootstrap import BOUNDS
from repro.laws.cmr.critical import Critical, difference
from repro.laws.cmr.laws import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, RATIO_LAW, TurningPoint, increments

T_MAX = 100.0
RUN = np.arange(1, 101)  # T along a run
FIGURE_5 = np.arange(1, 251)  # T of the paper's Figure 5, where runs end at 100
HELD_OUT = 1 / 4  # the ratio that the paper's Table 2 predicts from the others
TOLERANCES = (0.02, 0.05, 0.1)  # nats per token: the paper's, and others that one might have chosen
MULTIPLIERS = (100.0, 300.0, 1000.0, 3000.0, 7000.0)  # of Equation 27: the range that the paper solves with
NO_INTERVAL = (np.nan, np.nan)
Coefficients = Mapping[str, float]


class HeldOut(NamedTuple):
    """Losses at the end of the run, and L(R) fitted without one ratio (Section 5.1).

    points: columns size, ratio, loss ("domain" | "general"), value, kind ("measured" | "measured, not fitted" |
    "held out, measured" | "held out, predicted"). law: the same columns along the law, kind "fitted", or "extrapolated"
    outside the ratios known; low and high, where there are any, are its 95% interval. A size without the ratio held
    out, or with fewer than three others, has no prediction. seen: what values are, if not measured: "from Table 4".
    printed: the paper's own predictions: size, ratio, loss, printed_difference (percent).
    """

    points: pd.DataFrame
    law: pd.DataFrame
    seen: str = "measured"
    printed: pd.DataFrame | None = None


class Results(Protocol):
    """One side of a comparison: what the paper prints (`published.Paper`), or our runs on one domain (`DomainResults`).

    sizes: labels of the models, smallest first. t_title: of an axis of T. last_t: how far figures follow a curve.
    epsilon: the tolerance, nats per token, that its figures show.
    """

    @property
    def sizes(self) -> tuple[str, ...]: ...
    @property
    def t_title(self) -> str: ...
    @property
    def last_t(self) -> int: ...
    @property
    def epsilon(self) -> float | None: ...

    def curves(self, t: ArrayLike, *, band: bool = False) -> pd.DataFrame:
        """Equation 6 of every size and ratio at ``t`` (> 0), after the points measured, where there are any.

        Columns size, ratio, t, general, domain (increments of the losses), kind ("measured" | "fitted" up to the end of
        the run | "extrapolated" beyond). With ``band``, and where it is known, general_low and general_high are the 95%
        interval of the general curve.
        """

    def turning_points(self) -> pd.DataFrame:
        """Columns size, ratio, t (NaN where there is none), general, domain (increments there), status ("inside" |
        "extrapolated" | "none"), lower, upper: the 95% interval of t, upper infinite where the curve may never turn.
        """

    def ratio_curves(self, t: ArrayLike) -> pd.DataFrame:
        """Equation 8 at ``t``: size, t, ratio, kind ("fitted" | "extrapolated"); low and high where known."""

    def end_losses(self) -> pd.DataFrame:
        """Losses at the end of every trajectory that are known: columns size, ratio, loss, value (nats per token)."""

    def held_out(self, loss: str | None = None) -> HeldOut:
        """L(R) without one ratio, of one loss ("general" | "domain") or of all that were measured."""

    def coefficients(self) -> pd.DataFrame:
        """Equation 6 by size and ratio, as in Table 4: columns size, ratio, alpha1, s1, beta1 (domain), alpha2, s2,
        alpha3, s3, beta2 (general); where intervals are known, <name>_lower and <name>_upper.
        """

    def fit_quality(self) -> pd.DataFrame:
        """How well Equation 6 fits, as in Table 3: columns metric ("MSE" | "R2"), ratio, loss, size, value."""

    def critical_ratios(self) -> pd.DataFrame:
        """Equation 8 by size, as in Table 5, and the critical ratio at the end of the run: columns size, alpha4, s4,
        beta3, critical_ratio (by turning point, a share) and others that one side alone has.
        """


@dataclass(frozen=True, eq=False)
class DomainResults(Results):
    """Our runs on one domain: the results that an analysis of its losses gives."""

    analysis: Analysis
    t_title = "CPT tokens, T (run ends at 100)"
    last_t = 150

    @property
    def sizes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(group.size for group in self.analysis.groups))

    @property
    def domain(self) -> str:
        return self.analysis.groups[0].domain

    @property
    def epsilon(self) -> float:
        return self.analysis.settings.epsilon

    def curves(self, t: ArrayLike, *, band: bool = False) -> pd.DataFrame:
        """As `Results.curves`. No curve begins before the first point measured, where nothing constrains Equation 6."""
        measured = self.analysis.measured()
        fitted: pd.DataFrame = self.analysis.curves(t)
        laws = [laws.general for group in self.analysis.groups for laws in group.token_laws]
        if band and laws and all(law.draws is not None for law in laws):
            at = np.atleast_1d(np.asarray(t, dtype=float)) * self._unit
            limits = pd.concat([law.interval(at) for law in laws], ignore_index=True)
            fitted = fitted.assign(general_low=limits["lower"], general_high=limits["upper"])
        fitted = fitted.loc[fitted["t"].to_numpy() >= measured["t"].min()]
        return pd.concat([measured, fitted], ignore_index=True)

    @property
    def _unit(self) -> float:
        """Units of the laws in a hundredth of T_max."""
        return self.analysis.settings.t_max / 100 / self.analysis.settings.unit

    def turning_points(self) -> pd.DataFrame:
        trajectories = (
            (group.size, laws.ratio, laws.domain.params, laws.general.params, laws.turning_point)
            for group in self.analysis.groups
            for laws in group.token_laws
            if laws.ratio > 0  # general text alone is a control: it has no part in how T0 grows with R
        )
        return turning_points(trajectories, self._unit)

    def ratio_curves(self, t: ArrayLike) -> pd.DataFrame:
        """As `Results.ratio_curves`, of sizes whose turning points agree; ends within 0 and 1, NaN without draws."""
        routes = {group.size: group.critical_ratio.turning_point for group in self.analysis.groups}
        laws = {size: by.law for size, by in routes.items() if by.law is not None and not by.contradicted}
        curves = ratio_curves([(size, law.params) for size, law in laws.items()], t, self._unit)
        curves = curves.assign(low=np.nan, high=np.nan)
        for size, law in laws.items():
            if law.draws is not None:
                rows = curves["size"] == size
                limits = law.interval(curves.loc[rows, "t"].to_numpy(float) * self._unit)[["lower", "upper"]]
                curves.loc[rows, ["low", "high"]] = limits.clip(0, 1).to_numpy()
        return curves

    def end_losses(self) -> pd.DataFrame:
        last = self.analysis.points.sort_values("t", kind="stable").groupby(["size", "ratio"], sort=False).tail(1)
        last = last.sort_values(["size", "ratio"], key=lambda c: c.map(self.sizes.index) if c.name == "size" else c)
        losses = []
        for loss in ("domain", "general"):
            bases = last["size"].map({group.size: getattr(group.base, loss) for group in self.analysis.groups})
            losses.append(last[["size", "ratio"]].assign(loss=loss, value=last[loss] + bases))
        return pd.concat(losses, ignore_index=True)

    def held_out(self, loss: str | None = None) -> HeldOut:
        ends = self.end_losses()
        return held_out(ends if loss is None else ends[ends["loss"] == loss], band=True)

    def coefficients(self) -> pd.DataFrame:
        rows = [
            {"size": group.size, "ratio": laws.ratio, **_with_ends(laws.domain), **_with_ends(laws.general)}
            for group in self.analysis.groups
            for laws in group.token_laws
        ]
        least = ["size", "ratio", *DOMAIN_TOKEN_LAW.names, *GENERAL_TOKEN_LAW.names]
        return pd.DataFrame(rows, columns=None if rows else least)

    def fit_quality(self) -> pd.DataFrame:
        rows = [
            {"metric": metric, "ratio": laws.ratio, "loss": loss, "size": group.size, "value": value}
            for group in self.analysis.groups
            for laws in group.token_laws
            for loss, fit in (("general", laws.general), ("domain", laws.domain))
            for metric, value in (("MSE", fit.sse / fit.n), ("R2", fit.r2))
        ]
        return pd.DataFrame(rows, columns=["metric", "ratio", "loss", "size", "value"])

    def critical_ratios(self) -> pd.DataFrame:
        """As `Results.critical_ratios`, NaN where a thing does not exist, and domain, tolerance_ratio (the largest that
        raises the general loss by at most epsilon), both (the smaller, as Definition 2 asks for both conditions; NaN
        where neither decides it), epsilon, feasible (a tuple of the measured ratios that are), runs (the fewest at any
        ratio, which the intervals rest on). The 95% intervals are turning_lower, turning_upper, tolerance_lower and so
        on; turning_bound and so on are "at least" or "at most" where the ratios measured give only that, else None.
        """
        return pd.DataFrame([_critical_ratio(group) for group in self.analysis.groups])

    def tolerances(self, among: Sequence[float] = TOLERANCES) -> pd.DataFrame:
        """The critical ratio at several tolerances, the analysis's own among them: a row for each size and tolerance.

        Columns size, epsilon (nats per token), tolerance_ratio with its interval and bound, critical_ratio
        (by turning point, which no tolerance changes) and binds: "tolerance" or "turning point", whichever is smaller,
        so that it is the critical ratio of Definition 3; missing where they are equal or one of the two is not known.
        """
        every = sorted({*among, self.epsilon})
        return pd.DataFrame([_at_tolerance(group, epsilon) for group in self.analysis.groups for epsilon in every])

    def multipliers(self, among: Sequence[float] = MULTIPLIERS) -> pd.DataFrame:
        """The critical ratio by turning point at several multipliers of Equation 27, the analysis's own among them.

        Columns size, lagrange, critical_ratio, turning_lower, turning_upper (95%), NaN where a thing does not exist;
        turning_bound, and runs, as in :meth:`critical_ratios`.
        """
        own = self.analysis.settings.lagrange
        return self._by("lagrange", sorted({*among, own}), lambda group, at: (
            group.critical_ratio.turning_point if at == own else group.by_multiplier(at, self.analysis.settings)
        ))  # fmt: skip

    def exponents(self) -> pd.DataFrame:
        """As :meth:`multipliers`, at each upper ``bound`` of the exponents of Equation 6 that the interval holds."""
        return self._by("bound", BOUNDS, lambda group, at: group.by_exponents(at, self.analysis.settings))

    def _by(self, name: str, values: Sequence[float], route: Callable[[Group, float], Critical]) -> pd.DataFrame:
        rows = [
            {"size": group.size, name: at, **_route("critical_ratio", "turning", route(group, at)), "runs": group.runs}
            for group, at in itertools.product(self.analysis.groups, values)
        ]
        return pd.DataFrame(rows)


def differences(*results: DomainResults) -> pd.DataFrame:
    """Critical ratios of every larger size less that of the smallest; of several results, of every other domain less
    that of the first, for the smallest size.

    Columns of, less (sizes or domains), route ("tolerance" | "turning point"), difference (NaN where one of the
    two does not exist), lower and upper (95%, from the bootstrap draws of both).
    """
    groups = results[0].analysis.groups if len(results) == 1 else [each.analysis.groups[0] for each in results]
    one, label, rows = groups[0], "size" if len(results) == 1 else "domain", []
    for other, route in itertools.product(groups[1:], ("tolerance", "turning_point")):
        value, ends = difference(*(getattr(group.critical_ratio, route) for group in (one, other)))
        row = {"of": getattr(other, label), "less": getattr(one, label), "route": route.replace("_", " ")}
        rows.append(row | {"difference": value, **dict(zip(("lower", "upper"), ends or NO_INTERVAL, strict=True))})
    return pd.DataFrame(rows, columns=["of", "less", "route", "difference", "lower", "upper"])


Trajectory = tuple[str, float, Coefficients, Coefficients, TurningPoint]


def turning_points(trajectories: Iterable[Trajectory], unit: float = 1.0) -> pd.DataFrame:
    """The frame of `Results.turning_points`. trajectories: size, ratio, coefficients of Equation 6 (domain, general)
    and the turning point they imply, in the laws' T, of which ``unit`` is one of ours.
    """
    rows = []
    for size, ratio, domain, general, point in trajectories:
        at = np.nan if point.value is None else point.value
        there = {name: float(value) for name, value in increments(domain, general, at).items()}
        low, high = point.interval or NO_INTERVAL
        row = {"size": size, "ratio": ratio, "t": at / unit, **there, "status": point.status}
        rows.append(row | {"lower": low / unit, "upper": high / unit})
    return pd.DataFrame(rows, columns=["size", "ratio", "t", "general", "domain", "status", "lower", "upper"])


def kind_at(t: NDArray[np.float64]) -> NDArray[np.str_]:
    """ "fitted" up to the end of the run, "extrapolated" beyond."""
    return np.where(t <= T_MAX, "fitted", "extrapolated")


def ratio_curves(laws: Iterable[tuple[str, Coefficients]], t: ArrayLike, unit: float = 1.0) -> pd.DataFrame:
    """Equation 8 at ``t`` (> 0), and at T_max if within: size, t, ratio (at most 1; below 0 for small T), kind."""
    at = np.atleast_1d(np.asarray(t, dtype=float))
    if at.min() <= T_MAX <= at.max():
        at = np.union1d(at, T_MAX)
    frames = [pd.DataFrame(columns=["size", "t", "ratio", "kind"])]
    for size, law in laws:
        share = np.minimum(CMR_LAW.evaluate(law, at * unit), 1.0)
        frames.append(pd.DataFrame({"size": size, "t": at, "ratio": share, "kind": kind_at(at)}))
    return pd.concat(frames[1:] or frames, ignore_index=True)


def _with_ends(fit: Fit) -> dict[str, float]:
    """The parameters of a fit, and their intervals where they come from draws."""
    if fit.draws is None:
        return dict(fit.params)
    known = fit.conf_int()
    return dict(fit.params) | {f"{n}_{end}": float(known[end][n]) for n in fit.params for end in ("lower", "upper")}


def _route(column: str, name: str, route: Critical) -> dict[str, object]:
    """A critical ratio under ``column``, its interval and bound as <name>_lower, <name>_upper and <name>_bound."""
    low, high = route.interval or NO_INTERVAL
    ends = {f"{name}_lower": float(low), f"{name}_upper": float(high), f"{name}_bound": route.bound}
    return {column: np.nan if route.value is None else route.value, **ends}


def _critical_ratio(group: Group) -> dict[str, object]:
    found = group.critical_ratio
    fit = found.turning_point.law
    return {
        "size": group.size, "domain": group.domain,
        **(dict.fromkeys(CMR_LAW.names, np.nan) if fit is None else fit.params),
        **_route("critical_ratio", "turning", found.turning_point),
        **_route("tolerance_ratio", "tolerance", found.tolerance),
        **_route("both", "both", found.both),
        "epsilon": found.tolerance.epsilon, "feasible": group.feasible, "runs": group.runs,
    }  # fmt: skip


def _at_tolerance(group: Group, epsilon: float) -> dict[str, object]:
    tolerance, turning = group.by_tolerance(epsilon), group.critical_ratio.turning_point.value
    binds = None
    if tolerance.value is not None and turning is not None and tolerance.value != turning:
        binds = "tolerance" if tolerance.value < turning else "turning point"
    by_turning = np.nan if turning is None else turning
    row = {"size": group.size, "epsilon": epsilon, **_route("tolerance_ratio", "tolerance", tolerance)}
    return row | {"critical_ratio": by_turning, "binds": binds}


def held_out(ends: pd.DataFrame, *, among: Sequence[float] | None = None, band: bool = False) -> HeldOut:
    """Section 5.1: fit L(R) to ``ends`` (columns size, ratio, loss, value) without `HELD_OUT` and predict it.

    among: the ratios fitted; by default all others strictly between 0 and 1. band: give the law its 95% interval, from
    the few residuals it leaves (NaN where three ratios leave none).
    """
    points, laws = [], []
    for (size, loss), rows in ends.groupby(["size", "loss"], sort=False):
        out = np.isclose(rows["ratio"], HELD_OUT)
        fitted = rows["ratio"].map(lambda ratio: 0 < ratio < 1 if among is None else np.isclose(ratio, among).any())
        used = fitted.to_numpy(bool) & ~out
        kind = np.select([out, used], ["held out, measured", "measured"], "measured, not fitted")
        points.append(rows.assign(kind=kind))
        if used.sum() < len(RATIO_LAW.names):
            continue
        law = RATIO_LAW.fit(rows.loc[used, "ratio"], rows.loc[used, "value"])
        key = {"size": size, "loss": loss}
        laws.append(pd.DataFrame(key | _along(law, rows["ratio"], rows.loc[used | out, "ratio"], band)))
        if out.any():
            value = float(law.predict(HELD_OUT))
            points.append(pd.DataFrame([key | {"ratio": HELD_OUT, "value": value, "kind": "held out, predicted"}]))
    none = pd.DataFrame(columns=["size", "loss", "ratio", "value", "kind"])
    columns = ["size", "ratio", "loss", "value", "kind"]
    return HeldOut(pd.concat(points, ignore_index=True)[columns], pd.concat(laws, ignore_index=True) if laws else none)


def held_out_errors(points: pd.DataFrame) -> pd.Series:
    """Relative error of the predicted ratio in percent, by size and loss, of the points of :func:`held_out`."""
    keyed = points.set_index(["size", "loss"])
    guess = keyed.loc[keyed["kind"] == "held out, predicted", "value"]
    seen = keyed.loc[keyed["kind"] == "held out, measured", "value"]
    return ((guess / seen - 1) * 100).dropna().astype(float)


def _along(law: Fit, ratios: pd.Series, known: pd.Series, band: bool) -> dict[str, object]:
    """The law from the smallest to the largest ratio, "extrapolated" outside the known ones."""
    grid = np.union1d(np.linspace(float(ratios[ratios > 0].min()), float(ratios.max()), 61), known)  # 0: maybe a pole
    kind = np.where((grid >= known.min()) & (grid <= known.max()), "fitted", "extrapolated")
    limits = law.interval(grid) if band else None
    ends = {} if limits is None else {"low": limits["lower"].to_numpy(), "high": limits["upper"].to_numpy()}
    return {"ratio": grid, "value": law.predict(grid), "kind": kind, **ends}
