"""Figures of paper B's study draw from whatever a study has: one allocation, none without CPT, no score at all."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.charts import drawn, values
from repro.allocation import figures
from repro.allocation.figures.parts import PLACE, TokenAxis
from repro.lm import cka

TOKENS = np.array([0, 2e3, 8e3, 3e4, 1e5, 3e5, 1.2e6])
BENCHMARKS, METRICS = ("hpo_terms", "wikipedia_titles"), ("accuracy", "log-likelihood")


def scores(tokens: np.ndarray = TOKENS) -> pd.DataFrame:
    score = 0.5 + 0.1 * np.arange(len(tokens)) / max(len(tokens) - 1, 1)
    return pd.DataFrame({"sft_tokens": tokens, "score": score, "low": score - 0.03, "high": score + 0.03})


def phases(tokens: np.ndarray = TOKENS) -> pd.DataFrame:
    drift = np.linspace(0.1, 0.2, len(tokens))
    each = {"sft_tokens": tokens, "drift": drift, "low": drift - 0.05, "high": drift + 0.1}
    rows = pd.concat([pd.DataFrame({"phase": phase, **each}) for phase in ("base to CPT", "CPT to SFT")])
    return rows[(rows["sft_tokens"] > 0) | (rows["phase"] == "base to CPT")]


def ratios(tokens: np.ndarray = TOKENS, models: tuple[str, ...] = ("CPT only", "CPT and SFT")) -> pd.DataFrame:
    from_, to = tokens[1:][::-1], tokens[:-1][::-1]
    categories = ("CPT new added", "CPT replay added", "SFT new removed", "SFT replay removed")
    return pd.concat([
        pd.DataFrame({"model": model, "category": category, "sft_from": from_, "sft_to": to, "at": np.sqrt(from_ * to),
                      "drift": np.linspace(0.05, 0.3, len(to))})
        for model in models for category in categories
    ])  # fmt: skip


def study(tokens: np.ndarray = TOKENS, trained: tuple[str, ...] = ("CPT and SFT", "SFT only")) -> list[pd.DataFrame]:
    """Points, curves, optima, baselines; the second metric is negative."""
    keys = [{"benchmark": benchmark, "metric": metric} for benchmark in BENCHMARKS for metric in METRICS]
    lift = {"accuracy": 0.0, "log-likelihood": -2.0}
    shift = ["score", "low", "high"]
    points, curves = [], []
    for key in keys:
        for name in trained:
            own = scores(tokens if name == "CPT and SFT" else tokens[tokens > 0]).assign(**key, trained=name)
            points.append(own.assign(**{c: own[c] + lift[key["metric"]] for c in shift}))
        law = scores(np.geomspace(2e3, 1.2e6, 30)).assign(**key)
        curves.append(law.assign(**{c: law[c] + lift[key["metric"]] for c in shift}))
    optima = pd.DataFrame([key | {"sft_tokens": 1e5, "low": 3e4, "high": 4e5} for key in keys])
    lines = [("base model", 0.48), ("chance", 0.25)]
    baselines = [key | {"name": name, "score": at + lift[key["metric"]]} for key in keys for name, at in lines]
    return [pd.concat(points), pd.concat(curves), optima, pd.DataFrame(baselines)]


def law(points: pd.DataFrame, curves: pd.DataFrame, optima: pd.DataFrame, baselines: pd.DataFrame) -> Any:
    """The figure of results with these frames."""
    own: Any = SimpleNamespace(points=points, curves=curves, optima=optima, baselines=baselines, metrics=METRICS)
    return figures.law(own)


def losses() -> pd.DataFrame:
    tokens = np.linspace(0, 2e6, 9)
    return pd.concat([
        pd.DataFrame({"tokens": tokens, "corpus": corpus, "loss": 3 - slope * tokens / 1e7, "se": 0.02})
        for corpus, slope in (("domain, held out", 2), ("general, held out", -1))
    ])  # fmt: skip


FIGURES: dict[str, Callable[[], Any]] = {
    "drift_by_allocation": lambda: figures.drift_by_allocation(phases(), scores()),
    "inter_ratio_drift": lambda: figures.inter_ratio_drift(ratios(), scores()),
    "bias_curve": lambda: figures.bias_curve(cka.bias_curve((20, 100, 500), width=16, draws=4)),
    "training_curves": lambda: figures.training_curves(losses()),
    "law": lambda: law(*study()),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws(name: str) -> None:
    chart = FIGURES[name]()
    svg = drawn(chart)
    assert "NaN" not in svg and "undefined" not in svg
    spec = chart.to_dict()
    assert spec["config"]["background"] == "transparent"
    assert spec["description"] and spec["params"]
    assert '"tooltip"' in json.dumps(spec) and '"legend"' in json.dumps(spec)
    assert float(svg.split('width="')[1].split('"')[0]) <= 720, "a page of the book is that wide"


ONE = np.array([8e3])
NAN = np.nan
DEGENERATE: dict[str, Callable[[], Any]] = {
    "one allocation": lambda: figures.drift_by_allocation(phases(ONE), scores(ONE)),
    "no SFT at all": lambda: figures.drift_by_allocation(phases(ONE * 0), scores(ONE * 0)),
    "no drift": lambda: figures.drift_by_allocation(phases().assign(drift=NAN), scores()),
    "no scores": lambda: figures.drift_by_allocation(phases(), scores().assign(score=NAN, low=NAN, high=NAN)),
    "no layers": lambda: figures.drift_by_allocation(phases().assign(low=NAN, high=NAN), scores()),
    "one pair": lambda: figures.inter_ratio_drift(ratios(TOKENS[1:3]), scores(TOKENS[1:3])),
    "one model": lambda: figures.inter_ratio_drift(ratios(models=("CPT and SFT",)), scores()),
    "no drift between": lambda: figures.inter_ratio_drift(ratios().assign(drift=NAN), scores()),
    "no pairs": lambda: figures.inter_ratio_drift(ratios().head(0), scores().head(0)),
    "one n": lambda: figures.bias_curve(cka.bias_curve((20,), width=4, draws=2)),
    "no bias": lambda: figures.bias_curve(cka.bias_curve((20,), width=4, draws=2).assign(drift=NAN)),
    "no losses": lambda: figures.training_curves(losses().assign(loss=NAN)),
    "the base alone": lambda: figures.training_curves(losses().query("tokens == 0").assign(se=NAN)),
    "one corpus": lambda: figures.training_curves(losses().head(9)),
    "one score": lambda: law(*study(ONE)),
    "no scores in a study": lambda: law(*[frame.head(0) for frame in study()]),
    "no law": lambda: law(study()[0], *[frame.head(0) for frame in study()[1:]]),
    "only without SFT": lambda: law(*study(ONE * 0, ("CPT and SFT",))),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_what_a_study_has_little_of_still_draws(name: str) -> None:
    svg = drawn(DEGENERATE[name]())
    assert "NaN" not in svg and "undefined" not in svg and "Infinity" not in svg


@pytest.mark.parametrize(
    ("tokens", "low", "high", "none"),
    [((1e3, 1e6), True, True, False), ((0, 1e3, 1e6), True, True, True), ((0, 0), True, True, True)],
)
def test_every_number_of_tokens_has_a_place(tokens: tuple[float, ...], low: bool, high: bool, none: bool) -> None:
    axis = TokenAxis.of(tokens, [np.nan])
    place = axis.place(pd.Series([*tokens, np.nan]))
    assert place[:-1].notna().all() and np.isnan(place.iloc[-1])
    assert (axis.none is not None) == none
    if axis.none is not None:
        assert axis.none < axis.low / 1.2
        assert axis.placed(pd.DataFrame({"sft_tokens": tokens}))[PLACE].min() == axis.none


def test_an_allocation_without_sft_is_marked_and_joined_to_no_other() -> None:
    chart = figures.drift_by_allocation(phases(), scores())
    svg = drawn(chart)
    assert svg.count(">none<") == 2
    assert ">none<" not in drawn(figures.drift_by_allocation(phases(TOKENS[1:]), scores(TOKENS[1:])))
    lines = [
        layer for panel in chart.to_dict()["concat"] for layer in panel["layer"] if layer["mark"]["type"] == "line"
    ]
    for layer in lines:
        rows = chart.to_dict()["datasets"][layer["data"]["name"]]
        assert rows and all(row["sft_tokens"] > 0 for row in rows)


def test_drift_by_layer_has_every_layer_of_each_phase_with_its_range() -> None:
    frame = pd.DataFrame({"layer": [0, 1, 0, 1], "phase": ["base to CPT"] * 2 + ["CPT to SFT"] * 2})
    frame = frame.assign(drift=[0.1, 0.2, 0.3, np.nan], low=[0.1, 0.1, 0.2, np.nan], high=[0.1, 0.4, 0.3, np.nan])
    rows = values(figures.drift_by_layer(frame))
    found = {(row["layer"], row["phase"], row["low"], row["drift"], row["high"]) for row in rows}
    first = {(1, "base to CPT", 0.1, 0.1, 0.1), (2, "base to CPT", 0.1, 0.2, 0.4), (1, "CPT to SFT", 0.2, 0.3, 0.3)}
    assert found == first, "layers are counted from one, and what was not measured is not drawn"


def test_drift_between_allocations_stands_in_the_middle_of_them() -> None:
    rows = [row for row in values(figures.inter_ratio_drift(ratios(), scores())) if "sft_from" in row]
    for row in rows:
        if row["sft_to"] > 0:
            assert row[PLACE] == pytest.approx(np.sqrt(row["sft_from"] * row["sft_to"]), rel=1e-4)
        else:
            assert 0 < row[PLACE] < row["sft_from"]
    panels = figures.inter_ratio_drift(ratios(), scores()).to_dict()["concat"]
    assert [panel["title"] for panel in panels if "title" in panel] == ["CPT only", "CPT and SFT"]
    assert len(panels) == 4


def test_scores_of_each_model_stand_under_its_drift_where_they_differ() -> None:
    own = pd.concat([scores().assign(model="CPT only"), scores().assign(model="CPT and SFT", score=0.9)])
    panels = figures.inter_ratio_drift(ratios(), own).to_dict()
    found = [
        {row["score"] for row in panels["datasets"][panel["layer"][-1]["data"]["name"]]}
        for panel in panels["concat"][2:]
    ]
    assert len(found[0]) > 1 and found[1] == {0.9}


def test_a_category_keeps_its_colour_and_without_data_leaves_the_legend() -> None:
    def colours(frame: pd.DataFrame) -> dict[str, str]:
        text = json.dumps(figures.inter_ratio_drift(frame, scores()).to_dict())
        found = next(part for part in text.split('"scale": ') if part.startswith('{"domain": ["CPT new'))
        scale = json.loads(found[: found.index("}") + 1])
        return dict(zip(scale["domain"], scale["range"], strict=True))

    every = colours(ratios())
    assert len(every) == 4 == len(set(every.values()))
    some = ratios()
    some.loc[some["category"] == "CPT replay added", "drift"] = np.nan
    assert colours(some) == {name: colour for name, colour in every.items() if name != "CPT replay added"}


def test_the_study_has_a_panel_for_each_benchmark_and_metric() -> None:
    chart = law(*study())
    svg = drawn(chart)
    assert [panel["title"] for panel in chart.to_dict()["concat"]] == [b for b in BENCHMARKS for _ in METRICS]
    for text in ("SFT only", "peak of the law", "base model 48.0%", "Accuracy", "(nats/byte)"):
        assert text in svg, text
    assert svg.count(">chance 25.0% \u2193<") == 2, "a baseline far below is named at the edge"
    assert "SFT only" not in drawn(law(*study(trained=("CPT and SFT",))))


def test_a_baseline_near_the_scores_is_a_line_on_the_panel() -> None:
    points, curves, optima, baselines = study()
    near = baselines.assign(score=[0.46, 0.462, -1.54, -1.538, 0.46, 0.462, -1.54, -1.538])
    svg = drawn(law(points, curves, optima, near))
    assert "base model 46.0%" in svg and "\u2193" not in svg
    at = [row["at"] for row in values(law(points, curves, optima, near)) if row.get("at", -1) > 0]
    assert abs(at[0] - at[1]) > 0.005, "names of lines close together are apart"


def test_without_a_curve_no_peak_is_drawn() -> None:
    points, curves, optima, baselines = study()
    assert "peak of the law" in drawn(law(points, curves, optima, baselines))
    assert "peak of the law" not in drawn(law(points, curves.head(0), optima, baselines))


def test_a_benchmark_that_was_not_run_has_no_panel() -> None:
    points, *rest = study()
    points.loc[points["benchmark"] == "hpo_terms", ["score", "low", "high"]] = np.nan
    svg = drawn(law(points, *rest))
    assert "hpo_terms" not in svg and "wikipedia_titles" in svg


def test_what_cpt_adds_is_drawn_beside_no_difference_in_points_and_in_nats() -> None:
    row = {"name": "256 SFT tokens", "benchmark": "hpo_terms", "difference": 0.05, "low": -0.01, "high": 0.11}
    metrics = pd.DataFrame({"metric": METRICS, "p_value": 0.2}).assign(**row)
    chart = figures.gains(metrics)
    svg = drawn(chart)
    assert ">hpo_terms<" in svg and ">256 SFT tokens<" in svg and "(points)" in svg and "(nats/byte)" in svg
    several = pd.concat([metrics, metrics.assign(benchmark="elements")])
    assert ">hpo_terms, 256 SFT tokens<" in drawn(figures.gains(several)), "a title cannot name two"
    assert sorted(at["difference"] for at in values(chart) if "p_value" in at)[-1] == 5
    assert "NaN" not in drawn(figures.gains(metrics.assign(low=np.nan, high=np.nan)))


def test_drawing_leaves_the_frames_alone() -> None:
    frames = study()
    before = [frame.copy() for frame in frames]
    law(*frames)
    for frame, copy in zip(frames, before, strict=True):
        pd.testing.assert_frame_equal(frame, copy)


def test_bands_of_losses_are_1_96_standard_errors() -> None:
    row = next(row for row in values(figures.training_curves(losses())) if row["tokens"] == 0)
    assert (row["low"], row["high"]) == pytest.approx((3 - 0.0392, 3 + 0.0392), abs=1e-4)


def test_lines_of_tuning_too_short_to_see_are_left_out_and_ticks_stand_at_the_points() -> None:
    every = [1, 3, 7, 15, 31]
    rows = [{"cpt_tokens": cpt, "step": step, "loss": 4.0} for cpt, n in ((0, 5), (6, 4), (9, 1)) for step in every[:n]]
    chart = figures.tuning_curves(pd.DataFrame(rows))
    assert {row["before"] for row in values(chart)} == {"0", "6"}
    assert '"values": [1, 3, 7, 15, 31]' in json.dumps(chart.to_dict())
    assert {row["before"] for row in values(figures.tuning_curves(pd.DataFrame(rows[-1:])))} == {"9"}
