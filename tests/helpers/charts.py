"""Charts as a reader gets them."""

import warnings
from typing import Any

import vl_convert


def drawn(chart: Any) -> str:
    """The chart as SVG, with no warning from altair on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        spec = chart.to_dict()
    return vl_convert.vegalite_to_svg(spec)


def values(chart: Any) -> list[dict[str, Any]]:
    """All rows embedded in a chart."""
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]
