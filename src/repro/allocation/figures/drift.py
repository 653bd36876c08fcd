"""Drift, 1 - linear CKA: between phases (Figure 3) and by layer, between allocations (Figure 2), of random features."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.allocation.figures import parts
from repro.allocation.figures.parts import PLACE, TokenAxis
from repro.show import charts, style

DRIFT = "Drift (1 - CKA)"
PHASES = {"base to CPT": style.DOMAIN_RAMP[1], "CPT to SFT": style.DOMAIN_RAMP[0]}
MODELS = ("CPT only", "CPT and SFT")
CATEGORIES = {
    "CPT new added": style.DOMAIN_RAMP[1], "CPT replay added": style.DOMAIN_RAMP[0],
    "SFT new removed": style.DOMAIN_RAMP[3], "SFT replay removed": style.DOMAIN_RAMP[2],
}  # fmt: skip
ESTIMATORS = {"debiased": style.DOMAIN_RAMP[0], "plain": style.DOMAIN_RAMP[1]}
_ENDS = ("drift", "low", "high")
_NUMBERS = {
    "sft_tokens": ("SFT tokens", ",.0f"), "sft_from": ("From SFT tokens", ",.0f"), "sft_to": ("To SFT tokens", ",.0f"),
    "drift": (DRIFT, ".4f"), "low": ("Lowest layer", ".4f"), "high": ("Highest layer", ".4f"),
}  # fmt: skip
_SPREAD = {"drift": (DRIFT, ".4f"), "low": ("From", ".4f"), "high": ("To", ".4f")}


def drift_by_allocation(frame: pd.DataFrame, scores: pd.DataFrame) -> Any:
    """Figure 3: drift from the base model to CPT and from CPT to SFT, and beneath it the score, on the same axis.

    An allocation without SFT stands left of the dotted line over "none", joined to no other. Bars are the range over
    layers, where the frame has it. frame: sft_tokens (0 for none), phase ("base to CPT" | "CPT to SFT"), drift, low,
    high (NaN where not known). scores: sft_tokens, score, low, high.
    """
    rows = frame.dropna(subset=["drift"])
    axis = TokenAxis.of(rows["sft_tokens"], scores["sft_tokens"])
    joined = axis.placed(rows).assign(joined=rows["sft_tokens"] > 0)
    cells = [_lines(joined, joined, "phase", PHASES, axis, width=charts.WIDE), _scores(scores, axis, charts.WIDE)]
    return charts.panels(cells, "Drift between phases of training and score against SFT tokens", columns=1)


def drift_by_layer(frame: pd.DataFrame) -> Any:
    """Drift of each phase by layer, a mean over allocations in a band from the least to the most.

    frame: layer (0: the first compared), phase, drift, low, high; `results.phases` by layer.
    """
    rows = frame.dropna(subset=["drift"]).assign(layer=frame["layer"] + 1)
    x = charts.x("layer:O", "Layers compared, from the first to the last", labelAngle=0)
    y = charts.y("drift:Q", DRIFT, charts.limits(rows, *_ENDS))
    colour = charts.by(alt.Color, "phase", PHASES, rows["phase"], symbolType="circle")
    tips = style.tips(phase="Phase", layer=("Layer compared", "d"), **_SPREAD)
    layers = charts.lines(rows, x, y, colour, tips=tips, dots=40)
    return charts.figure(layers, "Drift of each phase by layer", height=240)


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
    drawn = [_lines(rows[rows["model"] == model], rows, "category", CATEGORIES, axis, model) for model in models]
    each = [scores[scores["model"] == model] if "model" in scores else scores for model in models]
    text = "Drift between neighbouring allocations by category of data, and score, against SFT tokens"
    return charts.panels([*drawn, *(_scores(own, axis) for own in each)], text, columns=len(models))


def _lines(
    rows: pd.DataFrame, among: pd.DataFrame, field: str, names: Mapping[str, str], axis: TokenAxis, title: str = "",
    width: int = style.PANEL,
) -> Any:  # fmt: skip
    """Drift along the axis: dots, those that are ``joined`` by a line, with bars where there are low and high.

    among: all rows of the figure, of which this panel has some: they share limits and legend.
    """
    if rows.empty:
        return charts.empty("No drift was measured", width, 210)
    y = charts.y("drift:Q", DRIFT, charts.limits(among, *_ENDS), tickCount=6)
    colour = charts.by(alt.Color, field, names, among[field], symbolType="circle")
    known = {name: how for name, how in _NUMBERS.items() if name in rows}
    tips = style.tips(**{field: field.capitalize()}, **known)
    layers = charts.joined(rows, axis.x(titled=False), y, colour, tips=tips, size=45)
    return charts.layered([*axis.broken(), *layers], width, 210, title)


def _scores(scores: pd.DataFrame, axis: TokenAxis, width: int = style.PANEL) -> Any:
    """The scores in grey, on the same axis."""
    there = axis.placed(scores.dropna(subset=["score"])).assign(joined=lambda rows: rows["sft_tokens"] > 0)
    if there.empty:
        return charts.empty("No scores", width, 110)
    metrics = list(there["metric"].unique()) if "metric" in there else []
    title = "Log-likelihood (nats/byte)" if metrics == ["log-likelihood"] else "Score"
    y = parts.score_axis(charts.limits(there, *parts.SCORE), title, ticks=4)
    tips = [*parts.places(there), *style.tips(score=("Score", ".4f"))]
    layers = charts.joined(there, axis.x(), y, style.GREY, tips=tips, size=40)
    return charts.layered([*axis.broken(), *layers], width, 110)


def bias_curve(frame: pd.DataFrame) -> Any:
    """Drift that both estimators find between independent Gaussians, where the truth is 1, against how many rows.

    frame: n, estimator ("debiased" | "plain"), drift, low, high: the columns of `repro.lm.cka.bias_curve`.
    """
    rows = frame.dropna(subset=["drift"])
    if rows.empty:
        return charts.nothing("No drift was measured")
    counts, log = sorted(set(rows["n"])), {"type": "log"}
    ends, every = [counts[0] / 1.1, counts[-1] * 1.1], pd.concat([rows, pd.DataFrame({"drift": [1.0]})])
    look: dict[str, Any] = {"values": counts, "format": ",d", "labelOverlap": "greedy"}
    x = charts.x("n:Q", "Tokens, n (logarithmic)", ends, scale=log, **look)
    y = charts.y("drift:Q", f"{DRIFT}; 1 is right", charts.limits(every, *_ENDS))
    colour = charts.by(alt.Color, "estimator", ESTIMATORS, rows["estimator"], symbolType="stroke", symbolStrokeWidth=3)
    tips = style.tips(estimator="Estimator", n=("Tokens", ",d"), **_SPREAD)
    layers = [style.rule("y", 1.0), *charts.lines(rows, x, y, colour, tips=tips, dots=40)]
    text = "Drift of independent Gaussians by the debiased and the plain estimator against the number of tokens"
    return charts.figure(layers, text, height=280)
