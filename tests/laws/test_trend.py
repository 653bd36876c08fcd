"""The slope of scores in ln S: the paper's own table, level truths, and what pairing questions gives."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from repro.allocation import published
from repro.laws.allocation.peak import Trend, trend
from repro.laws.allocation.scores import checked

BUDGET = 30e9
TOKENS = np.geomspace(1e5, 1e7, 16)
LOGS = np.log(TOKENS)


def of(score: np.ndarray, answers: np.ndarray | None = None, **columns: object) -> Trend:
    return trend(checked(pd.DataFrame({"sft_tokens": TOKENS, "score": score, **columns}), BUDGET, answers))


@pytest.mark.parametrize("benchmark", list(published.BENCHMARKS))
def test_table_6_rises_with_sft_tokens_as_a_logistic_regression_finds(benchmark: str) -> None:
    rows = published.scores().query("benchmark == @benchmark").sort_values("sft_tokens")
    found = trend(checked(rows[["sft_tokens", "score", "n_items"]].reset_index(drop=True), BUDGET))
    right = rows["score"] * rows["n_items"]
    counts = np.column_stack([right, rows["n_items"] - right])
    design = sm.add_constant(np.log(rows["sft_tokens"].to_numpy(float)))
    sloped, level = (sm.GLM(counts, x, family=sm.families.Binomial()).fit() for x in (design, design[:, :1]))
    assert found.p_value == pytest.approx(stats.chi2.sf(2 * (sloped.llf - level.llf), 1), rel=0.06)
    assert found.slope > 0 and found.p_value < 0.05


def by_items(rng: np.random.Generator) -> Trend:
    return of(rng.binomial(400, 0.4, 16) / 400, n_items=400)


def by_residuals(rng: np.random.Generator) -> Trend:
    return of(0.4 + 0.02 * rng.standard_normal(16))


def by_answers(rng: np.random.Generator) -> Trend:
    hard = rng.normal(size=120)
    answers = (hard + rng.normal(size=(16, 120)) > 0).astype(float)
    return of(answers.mean(axis=1), answers)


@pytest.mark.ci
@pytest.mark.parametrize("drawn", [by_items, by_residuals, by_answers])
def test_level_truths_are_called_sloped_one_time_in_twenty(drawn: Callable[[np.random.Generator], Trend]) -> None:
    rng = np.random.default_rng(1)
    rejected = sum(drawn(rng).p_value < 0.05 for _ in range(400))
    assert 8 <= rejected <= 34  # 20 expected, within three standard errors


def test_how_hard_a_question_is_changes_nothing_where_answers_are_kept() -> None:
    rng = np.random.default_rng(2)
    answers = 0.002 * LOGS[:, None] + 0.05 * rng.standard_normal((16, 200))
    harder = answers + 3 * rng.standard_normal(200)
    one, other = (of(each.mean(axis=1), each) for each in (answers, harder))
    assert one.method == other.method == "t test of the slope over the same questions"
    assert (one.slope, one.p_value) == pytest.approx((other.slope, other.p_value))
    assert of(harder.mean(axis=1)).slope == pytest.approx(one.slope)


def test_a_slope_is_the_least_squares_one_per_unit_of_ln_s() -> None:
    found = of(0.3 + 0.01 * LOGS)
    assert found.slope == pytest.approx(0.01)
    assert found.p_value < 1e-6


def test_equal_scores_have_no_slope() -> None:
    found = of(np.full(16, 0.4))
    assert np.isnan(found.slope) and found.p_value == 1
