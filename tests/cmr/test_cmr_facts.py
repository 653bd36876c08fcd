"""Numbers that pages quote, and what binds a critical ratio."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.studies import DISTANCES, losses, results
from repro import cmr, params
from repro.cmr import facts, tables


def said(values: dict[str, Any]) -> None:
    """Every value may be glued, and no text lets a missing number through."""
    for name, value in values.items():
        assert value is not None and value == value, name
        assert not re.search(r"\bnan\b|\binf\b|None", str(value)), f"{name}: {value}"
        assert str(value).strip(), name


@pytest.mark.parametrize(("seeds", "says"), [([0], "one seed: intervals do not include"), ([0, 1], "; two seeds")])
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


def test_the_papers_own_numbers() -> None:
    offsets = facts.offsets()
    assert facts.disguised() == {"largest_alpha1": 265.17268, "its_s1": -0.00018}
    assert float(offsets["offset_31b"]) > 4 * float(offsets["offset_others"])


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


def test_the_analysis_of_a_domain_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page and claims ask for the same results, which take seconds each."""
    study = cmr.open_study(params.check(params.read(params.preset_file("smoke"))))
    rows = losses([1 / 4, 1 / 2, 1.0], sizes=1).assign(domain=study.params.domain.name)
    monkeypatch.setattr(type(study), "losses", lambda _: rows)
    assert study.results() is study.results(study.params.domain.name)
    with pytest.raises(ValueError, match="no domain 'law' in this study"):
        study.results("law")


def test_the_papers_own_models_end_within_the_tolerance_with_replay_and_above_it_without() -> None:
    found = facts.rises(cmr.paper, "paper")
    assert found["paper_ratio"] == "3/4"
    assert 0.018 < found["paper_least"] < found["paper_most"] < 0.05 < found["paper_alone_least"]


@pytest.mark.parametrize("name", ["full", "only the domain", "few points", "with the control"])
def test_every_study_has_rises_and_critical_ratios_to_glue(name: str) -> None:
    said(facts.rises(results(name), "ours") | facts.critical(results(name), "ours"))


def test_critical_ratios_in_words_have_their_intervals() -> None:
    found = facts.critical(results("full", bootstrap=50), "ours")
    assert re.fullmatch(r"[\d.]+% \([\d.]+ to [\d.]+, one run\)", str(found["ours_tolerance_smallest"]))
