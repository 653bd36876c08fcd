"""What checks the claims of paper A: RECOMPUTED from its printed numbers, REPLICATED by the runs of a study.

The paper's numbers and our runs answer the same `Results`, so most claims are one judge of either. Of `STEADY`, what
the losses of one model show along ratios and tokens, a run says by itself whether they hold. Of `VARYING`, what
compares sizes or fits, only `SEEDS` do; of `TURNING`, what hangs on where curves turn, these and a control (R = 0) do,
because a turn without one may be pretraining that had not ended. What a paper prints of its own models, no run of other
models can confirm: it is shown, and cannot be told. What a function of one claim computes
stands beside the claim, in ``published/claims.yaml``, for readers too.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial, wraps
from typing import Any

import numpy as np
import pandas as pd

from repro.cmr import forecasts, published
from repro.cmr.frames import FIGURE_5, RUN, T_MAX, DomainResults, Results, held_out_errors
from repro.cmr.published import critical_ratio as printed, paper, table
from repro.cmr.rederived import frames
from repro.cmr.rederived.frames import UNIT
from repro.cmr.study import Study
from repro.laws import CMR_LAW, RATIO_LAW, turning_point
from repro.laws.cmr.laws import GENERAL_TOKEN_LAWS
from repro.study import claims
from repro.study.base import NotRun
from repro.study.claims import Recomputed, Replicated
from repro.trust.frames import alternatives

SEEDS = 3  # the fewest that say how runs differ
LEAST_R2 = 0.8741  # the least that Table 3 prints
EPSILON = 0.05  # the paper's tolerance, nats per token
STEP = 512 * 4096 / 1e9  # billion tokens of one of the paper's steps: batch times sequence length
SECOND_RATIOS = [1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4]  # of the paper's second domain
show, decisive = partial(claims.show, "cmr"), partial(claims.decisive, "cmr")
begin, ledger, totals = claims.begin, claims.table, claims.totals  # of both papers


def _wide(results: Results, rows: pd.DataFrame, values: str) -> pd.DataFrame:
    """A column as numbers, by ratio above 0 (general text alone is a control) and size. NotRun if there is none."""
    wide = rows[rows["ratio"] > 0].pivot(index="ratio", columns="size", values=values)
    if wide.empty:
        raise NotRun("no ratio of this study says anything of it")
    return wide.reindex(columns=list(results.sizes)).astype(float)


def _rise(results: Results, loss: str = "general", t: float = T_MAX) -> pd.DataFrame:
    """Equation 6 at ``t``: increments of a loss, nats per token, by ratio and size."""
    return _wide(results, results.curves([t]).query("kind != 'measured'"), loss)


def _turns(results: Results) -> pd.DataFrame:
    """T0 by ratio and size, infinite where there is none."""
    return _wide(results, results.turning_points(), "t").fillna(math.inf)


def _domain(results: Results) -> pd.DataFrame:
    """Domain losses at the end of the run by ratio and size, nats per token."""
    return _wide(results, results.end_losses().query("loss == 'domain'"), "value")


def _critical(results: Results) -> list[float]:
    """The critical ratio by turning point of each size, NaN where there is none."""
    return [float(value) for value in results.critical_ratios()["critical_ratio"]]


def _r2(results: Results, loss: str) -> pd.DataFrame:
    """R2 of Equation 6 by ratio and size."""
    every = results.fit_quality()
    return _wide(results, every[(every["metric"] == "R2") & (every["loss"] == loss)], "value")


def _least_r2(results: Results) -> float:
    return min(_ends(_r2(results, loss))[0] for loss in ("general", "domain"))


def _ends(values: pd.DataFrame) -> tuple[float, float]:
    return float(values.to_numpy().min()), float(values.to_numpy().max())


def _at(frame: pd.DataFrame, ratio: float) -> pd.Series:
    """The row of a ratio; NotRun if the study has no such ratio."""
    return _upto(frame, ratio, least=ratio).iloc[0]


def _upto(frame: pd.DataFrame, ratio: float, least: float = 0.0) -> pd.DataFrame:
    """The rows of ratios up to this one; NotRun if the study has none."""
    ratios = frame.index.to_numpy(float)
    rows = frame[(ratios <= ratio + 1e-9) & (ratios >= least - 1e-9)]
    if rows.empty:
        raise NotRun(f"no ratio from {least:.3g} to {ratio:.3g} in this study")
    return rows


def _all(holds: Any) -> bool:
    return bool(np.all(holds))


class _Unknown(Exception):
    """A number that a judge needs does not exist, so that nothing can be told."""


def _known(values: pd.DataFrame | Sequence[float]) -> np.ndarray:
    known = np.asarray(values, dtype=float)
    if np.isnan(known).any():
        raise _Unknown
    return known


def _grows(values: pd.DataFrame | Sequence[float], sign: int = 1, axis: int = 0) -> bool:
    """Whether values rise (sign -1: fall) throughout: along a list, or the ratios of a frame (axis 1: its sizes)."""
    steps = sign * np.diff(_known(values), axis=axis)
    if not steps.size:
        raise NotRun("one ratio or size cannot be compared")
    return _all(steps > 0)


def _turned(results: Results) -> pd.DataFrame:
    """Which of the ratios of the trade-off figures turn within the run, by size."""
    return _upto(_turns(results), 1 / 2) <= T_MAX


def _feasible(results: Results) -> list[int]:
    """How many of these also end within the tolerance, as Definition 2 asks for, by size."""
    return [int(count) for count in (_turned(results) & (_upto(_rise(results), 1 / 2) <= EPSILON)).sum()]


def _rises_late(results: Results) -> bool:
    first, middle, last = (_at(_rise(results), ratio) for ratio in (1 / 8, 1 / 2, 1.0))
    return _grows(_rise(results)) and _all(middle - first < last - middle)


def _slope(results: Results, t: float = T_MAX) -> pd.DataFrame:
    """How the general loss changes with the domain loss along a curve, at ``t``, by ratio and size."""
    general, domain = (_rise(results, loss, t) - _rise(results, loss, t * (1 - 1e-5)) for loss in ("general", "domain"))
    return general / domain


def _distance(results: Results) -> float:
    points = results.turning_points().dropna(subset="t")
    if len(points) < 3:
        raise NotRun("fewer than three turning points have no order to speak of")
    critical = points["size"].map(dict(zip(results.sizes, _critical(results), strict=True)))
    return float(points["t"].corr(points["ratio"] - critical, method="spearman"))


# Whether a statement holds, of the paper's own numbers and of our runs alike.
STEADY: dict[str, Callable[[Results], bool]] = {
    "A005": lambda r: _grows(_rise(r, "domain"), -1),
    "A008": lambda r: _all(r.coefficients()["alpha1"] * r.coefficients()["s1"] < 0),
    "A027": lambda r: _grows(_rise(r)) and _all(_at(_rise(r), 1) > EPSILON),
    "A033": lambda r: _grows(_domain(r), -1),
    "A034": _rises_late,
    "A050": lambda r: all(_grows(_upto(_rise(r, t=t), 1 / 2)) for t in (10.0, 25.0, 50.0, T_MAX)),
    "A070": lambda r: _all(_rise(r, "domain").abs() >= 3 * _rise(r).abs()),
    "A079": lambda r: _all(_upto(_rise(r), 3 / 4) < 0.02),
    "A082": lambda r: max(_ends(_upto(_rise(r, t=float(t)), 1 / 2))[1] for t in RUN[9::10]) < EPSILON / 2,
    "A083": lambda r: _all(_at(_rise(r), 1) > EPSILON),
    "A084": lambda r: _all(_at(_rise(r), 1) > EPSILON) and _all(_at(_rise(r), 1 / 8) < EPSILON),
    "A098": lambda r: _all(_upto(_rise(r), 1 / 2) <= EPSILON),
    "A099": lambda r: _all(_rise(r, "domain") < -EPSILON),
}
VARYING: dict[str, Callable[[Results], bool]] = {
    "A041": lambda r: _grows(_domain(r), -1, axis=1),
    "A048": lambda r: _grows(_r2(r, "general")),
    "A091": lambda r: _grows(_rise(r), -1, axis=1),
}
TURNING: dict[str, Callable[[Results], bool]] = {
    "A002": lambda r: min(_feasible(r)) > 0,
    "A006": lambda r: min(_feasible(r)) > 1,
    "A007": lambda r: _all(_turns(r) <= T_MAX),
    "A022": lambda r: _all(_turned(r).any()),
    "A024": lambda r: _all(_at(_turns(r), 1 / 4) <= T_MAX),
    "A030": lambda r: _all(_slope(r).abs().where(_turns(r) <= T_MAX, 0.0) < 1 / 8),
    "A089": lambda r: _all(_turns(r) > 0),
    "A023": lambda r: _all(np.diff(_feasible(r)) >= 0) and _feasible(r)[0] < _feasible(r)[-1],
    "A025": lambda r: _all((_at(_turns(r), 1 / 3) <= T_MAX) == (np.arange(len(r.sizes)) > 0)),
    "A028": lambda r: _all(_at(_turns(r), 1 / 3).iloc[1:2] <= T_MAX),
    "A029": lambda r: _grows(_critical(r)),
    "A066": lambda r: _all((_turns(r) <= T_MAX) == np.less_equal.outer(_turns(r).index, _known(_critical(r)))),
    "A071": lambda r: _distance(r) > 0.9,
    "A072": lambda r: _all((r.critical_ratios()["alpha4"] * r.critical_ratios()["s4"]).dropna() > 0),
    "A074": lambda r: _all(r.ratio_curves(FIGURE_5)["ratio"].between(0, 1)),
    "A078": lambda r: _all(_turns(r) > T_MAX),
    "A092": lambda r: _all(_known(_critical(r)[1:]) >= 1 / 3),
}


def _law(size: str, t: float = T_MAX) -> float:
    """Table 5's curve."""
    return float(CMR_LAW.evaluate(paper.equation_8()[size], t))


def _errors(of: str, largest: float = 1.0) -> pd.Series:
    """Errors in percent of predicting Table 2's quarter, by size: as "printed", or "refitted" to the other ratios."""
    rows = frames.prediction(largest=largest).set_index("size")
    return 100 * (rows[of] / rows["measured"] - 1).abs()


def _by_size() -> float:
    """The largest error in percent of a power of the parameters plus a constant, fitted to Table 2 at each ratio."""
    millions = paper.shapes()["parameters"] / 1e6
    fits = [RATIO_LAW.fit(millions, losses) for _, losses in _domain(paper).iterrows()]
    return max(float(100 * np.abs(fit.predict(millions) / fit.y - 1).max()) for fit in fits)


def _base() -> pd.DataFrame:
    """Domain loss before continual pretraining, which Table 2 less the increments of Table 4 leaves."""
    return (_domain(paper) - _rise(paper, "domain")).dropna()


def _agree(size: str) -> bool:
    """Whether Tables 4 and 5 have the same turning points, within 5%, at the ratios that Equation 8 is fitted to."""
    rows = frames.turns().set_index("size").loc[size]
    return _all(rows.loc[frames.fitted(rows["ratio"]), "difference"].abs() < 0.05)


def _sizes(check: Callable[[str], Recomputed], *names: str) -> dict[str, Callable[[], Recomputed]]:
    """The same check of each of the paper's sizes."""
    return {name: partial(check, size) for name, size in zip(names, paper.sizes, strict=True)}


def _iterated(size: str, ratio: float, t: float = 50.0) -> float:
    """Equation 7 put into itself from ``t`` on, NaN where it leaves the positive numbers."""
    (domain, general), weight = paper.equation_6(size, ratio), published.value("lagrange_high")
    (a1, s1), (a2, s2), (a3, s3) = ((c[f"alpha{n}"], c[f"s{n}"]) for n, c in ((1, domain), (2, general), (3, general)))
    for _ in range(200):
        base = -a1 * s1 / (weight * a2 * s2 * (1 + a3 * s3 / (a2 * s2) * t ** (s3 - s2)))
        t = base ** (1 / (s2 - s1)) if base > 0 else math.nan
        if not 0 < t < math.inf:
            return math.nan
    return t


def _at_turn(size: str, ratio: float) -> float:
    """The slope of the general over the domain loss at T0, times the multiplier that gave T0."""
    t = float(_at(_turns(paper), ratio)[size])
    return published.value("lagrange_high") * float(_at(_slope(paper, t), ratio)[size])


RECOMPUTED: dict[str, Callable[[], Recomputed]] = {
    **{name: partial(judge, paper) for name, judge in (STEADY | VARYING | TURNING).items()},
    "A001": lambda: _all(_errors("refitted") <= 0.05) and _least_r2(paper) >= LEAST_R2,
    "A009": lambda: [_law("460M"), _law("940M")],
    "A013": lambda: 200 + 20,
    "A014": lambda: 44 + 36 + 20,
    "A016": lambda: (paper.shapes()["parameters"][:2] / 1e6).tolist(),
    "A017": lambda: 100_000 * STEP,
    "A018": lambda: 10_000 * STEP,
    "A019": lambda: 3e-5 / 3e-4,
    "A020": lambda: _all(table("1")["hidden_size"] % table("1")["attention_heads"] == 0),
    "A026": lambda: _law("940M"),
    "A032": lambda: _all(_errors("refitted", 3 / 4) <= 0.05),
    "A035": lambda: float(_errors("printed").max()),
    **_sizes(lambda size: float(_errors("printed")[size]), "A036", "A037", "A038", "A039"),
    "A040": lambda: _all(_errors("refitted") <= 0.05),
    "A043": lambda: _least_r2(paper) >= LEAST_R2,
    "A044": lambda: _ends(_r2(paper, "general")),
    "A045": lambda: _ends(_r2(paper, "domain")),
    "A046": lambda: float(frames.mse_factors("domain").median()),
    "A047": lambda: float(frames.mse_factors("general").median()),
    **_sizes(_agree, "A051", "A052", "A053", "A054"),
    "A055": lambda: float((_base().max() - _base().min()).max()) < 0.01,
    "A056": lambda: _all(_upto(_rise(paper, t=1.0), 1 / 2).abs() < 0.005),
    **_sizes(_law, "A058", "A059", "A060", "A061"),
    "A062": lambda: frames.critical_ratios()["table4"].tolist(),
    "A063": lambda: list(map(_law, paper.sizes)),
    "A064": lambda: T_MAX * UNIT / 1e9,
    "A065": lambda: 250 * UNIT / 1e9,
    "A067": lambda: all(
        abs(_iterated(size, ratio) / t - 1) < 0.01
        for size, ratio, t in paper.turning_points()[["size", "ratio", "t"]].dropna().itertuples(index=False)
    ),
    "A068": lambda: _all(np.abs(frames.chain(100.0) - frames.chain(7000.0)) < 0.01),
    "A069": lambda: _all((paper.turning_points()["t"] / paper.turning_points(math.inf)["t"] - 1).dropna().abs() < 0.01),
    "A073": lambda: [
        law["beta3"] if law["s4"] < 0 else math.copysign(math.inf, law["alpha4"]) for law in paper.equation_8().values()
    ],
    "A077": lambda: printed("460M", "academic") < printed("460M"),
    "A081": lambda: _all(_upto(_rise(paper), 1 / 2) < 0.02),
    "A085": lambda: _by_size() < 0.5,
    "A086": lambda: float(paper.shapes()["parameters"].min() / 1e6),
    "A087": lambda: bool((_upto(_rise(paper), 1 / 2) >= EPSILON).any(axis=None)),
    "A088": lambda: _at_turn("460M", 1 / 4),
    "A094": lambda: (table("1")["intermediate_size"] / table("1")["hidden_size"]).tolist(),
    "A095": lambda: (paper.shapes()["parameters"][2:] / 1e9).tolist(),
    "A096": lambda: _grows(_base(), -1, axis=1),
    "A097": lambda: _grows([_law(size, published.value("figure_5_tokens") / UNIT) for size in paper.sizes]),
}  # fmt: skip

_FORECASTS: dict[DomainResults, pd.DataFrame] = {}


def _results(study: Study, domain: str = "domain") -> DomainResults:
    """Of the domain of this parameter; NotRun if the study has none."""
    if domain == "second_domain" and not study.params.second_domain:
        raise NotRun("no second domain in this study")
    study.run(study.design.continual)
    return study.results(getattr(study.params, domain).name)


Found = Replicated | float | tuple[float, ...] | None
ByStudy = Callable[[Study], Replicated | None]


def _run(
    judge: Callable[[DomainResults], Found], domain: str = "domain", seeds: int = 0, *, control: bool = False
) -> ByStudy:
    """A judge of our results on a domain: a truth is told if there are so many seeds, and a control if it takes one; of
    a number nothing is.
    """

    @wraps(judge)
    def of_study(study: Study) -> Replicated | None:
        try:
            found = judge(_results(study, domain))
        except _Unknown:
            return Replicated(None)
        if found is None or isinstance(found, Replicated):
            return found
        enough = len(study.params.seeds) >= seeds and (not control or 0 in study.params.ratios)
        told = isinstance(found, bool) and enough
        return Replicated(found, holds=bool(found) if told else None)

    return of_study


def _place(number: int, results: DomainResults) -> Replicated | None:
    """The critical ratio by turning point of our size at this place, with its interval."""
    rows = results.critical_ratios()[["critical_ratio", "turning_lower", "turning_upper"]].to_numpy(float)
    if len(rows) <= number:
        return None
    value, low, high = (None if math.isnan(each) else float(each) for each in rows[number])
    return Replicated(value, None if low is None or high is None else (low, high))


def _by_tolerance(results: DomainResults) -> tuple[float, ...]:
    """The critical ratio by tolerance of our smallest size and the ends of its interval; the largest ratio run where it
    is no less than that.
    """
    row = results.critical_ratios().iloc[0]
    return tuple(map(float, row[["tolerance_ratio", "tolerance_lower", "tolerance_upper"]]))


def _half(study: Study) -> Replicated | None:
    results = _results(study)
    if results not in _FORECASTS:
        _FORECASTS[results] = forecasts.of_runs(study.losses(), results.analysis)
    rows = _FORECASTS[results]
    found = rows.loc[rows["what"] == "critical ratio by turning point", ["forecast", "came"]].to_numpy(float)
    return Replicated(tuple(map(float, found[0]))) if len(found) else None


@cache
def _rivals(results: DomainResults) -> pd.DataFrame:
    """How the paper's law, the first of each kind, does against others: see `repro.trust.frames.alternatives`."""
    return alternatives(results.analysis).drop_duplicates("kind").set_index("kind")


def _predicts(results: DomainResults) -> tuple[float, ...]:
    """The share of curves that the paper's law predicts best: general and domain loss, by ratio and by tokens."""
    rows = _rivals(results).loc[["ratio general", "ratio domain", "token general", "token domain"]]
    return tuple(rows["held_out_wins"] / rows["held_out_judged"])


def _two_powers(results: DomainResults) -> Replicated:
    fits = [laws.general for group in results.analysis.groups for laws in group.token_laws]
    less = [fit.aicc < GENERAL_TOKEN_LAWS[1].fit(fit.x, fit.y, fit.weights).aicc for fit in fits]
    share, rivals = float(np.mean(less)) if less else math.nan, _rivals(results).loc["token general"]
    best = float(rivals["aicc_wins"] / rivals["aicc_judged"]) if rivals["aicc_judged"] else math.nan
    return Replicated((share, best), holds=False if share < 0.25 else True if min(share, best) > 0.75 else None)


def _maxima(results: DomainResults) -> Replicated:
    laws = [law for group in results.analysis.groups for law in group.token_laws if law.turning_point.value]
    limits = results.analysis.settings.equation_27 | {"lagrange": math.inf}
    maxima = [turning_point(law.domain.params, law.general.params, **limits).value or math.nan for law in laws]
    value = max((abs((law.turning_point.value or 0) / at - 1) for law, at in zip(laws, maxima, strict=True)), default=0)
    return Replicated(value, holds=value < 0.01)


def _moved(rows: pd.DataFrame, *ratios: str) -> Replicated:
    """How far a setting moves the critical ratio of a size, the least of the columns ``ratios``, at most."""
    by_size = rows[list(ratios)].min(axis=1).groupby(rows["size"])
    value = float((by_size.max() - by_size.min()).max())
    return Replicated(value, holds=value < 0.01)


def _domains(study: Study) -> Replicated:
    far, near = (_by_tolerance(_results(study, name)) for name in ("domain", "second_domain"))
    apart = far[2] < near[1] or near[2] < far[1]
    return Replicated((*far, *near), holds=near[0] > far[0] if apart and len(study.params.seeds) >= SEEDS else None)


def _later(study: Study) -> Replicated:
    far, near = (_turns(_results(study, name)).iloc[:, 0] for name in ("domain", "second_domain"))
    both = far.index.intersection(near.index)
    return Replicated(float((near[both] > far[both]).mean()))


def _shares(study: Study) -> Replicated:
    if study.params.second_domain is None:
        raise NotRun("no second domain in this study")
    far, near = map(float, study.distances()["share"].iloc[1:3])
    return Replicated((far, near), holds=near > far)


def _epochs(study: Study) -> Replicated:
    value = float(study.corpora().query("part == 'training' and corpus != 'general'")["epochs"].max())
    return Replicated(value, holds=value <= 1)


def _fits(results: DomainResults) -> Found:
    laws = [law.r2 for group in results.analysis.groups for law in group.ratio_law.values() if law is not None]
    errors = held_out_errors(results.held_out("domain").points)
    return (min(laws), float(errors.abs().max()), float((errors > 0).mean())) if laws else Replicated(None)


def _set(value: Callable[[Study], float], wanted: float) -> ByStudy:
    """A setting of the runs, once they are done."""

    @wraps(value)
    def of_study(study: Study) -> Replicated:
        study.run(study.design.continual)
        return Replicated(value(study), holds=math.isclose(value(study), wanted, rel_tol=1e-3))

    return of_study


REPLICATED: dict[str, ByStudy] = {
    **{name: _run(judge) for name, judge in STEADY.items()},
    **{name: _run(judge, seeds=SEEDS) for name, judge in VARYING.items()},
    **{name: _run(judge, seeds=SEEDS, control=True) for name, judge in TURNING.items()},
    "A001": _run(_predicts),
    "A003": _half,
    "A004": _run(partial(_place, 0), "second_domain"),
    "A009": _run(lambda r: tuple(_critical(r)[:2])),
    "A010": _domains,
    "A011": _run(_by_tolerance, "second_domain"),
    "A012": _shares,
    "A015": _epochs,
    "A019": _set(lambda study: float(study.params.continual_lr) / float(study.params.pretrain_lr), 0.1),
    "A032": _run(_fits),
    "A035": _run(lambda r: float(held_out_errors(r.held_out("domain").points).abs().max())),
    "A040": _run(lambda r: float(held_out_errors(r.held_out("domain").points).abs().mean())),
    "A042": _set(lambda study: float(study.params.epsilon), EPSILON),
    "A043": _run(_least_r2),
    "A044": _run(lambda r: _ends(_r2(r, "general"))),
    "A045": _run(lambda r: _ends(_r2(r, "domain"))),
    "A049": _run(_two_powers),
    **{name: _run(partial(_place, number)) for number, name in enumerate(("A058", "A059", "A060", "A061"))},
    "A063": _run(lambda r: tuple(_critical(r))),
    "A068": _run(lambda r: _moved(r.multipliers(), "critical_ratio")),
    "A069": _run(_maxima),
    "A075": _run(lambda r: not r.analysis.groups[0].critical_ratio.turning_point.contradicted, "second_domain", SEEDS),
    "A076": _run(lambda r: _all(_upto(_turns(r), 1 / 3) <= T_MAX), "second_domain", SEEDS, control=True),
    "A077": _later,
    "A080": _run(lambda r: tuple(_rivals(r).loc[["token general", "token domain"], "median_held_out"])),
    "A081": _run(lambda r: _moved(r.tolerances(), "tolerance_ratio", "critical_ratio")),
    "A093": _set(lambda study: sum(float(ratio) in SECOND_RATIOS for ratio in study.params.second_ratios), 5),
    "A094": _set(lambda study: float((study.shapes()["intermediate_size"] / study.shapes()["hidden_size"]).mean()), 3),
    "A096": _run(lambda r: _grows([group.base.domain for group in r.analysis.groups], -1), seeds=SEEDS),
}
