"""The forms of figures: lines with bands, points with bars, legends of what is there, panels that move alone."""

import json
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from helpers.charts import drawn
from repro.show import charts, style

ROWS = pd.DataFrame({
    "size": ["a", "a", "b", "b"], "t": [1.0, 2.0, 1.0, 2.0], "loss": [3.0, 2.0, 4.0, 3.0],
    "low": [2.5, 1.5, np.nan, np.nan], "high": [3.5, 2.5, np.nan, np.nan], "hover": [True, False, True, False],
})  # fmt: skip
X, Y = charts.x("t:Q", "Tokens"), charts.y("loss:Q", "Loss", [1, 5], format=".1f")
TIPS = style.tips(size="Model size", loss=("Loss", ".2f"))


def marks(layers: Sequence[Any]) -> list[str]:
    return [layer.to_dict()["mark"]["type"] for layer in layers]


def test_an_axis_tells_properties_of_its_scale_from_its_own() -> None:
    axis: Any = charts.y("loss:Q", "Loss", [1, 5], scale={"type": "log"}, format="%").to_dict()
    assert axis["scale"] == {"domain": [1, 5], "nice": False, "type": "log"}
    assert axis["axis"] == {"format": "%"} and axis["title"] == "Loss"
    assert charts.x("t:Q").to_dict() == {"field": "t", "title": None, "type": "quantitative"}


def test_limits_hold_all_values_with_a_margin_even_of_one_or_none() -> None:
    low, high = charts.limits(ROWS, "loss", "low", "high", "not there")
    assert low < 1.5 and high > 4
    one = charts.limits(ROWS.head(1), "loss")
    assert one[0] < 3 < one[1]
    assert charts.limits(ROWS.head(0), "loss") == [0, 1]


def test_lines_have_a_band_where_both_ends_are_known_and_their_tooltips_on_some_rows() -> None:
    key = charts.Key.sizes(ROWS)
    assert marks(charts.lines(ROWS, X, Y, key, tips=TIPS)) == ["area", "line", "point"]
    assert marks(charts.lines(ROWS, X, Y, key, tips=TIPS, dots=20)) == ["area", "line", "circle"]
    assert marks(charts.lines(ROWS.drop(columns="high"), X, Y, style.GREY)) == ["line"]
    chart = charts.figure(charts.lines(ROWS, X, Y, key, tips=TIPS), "Loss")
    names = [parameter["name"] for parameter in chart.to_dict()["params"]]
    assert names == ["pick_size", "zoom"] and "<path" in drawn(chart)


def test_points_come_last_and_their_bars_lie_along_the_axis_of_the_value() -> None:
    names, values = charts.y("size:N", sort=["b", "a"]), charts.x("loss:Q", "Loss")
    bars, dots = charts.points(ROWS, values, names, style.GREY, tips=TIPS, along="x")
    spec: Any = bars.to_dict()["encoding"]
    assert (spec["x"]["field"], spec["x2"]["field"], spec["y"]["field"]) == ("low", "high", "size")
    seen: Any = dots.to_dict()
    assert seen["encoding"]["x"]["field"] == "loss"


def test_a_legend_has_only_the_names_that_are_there_each_as_elsewhere() -> None:
    names = {"a": "#3f86e8", "b": "#e2622f"}
    some: Any = charts.by(alt.Color, "size", names, ["b"]).to_dict()
    assert (some["scale"]["domain"], some["scale"]["range"]) == (["b"], ["#e2622f"])


def test_each_panel_moves_by_itself_and_all_share_the_legend() -> None:
    key = charts.Key.sizes(ROWS)
    cells = [charts.layered(charts.lines(ROWS, X, Y, key, tips=TIPS, dots=place + 1)) for place in range(2)]
    spec: Any = charts.panels(cells, "Loss twice").to_dict()
    views = {parameter["name"]: len(parameter["views"]) for parameter in spec["params"]}
    assert views == {"pick_size": 2, "zoom_0": 1, "zoom_1": 1}
    assert json.dumps(spec["concat"][0]["layer"][0]["mark"]) == json.dumps(spec["concat"][1]["layer"][0]["mark"])
