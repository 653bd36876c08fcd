"""The best allocation that a fitted Equation 1 gives, its interval, and Equation 2 for other budgets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repro.laws.allocation.scores import Scores
from repro.laws.inference import LEVEL
from repro.laws.law import Fit
from repro.laws.solver import Array

EDGE = 1e-3  # share of the range of ln S that counts as its edge
FINE = 2000  # places at which the highest point of the curve is looked for

Interval = tuple[float, float]


def best_fraction(budget: float, sft_tokens: float) -> float | None:
    """Equation 2: the best CPT share of ``budget`` tokens if the best number of SFT tokens does not depend on it. None
    where the budget is smaller than those SFT tokens. Raises ValueError if it is not a positive number.
    """
    if not (np.isfinite(budget) and budget > 0):
        raise ValueError(f"a budget is {budget}; it must be a positive number of tokens")
    return (budget - sft_tokens) / budget if sft_tokens <= budget else None


@dataclass(frozen=True)
class Optimum:
    """The peak exp(mu) in SFT tokens, and as a CPT fraction of the budget; None where Equation 1 has no peak.

    interval, cpt_interval: 95%, from the bootstrap; an end at the fewest or most tokens in the data is open. highest:
    SFT tokens at which the fitted curve is highest within the data (the cliff can shift it off the peak).
    """

    sft_tokens: float | None
    interval: Interval | None
    cpt_fraction: float | None
    cpt_interval: Interval | None
    highest: float

    def open_sides(self, tokens: Array) -> list[str]:
        """On which sides, "below" or "above", the peak or its interval reaches the end of ascending tokens (n,)."""
        if self.sft_tokens is None:
            return ["below", "above"]
        first, last = np.log(tokens[[0, -1]])
        margin = EDGE * (last - first)
        low, high = np.log(self.interval or (self.sft_tokens, self.sft_tokens))
        low, high = min(low, np.log(self.sft_tokens)), max(high, np.log(self.sft_tokens))
        return [name for name, near in (("below", low <= first + margin), ("above", high >= last - margin)) if near]


@dataclass(frozen=True)
class Prediction:
    """Equation 2 at another budget (tokens); None where there is no peak or the budget is smaller than it."""

    budget: float
    cpt_fraction: float | None
    interval: Interval | None


def optimum(data: Scores, fit: Fit) -> Optimum:
    """The peak, with its percentile interval where the fit has draws. A draw without a peak could have it anywhere, so
    such draws count half at either end of the data.
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
    low, high = map(float, np.quantile(np.concatenate([peaks, ends]), [LEVEL / 2, 1 - LEVEL / 2]))
    return Optimum(best, (low, high), 1 - best / data.budget, (1 - high / data.budget, 1 - low / data.budget), highest)


def prediction(budget: float, best: Optimum) -> Prediction:
    """Equation 2 at ``budget`` tokens for this peak."""
    value = None if best.sft_tokens is None else best_fraction(budget, best.sft_tokens)
    if value is None or best.interval is None:
        return Prediction(budget, value, None)
    low, high = best.interval
    return Prediction(budget, value, (max(0.0, (budget - high) / budget), (budget - low) / budget))
