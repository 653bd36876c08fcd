"""Equation 1 of paper B: the peak, its interval, whether there is one at all, and what a reader must be told."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from repro.allocation import published
from repro.laws.allocation import NAMES, Allocation, allocation_law, analyse_allocation, best_fraction
from repro.laws.allocation.scores import checked
from repro.trust.peaks import claims, shown
from repro.trust.recovery import allocation_coverage

BUDGET = 30e9
TOKENS = np.geomspace(1e5, 1e7, 16)
TRUTH = {"p_base": 0.4, "amplitude": 0.1, "mu": np.log(1.2e6), "sigma": 0.7, "s_min": 4e4, "penalty": 2000.0}


def frame(score: Any, tokens: Any = TOKENS, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"sft_tokens": tokens, "score": score, **columns})


def many(score: Any, tokens: Any = TOKENS) -> pd.DataFrame:
    """Scores of many items: their flatness needs no simulation."""
    return frame(score, tokens, n_items=10_000)


def clean(**changes: float) -> np.ndarray:
    return allocation_law(TOKENS).evaluate(TRUTH | changes, TOKENS)


def analyse(scores: pd.DataFrame, bootstrap: int = 0, **options: Any) -> Allocation:
    return analyse_allocation(scores, budget=BUDGET, bootstrap=bootstrap, **options)


def told(found: Allocation, text: str) -> bool:
    return any(text in warning for warning in found.warnings)


@pytest.fixture(scope="module")
def noisy() -> Allocation:
    score = np.random.default_rng(3).binomial(2000, clean()) / 2000
    return analyse(frame(score, n_items=2000), bootstrap=200, predict=(25e9, 35e9, 1e6))


@pytest.fixture(scope="module")
def table6() -> dict[str, Allocation]:
    rows = published.scores().drop(columns="sft_tokens").groupby("benchmark", sort=False)
    return {str(name): analyse(part.drop(columns="benchmark")) for name, part in rows}


@pytest.mark.usefixtures("without_held_out")
def test_clean_scores_give_their_parameters_back() -> None:
    found = analyse(many(clean()))
    assert list(found.params) == list(NAMES)
    for name, value in TRUTH.items():
        assert found.params[name] == pytest.approx(value, rel=1e-4), name
    assert found.optimum.sft_tokens == pytest.approx(1.2e6, rel=1e-5)
    assert found.optimum.cpt_fraction == pytest.approx(1 - 1.2e6 / BUDGET, abs=1e-9)


@pytest.mark.usefixtures("without_held_out")
def test_other_units_of_tokens_change_only_what_is_counted_in_tokens() -> None:
    score = clean() + np.random.default_rng(0).normal(0, 0.005, TOKENS.size)
    tokens = analyse(many(score))
    millions = analyse_allocation(many(score, TOKENS / 1e6), budget=BUDGET / 1e6, bootstrap=0)
    for name in ("p_base", "amplitude", "sigma"):
        assert millions.params[name] == pytest.approx(tokens.params[name], rel=1e-5)
    for name in ("s_min", "penalty"):
        assert millions.params[name] * 1e6 == pytest.approx(tokens.params[name], rel=1e-4)
    assert millions.params["mu"] + np.log(1e6) == pytest.approx(tokens.params["mu"], abs=1e-6)


@pytest.mark.usefixtures("without_held_out")
def test_a_fraction_column_says_the_same_as_tokens() -> None:
    by_tokens = analyse(many(clean()))
    by_fraction = analyse(pd.DataFrame({"cpt_fraction": 1 - TOKENS / BUDGET, "score": clean(), "n_items": 10_000}))
    assert by_fraction.optimum.sft_tokens == pytest.approx(by_tokens.optimum.sft_tokens, rel=1e-5)


def test_a_valley_has_no_peak_and_no_invented_optimum() -> None:
    found = analyse(many(0.5 - 0.1 * np.exp(-((np.log(TOKENS) - 13.8) ** 2))), bootstrap=20, predict=(25e9,))
    assert found.params["penalty"] >= 0
    if found.params["amplitude"] == 0:
        assert found.optimum.sft_tokens is None
        assert found.predictions[0].cpt_fraction is None
        assert told(found, "no peak")
    else:
        assert told(found, "edge of the data")


@pytest.mark.parametrize("columns", [{}, {"n_items": 100}])
@pytest.mark.parametrize("level", [0.0, 0.5, 0.7, 0.9, 1.0])
def test_equal_scores_have_no_peak_and_are_flat(level: float, columns: dict[str, int]) -> None:
    found = analyse(frame(level, **columns), bootstrap=20, predict=(25e9,))
    assert found.params["amplitude"] == found.params["penalty"] == 0 and found.params["p_base"] == level
    assert found.optimum.sft_tokens is None and found.optimum.interval is None
    assert found.optimum.cpt_fraction is None and found.predictions[0].cpt_fraction is None
    assert (found.flatness.statistic, found.flatness.p_value) == (0, 1)
    assert [text.split(":")[0] for text in found.warnings] == ["all scores are equal"]
    assert found.alternatives["law"].iloc[0] == "flat line" and np.isnan(found.r2)
    assert found.conf_int().isna().all(axis=None) and found.curve()["lower"].isna().all()


def test_scores_of_nought_are_weighted_and_tested() -> None:
    found = analyse(frame(0.0, n_items=100), bootstrap=20)
    assert found.flatness.p_value == 1.0
    assert np.isfinite(found.fit.weights).all()


@pytest.mark.usefixtures("without_held_out")
def test_scores_without_sft_tokens_are_told_and_left_out() -> None:
    whole = analyse(many([0.123, *clean()], [0.0, *TOKENS]))
    assert whole.params == analyse(many(clean())).params
    assert told(whole, "no SFT tokens: score 0.123")
    assert whole.points["sft_tokens"].min() > 0


@pytest.mark.usefixtures("without_held_out")
def test_items_weight_the_scores_by_their_binomial_variance() -> None:
    items = np.where(np.arange(16) < 8, 100, 900)
    found = analyse(frame(clean().round(2), n_items=items))
    pooled = float(np.average(clean().round(2), weights=items))
    assert found.fit.weights == pytest.approx(items / (pooled * (1 - pooled)), rel=1e-2)
    assert "weighted by binomial variance" in found.method


def test_the_interval_holds_the_truth_and_the_band_holds_the_curve(noisy: Allocation) -> None:
    best = noisy.optimum
    assert best.interval is not None and best.sft_tokens is not None and best.cpt_interval is not None
    low, high = best.interval
    assert low < 1.2e6 < high < 3 * low
    assert low <= best.sft_tokens <= high
    assert best.cpt_interval == pytest.approx((1 - high / BUDGET, 1 - low / BUDGET))
    curve = noisy.curve()
    assert (curve["lower"] <= curve["score"]).mean() > 0.9 and (curve["score"] <= curve["upper"]).mean() > 0.9
    assert list(noisy.conf_int().index) == list(NAMES)


def test_equation_2_moves_the_peak_to_other_budgets(noisy: Allocation) -> None:
    best, first = noisy.optimum, noisy.predictions[0]
    assert best.sft_tokens is not None and first.cpt_fraction is not None and first.interval is not None
    assert first.cpt_fraction == pytest.approx(1 - best.sft_tokens / 25e9)
    assert first.interval[0] < first.cpt_fraction < first.interval[1]
    assert noisy.predictions[2].cpt_fraction is None, "a million tokens cannot hold 1.2 million of SFT"


def test_equation_2_on_the_papers_peak() -> None:
    tokens = (1 - 0.999923) * BUDGET
    assert best_fraction(25e9, tokens) == pytest.approx(0.9999076, abs=1e-9)
    assert best_fraction(35e9, tokens) == pytest.approx(0.999934, abs=1e-9)
    with pytest.raises(ValueError, match="positive"):
        best_fraction(0, tokens)


@pytest.mark.usefixtures("without_held_out")
def test_the_bootstrap_repeats_with_its_seed() -> None:
    score = clean() + np.random.default_rng(0).normal(0, 0.005, 16)
    one, same, other = (analyse(many(score), bootstrap=30, seed=seed).optimum.interval for seed in (1, 1, 2))
    assert one == same != other


PEAKS = {"HumanEval": 0.999925, "HumanEval+": 0.999924, "ChemBench4K": 0.999933, "MedQA": 0.99993}
EQUAL = {"HumanEval": 0.58, "HumanEval+": 0.74, "MedQA": 0.44}


@pytest.mark.parametrize(("benchmark", "peak"), PEAKS.items())
def test_peaks_of_table_6(table6: dict[str, Allocation], benchmark: str, peak: float) -> None:
    assert table6[benchmark].optimum.cpt_fraction == pytest.approx(peak, abs=2e-6)


def test_only_chembench_of_table_6_is_not_flat(table6: dict[str, Allocation]) -> None:
    for benchmark, p_value in EQUAL.items():
        test = table6[benchmark].flatness
        assert (round(test.p_value, 2), test.df) == (p_value, 15)
    assert table6["ChemBench4K"].flatness.p_value < 1e-6
    assert not any(told(found, "cannot be told from equal") for found in table6.values())


def test_table_6_rises_and_shows_no_peak(table6: dict[str, Allocation]) -> None:
    for found in table6.values():
        assert found.alternatives["law"].iloc[0] == "straight line in ln S"
        assert not found.peak_shown and told(found, "no peak is shown") and told(found, "the scores rise with ln S (p ")
        assert told(found, "independent samples of items")


@pytest.mark.parametrize("shape", ["flat", "straight line in ln S", "saturating", "cliff"])
def test_scores_without_a_peak_are_not_said_to_have_one(shape: Any) -> None:
    assert claims(shape, 1273, sets=12, draws=40)["tested"].sum() <= 2


@pytest.mark.ci
def test_clear_peaks_are_shown_by_the_analysis_as_by_the_study_of_peaks() -> None:
    found = claims("peak", 0, sets=8, draws=60)
    assert found["tested"].mean() >= 0.6
    tokens, peaked = np.geomspace(1e5, 1e7, 16), np.random.default_rng(0).binomial(2000, clean()) / 2000
    whole = analyse(frame(peaked, tokens, n_items=2000), bootstrap=60)
    assert whole.peak_shown and not told(whole, "no peak is shown") and whole.peak.p_value <= 0.01
    assert shown([checked(frame(peaked, n_items=2000), BUDGET)], 60, 0) == [True]


@pytest.mark.usefixtures("without_held_out")
def test_a_peak_without_an_interval_is_not_shown() -> None:
    assert told(analyse(many(clean())), "no peak is shown: it has no interval")


@pytest.mark.usefixtures("without_held_out")
def test_a_quadratic_is_a_peak_only_where_its_vertex_and_interval_are_inside() -> None:
    logs = np.log(TOKENS)
    noise = np.random.default_rng(0).normal(0, 0.004, 16)
    hump, bend = 0.4 - 0.02 * (logs - logs.mean()) ** 2, 0.3 + 0.06 * (logs - logs[0]) - 0.006 * (logs - logs[0]) ** 2
    assert told(analyse(many(hump + noise)), "and its peak lies inside what was tried")
    assert told(analyse(many(bend + noise)), "and it is no peak, as its vertex may lie beyond the data")


def test_widths_and_cliffs_of_table_6_run_into_their_bounds(table6: dict[str, Allocation]) -> None:
    assert told(table6["HumanEval"], "sigma") and told(table6["HumanEval"], "s_min")
    for benchmark in ("HumanEval", "HumanEval+", "MedQA"):
        assert told(table6[benchmark], "straight line in ln S describes the scores better by AIC,")
    assert told(table6["ChemBench4K"], "straight line in ln S describes the scores better by QAICc")
    assert told(table6["ChemBench4K"], "straight line in ln S predicts allocations left out better")
    assert told(table6["ChemBench4K"], "times the variance that the number of items allows")


def test_repeated_runs_are_compared_with_one_another_and_resampled() -> None:
    rng = np.random.default_rng(1)
    runs = [frame(clean() + rng.normal(0, 0.01, 16), seed=seed) for seed in range(4)]
    found = analyse(pd.concat(runs), bootstrap=100)
    expected = stats.f_oneway(*np.array([run["score"] for run in runs]).T)
    assert found.flatness.p_value == pytest.approx(expected.pvalue)
    assert found.flatness.df == (15.0, 48.0)
    assert "repeated runs" in found.method
    low, high = found.optimum.interval or (0.0, 0.0)
    assert low < 1.2e6 < high < 2 * low


def repeated(count: int, score: np.ndarray, **columns: Any) -> pd.DataFrame:
    """Scores of one run, and of a second run at ``count`` allocations."""
    rng = np.random.default_rng(8)
    first = frame(score, seed="a", **columns)
    return pd.concat(
        [first, first.head(count).assign(seed="b", score=lambda rows: rows["score"] + rng.normal(0, 1e-6))]
    )


@pytest.mark.usefixtures("without_held_out")
def test_few_repeated_runs_do_not_tell_the_noise() -> None:
    """One pair of runs that happen to agree would make every interval a point."""
    score = clean() + np.random.default_rng(5).normal(0, 0.01, 16)
    alone, pair = analyse(frame(score), bootstrap=100), analyse(repeated(1, score), bootstrap=100)
    width, of_pair = (np.log(np.divide(*reversed(one.optimum.interval or (1, 1)))) for one in (alone, pair))
    assert of_pair == pytest.approx(width, rel=0.5)
    assert "residual standard error" in pair.method and "1 repeated run is too few" in pair.method
    assert "F of the law against" in pair.flatness.method
    counted = analyse(repeated(4, clean().round(2), n_items=10_000))
    assert "equal proportions" in counted.flatness.method
    assert "analysis of variance" in analyse(repeated(5, score)).flatness.method


@pytest.mark.usefixtures("without_held_out")
def test_identical_runs_are_one_run() -> None:
    score = clean() + np.random.default_rng(5).normal(0, 0.01, 16)
    runs = pd.concat([frame(score, seed=seed) for seed in range(3)])
    found, single = analyse(runs, bootstrap=30), analyse(frame(score), bootstrap=30)
    assert found.optimum == single.optimum and found.flatness == single.flatness
    assert told(found, "repeated runs are equal to one another") and not told(found, "times the variance")


@pytest.mark.parametrize(("count", "spare"), [(7, 1), (9, 3), (16, 10)])
def test_an_estimated_spread_varies_from_draw_to_draw(count: int, spare: int) -> None:
    tokens = np.geomspace(1e5, 1e7, count)
    truth = allocation_law(tokens).evaluate(TRUTH, tokens)
    data = checked(frame(truth + np.random.default_rng(0).normal(0, 0.01, count), tokens), BUDGET)
    fit = allocation_law(tokens).fit(tokens, data.values)
    noise = data.noise(fit, 4000, np.random.default_rng(0)) / fit.rse
    assert np.quantile(np.abs(noise), 0.95) == pytest.approx(stats.t.ppf(0.975, spare), rel=0.15)
    assert f"{spare} degree" in data.described(fit)


@pytest.mark.usefixtures("without_held_out")
def test_the_order_of_runs_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    runs = pd.concat([frame(clean() + rng.normal(0, 0.01, 16), seed=seed) for seed in range(3)])
    found, other = (analyse(rows, bootstrap=20) for rows in (runs, runs.sample(frac=1, random_state=0)))
    assert found.params == other.params and found.optimum == other.optimum and found.flatness == other.flatness
    assert found.conf_int().equals(other.conf_int())


def test_equation_1_holds_against_alternatives_with_few_scores_of_known_errors() -> None:
    tokens = np.geomspace(1e5, 1e7, 7)
    found = analyse(frame(allocation_law(tokens).evaluate(TRUTH, tokens), tokens, n_items=20_000))
    assert found.alternatives["law"].iloc[0] == "allocation law"
    assert not told(found, "better")


@pytest.mark.usefixtures("all_simulations", "without_held_out")
def test_a_single_run_is_tested_against_simulated_flat_lines() -> None:
    rng = np.random.default_rng(5)
    peaked = analyse(frame(clean() + rng.normal(0, 0.005, 16))).flatness
    level = analyse(frame(0.4 + rng.normal(0, 0.01, 16))).flatness
    assert peaked.p_value == pytest.approx(0.001)
    assert level.p_value > 0.05
    assert "simulated" in level.method and level.df == (5.0, 10.0)


def test_alternatives_stand_beside_equation_1() -> None:
    score = 0.3 + 0.02 * np.log(TOKENS) + np.random.default_rng(0).normal(0, 0.01, 16)
    found = analyse(many(score))
    table = found.alternatives.set_index("law")
    assert list(table["parameters"].sort_values()) == [1, 2, 3, 3, 3, 6]
    assert table["delta_aicc"].min() == 0 and table["loo"].notna().all()
    assert table["delta_aicc"].idxmin() == "straight line in ln S"
    assert told(found, "a straight line in ln S describes the scores better")


@pytest.mark.usefixtures("without_held_out")
def test_a_best_score_at_the_edge_is_told() -> None:
    found = analyse(many(0.3 + 0.02 * np.log(TOKENS)))
    assert told(found, "best score is at the edge of the data")


@pytest.mark.usefixtures("without_held_out")
def test_a_cliff_that_shifts_the_maximum_is_told() -> None:
    found = analyse(many(clean(mu=np.log(2e5), sigma=1.0, penalty=6000.0)))
    assert found.optimum.highest > 1.1 * (found.optimum.sft_tokens or np.inf)
    assert told(found, "the cliff shifts it")


def test_six_allocations_give_a_curve_and_no_interval() -> None:
    tokens = np.geomspace(1e5, 1e7, 6)
    found = analyse(frame([0.3, 0.4, 0.45, 0.47, 0.4, 0.38], tokens), bootstrap=50)
    assert found.optimum.sft_tokens is not None and found.optimum.interval is None
    assert told(found, "6 allocations for six parameters")
    assert "no intervals" in found.method


WRONG = {
    "no column score": pd.DataFrame({"sft_tokens": TOKENS}),
    "not neither": pd.DataFrame({"score": clean()}),
    "not both": frame(clean(), cpt_fraction=0.5),
    "row 3: score is nan": frame(np.where(np.arange(16) == 3, np.nan, clean())),
    "row 0: sft_tokens is -1": frame(clean(), np.where(np.arange(16) == 0, -1, TOKENS)),
    "row 15: sft_tokens .* budget": frame(clean(), np.where(np.arange(16) == 15, 31e9, TOKENS)),
    "a proportion of n_items": frame(100 * clean(), n_items=100),
    "row 0: n_items is 1e\\+19; it must be from 1 to 1e\\+09": frame(clean(), n_items=1e19),
    "row 1 repeats an allocation": frame(clean(), np.where(np.arange(16) == 1, TOKENS[0], TOKENS)),
    "5 allocations with SFT tokens cannot": frame(clean()[:5], TOKENS[:5]),
}


@pytest.mark.parametrize(("message", "scores"), WRONG.items())
def test_wrong_scores_are_refused(message: str, scores: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=message):
        analyse(scores)


def test_a_wrong_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="budget"):
        analyse_allocation(frame(clean()), budget=0)


def test_intervals_cover_simulated_peaks() -> None:
    found = allocation_coverage(sets=20, draws=60, seed=1)
    assert found["covered"].mean() >= 0.8
    assert (found["upper"] / found["lower"]).median() < 2
