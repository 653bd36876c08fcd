"""Scores question by question: what pairs them narrows the peak's interval, and wrong answers are refused."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, ttest_rel
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.multivariate import test_mvmean as hotelling

from repro.laws.allocation import Allocation, analyse_allocation
from repro.laws.allocation.law import allocation_law, draw
from repro.laws.allocation.peak import optimum
from repro.laws.allocation.scores import checked, equal_answers
from repro.laws.law import Fit

BUDGET, PEAK, QUESTIONS = 1e5, 2048.0, 300


def tokens(count: int) -> np.ndarray:
    return np.geomspace(256, 16_384, count)


def truth(count: int) -> np.ndarray:
    return 0.4 + 0.3 * np.exp(-((np.log(tokens(count) / PEAK) / 0.9) ** 2) / 2)


def right_or_wrong(seed: int = 0, count: int = 6) -> np.ndarray:
    """Answers that are right as often as the truth says; how hard a question is, is the same at every allocation."""
    rng = np.random.default_rng(seed)
    hard = 1.5
    level = norm.ppf(truth(count)) * np.sqrt(1 + hard**2)
    own = rng.normal(size=(count, QUESTIONS))
    return (level[:, None] + hard * rng.normal(size=QUESTIONS) + own > 0).astype(float)


def likely(seed: int = 0, noise: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return truth(6)[:, None] + rng.normal(size=QUESTIONS) + noise * rng.normal(size=(6, QUESTIONS))


def frame(answers: np.ndarray, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"sft_tokens": tokens(len(answers)), "score": answers.mean(axis=1)} | columns)


def analyse(by_question: np.ndarray, rows: pd.DataFrame | None = None, **options: Any) -> Allocation:
    settings: dict[str, Any] = {"budget": BUDGET, "bootstrap": 40, "answers": by_question} | options
    return analyse_allocation(frame(by_question) if rows is None else rows, **settings)


@cache
def usual() -> Allocation:
    """What `likely()` gives: much is compared with it."""
    return analyse(likely())


def width(found: Allocation) -> float:
    assert found.optimum.interval is not None
    low, high = found.optimum.interval
    return float(np.log(high / low))


def test_the_interval_is_narrower_than_the_binomial_one_where_difficulty_is_shared() -> None:
    answers = right_or_wrong()
    paired = analyse(answers)
    binomial = analyse(answers, frame(answers, n_items=QUESTIONS), answers=None)
    assert paired.optimum.sft_tokens == pytest.approx(binomial.optimum.sft_tokens, rel=1e-3)
    assert width(paired) < 0.85 * width(binomial)
    assert "the questions resampled, the same ones at every allocation" in paired.method


@pytest.mark.ci
def test_the_interval_covers_the_peak_as_often_as_it_says() -> None:
    """`analyse_allocation`'s own steps, with the refits of all data sets done at once."""
    sets, draws, at = 40, 50, tokens(7)
    law = allocation_law(at)
    answers = [right_or_wrong(seed, 7) for seed in range(sets)]
    data = [checked(frame(one), BUDGET, one) for one in answers]
    first = law.fit_many(at, np.stack([one.values for one in data]))
    params = [{name: float(values[n]) for name, values in first.items()} for n in range(sets)]
    fits = [Fit.of(law, one, at, each.values, each.weights()) for one, each in zip(params, data, strict=True)]
    noise = [one.noise(fit, draws, np.random.default_rng(0)) for one, fit in zip(data, fits, strict=True)]
    simulated = np.concatenate([fit.predict(at) + part for fit, part in zip(fits, noise, strict=True)])
    again = pd.DataFrame(law.fit_many(at, simulated))
    parts = [again[draws * n : draws * (n + 1)] for n in range(sets)]
    found = [optimum(one, replace(fit, draws=part)) for one, fit, part in zip(data, fits, parts, strict=True)]
    ends = np.array([one.interval for one in found])
    assert ends[0] == pytest.approx(analyse(answers[0], bootstrap=draws).optimum.interval, rel=1e-5)
    covered = (ends[:, 0] <= PEAK) & (ends[:, 1] >= PEAK)
    assert covered.sum() >= 33, "37 are expected of 95% intervals from 50 draws; half the width would cover some 26"
    assert np.median(np.log(ends[:, 1] / ends[:, 0])) < 0.5, "and the intervals say something"


def test_the_order_of_the_rows_and_of_the_questions_does_not_matter() -> None:
    answers, given = likely(), usual()
    rows = np.random.default_rng(1).permutation(6)
    others = np.random.default_rng(2).permutation(QUESTIONS)
    turned = analyse(answers[rows], frame(answers).iloc[rows])
    assert turned.optimum == given.optimum
    assert turned.flatness == given.flatness
    mixed = analyse(answers[:, others])
    assert mixed.flatness.p_value == pytest.approx(given.flatness.p_value)
    assert mixed.optimum.sft_tokens == pytest.approx(given.optimum.sft_tokens)
    assert width(mixed) == pytest.approx(width(given), rel=0.4), "other draws of the same questions"


def test_rows_are_told_apart_by_their_place_and_not_by_their_label() -> None:
    """Frames put together from parts have labels that repeat."""
    answers = likely()
    rows = frame(answers)
    repeated = pd.concat([rows.head(3), rows.tail(3).reset_index(drop=True)])
    assert analyse(answers, repeated).optimum == usual().optimum


def test_right_and_wrong_answers_have_cochran_s_q() -> None:
    answers = right_or_wrong()
    test = analyse(answers, bootstrap=0).flatness
    theirs = cochrans_q(answers.T)
    assert (test.statistic, test.df, test.p_value) == (theirs.statistic, theirs.df, theirs.pvalue)
    assert "Cochran" in test.method
    apart = analyse(answers, frame(answers, n_items=QUESTIONS), bootstrap=0, answers=None).flatness
    assert test.statistic > apart.statistic, "pairing sees more than the test of unpaired proportions"


def test_other_answers_have_hotelling_s_test() -> None:
    answers = likely(noise=2.0)
    test = analyse(answers, bootstrap=0).flatness
    theirs = hotelling((answers[:-1] - answers[-1]).T)  # whichever is the reference, it is the same test
    assert (test.statistic, test.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert test.df == tuple(theirs.df) == (5.0, QUESTIONS - 5.0)
    assert "Hotelling" in test.method
    flat = answers - truth(6)[:, None]
    assert analyse(flat, bootstrap=0).flatness.p_value > test.p_value
    assert not analyse(answers[:, :5], bootstrap=0).flatness.p_value <= 1, "5 questions are too few for 6 scores"


def test_two_rows_of_answers_are_tested_as_a_pair() -> None:
    one, other = likely(noise=2.0)[:2]
    statistic, df, p_value, method = equal_answers(np.stack([one, other]))
    theirs = ttest_rel(other, one)
    assert (statistic, p_value, df) == pytest.approx((theirs.statistic, theirs.pvalue, QUESTIONS - 1))
    assert method == "paired t test over the same questions"


@pytest.mark.parametrize("answers", [np.tile(right_or_wrong()[0], (6, 1)), np.tile(likely()[0], (6, 1))])
def test_equal_answers_have_no_peak_and_nothing_to_test(answers: np.ndarray) -> None:
    found = analyse(answers)
    assert (found.flatness.p_value, found.flatness.method) == (1.0, "no test: all scores are equal")
    assert found.optimum.sft_tokens is found.optimum.interval is None
    assert found.equal


def test_questions_that_all_allocations_find_equally_hard_leave_the_curve_as_it_is() -> None:
    """What a question adds everywhere moves the whole curve, and so neither peak nor test."""
    answers = likely()
    harder = answers + 3 * np.random.default_rng(5).normal(size=QUESTIONS)
    one, other = usual(), analyse(harder)
    assert other.optimum.sft_tokens == pytest.approx(one.optimum.sft_tokens, rel=1e-4)
    assert width(other) == pytest.approx(width(one), rel=1e-3)
    assert other.flatness.p_value == pytest.approx(one.flatness.p_value)


def test_the_number_of_items_beside_the_answers_changes_nothing() -> None:
    """All scores are of equally many questions, and the errors come from the answers."""
    answers, at = right_or_wrong(count=7), tokens(7)
    law, found, weights = allocation_law(at), [], []
    for rows in (frame(answers), frame(answers, n_items=QUESTIONS)):
        data = checked(rows, BUDGET, answers)
        weights.append(data.weights())
        found.append(draw(data, law.fit(at, data.values, data.weights()), 20, 0))
    assert found[1]["mu"].to_numpy() == pytest.approx(found[0]["mu"].to_numpy(), rel=1e-3)
    assert weights[1] == pytest.approx(weights[0]), "or scatter about the law is judged by errors that are not its own"


def test_without_sft_tokens_a_row_and_its_answers_stay_out() -> None:
    answers = likely()
    nothing = pd.concat([pd.DataFrame({"sft_tokens": [0.0], "score": [-9.0]}), frame(answers)], ignore_index=True)
    more = np.concatenate([np.full((1, QUESTIONS), -9.0), answers])
    found = analyse(more, nothing)
    assert found.optimum == usual().optimum
    assert found.flatness == usual().flatness


def test_a_few_repeated_runs_are_further_scores_and_enough_of_them_tell_the_noise() -> None:
    answers = [likely(seed=4) + np.random.default_rng(seed).normal(0, 0.3, QUESTIONS) for seed in (0, 1)]
    rows = [frame(one, seed=seed) for seed, one in enumerate(answers)]
    few = analyse(
        np.concatenate([answers[0], answers[1][:2]]), pd.concat([rows[0], rows[1].head(2)], ignore_index=True)
    )
    assert "the questions resampled" in few.method and "too few to tell the noise" in few.method
    assert "Hotelling" in few.flatness.method
    both = np.concatenate(answers)
    many = analyse(both, pd.concat(rows, ignore_index=True))
    assert "the deviations of repeated runs" in many.method
    assert many.flatness.method == "one-way analysis of variance between runs"
    with pytest.raises(ValueError, match=r"^row 6 repeats an allocation; each run needs a seed of its own$"):
        analyse(both, pd.concat([rows[0], rows[0].assign(score=rows[1]["score"])], ignore_index=True))


def test_runs_that_repeat_one_another_count_once() -> None:
    answers = likely()
    rows = [frame(answers, seed=seed) for seed in (0, 1)]
    twice = analyse(np.concatenate([answers, answers]), pd.concat(rows, ignore_index=True))
    assert twice.optimum == usual().optimum
    assert twice.flatness == usual().flatness


ANSWERS = right_or_wrong()
ROWS = "answers must be a row for each of 6 scores, of 2 questions or more, not "
GAP = np.where(np.arange(QUESTIONS) == 3, np.nan, ANSWERS)
WRONG: dict[str, tuple[Any, str]] = {
    "a row too few": (ANSWERS[:-1], ROWS + "5 x 300$"),
    "not a table": (ANSWERS[0], ROWS + "300$"),
    "three axes": (ANSWERS[None], ROWS + "1 x 6 x 300$"),
    "one question": (ANSWERS[:, :1], ROWS + "6 x 1$"),
    "turned": (ANSWERS.T, ROWS + "300 x 6$"),
    "a gap": (GAP, "answers must be finite: leave out questions that were not asked everywhere$"),
    "infinite": (np.where(GAP == GAP, ANSWERS, np.inf), "answers must be finite"),
    "other means": (ANSWERS[::-1], "each score must be the mean of its answers$"),
    "nearly": (ANSWERS + 1e-4, "each score must be the mean of its answers$"),
    "ragged": ([[0, 1], [1]] + [[1, 0]] * 4, "."),
    "text": ([["x", "y"]] * 6, "."),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_answers_are_refused_in_one_line(wrong: str) -> None:
    answers, says = WRONG[wrong]
    with pytest.raises(ValueError, match=f"^{says}") as found:
        analyse(answers, frame(ANSWERS), bootstrap=0)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("score", ["x", None, np.inf])
def test_a_wrong_score_is_named_as_it_is_without_answers(score: Any) -> None:
    rows = frame(ANSWERS).astype({"score": object})
    rows.loc[2, "score"] = score
    for answers in (None, ANSWERS):
        with pytest.raises(ValueError, match=r"^row 2: score is .*; it must be a number$"):
            analyse(ANSWERS, rows, answers=answers, bootstrap=0)
