"""Paper A's tables asked again: what they give by the paper's own method, beside what it prints."""

import numpy as np
import pandas as pd
import pytest
import vl_convert

from repro.cmr import paper, rederived


@pytest.fixture(scope="module")
def multipliers() -> pd.DataFrame:
    return rederived.frames.multipliers()


def test_critical_ratios_from_table_4_are_the_printed_ones() -> None:
    """The paper's chain, Equations 27 and 8, redone: within 0.6 points at every size, 460M within 0.1."""
    found = rederived.frames.critical_ratios().set_index("size")
    assert tuple(found.index) == paper.sizes
    away = 100 * (found["table4"] - found["printed"]).abs()
    assert away.max() < 0.6
    assert away["460M"] < 0.1
    assert 100 * (found["table5"] - found["printed"]).abs().max() < 0.06
    assert (found["pairs"] == len(rederived.frames.AMONG)).all()


def test_a_quarter_is_predicted_better_than_printed_if_33_percent_is_a_third() -> None:
    close, coarse = rederived.frames.prediction(), rederived.frames.prediction(0.33)
    error = rederived.frames.relative_error
    assert 100 * (close["refitted"] / close["measured"] - 1).abs().max() < 0.009
    assert error(close, "refitted") < error(close, "printed") / 5
    assert error(coarse, "refitted") > error(close, "printed")


def test_turning_points_of_table_4_are_those_of_table_5_where_the_law_was_fitted() -> None:
    found = rederived.frames.turns().set_index(["size", "ratio"])
    assert len(found) == 24
    assert found.loc[("460M", 1 / 8), ["t", "inverted"]].to_numpy(float) == pytest.approx([39.6, 39.5], abs=0.1)
    rows = found.reset_index()
    assert rows.loc[rederived.frames.fitted(rows["ratio"]), "difference"].abs().max() < 0.05
    assert sorted(found.index[found["t"].isna()]) == sorted([("940M", 3 / 4), *((size, 1.0) for size in paper.sizes)])


def test_a_large_multiplier_reproduces_table_5(multipliers: pd.DataFrame) -> None:
    away = rederived.frames.deviation(multipliers)
    assert list(away["lagrange"].iloc[[0, -1]]) == [100, 7000]
    assert (np.diff(away["mean"]) < 0).all()
    says = rederived.frames.agreement_facts(rederived.frames.turns(), away)
    assert 500 < float(says["enough"]) < 7000
    assert float(says["turns_mean"]) < float(says["turns_largest"]) < 5 < float(says["low_mean"])
    assert float(says["first"]) < 0.1 < float(says["largest"]) < 0.6


def test_figure_5_ends_at_fifty_billion_tokens() -> None:
    curves = rederived.frames.curves()
    assert set(curves["source"]) == {rederived.frames.PRINTED, rederived.frames.REFIT}
    ends = curves[curves["t"] == 250].pivot(index="size", columns="source", values="ratio")
    assert (ends[rederived.frames.REFIT] - ends[rederived.frames.PRINTED]).abs().max() < 0.01
    row = rederived.frames.comparison().set_index("where").loc["Figure 5"]
    assert (row["printed"], row["recomputed"]) == (500e9, 50e9)


def test_figures_and_tables_are_drawn(multipliers: pd.DataFrame) -> None:
    turns, curves = rederived.frames.turns(), rederived.frames.curves()
    charts = [
        rederived.shown.multipliers(multipliers),
        rederived.shown.critical_ratio(curves, turns),
    ]
    for chart in charts:
        svg = vl_convert.vegalite_to_svg(chart.to_dict())
        assert "NaN" not in svg and "undefined" not in svg
    stylers = [
        rederived.shown.comparison(rederived.frames.comparison()),
        rederived.shown.turns(turns),
    ]
    assert all("nan" not in styler.to_html() for styler in stylers)


def test_like_for_like_the_refit_is_half_as_good_again_as_printed() -> None:
    says = rederived.frames.prediction_facts()
    assert float(says["refit_error"]) < float(says["interior_error"]) < float(says["printed_error"])
    assert says["times_better"] == pytest.approx(1.5, abs=0.05)
