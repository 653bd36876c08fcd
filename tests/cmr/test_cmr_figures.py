"""Every figure draws from the paper's numbers and from a study of our own, and reads on white and on dark."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.charts import drawn, values
from helpers.studies import Given
from repro.cmr import figures, paper
from repro.cmr.frames import FIGURE_5, DomainResults, Results
from repro.laws import analyse, ratio_label

RATIOS = [1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4, 1.0]


@pytest.fixture(scope="module")
def ours() -> DomainResults:
    """A study of two tiny sizes: general loss rises and falls, later for larger ratios; a little noise."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for size, scale in (("0.1M", 1.0), ("0.3M", 0.8)):
        for ratio in RATIOS:
            share = np.linspace(0, 1, 26)
            general = scale * (0.25 * ratio**1.3 * share**0.5 - 0.06 * (1 - ratio) * share)
            domain = -(0.4 + 0.6 * ratio) * share**0.3
            noise = rng.normal(0, 5e-4, (2, share.size)) * (share > 0)
            rows += [
                {"size": size, "domain": "far", "ratio": ratio, "tokens": round(1e6 * s),
                 "general_loss": 4.2 + g, "domain_loss": 5.1 + d, "seed": 0}
                for s, g, d in zip(share, general + noise[0], domain + noise[1], strict=True)
            ]  # fmt: skip
    return DomainResults(analyse(pd.DataFrame(rows)))


FIGURES: dict[str, Callable[[Results], Any]] = {
    "trade_off": figures.trade_off,
    "cross_sections": figures.cross_sections,
    "loss_against_tokens": lambda side: figures.loss_against_tokens(side, side.sizes[0]),
    "all_loss_against_tokens": figures.all_loss_against_tokens,
    "both_losses": figures.both_losses,
    "loss_against_ratio": figures.loss_against_ratio,
    "critical_ratio": figures.critical_ratio,
    "turning_points": figures.turning_points,
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("source", ["paper", pytest.param("ours", marks=pytest.mark.ci)])
def test_every_figure_draws(name: str, source: str, ours: DomainResults) -> None:
    chart = FIGURES[name](paper if source == "paper" else ours)
    svg = drawn(chart)
    assert "NaN" not in svg
    assert "undefined" not in svg
    assert svg.count("<path") > 20
    spec = chart.to_dict()
    assert spec["config"]["background"] == "transparent"
    assert spec["description"]
    assert '"tooltip"' in json.dumps(spec)
    assert spec["params"]
    assert float(svg.split('width="')[1].split('"')[0]) <= 720, "a page of the book is that wide"


def test_drawing_the_same_results_twice_gives_the_same_picture() -> None:
    def picture() -> str:
        # Vega numbers its clip paths on and on through a process.
        return re.sub(r"clip\d+", "clip", drawn(figures.both_losses(paper, "460M")))

    assert picture() == picture()


def test_drawing_leaves_the_frame_alone() -> None:
    curves = paper.curves(FIGURE_5)
    before, side = curves.copy(), Given(turning_points=paper.turning_points())
    side.curves = lambda *_, **__: curves
    figures.all_loss_against_tokens(side)
    pd.testing.assert_frame_equal(before, curves)


def test_the_trade_off_has_all_sizes_and_ratios_and_ends_with_the_run() -> None:
    rows = values(figures.trade_off(paper))
    assert {row["size"] for row in rows if "size" in row} == set(paper.sizes)
    assert {row["mixture"] for row in rows if "mixture" in row} == {ratio_label(r) for r in RATIOS}
    assert max(row["t"] for row in rows if "t" in row) == 100, "extrapolated stretches are no part of a trajectory"


def test_arrow_heads_point_along_the_trajectory() -> None:
    curve = pd.DataFrame({
        "size": "a", "ratio": 0.5, "t": [1.0, 50.0, 100.0], "general": [0.0, 0.01, 0.02],
        "domain": [-0.1, -0.2, -0.3], "kind": "fitted",
    })  # fmt: skip
    chart = figures.trade_off(Given(curves=curve))
    heads = [row for row in values(chart) if row.get("mark") == "end of run"]
    assert len(heads) == 1
    assert -90 < heads[0]["angle"] < 0, "up and to the left, clockwise from up"


def test_a_trajectory_without_a_fit_is_drawn_from_its_measurements(ours: DomainResults) -> None:
    measured = Given(curves=ours.analysis.measured())
    assert "<path" in drawn(figures.both_losses(measured))
    assert "<path" in drawn(figures.all_loss_against_tokens(measured))


def test_figures_to_be_compared_have_one_axis(ours: DomainResults) -> None:
    curves = ours.curves(FIGURE_5)
    low, high = Given(curves=curves), Given(curves=curves.assign(general=curves["general"] + 3))
    low.sizes = high.sizes = ours.sizes
    low.domain, high.domain = "near", "far"
    chart = figures.loss_on_two_domains(low, high)
    assert panels(chart) == ["0.1M on near", "0.1M on far"]
    layers = [layer for panel in chart.to_dict()["concat"] for layer in panel["layer"]]
    scales = [layer.get("encoding", {}).get("y", {}).get("scale", {}) for layer in layers]
    spans = [scale["domain"] for scale in scales if "domain" in scale]
    assert spans and all(span == pytest.approx(spans[0]) for span in spans)
    assert spans[0][1] - spans[0][0] > 3


def test_values_that_were_not_measured_are_not_called_so() -> None:
    words = drawn(figures.loss_against_ratio(paper, "general"))
    assert "measured" not in words and "held out, from Table 4" in words


def test_turning_points_say_which_trajectories_have_none() -> None:
    rows = [row for row in values(figures.turning_points(paper)) if row.get("status") == "no turning point"]
    assert {row["mixture"] for row in rows} >= {"1"}
    falling = pd.DataFrame({"size": ["a", "a"], "ratio": [0.25, 0.5], "t": [0.0, 30.0], "status": "inside"})
    falling = falling.assign(lower=np.nan, upper=np.nan)
    assert "falls from the start" in drawn(figures.turning_points(Given(turning_points=falling)))


def test_the_critical_ratio_is_labelled_where_the_run_ends() -> None:
    svg = drawn(figures.critical_ratio(paper))
    assert all(f">{text}<" in svg for text in ("29.8%", "34.9%", "41.4%", "47.8%"))


def test_intervals_are_drawn_where_the_frames_have_them() -> None:
    def areas(chart: Any) -> int:
        return json.dumps(chart.to_dict()).count('"type": "area"')

    ratios = paper.ratio_curves(FIGURE_5)
    band = ratios.assign(low=ratios["ratio"] - 0.02, high=ratios["ratio"] + 0.02)
    assert areas(figures.critical_ratio(Given(ratio_curves=ratios))) == 0
    assert areas(figures.critical_ratio(Given(ratio_curves=band))) == 1
    curves = paper.curves(FIGURE_5)
    curves = curves.assign(general_low=curves["general"] - 0.001, general_high=curves["general"])
    assert areas(figures.loss_against_tokens(Given(curves=curves), "460M")) == 1
    held = paper.held_out()
    law = held.law.assign(low=held.law["value"] - 0.01, high=held.law["value"] + 0.01)
    side = Given()
    side.held_out = lambda _: held._replace(law=law)
    assert areas(figures.loss_against_ratio(side)) == 4


def test_an_open_interval_of_a_turning_point_goes_on_to_the_edge_with_an_arrow() -> None:
    points = pd.DataFrame({
        "size": ["a", "a", "b"], "ratio": 0.5, "t": [30.0, 80.0, np.nan], "status": ["inside", "inside", "none"],
        "lower": [20.0, 60.0, 90.0], "upper": [45.0, np.inf, np.inf],
    })  # fmt: skip
    points = points.assign(ratio=[0.25, 0.5, 0.5])
    chart = figures.turning_points(Given(turning_points=points))
    bars = [row for row in values(chart) if "open" in row]
    top = max(row["high"] for row in bars)
    ends = {(round(row["low"], 3), round(row["high"], 3)) for row in bars}
    assert ends == {(20, 45), (60, round(top, 3)), (90, round(top, 3))}
    assert top > 90
    at = {row["size"]: row["ratio"] for row in bars if row["low"] > 50}
    assert at["a"] != at["b"], "bars of two sizes do not cover each other"
    assert "triangle-up" in json.dumps(chart.to_dict())
    bare = Given(turning_points=points.assign(lower=np.nan, upper=np.nan))
    assert '"open"' not in json.dumps(figures.turning_points(bare).to_dict())


def test_critical_ratios_stand_with_their_intervals_by_both_conditions() -> None:
    found = pd.DataFrame({
        "size": ["a", "b"], "domain": "far", "critical_ratio": [0.4, np.nan], "tolerance_ratio": [0.5, 0.6],
        "turning_lower": [0.35, np.nan], "turning_upper": [0.55, np.nan],
        "tolerance_lower": [0.48, np.nan], "tolerance_upper": [0.52, np.nan],
    })  # fmt: skip
    chart = figures.critical_ratio_intervals(Given(critical_ratios=found))
    svg = drawn(chart)
    assert "Critical mixture ratio at the end of training" in svg
    assert svg.count(">does not exist<") == 1
    bars = {(row["name"], row["route"]) for row in values(chart) if row.get("low") is not None}
    assert bars == {("a", "by turning point"), ("a", "by tolerance")}
    near = Given(critical_ratios=found.assign(domain="near"))
    two = figures.critical_ratio_intervals(Given(critical_ratios=found), near)
    assert {row["name"] for row in values(two) if "name" in row} == {"far", "near"}


def test_a_size_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="no curves for size '7B'; there are 460M"):
        figures.loss_against_tokens(paper, "7B")


def test_corpora_and_pretraining() -> None:
    sizes = pd.DataFrame({
        "corpus": ["general", "general", "far"], "part": ["training", "validation", "training"],
        "tokens": [3e6, 1e5, 8e5], "documents": [3, 2, 1],
    })  # fmt: skip
    assert "Tokens (millions)" in drawn(figures.corpus_sizes(sizes))
    far = pd.DataFrame({"corpus": ["far", "near"], "distance": [0.4, 0.1]})
    assert "Jensen-Shannon distance" in drawn(figures.corpus_distance(far))
    losses = pd.DataFrame({
        "size": ["a"] * 3 + ["b"] * 3, "tokens": [0, 1e6, 2e6] * 2, "general_loss": [7, 5, 4.5, 7, 4.8, 4.2],
    })  # fmt: skip
    assert "Pretraining tokens" in drawn(figures.pretraining_curves(losses))


def test_pretraining_with_several_seeds_is_a_mean_and_a_band() -> None:
    tokens = [0, 1e6, 2e6]
    seeds = [
        pd.DataFrame({"size": size, "seed": seed, "tokens": tokens, "general_loss": [7, 5 + seed, 4 + seed]})
        for size in ("a", "b")
        for seed in (0, 1, 2)
    ]
    chart = figures.pretraining_curves(pd.concat(seeds))
    drawn(chart)
    rows = [row for row in values(chart) if row.get("size") == "a"]
    assert [(row["millions"], row["min"], row["mean"], row["max"]) for row in rows] == [(1, 5, 6, 7), (2, 4, 5, 6)]
    assert '"type": "area"' in json.dumps(chart.to_dict())
    assert '"type": "area"' not in json.dumps(figures.pretraining_curves(seeds[0]).to_dict())


def panels(chart: Any) -> list[str]:
    return [panel["title"] for panel in chart.to_dict()["concat"]]


@pytest.mark.parametrize(
    ("ratios", "split"),
    [
        (RATIOS, ["a, up to 1/2", "a, all ratios"]),
        ([1 / 8, 1 / 2], ["a, all ratios"]),
        ([3 / 4, 1.0], ["a, all ratios"]),
        ([1.0], ["a, all ratios"]),
        ([1 / 8, 1 / 4, 1 / 2, 1.0], ["a, up to 1/2", "a, all ratios"]),
    ],
)
def test_panels_follow_the_ratios_that_were_run(ratios: list[float], split: list[str]) -> None:
    curves = pd.concat([
        pd.DataFrame({"size": "a", "ratio": ratio, "t": [1.0, 100.0], "general": [0, 0.1], "domain": [0, -ratio],
                      "kind": "fitted"})
        for ratio in ratios
    ])  # fmt: skip
    side = Given(curves=curves)
    assert panels(figures.trade_off(side)) == split
    assert panels(figures.cross_sections(side)) == [f"R = {ratio_label(ratio)}" for ratio in ratios]
    shown = ratios if min(ratios) > 0.5 else [ratio for ratio in ratios if ratio <= 0.5]
    chart = figures.loss_against_tokens(side, "a")
    assert {row["mixture"] for row in values(chart) if "mixture" in row} == set(map(ratio_label, shown))


def test_labels_of_critical_ratios_do_not_overlap_and_stay_inside() -> None:
    law = pd.concat([
        pd.DataFrame({"size": size, "t": [50.0, 100.0, 150.0], "ratio": [0.5, 1.0, 1.0], "kind": "fitted"})
        for size in "abc"
    ])  # fmt: skip
    at = sorted(row["at"] for row in values(figures.critical_ratio(Given(ratio_curves=law))) if "says" in row)
    assert at[-1] <= 1
    assert np.diff(at).min() > 0.03
