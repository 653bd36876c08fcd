"""Frames, figures and tables of every study that may be run: many sizes or one, any ratios, any seeds."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from helpers.studies import DISTANCES, STUDIES, losses, results, study
from repro.cmr import figures, paper, tables
from repro.cmr.frames import DomainResults, differences
from repro.laws import analyse

DRAWN = ["full", "only the domain", "three seeds", "few points", "with the control"]
FAST = [("full", 30), ("only a quarter", 0), ("few points", 0), ("with the control", 30)]
EVERY = [*((name, 0) for name in STUDIES), *((name, 30) for name in DRAWN)]


class Coarse(DomainResults):
    """Results whose curves have every sixth point of those asked for."""

    def curves(self, t: Any, *, band: bool = False) -> pd.DataFrame:
        return super().curves(t[1::6], band=band)

    def ratio_curves(self, t: Any) -> pd.DataFrame:
        return super().ratio_curves(t[1::6])


@pytest.mark.parametrize(
    ("name", "bootstrap"), [*FAST, *(pytest.param(*case, marks=pytest.mark.ci) for case in EVERY if case not in FAST)]
)
def test_every_figure_and_table_is_drawn_of_every_study(name: str, bootstrap: int) -> None:
    ours, near = (Coarse(study(name, domain, bootstrap)) for domain in ("far", "near"))
    charts = [
        figures.trade_off(ours),
        figures.cross_sections(ours),
        figures.loss_against_tokens(ours, ours.sizes[-1], band=True),
        figures.all_loss_against_tokens(ours),
        figures.both_losses(ours),
        figures.both_losses(ours, ours.sizes[-1]),
        figures.loss_on_two_domains(near, ours),
        figures.loss_against_ratio(ours),
        figures.prediction_errors(paper, ours),
        figures.prediction_errors(ours),
        figures.turning_points(ours),
        figures.critical_ratio(ours),
        figures.critical_ratio_intervals(ours),
        figures.critical_ratio_intervals(ours, near),
        figures.tolerances(ours),
    ]
    for chart in charts:
        svg = vl_convert.vegalite_to_svg(chart.to_dict())
        assert "NaN" not in svg
        assert "undefined" not in svg
    stylers = [
        tables.held_out(ours), tables.fit_quality(ours), tables.coefficients(ours), tables.critical_ratios(ours),
        tables.turning_points(ours), tables.tolerances(ours), tables.multipliers(ours),
        tables.two_domains(ours, near, DISTANCES),
    ]  # fmt: skip
    assert all("<table" in styler.to_html() for styler in stylers)
    assert not any(word in styler.to_html() for styler in stylers for word in ("nan", "inf "))


def test_the_critical_ratio_needs_the_turn_and_the_tolerance() -> None:
    found = results("full").critical_ratios()
    both = found[["critical_ratio", "tolerance_ratio"]].min(axis=1, skipna=False)
    assert both.notna().any()
    pd.testing.assert_series_equal(found["both"], both, check_names=False)


def test_intervals_hold_their_values_and_are_the_analysis_own() -> None:
    ours = results("full", bootstrap=30)
    turns = ours.turning_points().dropna(subset="t")
    first = ours.analysis.groups[0].token_laws[0].turning_point
    assert first.interval is not None
    assert tuple(turns.iloc[0][["lower", "upper"]]) == pytest.approx(first.interval)
    found = ours.critical_ratios()
    for value, name in (("critical_ratio", "turning"), ("tolerance_ratio", "tolerance"), ("both", "both")):
        known = found.dropna(subset=[value, f"{name}_lower"])
        assert len(known)
        assert known[value].between(known[f"{name}_lower"], known[f"{name}_upper"]).all()
    wide = ours.coefficients()
    assert wide["s2"].between(wide["s2_lower"] - 1e-3, wide["s2_upper"] + 1e-3).mean() > 0.8
    curves = ours.curves([10, 60], band=True).query("kind == 'fitted'")
    assert curves["general"].between(curves["general_low"], curves["general_high"]).mean() > 0.8
    drawn = ours.ratio_curves([50.0, 150.0])
    assert drawn[["low", "high"]].stack().between(0, 1).all()


def test_without_a_bootstrap_there_are_no_intervals() -> None:
    ours = results("full")
    found = ours.critical_ratios()
    assert found.filter(regex="_(lower|upper)$").isna().all(axis=None)
    assert ours.turning_points()[["lower", "upper"]].isna().all(axis=None)
    assert ours.ratio_curves([50.0])[["low", "high"]].isna().all(axis=None)
    assert "s2_lower" not in ours.coefficients()
    assert "general_low" not in ours.curves([10.0], band=True)


def test_a_law_that_was_rejected_is_not_drawn_and_none_exceeds_all_text() -> None:
    """Equation 8 falling with T is not drawn; one above 1 is drawn, and labelled, as 100%."""
    ours = results("full")
    drawn = ours.ratio_curves([50.0, 150.0])
    assert 100.0 in set(drawn["t"])
    assert drawn["ratio"].max() <= 1
    found = ours.critical_ratios().set_index("size")["critical_ratio"].dropna()
    at_end = drawn[drawn["t"] == 100].set_index("size")["ratio"]
    assert at_end.to_dict() == pytest.approx(found.to_dict())
    falling = analyse(_turning_earlier_with_ratio())
    assert falling.groups[0].critical_ratio.turning_point.law is not None
    assert falling.groups[0].critical_ratio.turning_point.bound == "at least"
    assert DomainResults(falling).ratio_curves([50.0, 150.0]).empty


def _turning_earlier_with_ratio() -> pd.DataFrame:
    share = np.linspace(0, 1, 21)
    return pd.concat([
        pd.DataFrame({
            "size": "0.1M", "domain": "far", "ratio": ratio, "seed": 0, "tokens": np.round(1e6 * share),
            "general_loss": 4 + 0.1 * (2 * np.sqrt(at * share) - share), "domain_loss": 5 - share**0.3,
        })
        for ratio, at in ((1 / 4, 0.8), (1 / 2, 0.5), (3 / 4, 0.3))
    ], ignore_index=True)  # fmt: skip


def test_general_text_alone_is_measured_and_changes_no_critical_ratio() -> None:
    """R = 0 is a control: it has curves, but neither Equation 8 nor the feasible ratios take it for a mixture."""
    ratios = [1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4]
    alone = losses([0.0], sizes=1)
    with_it, without = (
        analyse(frame).groups[0]
        for mixed in [losses(ratios, sizes=1)]
        for frame in (pd.concat([mixed, alone[alone["tokens"] > 0]]), mixed)
    )
    assert [laws.ratio for laws in with_it.token_laws] == [0.0, *ratios]
    assert with_it.feasible == without.feasible
    ours, theirs = (group.critical_ratio for group in (with_it, without))
    assert ours.turning_point.value == theirs.turning_point.value
    assert ours.tolerance.value == theirs.tolerance.value
    assert 0.0 not in set(DomainResults(analyse(losses([0.0, *ratios]))).turning_points()["ratio"])


@pytest.mark.parametrize("bootstrap", [0, 30])
def test_the_critical_ratio_at_other_multipliers(bootstrap: int) -> None:
    """At the analysis's own multiplier it is the analysis's; a smaller one turns curves earlier."""
    ours = results("full", bootstrap=bootstrap)
    found, columns = ours.multipliers([100.0, 300.0]), ["critical_ratio", "turning_lower", "turning_upper"]
    assert set(found["lagrange"]) == {100.0, 300.0, ours.analysis.settings.lagrange}
    own = found[found["lagrange"] == ours.analysis.settings.lagrange].reset_index(drop=True)
    pd.testing.assert_frame_equal(own[columns], ours.critical_ratios()[columns], rtol=1e-6)
    wide = found.pivot(index="size", columns="lagrange", values="critical_ratio").dropna()
    assert len(wide)
    assert (wide[100.0] > wide[300.0]).all()
    assert (wide[300.0] > wide[ours.analysis.settings.lagrange]).all()


def test_sizes_can_differ_although_their_intervals_overlap() -> None:
    found = results("full", bootstrap=100)
    (row,) = differences(found).query("route == 'tolerance'").to_dict("records")
    ratios = found.critical_ratios().set_index("size")["tolerance_ratio"]
    assert (row["of"], row["less"]) == ("0.2M", "0.1M")
    assert row["difference"] == pytest.approx(ratios["0.2M"] - ratios["0.1M"])
    assert row["lower"] <= row["difference"] <= row["upper"]
    none = differences(results("full")).query("route == 'tolerance'").iloc[0]
    assert none["difference"] == row["difference"] and np.isnan([none["lower"], none["upper"]]).all()


def test_domains_differ_by_the_smallest_size_and_one_size_has_nothing_to_differ_from() -> None:
    found = differences(results("full"), results("small ratios", "near"))
    assert found[["of", "less", "route"]].to_numpy().tolist() == [
        ["near", "far", "tolerance"], ["near", "far", "turning point"],
    ]  # fmt: skip
    assert differences(results("one size")).empty
    assert tables.differences(results("one size")).to_html()
