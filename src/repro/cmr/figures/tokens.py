"""Losses against training tokens: Figures 4, 7, 9 and 10 of paper A, and the pretraining curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from repro.cmr import style
from repro.cmr.figures import parts
from repro.cmr.figures.track import Track, joined

_SYMLOG = " (symmetric log axis)"


def loss_against_tokens(
    curves: pd.DataFrame,
    size: str,
    points: pd.DataFrame | None = None,
    *,
    largest: float | None = 0.5,
    t_max: float = 100.0,
    unit: str = style.UNIT_T,
) -> Any:
    """Figures 4 and 7: increment of the general loss of one size against T, fitted and extrapolated (dashed).

    ``largest`` limits the ratios (None for all); ``unit`` is the title of the T axis.

    Raises:
        ValueError: if there is nothing to draw for this size.

    """
    chosen = parts.up_to(curves[curves["size"] == size], largest)
    if chosen.empty:
        raise ValueError(f"no curves for size {size!r}; there are {', '.join(style.in_order(curves['size']))}")
    rows = parts.Rows.of(chosen, points, extrapolated=True)
    track = Track(
        joined(rows),
        style.ratio_colour(style.ratios_of(rows.drawn), style.ratios_of(curves)),
        style.picked("mixture"),
        width=600,
        height=340,
        title=size,
        x_title=unit,
        y_title=style.GENERAL,
        t_max=t_max,
    )
    text = f"General loss increment of {size} against tokens, fitted and extrapolated, a line for each ratio"
    return style.finish(track.chart("zoom"), text)


def all_loss_against_tokens(
    curves: pd.DataFrame,
    points: pd.DataFrame | None = None,
    *,
    t_max: float = 100.0,
    ratios: Sequence[float] | None = None,
    unit: str = style.UNIT_T,
) -> Any:
    """Figure 9: increment of the general loss against T for every size (columns) and ratio (rows).

    The vertical scale is shared within a row, so sizes compare at the same ratio.
    """
    rows = joined(parts.Rows.of(curves, points, extrapolated=True))
    there = style.ratios_of(rows.drawn)
    labels = [style.ratio_label(ratio) for ratio in (there if ratios is None else sorted(ratios))]
    sizes = style.in_order(rows.drawn["size"])
    colour, pick = style.ratio_colour(there), style.picked("mixture")
    cells: list[Any] = []
    for label in labels:
        row = rows.where("mixture", label)
        for size in sizes:
            track = Track(
                row.where("size", size),
                colour,
                pick,
                width=580 // len(sizes),
                height=92,
                t_max=t_max,
                ticks=3,
                title=f"{size}, R = {label}",
                x_title="T" if label == labels[-1] else None,
                y_title="Δ general loss" if size == sizes[0] else None,
                limits=row.span("general"),
                y_labels=size == sizes[0],
            )
            cells.append(track.chart(f"zoom_{len(cells)}"))
    note = alt.Title(f"x: {unit}; y: {style.GENERAL}, same scale within a row", fontSize=11)
    whole = style.grid(cells, columns=len(sizes), spacing=10).properties(title=note)
    return style.finish(whole, "General loss increment against tokens, a panel for each model size and ratio")


def both_losses(curves: pd.DataFrame, points: pd.DataFrame | None = None, *, unit: str = style.UNIT_T) -> Any:
    """Figure 10: both increments against T up to the end of the run, a row for each size, coloured by ratio.

    The general loss is on a symmetric logarithmic axis, where the largest ratio does not flatten the others.
    """
    rows = parts.Rows.of(curves, points, extrapolated=False)
    colour, pick = style.ratio_colour(style.ratios_of(rows.drawn)), style.picked("mixture")
    sizes = style.in_order(rows.drawn["size"])
    cells: list[Any] = []
    for size in sizes:
        for loss, y_title, note in (("domain", style.DOMAIN, ""), ("general", style.GENERAL, _SYMLOG)):
            track = Track(
                rows.where("size", size),
                colour,
                pick,
                loss=loss,
                title=f"{size}, {loss} loss{note}",
                y_title=y_title,
                symmetric_log=loss == "general",
                x_title=unit if size == sizes[-1] else None,
            )
            cells.append(track.chart(f"zoom_{len(cells)}"))
    text = "Domain and general loss increments against tokens, a row for each model size, a line for each ratio"
    return style.finish(style.grid(cells, columns=2), text)


def pretraining_curves(
    frame: pd.DataFrame, *, loss: str = "general_loss", title: str = "General validation loss"
) -> Any:
    """Validation loss of every size while it is pretrained.

    ``frame`` has columns size, tokens and ``loss`` (nats per token), optionally low and high around it.
    """
    rows = frame[frame["tokens"] > 0].assign(millions=lambda f: f["tokens"] / 1e6)
    sizes, pick = style.in_order(frame["size"]), style.picked("size")
    base = alt.Chart(style.inline(rows)).encode(
        alt.X("millions:Q", title="Pretraining tokens (millions)", scale=alt.Scale(nice=False)),
        alt.Y(f"{loss}:Q", title=f"{title} (nats/token)", scale=alt.Scale(zero=False)),
        style.size_colour(sizes),
    )
    tips = [
        style.word("size", "Model size"),
        style.number("millions", "Million tokens", ".2f"),
        style.number(loss, title),
    ]
    line = base.mark_line(strokeWidth=2).encode(opacity=style.faded(pick)).add_params(pick, style.zoom())
    dot = base.mark_circle(size=22, aria=False).encode(opacity=style.faded(pick), tooltip=tips)
    layers: list[Any] = [line, dot]
    if {"low", "high"} <= set(frame.columns):
        layers.insert(0, base.mark_area(opacity=0.18).encode(alt.Y("low:Q"), alt.Y2("high:Q")))
    chart = alt.layer(*layers).properties(width=600, height=320)
    return style.finish(chart, f"{title} during pretraining, a line for each model size")
