"""Numbers that pages quote exist for every study that may be run: many sizes or one, any ratios, any seeds."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.studies import DISTANCES, STUDIES, results
from repro import cmr, params
from repro.cmr import facts, tables


def pretraining(sizes: int, seeds: int) -> pd.DataFrame:
    """Losses of sizes and seeds, each falling, larger sizes lower; seed by seed as a study gives them."""
    return pd.DataFrame([
        {"size": f"0.{size + 1}M", "seed": seed, "tokens": tokens, "general_loss": 7 - tokens / 1e6 - 0.1 * size + seed}
        for size in range(sizes) for seed in range(seeds) for tokens in (0, 1_000_000, 2_000_000)
    ])  # fmt: skip


def said(values: dict[str, Any]) -> None:
    """Every value may be glued, and no text lets a missing number through."""
    for name, value in values.items():
        assert value is not None and value == value, name
        assert not re.search(r"\bnan\b|\binf\b|None", str(value)), f"{name}: {value}"
        assert str(value).strip(), name


@pytest.mark.parametrize(
    ("name", "bootstrap"), [*((name, 0) for name in STUDIES), ("full", 30), ("three seeds", 30), ("few points", 30)]
)
def test_every_fact_can_be_said_of_every_study(name: str, bootstrap: int) -> None:
    ours, near = results(name, bootstrap=bootstrap), results(name, "near", bootstrap)
    for told in (facts.ratio(ours), facts.trade_off(ours), facts.tokens(ours), facts.critical(ours)):
        said(told)
    said(facts.second(ours, near, DISTANCES))
    settings = STUDIES[name]
    said(facts.pretraining(pretraining(settings.get("sizes", 2), settings.get("seeds", 1))))


def test_the_held_out_ratio_has_an_error_only_where_it_can_be_predicted() -> None:
    assert re.fullmatch(r"\d\.\d+%", str(facts.ratio(results("full"))["domain_error"]))
    for name in ("two ratios", "small ratios"):
        assert facts.ratio(results(name)) == {"domain_error": facts.NONE, "general_error": facts.NONE}


def test_critical_ratios_come_with_their_intervals() -> None:
    ours = results("full", bootstrap=30)
    told, row = facts.critical(ours), ours.critical_ratios().iloc[0]
    assert f"0.1M: {row['both']:.1%} ({100 * row['both_lower']:.1f} to " in str(told["by_size"])
    assert re.fullmatch(r"[0-2] of 2 sizes", str(told["tolerance_decides"]))
    assert "(" not in str(facts.critical(results("full"))["by_size"]), "no bootstrap, no interval"


def test_the_nearer_domain_is_the_nearer_one_whichever_comes_first() -> None:
    far, near = results("full"), results("full", "near")
    for pair in ((far, near), (near, far)):
        told = facts.second(*pair, DISTANCES)
        assert (told["near"], told["far"], told["near_distance"]) == ("near", "far", 0.2)


def test_turned_counts_curves_that_turn_within_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = results("full")
    points = pd.DataFrame({"status": ["inside", "inside", "extrapolated", "none"], "t": [40, 0, 120, np.nan]})
    monkeypatch.setattr(type(ours), "turning_points", lambda _: points)
    assert facts.trade_off(ours)["turned"] == "1 of 4", "one that falls from the start has not turned"


@pytest.mark.parametrize(("seeds", "says"), [([0], "one seed, so that no interval"), ([0, 1], "; two seeds")])
def test_the_scale_says_what_results_rest_on(seeds: list[int], says: str) -> None:
    smoke = params.check(params.read(params.preset_file("smoke")))
    study = cmr.open_study(smoke.model_copy(update={"seeds": tuple(seeds)}))
    text = str(facts.scale(study)["scale"])
    assert says in text
    steps = study.design.continual[0].training.steps
    for part in (f" {steps} step", f"{smoke.validation_sequences} held-out sequences"):
        assert part in text


def test_warnings_are_a_table_a_notebook_can_show() -> None:
    found = results("two ratios")
    shown = tables.warnings(found).to_html()
    assert shown.count("<tr>") - 1 == len(found.analysis.warnings) > 0 and "ratios" in shown


def test_pretraining_is_a_mean_over_seeds() -> None:
    told = facts.pretraining(pretraining(sizes=2, seeds=3))
    assert told["smallest_loss"] == pytest.approx(7 - 2 + 1), "seeds end at 5, 6 and 7"
    assert told["falling"] == "6 of 6"
    flat = pretraining(sizes=1, seeds=1).assign(general_loss=5.0)
    assert facts.pretraining(flat)["falling"] == "0 of 1"


def test_the_papers_own_numbers() -> None:
    offsets = facts.published_offsets()
    assert offsets["largest_alpha1"] == 265.17268
    assert offsets["its_s1"] == -0.00018
    assert float(offsets["offset_31b"]) > 4 * float(offsets["offset_others"])
    refits = facts.published_ratio()
    assert float(refits["refit"]) < float(refits["refit_interior"]) < float(refits["printed_error"])


def test_what_binds_follows_from_both_ratios() -> None:
    ours = results("full")
    found = ours.tolerances()
    assert sorted(set(found["epsilon"])) == sorted({0.02, 0.05, 0.1, ours.epsilon})
    own = found[found["epsilon"] == ours.epsilon].set_index("size")
    critical = ours.critical_ratios().set_index("size")
    for column in ("tolerance_ratio", "tolerance_lower", "tolerance_upper", "critical_ratio"):
        pd.testing.assert_series_equal(own[column], critical[column])
    smaller = np.where(critical["tolerance_ratio"] < critical["critical_ratio"], "tolerance", "turning point")
    assert own["binds"].tolist() == list(smaller)
    assert found.groupby("size")["tolerance_ratio"].is_monotonic_increasing.all(), "more is allowed, more fits"


def test_a_tolerance_that_no_ratio_keeps_is_what_binds() -> None:
    found = results("full").tolerances(among=(-1.0,))
    rows = found[found["epsilon"] == -1]
    assert (rows["tolerance_bound"] == "at most").all()
    assert rows.loc[rows["tolerance_ratio"] < rows["critical_ratio"], "binds"].eq("tolerance").all()


def test_corpora() -> None:
    rows = [("general", "training", 100, 1.5), ("general", "replay", 20, 0.5), ("far", "training", 50, 1.0)]
    parts = pd.DataFrame(rows, columns=["corpus", "part", "tokens", "epochs"]).assign(near_duplicates=3)
    told = facts.corpora(parts, DISTANCES)
    said(told)
    assert (told["dropped"], told["largest_share"], told["general_epochs"]) == (6, 0.1, 1.5)
