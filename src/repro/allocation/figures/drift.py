"""Drift, 1 - linear CKA: between phases (Figure 3) and by layer, between allocations (Figure 2), of random features."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.allocation.figures import parts
from repro.allocation.figures.parts import PLACE, TokenAxis
from repro.show import style

DRIFT = "Drift (1 - CKA)"
PHASES = {"base to CPT": style.DOMAIN_RAMP[1], "CPT to SFT": style.DOMAIN_RAMP[0]}
MODELS = ("CPT only", "CPT and SFT")
CATEGORIES = {
    "CPT new added": style.DOMAIN_RAMP[1], "CPT replay added": style.DOMAIN_RAMP[0],
    "SFT new removed": style.DOMAIN_RAMP[3], "SFT replay removed": style.DOMAIN_RAMP[2],
}  # fmt: skip
ESTIMATORS = {"debiased": style.DOMAIN_RAMP[0], "plain": style.DOMAIN_RAMP[1]}
_WIDE = 600
_SPREAD = {"drift": (DRIFT, ".4f"), "low": ("From", ".4f"), "high": ("To", ".4f")}


def drift_by_allocation(frame: pd.DataFrame, scores: pd.DataFrame) -> Any:
    """Figure 3: drift from the base model to CPT and from CPT to SFT, and beneath it the score, on the same axis.

    An allocation without SFT stands left of the dotted line over "none", joined to no other. Bars are the range over
    layers, where the frame has it. frame: sft_tokens (0 for none), phase ("base to CPT" | "CPT to SFT"), drift, low,
    high (NaN where not known). scores: sft_tokens, score, low, high.
    """
    rows = frame.dropna(subset=["drift"])
    axis = TokenAxis.of(rows["sft_tokens"], scores["sft_tokens"])
    text = "Drift between phases of training and score against SFT tokens"
    joined = axis.placed(rows).assign(joined=rows["sft_tokens"] > 0)
    upper = _lines(joined, "phase", PHASES, axis, "zoom_0")
    panels = [upper.properties(width=_WIDE, height=210), _scores(scores, axis, "zoom_1").properties(width=_WIDE)]
    return style.finish(style.grid(panels, columns=1), text)


def drift_by_layer(frame: pd.DataFrame) -> Any:
    """Drift of each phase by layer, a mean over allocations in a band from the least to the most.

    frame: layer (0: the first compared), phase, drift, low, high; `results.phases` by layer.
    """
    rows = frame.dropna(subset=["drift"]).assign(layer=frame["layer"] + 1)
    x = alt.X("layer:O", title="Layers compared, from the first to the last", axis=alt.Axis(labelAngle=0))
    y = alt.Y("drift:Q", title=DRIFT, scale=alt.Scale(domain=parts.limits(rows, "drift", "low", "high"), nice=False))
    colour = parts.legend(PHASES, "phase", rows["phase"], symbolType="circle")
    tips = style.tips(phase="Phase", layer=("Layer compared", "d"), **_SPREAD)
    layers = parts.curve(rows, x, y, colour, tips)
    return style.finish(alt.layer(*layers).properties(width=_WIDE, height=240), "Drift of each phase by layer")


def inter_ratio_drift(frame: pd.DataFrame, scores: pd.DataFrame) -> Any:
    """Figure 2: drift between neighbouring allocations on the data by which they differ, and beneath it the score.

    A drift stands between the two allocations that it compares. Where one of them has no SFT, that is between the word
    "none" and the fewest tokens, on the dotted line. A category without such data has no line. frame: model ("CPT only"
    | "CPT and SFT"), category (the keys of `CATEGORIES`), sft_from, sft_to, at (their geometric middle), drift. scores:
    sft_tokens, score, low, high; a column model where scores differ by it.
    """
    rows = frame.dropna(subset=["drift"])
    axis = TokenAxis.of(rows["sft_from"], rows["sft_to"], scores["sft_tokens"])
    middle = np.sqrt(axis.place(rows["sft_from"]) * axis.place(rows["sft_to"]))
    rows = rows.assign(**{PLACE: middle}, joined=(rows["sft_from"] > 0) & (rows["sft_to"] > 0))
    models = [name for name in MODELS if (frame["model"] == name).any()] or list(MODELS[:1])
    drawn, beneath = [], []
    for place, model in enumerate(models):
        own = rows[rows["model"] == model]
        upper = _lines(own, "category", CATEGORIES, axis, f"zoom_{place}", among=rows)
        drawn.append(upper.properties(title=model, width=style.PANEL, height=210))
        seen = scores[scores["model"] == model] if "model" in scores else scores
        beneath.append(_scores(seen, axis, f"zoom_score_{place}").properties(width=style.PANEL))
    text = "Drift between neighbouring allocations by category of data, and score, against SFT tokens"
    return style.finish(style.grid([*drawn, *beneath], columns=len(models)), text)


def _lines(
    rows: pd.DataFrame,
    field: str,
    names: dict[str, str],
    axis: TokenAxis,
    zoom: str,
    *,
    among: pd.DataFrame | None = None,
) -> Any:
    """Drift along the axis: dots, those that are ``joined`` by a line, with bars where there are low and high.

    among: all rows of the figure, where this panel has some of them: they share limits and legend.
    """
    if rows.empty:
        return parts.nothing("No drift was measured", height=210)
    every = rows if among is None else among
    columns = [column for column in ("drift", "low", "high") if column in rows]
    ends, x = parts.limits(every, *columns), axis.x(titled=False)
    y = alt.Y("drift:Q", title=DRIFT, scale=alt.Scale(domain=ends, nice=False), axis=alt.Axis(tickCount=6))
    colour = parts.legend(names, field, every[field], symbolType="circle")
    line = alt.Chart(style.inline(rows[rows["joined"]])).mark_line(strokeWidth=2).encode(x, y, colour)
    dots = alt.Chart(style.inline(rows)).mark_circle(size=45, opacity=1)
    dots = dots.encode(x, y, colour, tooltip=_tips(rows, field)).add_params(style.zoom(zoom))
    return alt.layer(*axis.broken(), *parts.bars(rows, x, y, colour), line, dots)


def _tips(rows: pd.DataFrame, field: str) -> list[alt.Tooltip]:
    numbers = {
        "sft_tokens": ("SFT tokens", ",.0f"), "sft_from": ("From SFT tokens", ",.0f"),
        "sft_to": ("To SFT tokens", ",.0f"), "drift": (DRIFT, ".4f"), "low": ("Lowest layer", ".4f"),
        "high": ("Highest layer", ".4f"),
    }  # fmt: skip
    known = {name: how for name, how in numbers.items() if name in rows}
    return [style.word(field, field.capitalize()), *style.tips(**known)]


def _scores(scores: pd.DataFrame, axis: TokenAxis, zoom: str) -> Any:
    """The scores in grey, on the same axis."""
    there = axis.placed(scores.dropna(subset=["score"]))
    if there.empty:
        return parts.nothing("No scores", height=110)
    metrics = list(there["metric"].unique()) if "metric" in there else []
    title = "Log-likelihood (nats/byte)" if metrics == ["log-likelihood"] else "Score"
    x, y = axis.x(), parts.score_axis(parts.limits(there), title, ticks=4)
    tips = [*parts.places(there), style.number("score", "Score", ".4f")]
    base = alt.Chart(style.inline(there))
    line = alt.Chart(style.inline(there[there["sft_tokens"] > 0])).mark_line(strokeWidth=1.8, color=style.GREY)
    dots = base.mark_circle(size=40, color=style.GREY, opacity=1).encode(x, y, tooltip=tips)
    layers = [*axis.broken(), *parts.bars(there, x, y), line.encode(x, y), dots.add_params(style.zoom(zoom))]
    return alt.layer(*layers).properties(height=110)


def bias_curve(frame: pd.DataFrame) -> Any:
    """Drift that both estimators find between independent Gaussians, where the truth is 1, against how many rows.

    frame: n, estimator ("debiased" | "plain"), drift, low, high: the columns of `repro.lm.cka.bias_curve`.
    """
    rows = frame.dropna(subset=["drift"])
    text = "Drift of independent Gaussians by the debiased and the plain estimator against the number of tokens"
    if rows.empty:
        return style.finish(parts.nothing("No drift was measured", _WIDE), text)
    counts = sorted(set(rows["n"]))
    x = alt.X(
        "n:Q",
        title="Tokens, n (logarithmic)",
        axis=alt.Axis(values=counts, format=",d", labelOverlap="greedy"),
        scale=alt.Scale(type="log", domain=[counts[0] / 1.1, counts[-1] * 1.1], nice=False),
    )
    ends = parts.limits(pd.concat([rows, pd.DataFrame({"drift": [1.0]})]), "drift", "low", "high")
    y = alt.Y("drift:Q", title=f"{DRIFT}; 1 is right", scale=alt.Scale(domain=ends, nice=False))
    colour = parts.legend(ESTIMATORS, "estimator", rows["estimator"], symbolType="stroke", symbolStrokeWidth=3)
    tips = style.tips(estimator="Estimator", n=("Tokens", ",d"), **_SPREAD)
    layers = [style.rule("y", 1.0), *parts.curve(rows, x, y, colour, tips)]
    return style.finish(alt.layer(*layers).properties(width=_WIDE, height=280), text)
