"""The law of paper B: score against SFT tokens at a fixed budget (Equation 1), and what follows for other budgets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from repro.laws.allocation.flatness import Flatness, flatness
from repro.laws.allocation.scores import Scores, checked
from repro.laws.allocation.warnings import allocation_warnings
from repro.laws.comparison import compare
from repro.laws.results import Fit
from repro.laws.separable import Law, Linear, Nonlinear

NAME = "score against SFT tokens"
NAMES = ("p_base", "amplitude", "mu", "sigma", "s_min", "penalty")
CLIFF = 0.99  # S_min stays below this share of the fewest SFT tokens; nearer, the cliff would be that one point's own
FINE = 2000
ALPHA = 0.05

Interval = tuple[float, float]


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


FLAT = Law("flat line", r"P(S) = P_{base}", (), (Linear("p_base"),), lambda s: (1.0 + 0.0 * s,))
QUADRATIC = Law(
    name="quadratic in ln S",
    latex=r"P(S) = a + b \ln S + c \ln^2 S",
    nonlinear=(),
    linear=(Linear("a"), Linear("b"), Linear("c")),
    basis=lambda s: (1.0, np.log(s), np.log(s) ** 2),
)


def best_fraction(budget: float, sft_tokens: float) -> float | None:
    """Equation 2: the best CPT share of ``budget`` tokens if the best number of SFT tokens does not depend on it.

    None where the budget is smaller than those SFT tokens.

    Raises:
        ValueError: if the budget is not a positive number.

    """
    if not (np.isfinite(budget) and budget > 0):
        raise ValueError(f"a budget is {budget}; it must be a positive number of tokens")
    return (budget - sft_tokens) / budget if sft_tokens <= budget else None


@dataclass(frozen=True)
class Optimum:
    """The peak exp(mu) in SFT tokens, and as a CPT fraction of the budget; None where Equation 1 has no peak.

    interval, cpt_interval: 95%, from the bootstrap; an end at the fewest or most tokens in the data is open.
    highest: SFT tokens at which the whole fitted curve is highest within the data (the cliff can shift it off the
    peak).
    """

    sft_tokens: float | None
    interval: Interval | None
    cpt_fraction: float | None
    cpt_interval: Interval | None
    highest: float


@dataclass(frozen=True)
class Prediction:
    """Equation 2 at another budget (tokens); None where there is no peak or the budget is smaller than it."""

    budget: float
    cpt_fraction: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Allocation:
    """Equation 1 fitted to scores at one budget.

    fit: with the draws of the bootstrap, where there are any. points: the rows fitted (sft_tokens, cpt_fraction, score,
    n_items (NaN where not given), seed). rivals: Equation 1, a flat line and a quadratic in ln S on the same data, best
    AICc first: columns law, parameters, aicc, delta_aicc, loo (root mean squared error of each allocation, predicted
    from the others) and those of :func:`repro.laws.comparison.compare`.
    """

    budget: float
    fit: Fit
    optimum: Optimum
    flatness: Flatness
    predictions: tuple[Prediction, ...]
    rivals: pd.DataFrame = field(repr=False, compare=False)
    points: pd.DataFrame = field(repr=False, compare=False)
    warnings: tuple[str, ...]

    @property
    def params(self) -> dict[str, float]:
        """p_base, amplitude, mu, sigma, s_min, penalty."""
        return {name: self.fit.params[name] for name in NAMES}

    @property
    def method(self) -> str:
        """How the law was fitted and where the intervals come from, in words."""
        return self.fit.method

    def conf_int(self, alpha: float = ALPHA) -> pd.DataFrame:
        """Intervals of the parameters, columns lower and upper: see :meth:`repro.laws.Fit.conf_int`."""
        return self.fit.conf_int(alpha).loc[list(NAMES)]

    def curve(self, sft_tokens: ArrayLike | None = None, alpha: float = ALPHA) -> pd.DataFrame:
        """The fitted curve with its pointwise band: columns sft_tokens, cpt_fraction, score, lower, upper.

        By default at 200 points within the data, even in ln S.
        """
        ends = self.points["sft_tokens"].min(), self.points["sft_tokens"].max()
        at = np.geomspace(*ends, 200) if sft_tokens is None else np.atleast_1d(np.asarray(sft_tokens, dtype=float))
        band = self.fit.interval(at, alpha).rename(columns={"value": "score"})
        band.insert(0, "cpt_fraction", 1 - at / self.budget)
        band.insert(0, "sft_tokens", at)
        return band


def analyse_allocation(
    scores: pd.DataFrame,
    *,
    budget: float,
    bootstrap: int = 1000,
    seed: int = 0,
    predict: Iterable[float] = (),
) -> Allocation:
    """Section 3.3 on a frame of scores: Equation 1, its peak with an interval, and Equation 2 at other budgets.

    Args:
        scores: columns score and one of sft_tokens (tokens) and cpt_fraction (0 to 1); optional n_items (the score is a
            proportion of so many items, and has their binomial error) and seed (several runs at one allocation). Rows
            without SFT tokens have no ln S: they stay out of the law, and a warning gives their scores.
        budget: tokens of CPT and SFT together.
        bootstrap: how many refits give the intervals; 0 for none.
        seed: of everything random here.
        predict: other budgets, in tokens.

    Raises:
        ValueError: a wrong column or value, or fewer than six allocations with SFT tokens.

    """
    if bootstrap < 0:
        raise ValueError(f"bootstrap is {bootstrap}; it must be 0 or more")
    data = checked(scores, budget)
    if data.allocations < len(NAMES):
        few = f"{data.allocations} allocations with SFT tokens"
        raise ValueError(f"{few} cannot determine Equation 1, which has {len(NAMES)} parameters")
    law = allocation_law(data.tokens)
    fit = law.fit(data.tokens, data.values, data.weights())
    known = bool(fit.spare) or data.errors != "residuals"
    draws = draw(data, fit, bootstrap, seed) if bootstrap and known else None
    fit = replace(fit, draws=draws, method=_method(data, fit, bootstrap, known))
    best = optimum(data, fit)
    test = flatness(data, fit, seed)
    table = compare((law, FLAT, QUADRATIC), fit.x, fit.y, fit.weights, groups=fit.x, known=data.errors == "items")
    table = table.rename(columns={"held_out": "loo"})
    return Allocation(
        data.budget, fit, best, test, tuple(_prediction(float(n), best) for n in predict), table, data.rows,
        allocation_warnings(data, fit, best, test, table),
    )  # fmt: skip


def draw(data: Scores, fit: Fit, count: int, seed: int) -> pd.DataFrame:
    """Parameters of ``count`` refits to simulated scores: one row each, a column for each name."""
    noise = data.noise(fit, count, np.random.default_rng(seed))
    found = fit.law.fit_many(fit.x, fit.predict(fit.x) + noise, fit.weights)
    return pd.DataFrame({name: found[name] for name in NAMES})


def optimum(data: Scores, fit: Fit) -> Optimum:
    """The peak, with its percentile interval where the fit has draws.

    A draw without a peak could have it anywhere, so such draws count half at either end of the data.
    """
    fine = np.geomspace(data.tokens[0], data.tokens[-1], FINE)
    highest = float(fine[np.argmax(fit.predict(fine))])
    if not fit.params["amplitude"] > 0:
        return Optimum(None, None, None, None, highest)
    best = float(np.clip(np.exp(fit.params["mu"]), data.tokens[0], data.tokens[-1]))
    if fit.draws is None:
        return Optimum(best, None, 1 - best / data.budget, None, highest)
    peaks = np.exp(fit.draws.loc[fit.draws["amplitude"] > 0, "mu"].to_numpy(float))
    missing = len(fit.draws) - len(peaks)
    ends = np.repeat([data.tokens[0], data.tokens[-1]], [missing // 2, missing - missing // 2])
    low, high = map(float, np.quantile(np.concatenate([peaks, ends]), [ALPHA / 2, 1 - ALPHA / 2]))
    return Optimum(best, (low, high), 1 - best / data.budget, (1 - high / data.budget, 1 - low / data.budget), highest)


def _prediction(budget: float, best: Optimum) -> Prediction:
    value = None if best.sft_tokens is None else best_fraction(budget, best.sft_tokens)
    if value is None or best.interval is None:
        return Prediction(budget, value, None)
    low, high = best.interval
    return Prediction(budget, value, (max(0.0, (budget - high) / budget), (budget - low) / budget))


_ERRORS: Mapping[str, str] = {
    "runs": "the deviations of repeated runs from their allocation's mean, resampled",
    "items": "binomial errors of the n_items behind each score",
    "residuals": "Gaussian errors of the residual standard error",
}


def _method(data: Scores, fit: Fit, bootstrap: int, known: bool) -> str:
    weighted = "weighted by binomial variance at the pooled score" if data.items is not None else "unweighted"
    fitted = f"global least squares, {weighted}"
    if not known:
        return f"{fitted}; no intervals: six points leave no residuals to learn the noise from"
    if not bootstrap:
        return f"{fitted}; intervals of parameters by {fit.method}, none of the optimum without a bootstrap"
    return f"{fitted}; 95% percentile intervals of {bootstrap} refits to the fitted curve plus {_ERRORS[data.errors]}"
