"""The corpora: how large each is and how far each domain lies from the general text."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from repro.show import style

DISTANCE = "Jensen-Shannon distance (0 to 1)"


def corpus_sizes(frame: pd.DataFrame) -> Any:
    """Tokens of each corpus by part: columns corpus, part ("training" | "validation"), tokens, documents."""
    rows = frame.assign(millions=frame["tokens"] / 1e6)
    tips = style.tips(corpus="Corpus", part="Part", tokens=("Tokens", ",.0f"), documents=("Documents", ",.0f"))
    parts = style.in_order(frame["part"])
    scale = alt.Scale(domain=parts, range=list(style.DOMAIN_RAMP[: len(parts)]))
    key = alt.Legend(orient="top", symbolOpacity=1)
    bars = alt.Chart(style.inline(rows)).mark_bar().encode(
        alt.X("millions:Q", title="Tokens (millions)", axis=alt.Axis(tickCount=8)),
        alt.Y("corpus:N", title=None, sort=style.in_order(frame["corpus"])),
        alt.YOffset("part:N", sort=parts),
        alt.Color("part:N", sort=parts, title="Part", scale=scale, legend=key),
        tooltip=tips,
    )  # fmt: skip
    return style.finish(bars.properties(width=520, height=alt.Step(16)), "Tokens of each corpus by part")


def corpus_distance(frame: pd.DataFrame) -> Any:
    """Distance of each corpus from the general text: columns corpus, distance."""
    y = alt.Y("corpus:N", title=None, sort=style.in_order(frame["corpus"]))
    x = alt.X("distance:Q", title=DISTANCE, scale=alt.Scale(zero=True))
    lengths = alt.Chart(style.inline(frame)).mark_bar(color=style.DOMAIN_RAMP[0], opacity=0.6)
    lengths = lengths.encode(x, y, tooltip=style.tips(corpus="Corpus", distance=(DISTANCE, ".3f")))
    chart = alt.layer(lengths).properties(width=520, height=alt.Step(28))
    return style.finish(chart, f"{DISTANCE} of each corpus")
