"""Losses at the end of the run against the mixture ratio, and the law L(R): Figure 3 of paper A."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from repro.cmr.frames import Results
from repro.show import style

# A five-pointed star in the unit square that Vega scales; its built-in shapes have none.
_STAR = "M0,-1L0.22,-0.31L0.95,-0.31L0.36,0.12L0.59,0.81L0,0.38L-0.59,0.81L-0.36,0.12L-0.95,-0.31L-0.22,-0.31Z"
_MARKS = {
    "measured": ("circle", "#3f86e8"),
    "measured, not fitted": ("triangle-up", "#7a8088"),
    "held out, measured": ("square", "#3f86e8"),
    "held out, predicted": (_STAR, "#e2622f"),
}


def loss_against_ratio(results: Results, loss: str | None = None) -> Any:
    """Figure 3: loss at the end of the run against R, the law L(R), and its prediction of a ratio held out.

    loss: "general" or "domain", by default all that were measured. Intervals are drawn where there are any.
    """
    points, fitted, seen, _ = results.held_out(loss)
    value_title = ("Loss" if seen == "measured" else "Change of loss") + " (nats/token)"
    points = points.assign(kind=points["kind"].str.replace("measured", seen))
    marks = {kind.replace("measured", seen): mark for kind, mark in _MARKS.items()}
    kinds = style.in_order(points["loss"])
    sizes = style.in_order(points["size"])
    there = {kind: mark for kind, mark in marks.items() if (points["kind"] == kind).any()}
    cells: list[Any] = []
    for place, size in enumerate(sizes):
        for kind in kinds:
            last = place >= len(sizes) - (1 if len(kinds) > 1 else 2)
            mine, law = (f[(f["size"] == size) & (f["loss"] == kind)] for f in (points, fitted))
            panel = _ratio_panel(mine, law, value_title, there, f"zoom_{len(cells)}", titled=last)
            cells.append(panel.properties(title=f"{size}, {kind} loss"))
    text = f"Loss at the end of the run against the domain share, {seen}, fitted and predicted"
    return style.finish(style.grid(cells, columns=2), text)


def _ratio_panel(
    points: pd.DataFrame,
    fitted: pd.DataFrame,
    value_title: str,
    marks: Mapping[str, tuple[str, str]],
    zoom: str,
    *,
    titled: bool,
) -> Any:
    y = alt.Y("value:Q", title=value_title, scale=alt.Scale(zero=False, padding=9))
    x = style.ratio_axis(style.ratios_of(points), titled=titled)
    key = alt.Legend(title=None, orient="top", symbolStrokeWidth=1.6, symbolOpacity=1)
    shapes = alt.Scale(domain=list(marks), range=[form for form, _ in marks.values()])
    colours = alt.Scale(domain=list(marks), range=[colour for _, colour in marks.values()])
    tips = style.tips(size="Model size", mixture="Domain share R", kind="Point", value=("Loss", ".4f"))
    dots = alt.Chart(style.inline(style.labelled(points))).mark_point(size=80, strokeWidth=1.8, opacity=1)
    dots = dots.encode(
        x,
        y,
        alt.Color("kind:N", scale=colours, legend=key),
        alt.Shape("kind:N", scale=shapes, legend=key),
        tooltip=tips,
    ).add_params(style.zoom(zoom))
    line = alt.Chart(style.inline(_joined(fitted))).mark_line(color=style.GREY, strokeWidth=1.8)
    layers: list[Any] = [
        *style.band(fitted, "y", x, color=style.GREY, opacity=0.18),
        line.encode(x, y, style.extrapolated((4, 3)), detail="part:N"),
        *style.bars(points, "y", x, color=style.GREY),
        dots,
    ]
    return alt.layer(*layers).properties(width=style.PANEL, height=180)


def _joined(fitted: pd.DataFrame) -> pd.DataFrame:
    """Stretches of one kind numbered in ``part``, each repeating the last row of the one before: no gaps."""
    rows = fitted.sort_values("ratio", kind="stable").reset_index(drop=True)
    begins = rows["kind"].ne(rows["kind"].shift())
    rows = rows.assign(part=begins.cumsum().astype(str))
    seams = [
        rows.loc[at - 1].to_dict() | {"kind": rows.loc[at, "kind"], "part": rows.loc[at, "part"]}
        for at in rows.index[begins]
        if at > 0
    ]
    return pd.concat([rows, pd.DataFrame(seams)]).sort_values("ratio", kind="stable") if seams else rows
