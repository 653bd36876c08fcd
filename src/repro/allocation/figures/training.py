"""Losses while a model is continually pretrained and tuned, and figures drawn domain by domain."""

from collections.abc import Callable
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.show import charts, style

_STROKE: dict[str, Any] = {"symbolType": "stroke", "symbolStrokeWidth": 3}
SEEN = 4  # points of a line that is worth drawing
CORPORA = {"domain, held out": style.DOMAIN_RAMP[1], "general, held out": style.DOMAIN_RAMP[0]}


def tuning_curves(frame: pd.DataFrame) -> Any:
    """Training loss of SFT against steps, a line for each of up to four numbers of CPT tokens before it.

    Lines of fewer than `SEEN` points are left out where others are longer. frame: cpt_tokens (0: none), step (the last
    one of a stretch), loss (nats per token of the answers, its mean).
    """
    points = frame.groupby("cpt_tokens")["loss"].count()
    every = sorted(points[points >= min(SEEN, points.max() if len(points) else 0)].index)
    few = [every[round(place)] for place in np.linspace(0, len(every) - 1, min(len(every), 4))]  # colours to tell apart
    rows = frame[frame["cpt_tokens"].isin(few)].dropna(subset=["loss"])
    if rows.empty:
        return charts.nothing("Nothing was tuned")
    rows = rows.assign(before=rows["cpt_tokens"].map("{:,.0f}".format))
    names = dict(zip(map("{:,.0f}".format, few), style.DOMAIN_RAMP, strict=False))
    ticks: dict[str, Any] = {"values": sorted(set(rows["step"])), "labelOverlap": "greedy"}
    x = charts.x("step:Q", "SFT step (logarithmic)", scale={"type": "log", "nice": False}, **ticks)
    y = charts.y("loss:Q", "Training loss (nats/token)", scale={"zero": False})
    colour = charts.by(alt.Color, "before", names, rows["before"], title="CPT tokens", **_STROKE)
    tips = style.tips(before="CPT tokens", step=("Step", ",.0f"), loss=("Loss", ".4f"))
    layers = charts.lines(rows, x, y, colour, tips=tips, dots=50, strokeWidth=1.5)
    return charts.figure(layers, "Training loss of supervised fine-tuning by step", height=280)


def training_curves(frame: pd.DataFrame) -> Any:
    """Held-out losses against CPT tokens, a line for each corpus, with a band of 1.96 standard errors to both sides.

    frame: tokens (of CPT, 0 for the base model), corpus ("domain, held out" | "general, held out"), loss (nats per
    token), se (its standard error; NaN where there is none).
    """
    rows = frame.dropna(subset=["loss"])
    if rows.empty:
        return charts.nothing("No losses were measured")
    rows = rows.assign(low=rows["loss"] - 1.96 * rows["se"], high=rows["loss"] + 1.96 * rows["se"])
    ends = [at * float(rows["tokens"].max()) for at in (-0.02, 1.02)]
    x = charts.x("tokens:Q", "CPT tokens", ends, labelExpr="format(datum.value, '~s')", tickCount=8)
    y = charts.y("loss:Q", "Loss (nats/token)", charts.limits(rows, "loss", "low", "high"))
    colour = charts.by(alt.Color, "corpus", CORPORA, rows["corpus"], **_STROKE)
    numbers = {"tokens": ("CPT tokens", ",.0f"), "loss": ("Loss (nats/token)", ".4f"), "se": ("Standard error", ".4f")}
    layers = charts.lines(rows, x, y, colour, tips=style.tips(corpus="Corpus", **numbers), dots=26)
    return charts.figure(layers, "Held-out loss on domain and general text during continual pretraining", height=300)


def each_domain(draw: Callable[..., Any], *frames: pd.DataFrame) -> Any:
    """What ``draw`` makes of each domain's rows of the frames, one below the other, named by the domain."""
    names = style.in_order(name for frame in frames for name in frame["domain"])
    charts = [draw(*(frame[frame["domain"] == name] for frame in frames)) for name in names]
    if len(charts) == 1:
        return charts[0]
    text = "; ".join(dict.fromkeys(str(chart.description) for chart in charts))
    for name, chart in zip(names, charts, strict=True):
        chart.config, chart.background, chart.padding = alt.Undefined, alt.Undefined, alt.Undefined
        chart.title = alt.TitleParams(name, anchor="start")
    return style.finish(style.grid(charts, 1, 24).resolve_scale(color="independent"), text)
