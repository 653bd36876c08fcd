"""Scores at several allocations of one budget, checked; and what their errors are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from repro.laws.projection import Array
from repro.laws.results import Fit

LEVEL = 0.05

Errors = Literal["runs", "items", "residuals"]


@dataclass(frozen=True)
class Scores:
    """Checked scores, by ascending SFT tokens.

    rows: sft_tokens (> 0), cpt_fraction, score, n_items (NaN where not given), seed. without: the rows with no SFT
    tokens, which have no ln S.
    """

    budget: float
    rows: pd.DataFrame = field(repr=False)
    without: pd.DataFrame = field(repr=False)

    @property
    def tokens(self) -> Array:
        """SFT tokens S of each row, (n,)."""
        return self.rows["sft_tokens"].to_numpy(float)

    @property
    def values(self) -> Array:
        """The scores, (n,)."""
        return self.rows["score"].to_numpy(float)

    @property
    def items(self) -> Array | None:
        """Items behind each score, (n,), where scores are proportions of them."""
        return None if self.rows["n_items"].isna().any() else self.rows["n_items"].to_numpy(float)

    @property
    def allocations(self) -> int:
        """How many different allocations there are."""
        return int(self.rows["sft_tokens"].nunique())

    @property
    def errors(self) -> Errors:
        """What is known of the errors: the spread of repeated runs, else the number of items, else only residuals."""
        if float(np.sum(self._within() ** 2)) > 0:
            return "runs"
        return "residuals" if self.items is None else "items"

    def weights(self) -> Array | None:
        """Inverse binomial variances (n,), at the pooled proportion (with half an item right and half wrong added, so
        that they are finite); None without items.
        """
        items = self.items
        if items is None:
            return None
        pooled = (float(self.values @ items) + 0.5) / (float(items.sum()) + 1)
        return np.asarray(items / (pooled * (1 - pooled)), dtype=float)

    def groups(self) -> list[Array]:
        """The scores of each allocation, by ascending SFT tokens."""
        return [part["score"].to_numpy(float) for _, part in self.rows.groupby("sft_tokens")]

    def _within(self) -> Array:
        """Deviations of repeated runs from the mean of their allocation, scaled up for the mean being theirs."""
        repeated = [group for group in self.groups() if len(group) > 1]
        parts = [(group - group.mean()) * np.sqrt(len(group) / (len(group) - 1)) for group in repeated]
        return np.concatenate(parts) if parts else np.zeros(0)

    def excess(self, fit: Fit) -> float:
        """How many times the variance of the residuals is what the items, or the runs, allow: 1 unless significant."""
        if self.errors == "residuals" or not fit.spare:
            return 1.0
        if self.errors == "items":
            ratio = fit.sse / fit.spare
            return ratio if stats.chi2.sf(fit.sse, fit.spare) < LEVEL else 1.0
        groups = self.groups()
        spare_runs, spare_law = len(self.values) - len(groups), len(groups) - len(fit.params)
        if spare_law < 1:
            return 1.0
        within = sum(float(np.sum((group - group.mean()) ** 2)) for group in groups)
        left = float(np.sum((self.values - fit.predict(self.tokens)) ** 2))
        ratio = max(left - within, 0.0) / spare_law / (within / spare_runs)
        return ratio if stats.f.sf(ratio, spare_law, spare_runs) < LEVEL else 1.0

    def noise(self, fit: Fit, draws: int, rng: np.random.Generator) -> Array:
        """Simulated errors about a fitted curve, (draws, n)."""
        shape = (draws, len(self.values))
        spread = np.sqrt(self.excess(fit))
        if self.errors == "runs":
            return np.asarray(spread * rng.choice(self._within(), shape), dtype=float)
        items = self.items
        if items is not None:
            share = np.clip(fit.predict(self.tokens), 0, 1)
            whole = np.maximum(np.round(items), 1).astype(int)
            return np.asarray(spread * (rng.binomial(whole, share, shape) / whole - share), dtype=float)
        return np.asarray(fit.rse * rng.standard_normal(shape), dtype=float)


def checked(scores: pd.DataFrame, budget: float) -> Scores:
    """The frame of :func:`repro.laws.allocation.analyse_allocation`, checked.

    Raises:
        ValueError: naming the column, or the row (as the frame's index has it), and what is allowed.

    """
    if not (np.isfinite(budget) and budget > 0):
        raise ValueError(f"the budget is {budget}; it must be a positive number of tokens")
    _columns(scores)
    rows = pd.DataFrame({"score": _numbers(scores, "score", -np.inf, np.inf, "a number")})
    if "sft_tokens" in scores:
        rows["sft_tokens"] = _numbers(scores, "sft_tokens", 0, budget, f"between 0 and the budget, {budget:g}")
        rows["cpt_fraction"] = 1 - rows["sft_tokens"] / budget
    else:
        rows["cpt_fraction"] = _numbers(scores, "cpt_fraction", 0, 1, "between 0 and 1")
        rows["sft_tokens"] = budget * (1 - rows["cpt_fraction"])
    rows["n_items"] = np.nan
    if "n_items" in scores:
        rows["n_items"] = _numbers(scores, "n_items", 1, np.inf, "1 or more")
        _numbers(scores, "score", 0, 1, "between 0 and 1, a proportion of n_items")
    rows["seed"] = scores.get("seed", 0)
    repeated = rows.duplicated(["sft_tokens", "seed"])
    if repeated.any():
        hint = "each run needs a seed of its own" if "seed" in scores else "several runs need a column seed"
        raise ValueError(f"row {rows.index[repeated][0]} repeats an allocation; {hint}")
    rows = rows.sort_values(["sft_tokens", "cpt_fraction"], kind="stable")
    some = rows["sft_tokens"] > 0
    return Scores(float(budget), rows[some].reset_index(drop=True), rows[~some].reset_index(drop=True))


def _columns(scores: pd.DataFrame) -> None:
    if "score" not in scores:
        raise ValueError("no column score")
    if ("sft_tokens" in scores) == ("cpt_fraction" in scores):
        found = "both" if "sft_tokens" in scores else "neither"
        raise ValueError(f"one of the columns sft_tokens and cpt_fraction is needed, not {found}")


def _numbers(scores: pd.DataFrame, name: str, low: float, high: float, allowed: str) -> pd.Series:
    numbers = pd.to_numeric(scores[name], errors="coerce").astype(float)
    wrong = ~(np.isfinite(numbers) & (numbers >= low) & (numbers <= high))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(f"row {scores.index[first]}: {name} is {scores[name].iloc[first]}; it must be {allowed}")
    return numbers
