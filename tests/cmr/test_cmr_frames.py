"""Frames, figures and tables of every study that may be run: many sizes or one, any ratios, any seeds."""

import numpy as np
import pandas as pd
import pytest
import vl_convert

from helpers.studies import DISTANCES, STUDIES, study
from repro.cmr import figures, frames, tables
from repro.laws import analyse

DRAWN = ["full", "only the domain", "three seeds", "few points"]
FAST = [("full", 30), ("only the domain", 0), ("few points", 30)]
OTHERS = [each for each in (*((name, 0) for name in STUDIES), *((name, 30) for name in DRAWN)) if each not in FAST]


@pytest.mark.parametrize(
    ("name", "bootstrap"), [*FAST, *(pytest.param(*other, marks=pytest.mark.ci) for other in OTHERS)]
)
def test_every_figure_and_table_is_drawn_of_every_study(name: str, bootstrap: int) -> None:
    analysis = study(name, bootstrap=bootstrap)
    curves, turns = frames.curves(analysis, np.arange(2, 151, 6), band=True), frames.turning_points(analysis)
    points, law = frames.held_out(frames.end_losses(analysis), band=True)
    size = analysis.groups[-1].size
    charts = [
        figures.trade_off(curves, turns, epsilon=0.05),
        figures.trade_off_zoom(curves, size, turns),
        figures.same_ratio(curves, turns),
        figures.cross_sections(curves, turns),
        figures.loss_against_tokens(curves, size, turns),
        figures.all_loss_against_tokens(curves, turns),
        figures.both_losses(curves, turns),
        figures.loss_against_ratio(points, law),
        figures.turning_points(turns),
        figures.critical_ratio(frames.ratio_curves(analysis, np.arange(2, 251, 6)), turns),
    ]
    found = frames.critical_ratios(analysis)
    two = frames.two_domains(analysis, study(name, "near", bootstrap), DISTANCES)
    charts += [figures.critical_ratio_intervals(found), figures.critical_ratio_intervals(two, by="domain")]
    for chart in charts:
        svg = vl_convert.vegalite_to_svg(chart.to_dict())
        assert "NaN" not in svg
        assert "undefined" not in svg
    stylers = [
        tables.held_out(points), tables.fit_quality(frames.fit_quality(analysis)),
        tables.coefficients(frames.coefficients(analysis)), tables.critical_ratios(found),
        tables.turning_points(turns), tables.second_domain(two),
    ]  # fmt: skip
    assert all("<table" in styler.to_html() for styler in stylers)
    assert not any(word in styler.to_html() for styler in stylers for word in ("nan", "inf "))


def test_the_critical_ratio_needs_the_turn_and_the_tolerance() -> None:
    found = frames.critical_ratios(study("full"))
    both = found[["critical_ratio", "tolerance_ratio"]].min(axis=1, skipna=False)
    assert both.notna().any()
    pd.testing.assert_series_equal(found["both"], both, check_names=False)


def test_intervals_hold_their_values_and_are_the_analysis_own() -> None:
    analysis = study("full", bootstrap=30)
    turns = frames.turning_points(analysis).dropna(subset="t")
    first = analysis.groups[0].token_laws[0].turning_point
    assert first.interval is not None
    assert tuple(turns.iloc[0][["lower", "upper"]]) == pytest.approx(first.interval)
    found = frames.critical_ratios(analysis)
    for value, name in (("critical_ratio", "turning"), ("tolerance_ratio", "tolerance"), ("both", "both")):
        known = found.dropna(subset=[value, f"{name}_lower"])
        assert len(known)
        assert known[value].between(known[f"{name}_lower"], known[f"{name}_upper"]).all()
    wide = frames.coefficients(analysis)
    assert wide["s2"].between(wide["s2_lower"] - 1e-3, wide["s2_upper"] + 1e-3).mean() > 0.8
    curves = frames.curves(analysis, [10, 60], band=True).query("kind == 'fitted'")
    assert curves["general"].between(curves["general_low"], curves["general_high"]).mean() > 0.8
    drawn = frames.ratio_curves(analysis, [50.0, 150.0])
    assert drawn[["low", "high"]].stack().between(0, 1).all()


def test_without_a_bootstrap_there_are_no_intervals() -> None:
    analysis = study("full")
    found = frames.critical_ratios(analysis)
    assert found.filter(regex="_(lower|upper)$").isna().all(axis=None)
    assert frames.turning_points(analysis)[["lower", "upper"]].isna().all(axis=None)
    assert frames.ratio_curves(analysis, [50.0])[["low", "high"]].isna().all(axis=None)
    assert "s2_lower" not in frames.coefficients(analysis)
    assert "general_low" not in frames.curves(analysis, [10.0], band=True)


def test_a_law_that_was_rejected_is_not_drawn_and_none_exceeds_all_text() -> None:
    """Equation 8 falling with T has no critical ratio; one above 1 is drawn, and labelled, as 100%."""
    analysis = study("full")
    drawn = frames.ratio_curves(analysis, [50.0, 150.0])
    assert 100.0 in set(drawn["t"])
    assert drawn["ratio"].max() <= 1
    found = frames.critical_ratios(analysis).set_index("size")["critical_ratio"].dropna()
    at_end = drawn[drawn["t"] == 100].set_index("size")["ratio"]
    assert at_end.to_dict() == pytest.approx(found.to_dict())
    falling = analyse(_turning_earlier_with_ratio())
    assert falling.groups[0].critical_ratio.turning_point.law is not None
    assert falling.groups[0].critical_ratio.turning_point.value is None
    assert frames.ratio_curves(falling, [50.0, 150.0]).empty


def _turning_earlier_with_ratio() -> pd.DataFrame:
    share = np.linspace(0, 1, 21)
    return pd.concat([
        pd.DataFrame({
            "size": "0.1M", "domain": "far", "ratio": ratio, "seed": 0, "tokens": np.round(1e6 * share),
            "general_loss": 4 + 0.1 * (2 * np.sqrt(at * share) - share), "domain_loss": 5 - share**0.3,
        })
        for ratio, at in ((1 / 4, 0.8), (1 / 2, 0.5), (3 / 4, 0.3))
    ], ignore_index=True)  # fmt: skip
