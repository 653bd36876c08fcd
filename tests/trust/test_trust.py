"""How far fits can be trusted: surfaces, warnings, alternatives, and what recovery studies say."""

import numpy as np
import pandas as pd
import pytest
import vl_convert

from helpers.studies import losses, study
from repro.laws import analyse
from repro.trust import figures, frames, peaks, recovered, tables
from tools import recoveries


def drawn(chart: object) -> str:
    svg = vl_convert.vegalite_to_svg(chart.to_dict())  # type: ignore[attr-defined]
    assert "NaN" not in svg and "undefined" not in svg
    return svg


@pytest.fixture(scope="module")
def found() -> list[frames.Surface]:
    return frames.surfaces(study("full"))


def test_the_surface_is_least_at_the_fit_and_the_region_holds_it(found: list[frames.Surface]) -> None:
    assert found[0].share <= found[1].share
    for one in found:
        cells = one.cells
        assert (cells["s2"] < cells["s3"]).all()
        assert cells["excess"].min() >= 1 - 1e-9, "a pair of exponents fits better than the fit"
        assert one.share == cells["within"].mean()
        near = np.hypot(cells["s2"] - one.fit.params["s2"], cells["s3"] - one.fit.params["s3"])
        assert cells.loc[near.idxmin(), "excess"] <= np.median(cells["excess"])


def test_surfaces_are_drawn_and_named(found: list[frames.Surface]) -> None:
    svg = drawn(figures.surfaces(found))
    assert all(one.label in svg for one in found)
    assert "estimate" in str(found[0].fit.summary())


def test_without_spare_points_there_is_no_surface_and_the_figure_says_so() -> None:
    none = frames.surfaces(study("few points"))
    assert none == []
    assert "No curve" in drawn(figures.surfaces(none))


@pytest.mark.parametrize("name", ["full", "only the domain"])
def test_alternatives_are_compared_even_where_nothing_can_be_judged(name: str) -> None:
    table = frames.alternatives(study(name))
    assert set(table["kind"]) == set(tables.KINDS)
    assert "nan" not in tables.alternatives(table).to_html()
    judged = table[table["aicc_judged"] > 0]
    assert (judged.groupby("kind")["aicc_wins"].sum() == judged.groupby("kind")["aicc_judged"].first()).all()


def critical(studies: int = 20) -> pd.DataFrame:
    """As `coverage` gives it: intervals of half-width 0.1 about estimates 0.05 too high, the first study without."""
    rows = []
    for number in range(studies):
        truth = 0.3 + 0.01 * number
        share = {
            "truth": truth,
            "estimate": truth + 0.05,
            "lower": truth - 0.05,
            "upper": truth + 0.15,
            "covered": True,
        }
        none = {"truth": truth, "estimate": np.nan, "lower": np.nan, "upper": np.nan, "covered": False}
        turn = {"truth": 50.0, "estimate": 60.0, "lower": 30.0, "upper": 90.0, "covered": True}
        late = {"truth": 200.0, "estimate": 150.0, "lower": 90.0, "upper": np.inf, "covered": True}
        ends = late if number % 2 else none | {"truth": 200.0}
        rows += [
            {"set": number % 5, "quantity": "by turning point", "ratio": np.nan, **(share if number else none)},
            {"set": number % 5, "quantity": "by tolerance", "ratio": np.nan, **share},
            {"set": number % 5, "quantity": "turning point", "ratio": 0.125, **turn},
            {"set": number % 5, "quantity": "turning point", "ratio": 0.5, **ends},
        ]  # fmt: skip
    return pd.DataFrame(rows).assign(law="all", reach="across")


@pytest.fixture
def both() -> pd.DataFrame:
    best = pd.DataFrame({"truth": [1e6, 2e6], "estimate": [1.1e6, 2e6], "lower": [9e5, 2.1e6], "upper": [2e6, 4e6]})
    return recovered.together(critical(), best.assign(covered=[True, False]))


def test_coverage_counts_a_missing_interval_as_a_miss(both: pd.DataFrame) -> None:
    table = recovered.coverage(both).set_index("quantity")
    turning = table.loc[recovered.BY_TURNING]
    assert turning["error"] == pytest.approx(0.05)
    assert (turning["studies"], turning["covered"], turning["missing"]) == (20, 0.95, pytest.approx(0.05))
    assert turning["low"] < 0.95 < turning["high"]
    assert turning["width"] == pytest.approx(0.2)
    assert table.loc["T0 at R = 1/8", "width"] == pytest.approx(3)
    assert (table.loc["T0 at R = 1/2", "open"], table.loc["T0 at R = 1/2", "width"]) == (1, np.inf)
    assert table.loc[recovered.BEST, "covered"] == 0.5
    assert list(table.index[:3]) == list(recovered.MAIN)
    assert not both.duplicated(["quantity", "study"]).any()


def test_each_design_of_a_study_has_its_own_coverage() -> None:
    few = critical().assign(ratios=4, seeds=1, form="power", bound=False)
    many = critical().assign(ratios=9, seeds=3, form="steep", bound=True, covered=False)
    narrow = few.assign(law="a law alone", upper=few["upper"] - 0.1)
    cells = recoveries.cells(pd.concat([few, narrow, many])).set_index(["quantity", "ratios"])
    assert (
        cells.loc[(recovered.BY_TOLERANCE, 4), "covered"] == 1 and cells.loc[(recovered.BY_TOLERANCE, 9), "bounds"] == 1
    )
    assert cells.loc[("turning points", 9), ["studies", "covered", "form"]].tolist() == [40, 0, "steep"]
    assert cells.loc[(recovered.BY_TOLERANCE, 4), "times"] == pytest.approx(2)
    assert np.isnan(cells.loc[(recovered.BY_TOLERANCE, 9), "times"])
    text = tables.coverage(cells.reset_index()).to_html()
    assert "2.00 times" in text and "nan" not in text


def test_answers_that_are_refused_are_counted_by_what_can_be_told() -> None:
    told, not_told = critical().assign(bound=False), critical().assign(bound=True, reach="below")
    table = recoveries.refused(pd.concat([told, not_told])).set_index(["quantity", "reach"])
    assert table.loc[(recovered.BY_TURNING, "across"), "refused"] == pytest.approx(1 / 20)  # the first has no value
    assert table.loc[(recovered.BY_TOLERANCE, "across"), "refused"] == 0
    assert table.loc[(recovered.BY_TOLERANCE, "below"), "refused"] == 1
    assert "all lie below it" in tables.refused(table.reset_index()).to_html()


def test_what_recovery_says_is_drawn_and_told(both: pd.DataFrame) -> None:
    table = recovered.coverage(both)
    for chart in (figures.intervals(both), figures.coverage(table)):
        drawn(chart)
    text = tables.coverage(table).to_html()
    assert "nan" not in text and "inf" not in text and "+5.0 points" in text
    wrong = recovered.coverage(both.assign(covered=False))
    assert ">0.0%</td>" in tables.coverage(wrong).to_html()


def test_a_study_without_any_interval_is_told_without_numbers() -> None:
    bare = critical(2).assign(estimate=np.nan, lower=np.nan, upper=np.nan, covered=False)
    frame = recovered.together(bare, bare[["truth", "estimate", "lower", "upper", "covered"]].iloc[:2] * 1.0)
    assert "nan" not in tables.coverage(recovered.coverage(frame)).to_html()


def test_a_study_with_a_bootstrap_goes_the_same_way() -> None:
    analysis = analyse(losses([1 / 4, 1 / 2, 1.0], sizes=1), bootstrap=20)
    assert "bootstrap" in str(frames.surfaces(analysis)[0].fit.summary())


def test_claims_of_peaks_are_counted_and_told() -> None:
    stages = peaks.peak_stages(3, 20)
    assert {stage.shape: stage.sets for stage in stages} == dict.fromkeys(peaks.SHAPES, 3) | {"peak": 1}
    assert [stage.sets for stage in peaks.peak_stages(120, 20)][:3] == [50, 50, 20]
    found = [peaks.claims(shape, 164, 3, 20).assign(shape=shape, items=164) for shape in ("flat", "peak")]
    assert found[0].equals(peaks.claims("flat", 164, 3, 20).assign(shape="flat", items=164)), "not repeatable"
    table = recoveries.claims(pd.concat([found[0].assign(tested=[True, False, False]), found[1].assign(tested=True)]))
    assert list(table["tested"]) == [pytest.approx(1 / 3), 1]
    assert (table["tested_low"] < table["tested"]).all() and (table["tested"] <= table["tested_high"]).all()
    assert "33.3% (6.1% to 79.2%)" in peaks.table(table).to_html()


def test_the_recorded_run_is_whole_and_reaches_what_the_intervals_are_made_for() -> None:
    """What the page on recovery prints: coverage, widths, refusals and false peaks, as the large run found them."""
    coverage = recovered.recorded("coverage").set_index("quantity")
    assert coverage.loc[list(recovered.SHARES), "studies"].eq(2025).all()
    assert coverage.loc[list(recovered.MAIN), "covered"].between(*recovered.GOAL).all()
    cells = recovered.recorded("cells")
    assert len(cells) == 3 * 27 and (cells["high"] >= recovered.LEAST).all()
    assert cells.loc[cells["quantity"].isin(recovered.SHARES), "times"].max() < 1.3
    refused = recovered.recorded("refused").set_index(["quantity", "reach"])["refused"]
    assert refused.xs("across", level="reach").max() <= 0.02 and refused.xs("nothing", level="reach").min() >= 0.95
    claims = recovered.recorded("claims")
    assert claims.loc[claims["shape"] != "peak", "tested"].max() <= 0.05
    drawn(figures.coverage(coverage.reset_index()))
    for table in (tables.coverage(cells), tables.refused(recovered.recorded("refused")), peaks.table(claims)):
        assert "nan" not in table.to_html()
