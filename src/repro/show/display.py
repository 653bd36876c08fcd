"""How charts and numbers of a notebook show themselves, in Jupyter and in the book. A chart becomes one piece of HTML
that needs no network: a still SVG picture, which Jupyter shows, and the Vega-Lite specification as inert data. The book
makes files of both (``book/_ext/outputs.py``) and draws the live chart (``book/_static/figures.js``), or the still
where scripts are off.
"""

import base64
import html
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import myst_nb
import numpy as np
import pandas as pd
import vl_convert

RENDERER = "repro"


def enable() -> None:
    """Show every altair chart of this process through `chart_html`; progress is plain text by choice."""
    warnings.filterwarnings("ignore", message="IProgress not found")
    alt.renderers.register(RENDERER, _bundle)
    alt.renderers.enable(RENDERER)


def _bundle(spec: dict[str, Any], **_: Any) -> dict[str, str]:
    return {"text/html": chart_html(spec), "text/plain": spec.get("description", "chart")}


def chart_html(spec: Mapping[str, Any]) -> str:
    """A Vega-Lite specification as HTML: still picture and data for the live chart. The picture is an ``<img>``:
    clip-path ids of several inline SVGs on a page would collide. Its text for screen readers is the chart's
    ``description``. Raises ValueError for NaN or an infinity, which no browser can read.
    """
    # "<" would let "</script>" or "<!--" inside a string of the data end or swallow the element.
    data = json.dumps(spec, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    still = vl_convert.vegalite_to_svg(dict(spec))
    picture = base64.b64encode(still.encode()).decode()
    alternative = html.escape(str(spec.get("description", "Chart")), quote=True)
    return (
        '<div class="vega-figure">'
        f'<img class="vega-still" alt="{alternative}" style="max-width:100%;height:auto" '
        f'src="data:image/svg+xml;base64,{picture}"/>'
        f'<script type="application/json" class="vega-data">{data}</script>'
        "</div>"
    )


@dataclass(frozen=True)
class Note:
    """A line where there is nothing to draw: the book shows it as a paragraph, without the caption of its cell."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text


def if_any(rows: pd.DataFrame, draw: Callable[..., Any], *of: Any, otherwise: str = "") -> Any:
    """What ``draw`` makes of the rows, or of ``of`` where that is given; without any row the line ``otherwise``."""
    return draw(*(of or (rows,))) if len(rows) else Note(otherwise)


def glue(**values: object) -> None:
    """Name numbers and words for the prose around: ``{glue:text}`name:.2f```. Jupyter has holes there, and shows them
    below the cell. NumPy scalars become Python's own, for their ``repr`` cannot be formatted there. Raises ValueError
    for None and NaN: prose must say in words that something does not exist.
    """
    for name, value in values.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if plain is None or plain != plain:
            raise ValueError(f"glue: {name} is {plain}; prose cannot print it as a number")
        myst_nb.glue(name, plain, display=False)
        if isinstance(plain, str | int | float):
            print(f"{name}: {plain}")
