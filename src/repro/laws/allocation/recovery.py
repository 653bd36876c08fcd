"""Does the interval of the best SFT count hold the truth as often as it says? Simulated studies with a known peak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from repro.laws.allocation.law import NAMES, allocation_law
from repro.laws.allocation.optimum import optimum
from repro.laws.allocation.scores import Scores, checked
from repro.laws.results import Fit
from repro.laws.separable import Law

ALLOCATIONS = 16
BUDGET = 30e9
TOKENS = (1e5, 1e7)
TOGETHER = 2000  # refits solved in one call


class Simulated(NamedTuple):
    """Scores as :func:`repro.laws.allocation.analyse_allocation` takes them, and the parameters behind them."""

    scores: pd.DataFrame
    truth: Mapping[str, float]


def simulate_scores(rng: np.random.Generator) -> Simulated:
    """One study of 16 allocations, even in ln S over two decades, with a clear peak and binomial noise.

    Truths are drawn anew each time: a baseline of 0.3 to 0.5, a peak 5 to 15 points high, well inside (from 20% to 80%
    of the range of ln S) and 10% to 30% of it wide, a cliff that costs up to 10 points at the fewest tokens; 1,000 to
    4,000 items, so standard errors of 0.8 to 1.6 points.
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

    Returns:
        One row for each set: truth, estimate, lower, upper (SFT tokens; the last three NaN where no peak was found) and
        covered. The mean of covered should be near 0.95; the median of upper / lower says how much the intervals tell.

    Raises:
        ValueError: if sets or draws is below 1.

    """
    if sets < 1 or draws < 1:
        raise ValueError(f"a coverage study needs at least one set and one draw, not {sets} and {draws}")
    rng = np.random.default_rng(seed)
    size = max(1, TOGETHER // draws)
    rows: list[dict[str, float | bool]] = []
    for start in range(0, sets, size):
        simulated = [simulate_scores(rng) for _ in range(min(size, sets - start))]
        for one, (data, fit) in zip(simulated, _fitted(simulated, draws, rng), strict=True):
            rows.append(_row(float(np.exp(one.truth["mu"])), data, fit))
    return pd.DataFrame(rows)


def _fitted(simulated: list[Simulated], draws: int, rng: np.random.Generator) -> list[tuple[Scores, Fit]]:
    """Each set with its fit and draws; the refits of all sets in one call, as all share S and have equal weights."""
    data = [checked(one.scores, BUDGET) for one in simulated]
    law = allocation_law(data[0].tokens)
    first = law.fit_many(data[0].tokens, np.stack([one.values for one in data]))
    fits = [_fit(law, one, {name: float(first[name][k]) for name in NAMES}) for k, one in enumerate(data)]
    noisy = [fit.predict(fit.x) + one.noise(fit, draws, rng) for one, fit in zip(data, fits, strict=True)]
    found = law.fit_many(data[0].tokens, np.concatenate(noisy))
    each = {name: np.split(found[name], len(data)) for name in NAMES}
    tables = [pd.DataFrame({name: each[name][k] for name in NAMES}) for k in range(len(data))]
    return [(one, replace(fit, draws=table)) for one, fit, table in zip(data, fits, tables, strict=True)]


def _fit(law: Law, data: Scores, params: Mapping[str, float]) -> Fit:
    weights = data.weights()
    return Fit.of(law, params, data.tokens, data.values, np.ones(len(data.values)) if weights is None else weights)


def _row(truth: float, data: Scores, fit: Fit) -> dict[str, float | bool]:
    best = optimum(data, fit)
    if best.sft_tokens is None or best.interval is None:
        return {"truth": truth, "estimate": np.nan, "lower": np.nan, "upper": np.nan, "covered": False}
    low, high = best.interval
    return {
        "truth": truth, "estimate": best.sft_tokens, "lower": low, "upper": high, "covered": low <= truth <= high,
    }  # fmt: skip
