"""From answers to what pages show: scores, comparisons and fits by hand, and words for every study there can be."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.multivariate import test_mvmean as hotelling
from statsmodels.stats.proportion import proportion_confint

from helpers import ROOT
from helpers.tables import cells
from repro import params
from repro.allocation import figures, results, tables
from repro.allocation.frames import ablation_pairs, baselines, fits, other_budgets, split_pairs, with_ends
from repro.allocation.results import ACCURACY, KEYS, LIKELIHOOD
from repro.allocation.study import Study, StudyResults, labelled
from repro.data.build import PAIRS
from repro.data.domains import MADE_HERE
from repro.laws.allocation import NAME, analyse_allocation
from repro.lm.evaluation import PROGRAMS
from repro.params import AllocationParams
from repro.show import display
from repro.show.tables import DASH
from repro.stages.evaluate import DRIFT

VALUES: dict[str, Any] = yaml.safe_load((ROOT / "params/quick.yaml").read_text())
BUDGET, QUESTIONS = 4096, 40
SFT = (0, 64, 128, 256, 512, 1024, 2048)


def answers(
    right: list[bool | None], logprob: list[float] | None = None, *, length: Any = 2, benchmark: str = "hpo_terms",
    **place: Any,
) -> pd.DataFrame:  # fmt: skip
    """What `Study.items` has of one trial and benchmark, its columns of the types that stages save."""
    trial = {"kind": "allocation", "domain": "health", "budget": None, "cpt_tokens": 0, "sft_tokens": 0, "seed": 0}
    told = pd.DataFrame({
        "benchmark": benchmark, "item": [f"q{n}" for n in range(len(right))],
        "right": pd.array(right, dtype="boolean"), "logprob": logprob or [-1.0] * len(right), "length": length,
    })  # fmt: skip
    return told.assign(**(trial | place))


def made(
    sft: tuple[int, ...] = SFT,
    *,
    domains: tuple[str, ...] = ("health",),
    seeds: tuple[int, ...] = (0,),
    benchmarks: tuple[str, ...] = ("hpo_terms",),
    alone: tuple[int, ...] = (128, 512),
    budgets: tuple[int, ...] = (2048,),
    steps: tuple[int, ...] = (512, 1024, 2048),
    not_run: tuple[str, ...] = (),
    equal: bool = False,
    questions: int = QUESTIONS,
) -> pd.DataFrame:
    """The items of a study whose scores are best at 256 SFT tokens; with `not_run` benchmarks that execute programs."""
    trials: list[dict[str, Any]] = [{"kind": "base", "budget": None, "cpt_tokens": 0, "sft_tokens": 0}]
    trials += [{"kind": "allocation", "budget": BUDGET, "cpt_tokens": BUDGET - s, "sft_tokens": s} for s in sft]
    trials += [{"kind": "SFT only", "budget": None, "cpt_tokens": 0, "sft_tokens": s} for s in alone]
    first = [
        {"kind": "other budget", "budget": n, "cpt_tokens": n - s, "sft_tokens": s}
        for n in budgets
        for s in (64, 256)
        if s <= n
    ]
    first += [{"kind": "CPT ablation", "budget": None, "cpt_tokens": c, "sft_tokens": 256} for c in steps]
    frames = []
    for seed in seeds:
        for number, domain in enumerate(domains):
            for trial in trials[seed != seeds[0] :] + (first if number == 0 else []):  # the base is not trained
                for benchmark in benchmarks:
                    name = benchmark if number == 0 or benchmark == "mmlu" else f"{benchmark}_{domain}"
                    rng = np.random.default_rng((number, len(benchmark), 7))
                    own = np.random.default_rng((seed, trial["cpt_tokens"], trial["sft_tokens"], 1))
                    skill = 0 if equal else math.exp(-(math.log((trial["sft_tokens"] + 8) / 256) ** 2) / 4)
                    level = rng.normal(size=questions) + skill + (0 if equal else 0.3 * own.normal(size=questions))
                    right: list[Any] = [None] * questions if benchmark in not_run else list(level > 0)
                    place = trial | {"domain": domain, "seed": seed, "benchmark": name}
                    frames.append(answers(right, list(level - 9), length=3, **place))
    return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class Made(Study):
    """A study whose answers are given and not run."""

    frame: pd.DataFrame = field(default_factory=pd.DataFrame)

    def items(self) -> pd.DataFrame:
        return labelled(self.frame)


def study(frame: pd.DataFrame, **values: Any) -> Made:
    others = [{"budget": int(n), "sft_tokens": [64]} for n in frame["budget"].dropna().unique() if n != BUDGET]
    tried = {"budget": BUDGET, "sft_tokens": [0, 64], "bootstrap": 10, "other_budgets": others}
    checked = params.check(VALUES | tried | values, AllocationParams)
    return Made(store=None, params=checked, design=None, frame=frame)  # type: ignore[arg-type]


# Scores


def test_scores_have_the_errors_that_one_calculates_by_hand() -> None:
    frame = pd.concat([
        answers([True, True, True, False], [-1.0, -4.0, -3.0, -15.0], kind="base", length=[2, 4, 2, 5]),
        answers([True, False], [-4.0, -4.0], sft_tokens=9, budget=10, cpt_tokens=1),
        answers([None, None, None], [-2.0, -4.0, -6.0], benchmark="humaneval", sft_tokens=9, budget=10, cpt_tokens=1),
    ])  # fmt: skip
    found = results.scores(frame).set_index(["kind", "benchmark", "metric"])[["score", "se", "n_items"]]
    assert [tuple(row) for row in found.itertuples(index=False)][:4] == [
        (0.75, math.sqrt(0.75 * 0.25 / 4), 4),
        (-1.5, pytest.approx(math.sqrt((1 + 0.25 + 0 + 2.25) / 3 / 4)), 4),
        (0.5, math.sqrt(0.25 / 2), 2),
        (-2.0, 0.0, 2),
    ]
    not_run = found.loc["allocation", "humaneval", ACCURACY]
    assert math.isnan(not_run["score"]) and math.isnan(not_run["se"]) and not_run["n_items"] == 0
    assert found.loc["allocation", "humaneval", LIKELIHOOD]["score"] == -2.0
    assert list(results.scores(frame).columns) == [*KEYS, "benchmark", "metric", "score", "se", "n_items"]


def test_every_trial_has_a_row_of_its_own_whatever_it_does_not_have() -> None:
    both: dict[str, Any] = {"domains": ("health", "coding"), "benchmarks": ("hpo_terms", "humaneval"), "seeds": (0, 1)}
    found = results.scores(made(SFT[:3], **both))
    assert not found.duplicated([*KEYS, "benchmark", "metric"]).any()
    assert len(found) == 4 * (2 * (1 + 2 * (3 + 2)) + 2 * (2 + 3)), "two benchmarks by two metrics each"
    assert set(found["kind"]) == {"base", "allocation", "SFT only", "other budget", "CPT ablation"}
    assert found.loc[found["kind"] == "base", "budget"].isna().all()


def test_answers_as_a_matrix_have_a_row_for_each_trial_and_no_question_that_one_was_not_asked() -> None:
    asked = made((64, 128, 256), seeds=(0, 1))
    asked = asked[asked["kind"] == "allocation"]
    gap = asked.index[(asked["item"] == "q3") & (asked["sft_tokens"] == 128)][0]
    found = results.matrix(asked.drop(index=gap), "hpo_terms", ACCURACY)
    assert found.shape == (6, QUESTIONS - 1)
    assert "q3" not in found
    assert found.index.names == KEYS
    for place, row in found.iterrows():
        own = asked[(asked["sft_tokens"] == place[4]) & (asked["seed"] == place[5])].set_index("item")
        assert (row == own.loc[row.index, "right"].astype(float)).all()
    assert (
        results.matrix(asked.assign(right=pd.array([None] * len(asked), "boolean")), "hpo_terms", ACCURACY).shape[1]
        == 0
    )


# Comparisons


FIRST, SECOND = {"kind": "SFT only", "seed": 0}, {"kind": "allocation", "seed": 0}
PAIR = [(FIRST, SECOND, "one against the other")]


def compared(first: pd.DataFrame, second: pd.DataFrame, metric: str = ACCURACY) -> list[dict[str, Any]]:
    frame = pd.concat([first.assign(kind="SFT only"), second.iloc[::-1]], ignore_index=True)
    return list(results.compare(frame, metric, PAIR).to_dict("records"))


def test_right_answers_are_compared_by_mcnemar_s_table() -> None:
    both, first, second, none = 5, 2, 9, 4
    a = [True] * (both + first) + [False] * (second + none)
    b = [True] * both + [False] * first + [True] * second + [False] * none
    (row,) = compared(answers(list(a)), answers(list(b)))
    assert (row["both"], row["only_first"], row["only_second"], row["items"]) == (both, first, second, 20)
    assert row["p_value"] == pytest.approx(2 * stats.binom.cdf(2, 11, 0.5))
    gain, loss = (second + 1) / 22, (first + 1) / 22
    half = stats.norm.ppf(0.975) * math.sqrt((gain + loss - (gain - loss) ** 2) / 22)
    ends = gain - loss - half, gain - loss + half
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((7 / 20, *ends))
    assert row["name"] == "one against the other" and row["benchmark"] == "hpo_terms"


@pytest.mark.ci
@pytest.mark.parametrize(("won", "lost"), [(0.05, 0.01), (0.03, 0.0), (0.15, 0.1)])
def test_the_interval_of_a_difference_in_right_answers_holds_it_as_often_as_it_says(won: float, lost: float) -> None:
    rng, held = np.random.default_rng(5), []
    for _ in range(300):
        which = rng.choice(3, size=128, p=[1 - won - lost, won, lost])
        (row,) = compared(answers(list(which != 1)), answers(list(which != 2)))
        held.append(row["low"] <= won - lost <= row["high"])
    assert 0.92 <= np.mean(held) <= 1


def test_log_likelihoods_are_compared_by_a_paired_t_test_of_nats_a_byte() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(-5, 2, 15), rng.normal(-4, 2, 15)
    (row,) = compared(answers([None] * 15, list(a)), answers([None] * 15, list(b)), LIKELIHOOD)
    test = stats.ttest_rel(b / 2, a / 2)
    assert row["p_value"] == pytest.approx(test.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert row["difference"] == pytest.approx((b - a).mean() / 2)
    assert math.isnan(row["both"]) and math.isnan(row["only_first"])


def test_only_questions_that_both_answered_are_compared() -> None:
    (row,) = compared(answers([True, False, True, None]), answers([True, True, False]))
    assert (row["items"], row["both"], row["only_first"], row["only_second"]) == (3, 1, 1, 1)
    assert compared(answers([None, None]), answers([True, True])) == []
    assert compared(answers([True, True]), answers([True, True], benchmark="elements")) == []


@pytest.mark.parametrize("metric", [ACCURACY, LIKELIHOOD])
def test_models_that_answer_alike_have_no_interval(metric: str) -> None:
    (row,) = compared(answers([True, False, True]), answers([True, False, True]), metric)
    if metric == ACCURACY:
        assert row["difference"] == 0 and row["low"] == -row["high"] < 0, (
            "that no answer changed is no proof that none would"
        )
    else:
        assert row["difference"] == 0 and math.isnan(row["low"]) and math.isnan(row["high"])
    assert row["p_value"] == 1 if metric == ACCURACY else math.isnan(row["p_value"])


def test_sft_alone_is_set_against_the_same_sft_after_cpt_seed_by_seed() -> None:
    scores = results.scores(made((0, 128, 256, BUDGET), alone=(128, 512, BUDGET), seeds=(0, 1)))
    pairs = ablation_pairs(scores)
    assert [(first["sft_tokens"], first["seed"]) for first, _, _ in pairs] == [(128, 0), (128, 1)]
    assert all(first["kind"] == "SFT only" and second["kind"] == "allocation" for first, second, _ in pairs)
    assert all({**first, "kind": ""} == {**second, "kind": ""} for first, second, _ in pairs)
    assert len({name for _, _, name in pairs}) == 2, "seeds are told apart"


def test_domains_are_compared_each_on_its_own_questions() -> None:
    frame = made((0, 128), domains=("health", "coding"), alone=(128,))
    found = study(frame).results().ablation.set_index(["benchmark", "metric"])
    assert len(found) == 4 and (found["items"] == QUESTIONS).all()
    for benchmark, part in labelled(frame).groupby("benchmark"):
        means = part[part["sft_tokens"] == 128].groupby("kind")["right"].mean()
        expected = float(means["allocation"] - means["SFT only"])
        assert found.loc[(benchmark, ACCURACY), "difference"] == pytest.approx(expected)


# Training


def measured(domain: str, tokens: int, losses: pd.DataFrame) -> tuple[Any, int, pd.DataFrame]:
    return SimpleNamespace(domain=SimpleNamespace(text=SimpleNamespace(name=domain))), tokens, losses


def test_held_out_losses_are_paired_with_the_base_model_s_sequence_by_sequence() -> None:
    base = pd.DataFrame({"domain": [3.0, 5.0, 4.0], "general": [2.0, 2.0, 2.0]})
    after = pd.DataFrame({"domain": [2.0, 4.5, 2.5], "general": [2.1, 2.2, 2.3]})
    frames = [
        measured("health", 640, after - 1), measured("health", 640, after + 1),  # two seeds
        measured("health", 0, base), measured("health", 0, base),
        measured("coding", 0, base + 7), measured("coding", 640, base + 6),
    ]  # fmt: skip
    found = results.held_out(frames).set_index(["domain", "corpus", "tokens"])
    assert len(found) == 8
    row = found.loc["health", "domain, held out", 640]
    assert (row["loss"], row["change"]) == (3.0, -1.0)
    assert row["se"] == pytest.approx(np.std([-1.0, -0.5, -1.5], ddof=1) / math.sqrt(3))
    assert found.loc["health", "general, held out", 640]["change"] == pytest.approx(0.2)
    assert tuple(found.loc["health", "domain, held out", 0][["loss", "change", "se"]]) == (4, 0, 0)
    assert tuple(found.loc["coding", "domain, held out", 640][["loss", "change", "se"]]) == (10.0, -1.0, 0.0)


def tuned(losses: list[float], cpt: int = 0, domain: str = "health") -> pd.DataFrame:
    steps = range(1, len(losses) + 1)
    return pd.DataFrame({"step": steps, "loss": losses}).assign(domain=domain, cpt_tokens=cpt, sft_tokens=9)


def test_tuning_losses_are_means_over_ever_longer_stretches_of_the_longest_run() -> None:
    frames = [tuned([1, 3]), tuned([1, 3, 5, 7, 9]), tuned([4.0], cpt=640), tuned([2.0] * 16, domain="coding")]
    found = results.tuning(frames)
    assert [tuple(row) for row in found.itertuples(index=False)] == [
        ("health", 0, 1, 1.0), ("health", 0, 3, 4.0), ("health", 0, 5, 8.0), ("health", 640, 1, 4.0),
        *(("coding", 0, step, 2.0) for step in (1, 3, 7, 15, 16)),
    ]  # fmt: skip
    assert list(results.tuning([]).columns) == ["domain", "cpt_tokens", "step", "loss"]


TOLD: dict[str, Any] = {
    "text": {
        "kept": [
            {"source": "a", "part": "training", "documents": 7, "characters": 70},
            {"source": "b", "part": "training", "documents": 3, "characters": 31},
            {"source": "a", "part": "validation", "documents": 2, "characters": 20},
        ],
        "near_duplicates": 4,
    },
    "dropped": {"documents": 5, "pairs": 6, "documents_of_choices": 20, "pairs_of_choices": 300, "ambiguous": 8},
    "pairs": 90,
    "items": 120,
    "questions": {"hpo_terms": 12, "humaneval": 13},
}  # fmt: skip


def test_what_a_domain_holds_and_what_was_left_out_of_it() -> None:
    found = results.contents({"health": TOLD, "general": TOLD})
    mine = found[found["domain"] == "health"].set_index("part")
    assert mine["items"].to_dict() == {
        "CPT text": 10, "CPT text, held out": 2, "SFT pairs": 90, "questions, medical terms": 12,
        "questions, HumanEval": 13, "items in all": 120,
    }  # fmt: skip
    assert mine["dropped"].tolist() == [25, 4, 306, 0, 0, 8]
    assert mine["characters"].dropna().to_dict() == {"CPT text": 101, "CPT text, held out": 20}
    assert mine["epochs"].isna().all()


def test_pairs_that_are_too_long_are_counted_and_how_often_the_others_come_again() -> None:
    tuned = {"kept": 6, "too_long": 84, "epochs": 31.5}
    found = results.contents({"health": TOLD | {"epochs": 0.5, "tuned": [tuned]}}).set_index("part")
    assert found["epochs"].dropna().to_dict() == {"CPT text": 0.5, "SFT pairs, tuned on": 31.5}
    row = found.loc["SFT pairs, tuned on"]
    assert (row["items"], row["dropped"], row["why"]) == (6, 84, "longer than sft_longest")


def test_examples_are_the_first_pair_and_the_first_question(tmp_path: Path) -> None:
    rows = [{"item": "a", "prompt": "Which?\nAnswer:", "answer": " This"}, {"item": "b", "prompt": "", "answer": ""}]
    pd.DataFrame(rows).to_parquet(tmp_path / PAIRS, index=False)
    choices = {"item": "a", "question": "What?", "choices": ["no", "1990", "nor", "3"], "answer": 1}
    program = {"task_id": "x/0", "prompt": "def f():", "canonical_solution": " pass", "test": ""}
    pd.DataFrame([choices, choices | {"question": "Other"}]).to_json(
        tmp_path / "mine.jsonl", orient="records", lines=True
    )
    pd.DataFrame([program]).to_json(tmp_path / "humaneval.jsonl", orient="records", lines=True)
    stage: Any = SimpleNamespace(name="health", benchmarks=("mine", "humaneval", "mmlu"))
    found = results.examples([(stage, tmp_path)])
    assert found.to_dict("records") == [
        {"domain": "health", "use": "SFT", "prompt": "Which?\nAnswer:", "answer": " This", "others": ""},
        {"domain": "health", "use": "mine", "prompt": "What?", "answer": "1990", "others": "no; nor; 3"},
        {"domain": "health", "use": "HumanEval", "prompt": "def f():", "answer": " pass", "others": ""},
    ]


# Drift


def layers(sample: str, drift: list[float], tokens: int = 900, **place: Any) -> pd.DataFrame:
    """What a drift stage leaves, by both estimators, of which the plain one says less."""
    frames = [
        pd.DataFrame({
            "sample": sample, "layer": range(len(drift)), "tokens": tokens, "estimator": estimator,
            "cka": 1 - np.array(drift) * size, "drift": np.array(drift) * size,
        })
        for estimator, size in (("debiased", 1.0), ("plain", 0.5))
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True).assign(**place)


def test_drift_of_a_phase_is_a_mean_over_layers_with_the_least_and_the_most() -> None:
    frames = [
        layers("fixed sample", [0.1, 0.4, 0.1], phase="base to CPT", domain="health", sft_tokens=64),
        layers("fixed sample", [0.3, 0.5], phase="base to CPT", domain="coding", sft_tokens=64),
    ]
    found = results.phases(frames, "debiased")
    assert found[["drift", "low", "high"]].to_numpy() == pytest.approx(np.array([[0.2, 0.1, 0.4], [0.4, 0.3, 0.5]]))
    assert found["domain"].tolist() == ["health", "coding"]
    assert results.phases(frames, "plain")["drift"].tolist() == pytest.approx([0.1, 0.2])
    assert list(results.phases([], "plain").columns) == list(found.columns)


def test_drift_by_layer_is_a_mean_over_allocations_with_the_least_and_the_most() -> None:
    place = {"phase": "CPT to SFT", "domain": "health"}
    frames = [layers("fixed sample", [tokens / 1000, 0.3], sft_tokens=tokens, **place) for tokens in (100, 300)]
    found = results.phases(frames, "debiased", "layer")
    assert found["layer"].tolist() == [0, 1]
    assert found[["drift", "low", "high"]].to_numpy() == pytest.approx(np.array([[0.2, 0.1, 0.3], [0.3, 0.3, 0.3]]))


def nothing(tmp_path: Path) -> pd.DataFrame:
    """What a drift stage leaves where no data changed, as it is read."""
    file = tmp_path / DRIFT
    columns = ["sample", "layer", "tokens", "estimator", "cka", "drift"]
    pd.DataFrame(columns=columns).to_parquet(file, index=False)
    return pd.read_parquet(file)


def test_drift_between_neighbours_lies_between_their_sft_tokens(tmp_path: Path) -> None:
    first = {"model": "CPT only", "domain": "health", "sft_from": 64, "sft_to": 0}
    second = first | {"sft_from": 256, "sft_to": 64}
    frames = [
        layers("CPT new added", [0.1, 0.3], **first),
        layers("SFT new removed", [0.2, 0.2], tokens=100, **first),
        layers("SFT replay removed", [0.9, 0.9], tokens=99, **first),  # too few to tell
        layers("CPT new added", [0.6], **second),
        nothing(tmp_path).assign(**(first | {"model": "CPT and SFT"})),
    ]
    found = results.between(frames, "debiased")
    assert found["category"].tolist() == ["CPT new added", "SFT new removed", "CPT new added"]
    assert found["drift"].tolist() == pytest.approx([0.2, 0.2, 0.6])
    figures.inter_ratio_drift(found, with_ends(results.scores(made(SFT[:2])))).to_dict()
    assert found["tokens"].tolist() == [900, 100, 900]
    assert found["at"].tolist() == pytest.approx([32 * math.sqrt(2)] * 2 + [128])


def test_neighbours_without_sft_or_without_any_data_between_them(tmp_path: Path) -> None:
    place = {"model": "CPT only", "domain": "health", "sft_from": 64, "sft_to": 0}
    assert results.between([layers("CPT new added", [0.5], **place)], "plain")["at"].tolist() == pytest.approx(
        [32 * math.sqrt(2)]
    )
    for frames in ([], [nothing(tmp_path).assign(**place)]):
        found = results.between(frames, "plain")
        assert found.empty
        assert {*place, "category", "at", "drift", "tokens"} == set(found)


def phased(drift: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), phase: str = "base to CPT") -> pd.DataFrame:
    frames = [
        layers("fixed sample", [value, value], phase=phase, domain="health", sft_tokens=tokens)
        for value, tokens in zip(drift, SFT[1:], strict=False)
    ]
    return results.phases(frames, "debiased")


# Fits


def test_equation_1_is_fitted_to_the_allocations_of_the_main_budget_question_by_question() -> None:
    own = cached("programs not run")
    found = own.fits
    assert set(found) == {("medical terms", ACCURACY), ("medical terms", LIKELIHOOD), ("HumanEval", LIKELIHOOD)}
    mine = own.items[(own.items["kind"] == "allocation") & (own.items["benchmark"] == "medical terms")]
    mine = mine.sort_values("item", kind="stable")
    values = np.stack([(mine.loc[mine["sft_tokens"] == s, "logprob"] / 3).to_numpy() for s in SFT])
    rows = pd.DataFrame({"sft_tokens": SFT, "score": values.mean(axis=1)})
    ours = analyse_allocation(rows, budget=BUDGET, bootstrap=10, predict=[2048], answers=values)
    theirs = found["medical terms", LIKELIHOOD]
    assert theirs.optimum == ours.optimum and theirs.predictions == ours.predictions
    assert theirs.flatness == ours.flatness
    assert theirs.points["sft_tokens"].tolist() == list(SFT[1:])


def test_two_seeds_are_two_scores_of_an_allocation() -> None:
    (one,) = (fit for key, fit in cached("two seeds").fits.items() if key == ("medical terms", LIKELIHOOD))
    assert len(one.points) == 12
    assert sorted(set(one.points["seed"])) == [0, 1]


@pytest.mark.parametrize("sft", [SFT[:1], SFT[:6], SFT[1:6]])
def test_fewer_than_six_allocations_with_sft_are_not_fitted(sft: tuple[int, ...]) -> None:
    assert fits(made(sft), budget=BUDGET, bootstrap=10) == {}
    assert fits(made(sft, seeds=(0, 1)), budget=BUDGET, bootstrap=10) == {}, "seeds are no allocations"


@pytest.mark.parametrize("cpt", [BUDGET - 256, BUDGET - 260], ids=["both", "SFT"])
def test_allocations_that_whole_steps_make_the_same_count_once(cpt: int) -> None:
    """Tokens are those really trained on: two allocations that were asked for may come out the same."""
    frame = made(steps=(), budgets=(), alone=())
    twice = frame[(frame["kind"] == "allocation") & (frame["sft_tokens"] == 256)].assign(cpt_tokens=cpt)
    own = study(pd.concat([frame, twice], ignore_index=True)).results()
    found = own.fits["medical terms", LIKELIHOOD]
    assert found.points["sft_tokens"].tolist() == list(SFT[1:])
    assert not own.scores.duplicated([*KEYS, "benchmark", "metric"]).any()


def test_ends_of_intervals_are_wilson_s_for_shares_and_normal_otherwise() -> None:
    frame = pd.DataFrame({
        "metric": [ACCURACY, ACCURACY, LIKELIHOOD, ACCURACY], "score": [0.0, 0.6, -2.0, np.nan],
        "se": [0.0, 0.1, 0.5, np.nan], "n_items": [10, 20, 30, 0],
    }, index=[5, 5, 7, 1])  # fmt: skip
    found = with_ends(frame)
    wilson = [proportion_confint(0, 10, method="wilson"), proportion_confint(12, 20, method="wilson")]
    expected = np.array([*wilson, (-2 - 1.96 * 0.5, -2 + 1.96 * 0.5), (np.nan, np.nan)])
    assert found[["low", "high"]].to_numpy() == pytest.approx(expected, nan_ok=True)
    assert found.loc[found["score"] == 0, "high"].item() > 0.2, "none of ten is not surely none"
    assert with_ends(frame.head(0)).empty


def test_lines_to_measure_scores_against() -> None:
    names = ("hpo_terms", "humaneval", "mmlu", "gsm8k")
    scores = results.scores(made(SFT[:1], domains=("health", "coding"), benchmarks=names, seeds=(0, 1)))
    found = baselines(scores[scores["domain"] == "health"].assign(score=0.3)).set_index(["name", "metric"])
    for metric in (ACCURACY, LIKELIHOOD):
        base = found.loc[("base model", metric)]
        assert dict(zip(base["benchmark"], base["score"], strict=True)) == dict.fromkeys(names, 0.3)
    guessed = found.loc[("chance", ACCURACY)]
    chances = {"hpo_terms": 0.25, "humaneval": 0.0, "mmlu": 0.25}
    assert dict(zip(guessed["benchmark"], guessed["score"], strict=True)) == chances, "not known of gsm8k"
    assert ("chance", LIKELIHOOD) not in found.index
    assert results.chance("mmlu, health") == results.chance("MMLU, health") == 0.25


def test_readers_meet_no_name_of_a_task_of_ours() -> None:
    assert {*MADE_HERE, *PROGRAMS, *results.FOUR_CHOICES} == {*results.TITLES}
    frame = labelled(made(SFT[:1], benchmarks=("hpo_terms", "mmlu", "a_task_of_theirs")))
    assert {*frame["benchmark"]} == {"medical terms", "MMLU", "a_task_of_theirs"}
    assert results.chance("medical terms") == 0.25 and results.chance("HumanEval") == 0


def test_the_peak_is_set_against_what_was_tested_at_other_budgets() -> None:
    scores, fitted = results.scores(labelled(made(SFT[:1], budgets=(2048, 100)))), cached("programs not run").fits
    points, marks = other_budgets(scores, fitted, "medical terms", LIKELIHOOD)
    assert set(points["budget"]) == {"2,048 tokens", "100 tokens"}
    assert points["cpt_fraction"].tolist() == [1 - 64 / 2048, 1 - 256 / 2048, 1 - 64 / 100]
    peak = fitted["medical terms", LIKELIHOOD].optimum.sft_tokens
    assert peak is not None and 100 < peak < 2048
    assert marks["mark"].tolist() == ["predicted", "tested best", "tested best"], "no split of 100 tokens has the peak"
    assert marks["cpt_fraction"].iloc[0] == pytest.approx(1 - peak / 2048)
    tested = scores[(scores["budget"] == 2048) & (scores["metric"] == LIKELIHOOD)]
    assert marks["sft_tokens"].iloc[1] == tested.loc[tested["score"].idxmax(), "sft_tokens"]


def test_the_cpt_ablation_tests_each_benchmark_and_metric_by_itself() -> None:
    frame = made(SFT[:1], benchmarks=("hpo_terms", "mmlu"), steps=(512, 1024, 2048), seeds=(0, 1))
    rows = frame["benchmark"].eq("mmlu") & frame["kind"].eq("CPT ablation")
    frame.loc[rows, "right"] = frame.loc[rows, "item"].isin(["q1", "q2", "q3"])  # far from the other, and nearly equal
    frame.loc[rows & (frame["cpt_tokens"] == 512) & (frame["item"] == "q1"), "right"] = False
    found = study(frame, cpt_batch=2, cpt_length=128).results().cpt_steps
    assert found["cpt_steps"].tolist() == [2.0] * 4 + [4.0] * 4 + [8.0] * 4, "of the first seed"
    for (benchmark, metric), part in found.groupby(["benchmark", "metric"]):
        own = frame[
            frame["benchmark"].replace(results.TITLES).eq(benchmark)
            & frame["kind"].eq("CPT ablation")
            & frame["seed"].eq(0)
        ]
        values = np.stack([results.per_item(one, metric) for _, one in own.groupby("cpt_tokens")])
        expected = cochrans_q(values.T).pvalue if metric == ACCURACY else hotelling((values[1:] - values[0]).T).pvalue
        assert part["p_value"].to_numpy() == pytest.approx(expected)
        assert part["score"].to_numpy() == pytest.approx(values.mean(axis=1))
    text = cells(tables.cpt_steps(found))
    assert text[1][:3] == ["medical terms", "accuracy (%)", "2"] and len(text) == 13


def test_a_cpt_ablation_of_two_runs_is_tested_as_a_pair() -> None:
    frame = made(SFT[:1], steps=(512, 1024))
    found = study(frame).results().cpt_steps.set_index("metric")["p_value"]
    runs = [part for _, part in frame[frame["kind"] == "CPT ablation"].groupby("cpt_tokens")]
    test = stats.ttest_rel(*(results.per_item(part, LIKELIHOOD).to_numpy() for part in runs))
    assert found[LIKELIHOOD].to_numpy() == pytest.approx(test.pvalue)


def test_a_cpt_ablation_of_one_run_or_of_equal_answers_has_no_test() -> None:
    one = study(made(SFT[:1], steps=(512,))).results().cpt_steps
    same = study(made(SFT[:1], steps=(512, 1024), equal=True)).results().cpt_steps
    for found in (one, same):
        assert found["p_value"].isna().all()
        assert all(line[-1] == DASH for line in cells(tables.cpt_steps(found))[1:])


# Words: every page's calls, for every kind of study


STUDIES: dict[str, dict[str, Any]] = {
    "full": {"domains": ("health", "coding"), "benchmarks": ("mmlu",)},
    "two seeds": {"seeds": (0, 1)},
    "programs not run": {"benchmarks": ("hpo_terms", "humaneval"), "not_run": ("humaneval",)},
    "only programs, not run": {"benchmarks": ("humaneval",), "not_run": ("humaneval",)},
    "one allocation": {"sft": (256,)},
    "no SFT in it": {"sft": (0,), "alone": (), "budgets": (), "steps": ()},
    "no CPT in it": {"sft": (BUDGET,), "alone": (), "budgets": (), "steps": ()},
    "nothing beside it": {"sft": SFT[:3], "alone": (), "steps": (), "budgets": ()},
    "five allocations, SFT only elsewhere": {"sft": SFT[:6], "alone": (99,)},
    "all answers equal": {"equal": True},
    "two questions": {"questions": 2},
}  # fmt: skip


@cache
def cached(name: str) -> StudyResults:
    return study(made(**STUDIES[name])).results()


@pytest.mark.parametrize("name", STUDIES)
def test_the_page_of_the_law_is_made_for_every_study(name: str) -> None:
    own = cached(name)
    for table in (tables.study_scores(own.allocations), tables.optima(own)):
        assert "nan" not in table.to_html()
    assert "nan" not in tables.alternatives(own).to_html()
    figures.law(own).to_dict()
    assert set(zip(own.optima["benchmark"], own.optima["metric"], strict=True)) == set(own.fits)
    rows = own.alternatives
    rows = rows[(rows["law"] == NAME) & (rows["delta_aicc"].astype(float) < math.inf)]
    drawn = zip(own.curves["benchmark"], own.curves["metric"], strict=True)
    assert set(drawn) == set(zip(rows["benchmark"], rows["metric"], strict=True)), "no law without a criterion"


@pytest.mark.parametrize("name", STUDIES)
def test_the_page_of_ablations_is_made_for_every_study(name: str) -> None:
    own = cached(name)
    assert "nan" not in tables.cpt_steps(own.cpt_steps).to_html()
    drawn = display.if_any(own.other_budgets[0], figures.budgets, own, otherwise="one budget")
    assert isinstance(drawn, display.Note) == own.other_budgets[0].empty
    gains = display.if_any(own.ablation, figures.gains, otherwise="no pairs")
    assert isinstance(gains, display.Note) or "nan" not in json.dumps(gains.to_dict()).lower()


@pytest.mark.parametrize("name", STUDIES)
def test_comparisons_are_a_table_for_every_study(name: str) -> None:
    own = cached(name)
    pairs = own.ablation
    assert len(cells(tables.paired(pairs))) == 1 + len(pairs)


@pytest.mark.parametrize("name", STUDIES)
def test_splits_are_compared_with_sft_alone_at_equal_cost_in_every_study(name: str) -> None:
    pairs = cached(name).splits
    assert len(cells(tables.paired(pairs))) == 1 + len(pairs)


def test_sft_on_the_whole_budget_is_drawn_as_sft_alone_and_once() -> None:
    points = study(made((0, 64, BUDGET), alone=(64, BUDGET))).results().points
    own = points[points["metric"] == LIKELIHOOD].set_index("trained")["sft_tokens"]
    assert sorted(own["SFT only"]) == [64, BUDGET] and sorted(own["CPT and SFT"]) == [0, 64]


def test_a_split_is_compared_with_sft_on_the_same_budget() -> None:
    own = study(made((0, 64, 512, BUDGET), domains=("health", "coding"), seeds=(0, 1)), seeds=[0, 1]).results()
    pairs = split_pairs(own.scores, BUDGET)
    assert len(pairs) == 2 * 2 * 3, "domains, seeds, splits with CPT"
    for alone, split, name in pairs:
        assert (alone["domain"], alone["seed"]) == (split["domain"], split["seed"])
        assert alone["cpt_tokens"] == 0 < split["cpt_tokens"]
        assert alone["sft_tokens"] == split["cpt_tokens"] + split["sft_tokens"] == BUDGET
        assert name == f"{split['sft_tokens']:,.0f} SFT, {split['cpt_tokens']:,.0f} CPT ({split['seed']})"
    found = own.splits
    best = found[(found["metric"] == LIKELIHOOD) & found["name"].str.startswith("64 SFT")]
    assert (best["difference"] > 0).all(), "which is best in these studies"
    assert split_pairs(results.scores(made((0, 64, 512))), BUDGET) == [], "never all of it"


@pytest.mark.parametrize("name", STUDIES)
def test_the_base_model_s_scores_are_a_table_for_every_study(name: str) -> None:
    own = cached(name)
    scores = own.scores
    found = cells(tables.base_scores(scores[scores["kind"] == "base"]))
    benchmarks = list(dict.fromkeys(scores["benchmark"]))
    assert sorted(row[1] for row in found[1:]) == sorted(benchmarks), "one row each, whatever was not run"


def line() -> pd.DataFrame:
    return cached("full").score_line


DRIFTS: dict[str, Callable[[], pd.DataFrame]] = {
    "both phases": lambda: pd.concat([phased(), phased((0.6, 0.5, 0.3, 0.2, 0.1, 0.3), "CPT to SFT")]),
    "no tuning": phased,
    "few allocations": lambda: phased((0.1, 0.2)),
    "one allocation": lambda: phased((0.1,)),
    "nothing moves": lambda: phased((0.0,) * 6),
    "states that are all the same": lambda: phased((math.nan,) * 6),
    "none": lambda: results.phases([], "debiased"),
}


@pytest.mark.parametrize("name", DRIFTS)
@pytest.mark.filterwarnings("error")
def test_drift_is_a_table_for_every_study(name: str) -> None:
    phases = DRIFTS[name]()
    draw = partial(tables.drifts, phases, phases.head(0), 5)
    table = display.if_any(phases, lambda _: draw(), otherwise="no drift")
    assert isinstance(table, display.Note) == phases.empty
    for row in [] if phases.empty else cells(table)[1:]:
        assert row[2] == "5" and "nan" not in row
        assert row[-1] == DASH, "no other seed"


def test_drift_stands_beside_what_a_seed_moves() -> None:
    seeds = pd.DataFrame({"domain": "health", "drift": [0.01], "phase": ["base to CPT"]})
    found = cells(tables.drifts(DRIFTS["both phases"](), seeds, 5))
    assert found[1][2:] == ["5", "6", "0.1000", "0.6000", "0.0100"]
    assert found[2][2:] == ["5", "6", "0.1000", "0.6000", DASH]


def test_the_score_drawn_beside_drift_is_the_first_benchmark_s_log_likelihood() -> None:
    frame = made(SFT[:3], domains=("health", "coding"), benchmarks=("hpo_terms", "mmlu"), seeds=(0, 1))
    own = study(frame, seeds=[0, 1]).results()
    line = own.score_line
    assert list(line.groupby("domain", sort=False).size()) == [3, 3], "of the first seed"
    assert (line["low"] < line["score"]).all() and (line["score"] < line["high"]).all()
    expected = own.allocations
    expected = expected[(expected["metric"] == LIKELIHOOD) & (expected["seed"] == 0)]
    expected = expected[expected["benchmark"].isin(["medical terms", "hpo_terms_coding"])]
    assert line["score"].tolist() == expected["score"].tolist()


def test_a_benchmark_of_several_domains_is_told_apart_by_their_names() -> None:
    own = study(made(SFT[:1], domains=("health", "coding"), benchmarks=("hpo_terms", "mmlu"))).results()
    assert set(own.scores["benchmark"]) == {"medical terms", "MMLU, health", "hpo_terms_coding", "MMLU, coding"}
    assert {benchmark for benchmark, _ in cached("full").fits} == {"MMLU, health", "MMLU, coding"}


def test_a_dash_stands_where_a_benchmark_was_not_run() -> None:
    found = cells(tables.study_scores(cached("programs not run").allocations))
    at = found[1].index("accuracy (%)", found[1].index("accuracy (%)") + 1)
    assert {row[at] for row in found[2:]} == {DASH}
