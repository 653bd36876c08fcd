"""Scores at several allocations of one budget, checked, and the size of their errors: see `Scores.errors`."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.multivariate import test_mvmean as hotelling
from statsmodels.stats.proportion import proportion_confint

from repro.laws.inference import LEVEL
from repro.laws.law import Fit
from repro.laws.solver import Array

ENOUGH = 5  # least degrees of freedom within allocations for noise estimated from repeated runs
ROUNDING = 1e-12  # scores that differ by no more than this share of the largest are equal
CLOSE = 1e-6  # a score and the mean of its answers may differ by this share of the largest answer
MOST_ITEMS = 1e9

Errors = Literal["runs", "answers", "items", "residuals"]


@dataclass(frozen=True)
class Scores:
    """Checked scores, by ascending SFT tokens, then by seed, so that the order they came in changes nothing.

    rows: sft_tokens (> 0), cpt_fraction, score, n_items (NaN where not given), seed. without: the rows with no SFT
    tokens, which have no ln S. copies: how many rows were dropped because all repeated runs are equal. answers: the
    score of each question at each of `rows`, (n, m), whose means are the scores; None where not given.
    """

    budget: float
    rows: pd.DataFrame = field(repr=False)
    without: pd.DataFrame = field(repr=False)
    copies: int = 0
    answers: Array | None = field(default=None, repr=False)

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
    def equal(self) -> bool:
        """Whether all scores are the same."""
        return alike(self.values)

    @property
    def within(self) -> int:
        """Degrees of freedom between repeated runs: for each allocation, its runs less one."""
        return len(self.values) - self.allocations

    @property
    def errors(self) -> Errors:
        """What tells the size of the errors: repeated runs, where there are enough of them (`ENOUGH`), else the answers
        to each question, else the number of items, else the residuals, where few repeated runs are merely more points.
        """
        if self.within >= ENOUGH and not self.equal:
            return "runs"
        if self.answers is not None:
            return "answers"
        return "residuals" if self.items is None else "items"

    def weights(self) -> Array | None:
        """Inverse variances (n,), None where they are unknown: of the answers, the same at every allocation; else
        binomial, at the pooled proportion (with half an item right and half wrong added, so that they are finite).
        """
        if self.answers is not None:
            # What a question adds at every allocation alike moves the whole curve and is left out.
            apart = self.answers - self.answers.mean(axis=0)
            variance = float(apart.var(axis=1, ddof=1).sum() / apart.shape[1] / (len(apart) - 1))
            return np.full(len(self.values), 1 / variance) if variance > 0 else None
        items = self.items
        if items is None:
            return None
        pooled = (float(self.values @ items) + 0.5) / (float(items.sum()) + 1)
        return np.asarray(items / (pooled * (1 - pooled)), dtype=float)

    def groups(self) -> list[Array]:
        """The scores of each allocation, by ascending SFT tokens."""
        return [part["score"].to_numpy(float) for _, part in self.rows.groupby("sft_tokens")]

    def excess(self, fit: Fit) -> float:
        """The variance of the residuals over the one that the items, or the runs, allow: 1 unless significantly more
        (chi-square against the items; F, a test of lack of fit, against the runs).
        """
        if self.errors == "residuals" or not fit.df_resid:
            return 1.0
        if self.errors in ("items", "answers"):
            ratio = fit.sse / fit.df_resid
            return ratio if stats.chi2.sf(ratio * fit.df_resid, fit.df_resid) < LEVEL else 1.0
        groups = self.groups()
        df_law = len(groups) - len(fit.params)
        if df_law < 1:
            return 1.0
        within = sum(float(np.sum((group - group.mean()) ** 2)) for group in groups)
        left = float(np.sum((self.values - fit.predict(self.tokens)) ** 2))
        ratio = max(left - within, 0.0) / df_law / (within / self.within)
        return ratio if stats.f.sf(ratio, df_law, self.within) < LEVEL else 1.0

    def noise(self, fit: Fit, draws: int, rng: np.random.Generator) -> Array:
        """Simulated errors about a fitted curve, (draws, n): Student's t where their spread is itself an estimate."""
        shape, excess, items = (draws, len(self.values)), self.excess(fit), self.items
        if self.errors == "runs":
            # From the mean of their allocation, scaled to the pooled variance within.
            apart = np.concatenate([group - group.mean() for group in self.groups() if len(group) > 1])
            errors = rng.choice(apart * np.sqrt(len(apart) / self.within), shape)
        elif self.answers is not None:
            # The questions are resampled alike at every allocation.
            questions = self.answers.shape[1]
            counts = rng.multinomial(questions, np.full(questions, 1 / questions), size=draws)
            errors = counts @ (self.answers - self.answers.mean(axis=1, keepdims=True)).T / questions
        elif items is not None:
            share = np.clip(fit.predict(self.tokens), 0, 1)
            whole = np.maximum(np.round(items), 1).astype(int)
            errors = rng.binomial(whole, share, shape) / whole - share
        else:
            errors = fit.rse * rng.standard_normal(shape)
        df = self._df(fit, excess)
        student = np.sqrt(df / rng.chisquare(df, (draws, 1))) if df else 1.0
        return np.asarray(np.sqrt(excess) * student * errors, dtype=float)

    def _df(self, fit: Fit, excess: float) -> int:
        """Degrees of freedom of the estimated spread; 0 where the items alone give it."""
        if self.errors == "runs":
            return self.allocations - len(fit.params) if excess > 1 else self.within
        return 0 if self.errors in ("items", "answers") and excess == 1 else fit.df_resid

    def described(self, fit: Fit) -> str:
        """The errors of :meth:`noise` in words."""
        excess = self.excess(fit)
        df = self._df(fit, excess)
        student = f", with Student's allowance for {df} degree{'s' if df > 1 else ''} of freedom" if df else ""
        what = {
            "runs": "the deviations of repeated runs from their allocation's mean, resampled",
            "answers": "the questions resampled, the same ones at every allocation",
            "items": "binomial errors of the n_items behind each score",
            "residuals": "Gaussian errors of the residual standard error",
        }[self.errors]
        widened = ", widened to the scatter about the law" if excess > 1 else ""
        runs = "run is" if self.within == 1 else "runs are"
        few = f" ({self.within} repeated {runs} too few to tell the noise)"
        return f"{what}{widened}{student}{few if 0 < self.within < ENOUGH else ''}"


def checked(scores: pd.DataFrame, budget: float, answers: ArrayLike | None = None) -> Scores:
    """The arguments of `analyse_allocation`, checked; ValueError names the column or row and what is allowed."""
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
        rows["n_items"] = _numbers(scores, "n_items", 1, MOST_ITEMS, f"from 1 to {MOST_ITEMS:g}")
        _numbers(scores, "score", 0, 1, "between 0 and 1, a proportion of n_items")
    rows["seed"] = scores.get("seed", 0)
    by_question = None if answers is None else _checked_answers(answers, rows["score"].to_numpy(float))
    repeated = rows.duplicated(["sft_tokens", "seed"])
    if repeated.any():
        hint = "each run needs a seed of its own" if "seed" in scores else "several runs need a column seed"
        raise ValueError(f"row {rows.index[repeated][0]} repeats an allocation; {hint}")
    # Seeds may be of any type; as text they can be sorted.
    by, text = ["sft_tokens", "seed", "score"], lambda column: column.astype(str) if column.name == "seed" else column
    rows = rows.reset_index(drop=True).sort_values(by, kind="stable", key=text)
    place, rows = rows.index.to_numpy(), rows.reset_index(drop=True)
    fitted = rows[rows["sft_tokens"] > 0]
    kept = fitted.drop_duplicates("sft_tokens") if _copies(fitted) else fitted
    without = rows[rows["sft_tokens"] <= 0].reset_index(drop=True)
    chosen = None if by_question is None else by_question[place[kept.index]]
    return Scores(float(budget), kept.reset_index(drop=True), without, len(fitted) - len(kept), chosen)


def equal_answers(answers: Array) -> tuple[float, float | tuple[float, float], float, str]:
    """A test of "the score is the same at every allocation" that pairs questions: statistic, df, p value, method.

    Cochran's Q where every answer is right or wrong, else Hotelling's T squared of the differences from the first
    allocation, as an F statistic, or a paired t test of two; NaN where there are fewer questions than that needs, or
    differences that others determine.
    """
    allocations, questions = answers.shape
    if np.isin(answers, (0.0, 1.0)).all():
        test = cochrans_q(answers.T)
        return float(test.statistic), float(test.df), float(test.pvalue), "Cochran's Q test over the same questions"
    method = "Hotelling's T squared over the same questions"
    if allocations == 2:
        pair = stats.ttest_rel(answers[1], answers[0])
        return float(pair.statistic), float(pair.df), float(pair.pvalue), "paired t test over the same questions"
    differences = (answers[1:] - answers[0]).T
    df = float(allocations - 1), float(questions - allocations + 1)
    if np.linalg.matrix_rank(differences - differences.mean(axis=0)) < allocations - 1 or df[1] < 1:
        return float("nan"), df, float("nan"), method
    test = hotelling(differences)
    return float(test.statistic), df, float(test.pvalue), method


def alike(values: ArrayLike) -> bool:
    """Whether numbers differ by rounding errors at most."""
    numbers = np.asarray(values, dtype=float)
    return bool(np.ptp(numbers) <= ROUNDING * np.max(np.abs(numbers)))


def with_errors(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores (columns score, n_items) with the ends of their 95% binomial intervals (Wilson), low and high."""
    low, high = proportion_confint(scores["score"] * scores["n_items"], scores["n_items"], method="wilson")
    return scores.assign(low=np.asarray(low, dtype=float), high=np.asarray(high, dtype=float))


def _checked_answers(answers: ArrayLike, scores: Array) -> Array:
    """Answers as numbers, shape (n, m): the score of question j at score i, whose mean over questions is the score."""
    numbers = np.asarray(answers, dtype=float)
    if numbers.ndim != 2 or len(numbers) != len(scores) or numbers.shape[1] < 2:
        shape = " x ".join(map(str, numbers.shape))
        raise ValueError(f"answers must be a row for each of {len(scores)} scores, of 2 questions or more, not {shape}")
    if not np.isfinite(numbers).all():
        raise ValueError("answers must be finite: leave out questions that were not asked everywhere")
    if np.max(np.abs(numbers.mean(axis=1) - scores)) > CLOSE * np.max(np.abs(numbers)):
        raise ValueError("each score must be the mean of its answers")
    return numbers


def _copies(rows: pd.DataFrame) -> bool:
    """Whether there are repeated runs, all equal to the others at their allocation, which say nothing of the noise."""
    repeated = [part["score"] for _, part in rows.groupby("sft_tokens") if len(part) > 1]
    return bool(repeated) and all(alike(part) for part in repeated)


def _columns(scores: pd.DataFrame) -> None:
    if "score" not in scores:
        raise ValueError("no column score")
    if ("sft_tokens" in scores) == ("cpt_fraction" in scores):
        number = "both" if "sft_tokens" in scores else "neither"
        raise ValueError(f"one of the columns sft_tokens and cpt_fraction is needed, not {number}")


def _numbers(scores: pd.DataFrame, name: str, low: float, high: float, allowed: str) -> pd.Series:
    numbers = pd.to_numeric(scores[name], errors="coerce").astype(float)
    wrong = ~(np.isfinite(numbers) & (numbers >= low) & (numbers <= high))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(f"row {scores.index[first]}: {name} is {scores[name].iloc[first]}; it must be {allowed}")
    return numbers
