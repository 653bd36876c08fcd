"""Tables of paper B as printed and of our own study: numbers as they are, and a dash where there is none."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportions_chisquare

from helpers.tables import cells, row
from repro.allocation import paper, published, tables
from repro.show.tables import DASH
from repro.show.words import short_tokens


def test_the_ablation_of_each_domain_has_a_difference_with_its_interval() -> None:
    found = cells(tables.paired(paper.ablation))
    assert [row[0:2] for row in found[1:4]] == [[name, "MedQA"] for name in ("0.9999300", "0.9999327 (P)", "0.9999340")]
    assert [row[5] for row in found[1:4]] == ["-1.6 points", "+0.5 points", "-0.9 points"]
    chemistry = next(row for row in found if row[1] == "ChemBench4K")
    assert chemistry == [
        "0.9999300 (P)", "ChemBench4K", "accuracy", "45.1", "45.6", "+0.5 points", "-1.6 to +2.7", "0.63", "4,100"
    ]  # fmt: skip
    rows = paper.ablation.set_index(["benchmark", "cpt_fraction"])
    assert rows.loc[("HumanEval", 0.999924), "difference"] == pytest.approx(8 / 164, abs=1e-5)
    assert rows["p_value"].min() == pytest.approx(0.37, abs=0.005), "as the page says, none is clear"


def test_cpt_steps_have_the_test_that_all_are_equal() -> None:
    found = cells(tables.cpt_steps(paper.cpt_steps))
    share = published.table("A.1")["chembench"] / 100
    p = proportions_chisquare(share * 4100, [4100] * 4)[1]
    assert found[1] == ["ChemBench4K", "accuracy (%)", "4,000", "41.5 \u00b1 0.8", f"{p:.3f}"]
    assert p < 0.05, "as the page says"


def test_other_models_are_marked_as_published_and_points_are_not_percent() -> None:
    table = tables.other_models()
    heads = cells(table)[0]
    assert "as published, not run here" in heads
    llama = next(found for found in cells(table) if "Code Llama" in found)
    assert llama[-2:] == ["+11.6", "+34.6%"]
    assert llama[3] == DASH, "not printed"
    assert next(found for found in cells(table) if "the paper's split" in found)[-2:] == [DASH, DASH]


def test_the_set_up_is_side_by_side_with_ours() -> None:
    both = tables.set_up({"LoRA rank": "16", "Adapter": "<merged>"}, {"LoRA rank": "8"})
    assert row(both, "LoRA rank") == ["LoRA rank", "256", "16", "64", "8"]
    assert row(both, "Adapter") == ["Adapter", DASH, "<merged>", DASH, DASH]
    assert row(both, "Learning rate")[3].startswith(DASH), "lost in the text at hand, and said so"
    assert "<merged>" not in both.to_html()
    same = tables.set_up({"Optimiser": "AdamW"}, {"Optimiser": "AdamW"})
    assert "AdamW" not in same.to_html() and cells(same)[1][0] == "Total training steps", "what differs, in order"


def study(**changes: Any) -> pd.DataFrame:
    rows = [
        {"sft_tokens": sft, "cpt_tokens": cpt, "benchmark": benchmark, "metric": metric, "score": score, "se": se}
        for sft, cpt in ((8e3, 992e3), (0, 0), (0, 1e6), (8e3, 0))
        for benchmark in ("hpo_terms", "elements")
        for metric, score, se in (("accuracy", 0.5123, 0.02), ("log-likelihood", -1.23456, np.nan))
    ]
    return pd.DataFrame(rows).assign(**changes)


def test_our_table_6_has_a_row_for_each_allocation_in_order_of_sft_tokens() -> None:
    found = cells(tables.study_scores(study()))
    assert found[0] == ["allocation", "hpo_terms", "elements"]
    unit = ["accuracy (%)", "log-likelihood (nats/byte)"]
    assert found[1] == ["SFT tokens", "CPT tokens", "CPT fraction", *unit, *unit]
    numbers = ["51.2 \u00b1 2.0", "-1.235"] * 2
    assert found[2:] == [
        ["none", "none", DASH, *numbers],
        ["none", "1.00M", "1.0000", *numbers],
        ["8.00k", "none", "0.0000", *numbers],
        ["8.00k", "992k", "0.9920", *numbers],
    ]


def test_a_score_that_was_not_run_is_a_dash_and_one_allocation_is_a_table() -> None:
    one = study().query("cpt_tokens == 992000")
    gone = one.assign(score=one["score"].where(one["benchmark"] == "elements"))
    assert cells(tables.study_scores(gone))[2][3:] == [DASH, DASH, "51.2 \u00b1 2.0", "-1.235"]
    missing = study().drop(index=2)
    assert cells(tables.study_scores(missing))[-1][3:] == ["51.2 \u00b1 2.0", "-1.235", DASH, "-1.235"]
    assert cells(tables.study_scores(study(score=np.nan)))[2][3:] == [DASH] * 4


def test_seeds_are_rows_and_two_scores_of_one_cell_are_refused() -> None:
    both = pd.concat([study(seed=0), study(seed=1)])
    found = cells(tables.study_scores(both))
    assert found[1][3] == "seed" and len(found) == 2 + 8
    with pytest.raises(ValueError, match="duplicate"):
        tables.study_scores(pd.concat([study(), study()]))


def test_comparisons_item_by_item() -> None:
    frame = pd.DataFrame([
        {"name": "a, b", "items": 1200, "first": 0.4333, "second": 0.45, "p_value": 0.0003,
         "difference": 0.0167, "low": 0.003, "high": 0.03},
        {"name": "a, c", "items": 1200, "first": 0.45, "second": 0.45, "p_value": 1.0,
         "difference": 0.0, "low": np.nan, "high": np.nan},
    ]).assign(benchmark="c", metric="accuracy")  # fmt: skip
    found = cells(tables.paired(frame))
    assert found[1] == [
        "a, b", "c", "accuracy", "43.3", "45.0", "+1.7 points", "+0.3 to +3.0", "below 0.001", "1,200"
    ]  # fmt: skip
    assert found[2][6:8] == [DASH, "1.00"]
    other = frame.head(1).assign(metric="log-likelihood")
    assert cells(tables.paired(other))[1][5:] == ["+0.017", "+0.003 to +0.030", "below 0.001", "1,200"]


@pytest.mark.parametrize(
    ("number", "text"), [(0, "none"), (950, "950"), (12_345, "12.3k"), (2.4e6, "2.40M"), (29.9976e9, "30.0B")]
)
def test_tokens_as_readers_say_them(number: float, text: str) -> None:
    assert short_tokens(number) == text


def test_printed_scores_are_there_as_numbers() -> None:
    scores = cells(tables.printed_scores())
    assert len(scores) == 1 + 16
    assert scores[5] == ["2.10M", "0.9999300", "57.03", "39.02", "34.76", "45.59"]


def test_a_head_start_is_compared_where_sft_alone_has_come_as_well() -> None:
    losses = {0: {1: 4.0, 3: 3.0, 7: 2.0}, 6000: {1: 3.5, 3: 2.5, 5: 2.25}}
    rows = [(cpt, step, loss) for cpt, path in losses.items() for step, loss in path.items()]
    frame = pd.DataFrame(rows, columns=["cpt_tokens", "step", "loss"]).assign(domain="health")
    found = cells(tables.head_starts(frame))
    assert found[1:] == [
        ["health", "0", "4.00", "7", "2.00", "2.00"],
        ["health", "6,000", "3.50", "3", "2.50", "3.00"],
    ]
