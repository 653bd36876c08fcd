"""Colours read on white and on dark and mean one thing; intervals are drawn where there are any."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pytest

from repro.laws import ratio_label
from repro.show import style

RATIOS = [1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4, 1.0]
ROWS = pd.DataFrame({"at": [1, 2, 3], "low": [0.1, np.nan, 0.3], "high": [0.2, 0.4, 0.5]})


def test_an_interval_lies_along_the_axis_that_it_is_given() -> None:
    x, y = alt.X("at:Q"), alt.Y("value:Q", title="Loss")
    (upright,) = style.intervals(ROWS, y, x)
    spec: Any = upright.mark_area().to_dict()
    assert spec["encoding"]["y"] == {"field": "low", "title": "Loss", "type": "quantitative"}
    assert spec["encoding"]["y2"] == {"field": "high"}
    assert [row["at"] for row in next(iter(spec["datasets"].values()))] == [1, 3], "where both ends are known"
    (across,) = style.intervals(ROWS, alt.X(), alt.Y("at:Q"), ends=("high", "low"))
    other: Any = across.mark_rule().to_dict()
    assert other["encoding"]["x"]["field"] == "high"
    assert style.intervals(ROWS.assign(low=np.nan), y, x) == style.intervals(ROWS.drop(columns="high"), y, x) == []
    assert y.shorthand == "value:Q", "the channel itself stays as it is"


def test_tooltips_are_words_and_numbers() -> None:
    word, number = (line.to_dict() for line in style.tips(size="Model size", t=("T", ".1f")))
    assert word == {"field": "size", "title": "Model size", "type": "nominal"}
    assert number == {"field": "t", "title": "T", "type": "quantitative", "format": ".1f"}


def test_a_ratio_keeps_its_colour_when_only_some_are_shown() -> None:
    every: Any = style.ratio_colour(RATIOS).to_dict()
    some: Any = style.ratio_colour([0.05, *RATIOS[1:3]]).to_dict()
    assert every["scale"]["range"] == list(style.RATIO_RAMP)
    assert some["scale"]["domain"] == ["1/20", "1/4", "1/3"]
    assert some["scale"]["range"][1:] == every["scale"]["range"][1:3]
    assert some["scale"]["range"][0] not in every["scale"]["range"]


@pytest.mark.parametrize(
    ("ratio", "label"),
    [(1 / 8, "1/8"), (1 / 3, "1/3"), (1.0, "1"), (0.0, "0"), (0.35, "7/20"), (0.298, "0.298")],
)
def test_ratio_labels(ratio: float, label: str) -> None:
    assert ratio_label(ratio) == label


def luminance(colour: str) -> float:
    """Relative luminance of a hex colour (WCAG 2)."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("count", [1, 2, 4, 6, 9])
@pytest.mark.parametrize("anchors", [style.RATIO_COLOURS[1], style.SIZE_RAMP, style.DOMAIN_RAMP])
def test_colours_read_on_white_and_on_dark(anchors: tuple[str, ...], count: int) -> None:
    colours = style.ramp(anchors, count)
    assert len(set(colours)) == count
    for light in map(luminance, [*colours, style.GREY]):
        assert 1.05 / (light + 0.05) >= 3, "on white"
        assert (light + 0.05) / (luminance("#121212") + 0.05) >= 3, "on dark"
