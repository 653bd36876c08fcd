"""Forecasts from half of the budget: right where the laws hold, told where nothing can be, drawn either way."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.charts import drawn
from helpers.studies import STUDIES, losses as made, study
from repro.cmr import claims, figures, forecasts, tables
from repro.cmr.frames import DomainResults
from repro.laws import analyse
from repro.trust.recovery import Truth

RATIOS = (1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4, 1.0)


@pytest.fixture(scope="module")
def losses() -> pd.DataFrame:
    """One run whose losses follow Equation 6 and whose ends lie on L(R)."""
    rng = np.random.default_rng(3)
    frame = Truth.drawn(rng).losses(rng, RATIOS, np.zeros((8, 1 + len(RATIOS))), seed=0)
    return frame.assign(size="1M", domain="far")


@pytest.fixture(scope="module")
def ahead(losses: pd.DataFrame) -> pd.DataFrame:
    other = losses.assign(domain="near", general_loss=losses["general_loss"] + 1)
    full = analyse(losses, bootstrap=60)
    return forecasts.of_runs(pd.concat([losses, other], ignore_index=True), full)


def test_four_ratios_are_chosen_inside() -> None:
    assert forecasts.chosen([0.0, *RATIOS]) == [1 / 8, 1 / 4, 1 / 2, 3 / 4]
    assert forecasts.chosen([1 / 4, 1.0]) == [1 / 4]


def test_the_claim_shows_this_forecast(
    losses: pd.DataFrame, ahead: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = DomainResults(analyse(losses, bootstrap=60))
    monkeypatch.setattr(claims, "_results", lambda study: known)
    monkeypatch.setattr(claims, "_FORECASTS", {})
    found = claims.REPLICATED["A003"](SimpleNamespace(losses=lambda: losses))  # type: ignore[arg-type]
    row = ahead[ahead["what"] == "critical ratio by turning point"].iloc[0]
    assert found is not None and found.value == pytest.approx((row["forecast"], row["came"]), rel=1e-6)


def test_forecasts_lie_near_what_came(ahead: pd.DataFrame, losses: pd.DataFrame) -> None:
    assert list(ahead) == forecasts.COLUMNS
    of_losses = ahead[ahead["ratio"].notna()]
    assert len(of_losses) == 2 * 5 and of_losses["tried"].sum() == 2 * 4
    assert not of_losses.loc[np.isclose(of_losses["ratio"], 1 / 3), "tried"].any()
    inside = of_losses["came"].between(of_losses["low"], of_losses["high"])
    assert inside.mean() >= 0.8
    general = of_losses[of_losses["what"] == "general loss"]
    assert (general["forecast"] - general["came"]).abs().median() < 0.02
    last = losses[(losses["tokens"] == 100) & (losses["ratio"] == 0.5)]["general_loss"].item()
    assert general.loc[general["ratio"] == 0.5, "came"].item() == pytest.approx(last)


def test_a_forecast_uses_nothing_of_the_second_half(losses: pd.DataFrame) -> None:
    later = losses["tokens"] > 50
    spoilt = losses.assign(general_loss=losses["general_loss"] + later * 0.2).drop(columns="general_sequences")
    plain = losses.drop(columns="general_sequences")
    one, two = (forecasts.of_runs(frame, analyse(frame)) for frame in (plain, spoilt))
    np.testing.assert_allclose(one["forecast"], two["forecast"])
    apart = (two["came"] - one["came"])[one["what"] == "general loss"]
    assert apart.to_numpy() == pytest.approx(0.2)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_of_any_design_gives_the_forecasts_it_can(name: str) -> None:
    frame = forecasts.of_runs(made(**STUDIES[name]), study(name))
    assert list(frame) == forecasts.COLUMNS
    assert "nan" not in tables.forecast_ratios(frame).to_html()
    drawn(figures.forecast_errors(frame))


def test_the_papers_general_loss_rises_above_its_law_beyond_the_ratios_seen() -> None:
    printed = forecasts.published()
    beyond = printed[(printed["what"] == "general loss") & (printed["ratio"] == 1)]
    assert len(beyond) == 4 and (beyond["came"] > beyond["high"]).all()
    assert (beyond["came"] > 2 * beyond["forecast"]).all()
    ratios = printed[printed["ratio"].isna()].set_index("size")
    assert ratios.loc["3.1B", "forecast"] == pytest.approx(0.470, abs=5e-4)
    assert ratios["forecast"].notna().sum() == 1  # three turn in the first half at one size only


@pytest.mark.parametrize("source", ["paper", "ours", "none"])
def test_forecasts_are_drawn_and_told(source: str, ahead: pd.DataFrame) -> None:
    frame = {"paper": forecasts.published(), "ours": ahead, "none": ahead.iloc[:0]}[source]
    svg = drawn(figures.forecast_errors(frame))
    assert "NaN" not in svg and "undefined" not in svg
    for table in (tables.forecasts(forecasts.summary(frame)), tables.forecast_ratios(frame)):
        assert "nan" not in table.to_html()


def test_the_limits_of_exponents_are_taken_apart(losses: pd.DataFrame) -> None:
    results = DomainResults(analyse(losses, bootstrap=60))
    frame = results.exponents().set_index("bound")
    assert list(frame.index) == [1.0, 3.0]
    own = results.critical_ratios().iloc[0]
    assert frame.loc[1.0, "critical_ratio"] == pytest.approx(own["critical_ratio"], abs=0.05)
    assert frame.loc[3.0, "critical_ratio"] != frame.loc[1.0, "critical_ratio"]
    assert "exponents up to 3" in tables.exponents(frame.reset_index()).to_html()
