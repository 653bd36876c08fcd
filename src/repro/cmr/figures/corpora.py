"""The corpora: how large each is and how far each domain lies from the general text."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from repro.show import style


def corpus_sizes(frame: pd.DataFrame) -> Any:
    """Tokens of each corpus, split into training and validation.

    ``frame`` has columns corpus, part ("training" | "validation"), tokens; optionally documents.
    """
    names = style.in_order(frame["corpus"])
    rows = frame.assign(millions=frame["tokens"] / 1e6)
    tips = [
        style.word("corpus", "Corpus"),
        style.word("part", "Part"),
        style.number("tokens", "Tokens", ",.0f"),
    ]
    if "documents" in frame:
        tips.append(style.number("documents", "Documents", ",.0f"))
    parts = style.in_order(frame["part"])
    bars = (
        alt.Chart(style.inline(rows))
        .mark_bar()
        .encode(
            alt.X("millions:Q", title="Tokens (millions)", axis=alt.Axis(tickCount=8)),
            alt.Y("corpus:N", title=None, sort=names),
            alt.YOffset("part:N", sort=parts),
            alt.Color(
                "part:N",
                sort=parts,
                title="Part",
                scale=alt.Scale(domain=parts, range=list(style.DOMAIN_RAMP[: len(parts)])),
                legend=alt.Legend(orient="top", symbolOpacity=1),
            ),
            tooltip=tips,
        )
    )
    return style.finish(bars.properties(width=520, height=alt.Step(16)), "Tokens of each corpus by part")


def corpus_distance(frame: pd.DataFrame, *, measure: str = "Distance from the general text") -> Any:
    """Distance of each corpus from the general text; ``measure`` names the measure and its unit.

    ``frame`` has columns corpus, distance; optionally low and high, drawn as error bars.
    """
    names = style.in_order(frame["corpus"])
    y = alt.Y("corpus:N", title=None, sort=names)
    base = alt.Chart(style.inline(frame))
    x = alt.X("distance:Q", title=measure, scale=alt.Scale(zero=True))
    tips = [style.word("corpus", "Corpus"), style.number("distance", measure, ".3f")]
    layers: list[Any] = [base.mark_bar(color=style.DOMAIN_RAMP[0], opacity=0.6).encode(x, y, tooltip=tips)]
    if {"low", "high"} <= set(frame.columns):
        bars = base.mark_rule(color=style.GREY, strokeWidth=2)
        layers.append(bars.encode(alt.X("low:Q"), alt.X2("high:Q"), y))
    return style.finish(alt.layer(*layers).properties(width=520, height=alt.Step(28)), f"{measure} of each corpus")
