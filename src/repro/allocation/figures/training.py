"""Losses while a model is continually pretrained and tuned, and figures drawn domain by domain."""

from collections.abc import Callable
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.allocation.figures import parts
from repro.show import style

CORPORA = {"domain, held out": style.DOMAIN_RAMP[1], "general, held out": style.DOMAIN_RAMP[0]}


def tuning_curves(frame: pd.DataFrame) -> Any:
    """Training loss of SFT against steps, a line for each of up to four numbers of CPT tokens before it.

    frame: cpt_tokens (0: none), step (the last one of a stretch), loss (nats per token of the answers, its mean).
    """
    every = sorted(frame["cpt_tokens"].unique())
    few = [every[round(place)] for place in np.linspace(0, len(every) - 1, min(len(every), 4))]  # colours to tell apart
    rows = frame[frame["cpt_tokens"].isin(few)].dropna(subset=["loss"])
    rows = rows.assign(before=[f"{tokens:,.0f}" for tokens in rows["cpt_tokens"]])
    text = "Training loss of supervised fine-tuning by step"
    if rows.empty:
        return style.finish(parts.nothing("Nothing was tuned", 600), text)
    names = [f"{tokens:,.0f}" for tokens in sorted(rows["cpt_tokens"].unique())]
    scale = alt.Scale(domain=names, range=list(style.DOMAIN_RAMP[: len(names)]))
    key = alt.Legend(title="CPT tokens", symbolType="stroke", symbolStrokeWidth=3)
    x = alt.X("step:Q", title="SFT step", scale=alt.Scale(type="log", nice=False))
    y = alt.Y("loss:Q", title="Training loss (nats/token)", scale=alt.Scale(zero=False))
    tips = style.tips(before="CPT tokens", step=("Step", ",.0f"), loss=("Loss", ".4f"))
    base = alt.Chart(style.inline(rows))
    colour = alt.Color("before:N", scale=scale, legend=key)
    lines = base.mark_line(strokeWidth=1.8).encode(x, y, colour).add_params(style.zoom())
    dots = base.mark_circle(size=22, opacity=1).encode(x, y, colour, tooltip=tips)
    return style.finish(alt.layer(lines, dots).properties(width=560, height=280), text)


def training_curves(frame: pd.DataFrame) -> Any:
    """Held-out losses against CPT tokens, a line for each corpus, with a band of 1.96 standard errors to both sides.

    frame: tokens (of CPT, 0 for the base model), corpus ("domain, held out" | "general, held out"), loss (nats per
    token), se (its standard error; NaN where there is none).
    """
    rows = frame.dropna(subset=["loss"]).assign(
        low=lambda f: f["loss"] - 1.96 * f["se"], high=lambda f: f["loss"] + 1.96 * f["se"]
    )
    text = "Held-out loss on domain and general text during continual pretraining"
    if rows.empty:
        return style.finish(parts.nothing("No losses were measured", 600), text)
    most = float(rows["tokens"].max())
    scale = alt.Scale(domain=[-0.02 * most, 1.02 * most], nice=False)
    axis = alt.Axis(labelExpr="format(datum.value, '~s')", tickCount=8)
    x = alt.X("tokens:Q", title="CPT tokens", axis=axis, scale=scale)
    ends = parts.limits(rows, "loss", "low", "high")
    y = alt.Y("loss:Q", title="Loss (nats/token)", scale=alt.Scale(domain=ends, nice=False))
    colour = parts.legend(CORPORA, "corpus", rows["corpus"], symbolType="stroke", symbolStrokeWidth=3)
    numbers = {"tokens": ("CPT tokens", ",.0f"), "loss": ("Loss (nats/token)", ".4f"), "se": ("Standard error", ".4f")}
    tips = style.tips(corpus="Corpus", **numbers)
    return style.finish(alt.layer(*parts.curve(rows, x, y, colour, tips, 26)).properties(width=600, height=300), text)


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
    return style.finish(alt.vconcat(*charts, spacing=24).resolve_scale(color="independent"), text)
