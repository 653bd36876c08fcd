"""The law of paper B: score against SFT tokens at a fixed budget (Equation 1), and what follows for other budgets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from statsmodels.regression.linear_model import WLS

from repro.laws.allocation import peak as peaks
from repro.laws.allocation.peak import Flatness, Optimum, Peak, Prediction, Trend
from repro.laws.allocation.scores import Scores, alike, checked
from repro.laws.comparison import compare
from repro.laws.inference import LEVEL
from repro.laws.law import Fit, Law, Linear, Nonlinear

NAME = "allocation law"
NAMES = ("p_base", "amplitude", "mu", "sigma", "s_min", "penalty")
CLIFF = 0.99  # S_min stays below this share of the fewest SFT tokens; nearer, the cliff would fit that point alone
FEW = 7  # fewer allocations than this hardly test the fit
SHIFT = 0.1  # how far the highest point may lie from exp(mu), as a share of it
SHARE = 0.025  # of draws without a peak: from here on they can move the ends of a 95% interval
QUADRATIC = "quadratic in ln S"
CLEARLY = 0.9  # of Equation 1's error of allocations left out: a law below it predicts them better


def _columns(s: NDArray[Any], mu: Any, sigma: Any, s_min: Any) -> tuple[NDArray[Any] | float, ...]:
    return 1.0, np.exp(-(((np.log(s) - mu) / sigma) ** 2) / 2), -1 / (s - s_min)


def allocation_law(sft_tokens: ArrayLike) -> Law:
    """Equation 1 for scores at these SFT tokens S (n,) > 0; at least two different ones.

    P(S) = P_base + A exp(-((ln S - mu) / sigma)^2 / 2) - lambda / (S - S_min), in the units of the score. The bounds
    come from the data: the peak lies between the fewest and the most tokens; its width between the median step in ln S
    (narrower peaks would only lift single points) and the whole range; the cliff between 0 and just below the fewest
    tokens. So counting S in other units shifts mu, scales s_min and penalty, and changes nothing else.
    """
    logs = np.unique(np.log(np.asarray(sft_tokens, dtype=float)))
    span = float(logs[-1] - logs[0])
    return Law(
        name=NAME,
        latex=r"P(S) = P_{base} + A e^{-(\ln S - \mu)^2 / 2 \sigma^2} - \lambda / (S - S_{min})",
        nonlinear=(
            Nonlinear("mu", float(logs[0]), float(logs[-1])),
            Nonlinear("sigma", min(float(np.median(np.diff(logs))), span / 2), span),
            Nonlinear("s_min", 0.0, CLIFF * float(np.exp(logs[0]))),
        ),
        linear=(Linear("p_base"), Linear("amplitude", sign=1), Linear("penalty", sign=1)),
        basis=_columns,
    )


def monotone_laws(equation_1: Law) -> tuple[Law, ...]:
    """What scores without a peak may look like: laws that only rise or only fall, with the bounds of ``equation_1``.
    The saturating curve is half-way at ln S = half, within the data; the cliff is Equation 1 without its bump.
    """
    mu, _, s_min = equation_1.nonlinear
    a, b = Linear("a"), Linear("b")
    return (
        Law("flat line", r"P(S) = P_{base}", (), (Linear("p_base"),), lambda s: (1.0 + 0.0 * s,)),
        Law("straight line in ln S", r"P(S) = a + b \ln S", (), (a, b), lambda s: (1.0, np.log(s))),
        Law(
            "saturating curve", r"P(S) = a + b / (1 + e^{half} / S)", (Nonlinear("half", mu.low, mu.high),), (a, b),
            lambda s, half: (1.0, 1 / (1 + np.exp(half) / s)),
        ),
        Law(
            "cliff without a peak", r"P(S) = P_{base} - \lambda / (S - S_{min})", (s_min,),
            (Linear("p_base"), Linear("penalty", sign=1)), lambda s, s_min: (1.0, -1 / (s - s_min)),
        ),
    )  # fmt: skip


ALTERNATIVES = (
    Law(
        QUADRATIC, r"P(S) = a + b \ln S + c \ln^2 S", (), (Linear("a"), Linear("b"), Linear("c")),
        lambda s: (1.0, np.log(s), np.log(s) ** 2),
    ),
)  # fmt: skip
"""What Equation 1 is compared with besides the monotone laws; a law added here is in every comparison."""


@dataclass(frozen=True)
class Allocation:
    """Equation 1 fitted to scores at one budget.

    fit: with the draws of the bootstrap, if any. points: the rows fitted (sft_tokens, cpt_fraction, score,
    n_items (NaN where not given), seed). alternatives: Equation 1 and its alternatives on the same data, best AICc
    first: columns law, parameters, aicc, delta_aicc, loo (root mean squared error of each allocation, predicted
    from the others) and those of :func:`repro.laws.comparison.compare`.
    """

    budget: float
    fit: Fit
    optimum: Optimum
    flatness: Flatness
    trend: Trend
    peak: Peak
    predictions: tuple[Prediction, ...]
    alternatives: pd.DataFrame = field(repr=False, compare=False)
    points: pd.DataFrame = field(repr=False, compare=False)
    warnings: tuple[str, ...]

    @property
    def params(self) -> dict[str, float]:
        """p_base, amplitude, mu, sigma, s_min, penalty."""
        return {name: self.fit.params[name] for name in NAMES}

    @property
    def peak_shown(self) -> bool:
        """Whether the data show the peak of Equation 1; `peak` has the test, and the reasons where they do not."""
        return not self.peak.missing

    @property
    def equal(self) -> bool:
        """Whether all scores fitted are equal: there is then no peak and nothing to learn the noise from."""
        return alike(self.points["score"])

    @property
    def r2(self) -> float:
        """R squared of Equation 1; NaN where all scores are equal."""
        return float("nan") if self.equal else self.fit.r2

    @property
    def criterion(self) -> str:
        """What the laws are compared by: "AIC", "AICc" or "QAICc"."""
        return str(self.alternatives.attrs["criterion"])

    @property
    def method(self) -> str:
        """How the law was fitted and where the intervals come from, in words."""
        return self.fit.method

    def conf_int(self, alpha: float = LEVEL) -> pd.DataFrame:
        """Intervals of the parameters as :meth:`repro.laws.Fit.conf_int` has them; NaN where all scores are equal."""
        if self.equal:
            return pd.DataFrame(np.nan, index=list(NAMES), columns=["lower", "upper"])
        return self.fit.conf_int(alpha).loc[list(NAMES)]

    def curve(self, sft_tokens: ArrayLike | None = None, alpha: float = LEVEL) -> pd.DataFrame:
        """The fitted curve with its pointwise band, NaN where all scores are equal: columns sft_tokens, cpt_fraction,
        score, lower, upper. By default at 200 points within the data, even in ln S.
        """
        ends = self.points["sft_tokens"].min(), self.points["sft_tokens"].max()
        at = np.geomspace(*ends, 200) if sft_tokens is None else np.atleast_1d(np.asarray(sft_tokens, dtype=float))
        if self.equal:
            band = pd.DataFrame({"score": self.fit.predict(at), "lower": np.nan, "upper": np.nan})
        else:
            band = self.fit.interval(at, alpha).rename(columns={"value": "score"})
        return pd.DataFrame({"sft_tokens": at, "cpt_fraction": 1 - at / self.budget, **band})


def analyse_allocation(
    scores: pd.DataFrame,
    *,
    budget: float,
    bootstrap: int = 1000,
    seed: int = 0,
    predict: Iterable[float] = (),
    answers: ArrayLike | None = None,
) -> Allocation:
    """Section 3.3 on a frame of scores: Equation 1, its peak with an interval, and Equation 2 at other budgets.

    scores: columns score and one of sft_tokens (tokens) and cpt_fraction (0 to 1); optional n_items (the score is a
    proportion of so many items, and has their binomial error) and seed (several runs at one allocation). Rows without
    SFT tokens have no ln S: they stay out of the law, and a warning gives their scores. budget: tokens of CPT and SFT
    together. bootstrap: how many refits give the intervals; 0 for none. seed: of everything random here. predict: other
    budgets, in tokens. answers: the score of each question at each row of scores, (rows, questions); scores are their
    means. Errors then come from the questions, which are the same at every allocation. Raises ValueError for a wrong
    column or value, or fewer than six allocations with SFT tokens.
    """
    if bootstrap < 0:
        raise ValueError(f"bootstrap is {bootstrap}; it must be 0 or more")
    data = checked(scores, budget, answers)
    if data.allocations < len(NAMES):
        few = f"{data.allocations} allocations with SFT tokens cannot determine the allocation law"
        raise ValueError(f"{few}, which has {len(NAMES)} parameters")
    law = allocation_law(data.tokens)
    fit = _level(law, data) if data.equal else law.fit(data.tokens, data.values, data.weights())
    known = not data.equal and (bool(fit.df_resid) or data.errors != "residuals")
    draws = draw(data, fit, bootstrap, seed) if bootstrap and known else None
    fit = replace(fit, draws=draws, method=_method(data, fit, bootstrap, known))
    best = peaks.optimum(data, fit)
    test, slope, rivals = peaks.flatness(data, fit, seed), peaks.trend(data), monotone_laws(law)
    shown = peaks.peak(data, fit, best, test, rivals, seed)
    table = _compared(data, fit, rivals)
    others = tuple(peaks.prediction(float(n), best) for n in predict)
    warnings = _warnings(data, fit, best, test, slope, shown, table)
    return Allocation(data.budget, fit, best, test, slope, shown, others, table, data.rows, warnings)


def _level(law: Law, data: Scores) -> Fit:
    """Equation 1 without peak and cliff. A fit to equal scores would make a peak of their rounding errors."""
    centre = {part.name: (part.low + part.high) / 2 for part in law.nonlinear}
    weights = data.weights()
    return Fit(
        law, centre | {"p_base": float(data.values[0]), "amplitude": 0.0, "penalty": 0.0}, 0.0, len(data.values), (),
        data.tokens, data.values, np.ones(len(data.values)) if weights is None else weights,
    )  # fmt: skip


def _compared(data: Scores, fit: Fit, rivals: tuple[Law, ...]) -> pd.DataFrame:
    # Equal scores are compared as zeros: every law has a constant, so this removes rounding errors only, and the laws,
    # which all fit exactly, stay in the order given.
    laws = (*rivals, fit.law, *ALTERNATIVES) if data.equal else (fit.law, *rivals, *ALTERNATIVES)
    values = np.zeros(fit.n) if data.equal else fit.y
    # The questions tell the size of the errors only where scores scatter about the law no more than they allow.
    known = data.errors == "items" or (data.errors == "answers" and data.excess(fit) == 1)
    table = compare(laws, fit.x, values, fit.weights, groups=fit.x, known=known)
    return table.rename(columns={"held_out": "loo"})


def draw(data: Scores, fit: Fit, count: int, seed: int) -> pd.DataFrame:
    """Parameters of ``count`` refits to simulated scores: one row each, a column for each name."""
    noise = data.noise(fit, count, np.random.default_rng(seed))
    params = fit.law.fit_many(fit.x, fit.predict(fit.x) + noise, fit.weights)
    return pd.DataFrame({name: params[name] for name in NAMES})


def _method(data: Scores, fit: Fit, bootstrap: int, known: bool) -> str:
    binomial = data.items is not None and data.answers is None
    weighted = "weighted by binomial variance at the pooled score" if binomial else "unweighted"
    fitted = f"global least squares, {weighted}"
    if data.equal:
        return "no fit: all scores are equal; no intervals"
    if not known:
        return f"{fitted}; no intervals: six points leave no residuals to learn the noise from"
    if not bootstrap:
        return f"{fitted}; intervals of parameters by {fit.method}, none of the optimum without a bootstrap"
    return f"{fitted}; 95% percentile intervals of {bootstrap} refits to the fitted curve plus {data.described(fit)}"


def _warnings(
    data: Scores, fit: Fit, best: Optimum, test: Flatness, slope: Trend, peak: Peak, table: pd.DataFrame
) -> tuple[str, ...]:
    """All that apply, the most serious first."""
    if data.equal:
        nothing = "there is no peak, no allocation is shown to be best, and there are no intervals"
        return (f"all scores are equal: {nothing}", *_rows(data))
    texts = [
        *(f"no peak is shown: {', and '.join(peak.missing)}" for _ in peak.missing[:1]),
        *_flat(test, slope),
        *_about_peak(data, fit, best),
        *_alternatives(fit, table),
        *_data(data, fit),
        *_rows(data),
        *_draws(data, fit, best),
    ]
    return tuple(dict.fromkeys([*texts, *fit.warnings]))


def _about_peak(data: Scores, fit: Fit, best: Optimum) -> Iterator[str]:
    if best.sft_tokens is None:
        yield "no peak: the amplitude is 0, so there is no best allocation inside the data"
        return
    logs = np.log(data.tokens)
    margin = peaks.EDGE * (logs[-1] - logs[0])
    means = data.rows.groupby("sft_tokens")["score"].mean()
    if not logs[0] + margin < fit.params["mu"] < logs[-1] - margin:
        yield f"the peak is at the edge of the data ({best.sft_tokens:,.0f} SFT tokens): it may lie beyond"
    if means.idxmax() in (means.index[0], means.index[-1]):
        yield f"the best score is at the edge of the data ({means.idxmax():,.0f} SFT tokens): no peak is seen inside"
    top = float(fit.predict(best.highest))
    if top > data.values.max() + float(np.ptp(data.values)):
        yield f"the fitted peak, {top:.3g}, stands far above every score: it lies between allocations"
    if abs(best.highest / best.sft_tokens - 1) > SHIFT:
        mu = f"exp(mu) = {best.sft_tokens:,.0f}"
        yield f"the fitted curve is highest at {best.highest:,.0f} SFT tokens, not at {mu}: the cliff shifts it"


def _flat(test: Flatness, slope: Trend) -> Iterator[str]:
    if slope.p_value <= LEVEL:
        chance = "below 0.001" if slope.p_value < 0.001 else f"= {slope.p_value:.2g}"
        yield f"the scores {'rise' if slope.slope > 0 else 'fall'} with ln S (p {chance})"
    elif test.p_value > LEVEL:
        yield f"the scores cannot be told from equal (p = {test.p_value:.2f}), so no allocation is shown to be best"


def _alternatives(fit: Fit, table: pd.DataFrame) -> Iterator[str]:
    rows, criterion = table.set_index("law"), table.attrs["criterion"]
    own, best = rows.loc[fit.law.name], str(table["law"].iloc[0])
    gap = float(rows["delta_aicc"][fit.law.name])
    if best != fit.law.name and np.isfinite(gap):
        vertex = f", and {_vertex(fit)}" if best == QUADRATIC else ""
        yield f"a {best} describes the scores better by {criterion}, by {gap:.1f}{vertex}"
    # By either measure alone an alternative is often ahead by chance where Equation 1 is true.
    ahead = rows[(rows["aicc"] < own["aicc"]) & (rows["loo"] < CLEARLY * own["loo"])]
    if len(ahead):
        errors = f"root mean squared error {ahead['loo'].min():.3g}, against {own['loo']:.3g} of the allocation law"
        yield f"a {ahead['loo'].idxmin()} predicts allocations left out better: {errors}"


def _vertex(fit: Fit) -> str:
    """Whether a quadratic has a peak: it rises at the fewest tokens and falls at the most, each clearly, so that the
    interval of its vertex (Fieller's) lies between them (Lind & Mehlum 2010).
    """
    logs = np.log(fit.x)
    quadratic = WLS(fit.y, np.vander(logs, 3, increasing=True), weights=fit.weights).fit()
    rises, falls = quadratic.t_test([[0, 1, 2 * end] for end in (logs.min(), logs.max())]).conf_int(LEVEL)
    inside = rises[0] > 0 > falls[1]
    return "its peak lies inside what was tried" if inside else "it is no peak, as its vertex may lie beyond the data"


def _data(data: Scores, fit: Fit) -> Iterator[str]:
    if data.errors == "items":
        yield (
            "scores are taken as independent samples of items, as answers to single items are not given: where all "
            "models answer the same items, a comparison item by item is sharper"
        )
    if data.allocations < FEW:
        yield f"{data.allocations} allocations for six parameters: the fit is hardly tested"
    excess = data.excess(fit)
    if excess > 1:
        source = "repeated runs show" if data.errors == "runs" else "the number of items allows"
        times = f"{excess:.1f} times the variance that {source}"
        yield f"the scores scatter about the law with {times}; the intervals are widened to match"


def _rows(data: Scores) -> Iterator[str]:
    if data.copies:
        yield (
            f"repeated runs are equal to one another, so they tell nothing of the noise and each allocation counts "
            f"once: {data.copies} rows are not used"
        )
    if len(data.without):
        listed = ", ".join(f"{score:.4g}" for score in data.without["score"])
        yield f"kept out of the law, having no SFT tokens: score {listed}"


def _draws(data: Scores, fit: Fit, best: Optimum) -> Iterator[str]:
    if fit.draws is None or best.interval is None:
        return
    missing = float((fit.draws["amplitude"] <= 0).mean())
    if missing > SHARE:
        yield f"{missing:.0%} of the bootstrap draws have no peak; they count as peaks at the edges of the data"
    draws, far = fit.draws, data.values.max() + np.ptp(data.values)  # above every score by more than they differ
    tops = draws["p_base"] + draws["amplitude"] - draws["penalty"] / (np.exp(draws["mu"]) - draws["s_min"])
    share = float((tops > far).mean())
    if share > SHARE:
        yield f"{share:.0%} of the bootstrap draws put a peak far above every score, where nothing was measured"
    if sides := best.open_sides(data.tokens):
        yield f"the interval of the best allocation is open {' and '.join(sides)}: it reaches the edge of the data"
