"""Scores against SFT tokens with Equation 1: Figure 1 of paper B from its own scores, and from a study of ours."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.allocation.figures import parts
from repro.allocation.figures.parts import TokenAxis
from repro.show import style

FITTED, PRINTED = "peak of Equation 1", "peak in the paper"
TRAINED = {"CPT and SFT": style.DOMAIN_RAMP[0], "SFT only": style.DOMAIN_RAMP[2]}
_MARKS = {FITTED: style.DOMAIN_RAMP[1], PRINTED: style.DOMAIN_RAMP[3]}
_TITLES = {"accuracy": "Accuracy", "log-likelihood": "Log-likelihood of the right answer (nats/byte)"}
_KEYS = ["benchmark", "metric"]
_APART = 0.08  # of the height of a panel: labels of two lines are at least that far from each other
_FAR = 0.6  # of the span of the scores: lines farther off are named at the edge, and the scores keep the panel

_TESTED = {"predicted": style.DOMAIN_RAMP[3], "tested best": style.DOMAIN_RAMP[2]}


def scores_and_law(points: pd.DataFrame, curves: pd.DataFrame, optima: pd.DataFrame) -> Any:
    """Figure 1: the scores with their binomial errors, Equation 1 with its band, its peak with the interval.

    The height of a panel is that of the scores and their errors: a band that leaves it has no limit there (between
    allocations far apart nothing keeps a narrow peak down).

    Args:
        points: benchmark, sft_tokens, cpt_fraction, score, low, high.
        curves: the same along the law; low and high NaN where there are no draws.
        optima: benchmark, sft_tokens, low, high (NaN where there is none), printed_tokens.

    """
    names = style.in_order(points["benchmark"])
    panels = []
    for place, name in enumerate(names):
        seen, law, best = (frame[frame["benchmark"] == name] for frame in (points, curves, optima))
        panel = _panel(seen, law, best, f"zoom_{place}", titled=place >= len(names) - 2)
        panels.append(panel.properties(title=name, width=style.PANEL, height=180))
    text = "Scores against SFT tokens with Equation 1, its band, and the peak fitted and printed"
    return style.finish(style.grid(panels, columns=2), text)


def _panel(points: pd.DataFrame, curve: pd.DataFrame, best: pd.DataFrame, zoom: str, *, titled: bool) -> Any:
    axis = TokenAxis.of(points["sft_tokens"])
    x, y = axis.x(titled=titled), parts.score_axis(parts.limits(points))
    marks = pd.concat([
        best[["sft_tokens"]].assign(mark=FITTED),
        best[["printed_tokens"]].rename(columns={"printed_tokens": "sft_tokens"}).assign(mark=PRINTED),
    ]).dropna()  # fmt: skip
    seen = axis.placed(points)
    layers = [*_law(axis.placed(curve), best, x, y), parts.rules(axis.placed(marks), x, _MARKS)]
    layers += parts.spans(seen, x, y, "rule")
    dots = alt.Chart(style.inline(seen)).mark_circle(size=45, color=style.DOMAIN_RAMP[0], opacity=1)
    tips = [*parts.places(seen), style.number("score", "Score", ".2%")]
    return alt.layer(*layers, dots.encode(x, y, tooltip=tips).add_params(style.zoom(zoom)))


def _law(curve: pd.DataFrame, best: pd.DataFrame, x: alt.X, y: alt.Y) -> list[Any]:
    """Equation 1 in grey with its band, and the interval of its peak as a strip."""
    there = curve.dropna(subset=["score"])
    line = alt.Chart(style.inline(there)).mark_line(color=style.GREY, strokeWidth=1.8, clip=True)
    drawn = [] if there.empty else [*parts.spans(there, x, y, "area"), line.encode(x, y)]
    return [*parts.strip(best, x, _MARKS[FITTED]), *drawn]


def study_scores(points: pd.DataFrame, curves: pd.DataFrame, optima: pd.DataFrame, baselines: pd.DataFrame) -> Any:
    """Figure 1 for our runs: a panel for each benchmark and metric, Equation 1 over the scores.

    Models without SFT stand left of the dotted line over "none", where the law does not reach. A baseline far outside
    the scores is named at the edge with an arrow. Rows that are NaN are not drawn; a panel without scores says so.

    Args:
        points: benchmark, metric ("accuracy", "log-likelihood", or the title of the axis with its unit), trained ("CPT
            and SFT" | "SFT only"), sft_tokens (0 for none), score, low, high; cpt_fraction where there is one.
        curves: benchmark, metric, sft_tokens, score, low, high along the law; low and high NaN without draws.
        optima: benchmark, metric, sft_tokens, low, high (NaN where there is none).
        baselines: benchmark, metric, name ("base model", "chance"), score: level lines.

    """
    keys = list(dict.fromkeys(points[_KEYS].itertuples(index=False, name=None)))
    panels = []
    for place, (benchmark, metric) in enumerate(keys):
        own = [f[(f["benchmark"] == benchmark) & (f["metric"] == metric)] for f in (points, curves, optima, baselines)]
        panel = _study_panel(*own, zoom=f"zoom_{place}", titled=place >= len(keys) - 2, metric=metric)
        panels.append(panel.properties(title=benchmark, width=style.PANEL, height=180))
    text = "Scores of each benchmark against SFT tokens, with and without CPT, Equation 1, its peak, and baselines"
    return style.finish(style.grid(panels or [parts.nothing("No scores")], columns=2), text)


def _study_panel(
    points: pd.DataFrame,
    curve: pd.DataFrame,
    best: pd.DataFrame,
    baselines: pd.DataFrame,
    *,
    zoom: str,
    titled: bool,
    metric: str,
) -> Any:
    points, baselines = points.dropna(subset=["score"]), baselines.dropna(subset=["score"])
    if points.empty:
        return parts.nothing(f"No scores: {metric}")
    axis = TokenAxis.of(points["sft_tokens"])
    ends = _wide_enough(points, baselines)
    x, y = axis.x(titled=titled), parts.score_axis(ends, _TITLES.get(metric, metric))
    layers = [*axis.broken(), *_law(axis.placed(curve), best, x, y)]
    peak = best.dropna(subset=["sft_tokens"])
    if len(peak):
        layers.append(_peak(axis.placed(peak), x))
    there = [name for name in TRAINED if (points["trained"] == name).any()]
    for place, name in enumerate(there):
        rows = axis.placed(points[points["trained"] == name])
        layers += _dots(rows, x, y, points["trained"], 3 * (2 * place - len(there) + 1))
    dots = layers.pop().add_params(style.zoom(zoom))
    return alt.layer(*layers, *_baselines(baselines, ends, y), dots)


def _dots(rows: pd.DataFrame, x: alt.X, y: alt.Y, trained: pd.Series, aside: int) -> list[Any]:
    """Scores with error bars, moved ``aside`` by some pixels, so that those with and without CPT do not cover."""
    colour = parts.legend(TRAINED, "trained", trained, symbolType="circle")
    bars = [bar.mark_rule(strokeWidth=1.3, xOffset=aside) for bar in parts.spans(rows, x, y, "rule", colour)]
    form = ".2%" if rows["score"].between(0, 1).all() else ".4f"
    numbers = [
        style.number("score", "Score", form),
        style.number("low", "From", form),
        style.number("high", "To", form),
    ]
    dots = alt.Chart(style.inline(rows)).mark_circle(size=45, opacity=1, xOffset=aside)
    tips = [style.word("trained", "Trained with"), *parts.places(rows), *numbers]
    return [*bars, dots.encode(x, y, colour, tooltip=tips)]


def _peak(peak: pd.DataFrame, x: alt.X) -> Any:
    """The peak as a line across the panel, in a legend of its own: colours are those of the dots."""
    key = alt.Legend(
        title=None, orient="top", symbolType="stroke", symbolStrokeWidth=3, symbolStrokeColor=_MARKS[FITTED]
    )
    dash = alt.StrokeDash("mark:N", scale=alt.Scale(domain=[FITTED], range=[[1, 0]]), legend=key)
    line = alt.Chart(style.inline(peak.assign(mark=FITTED))).mark_rule(strokeWidth=1.8, color=_MARKS[FITTED])
    return line.encode(x, dash, tooltip=[style.word("mark", "Line"), *parts.places(peak)])


def _wide_enough(points: pd.DataFrame, baselines: pd.DataFrame) -> list[float]:
    """Axis limits around the scores, their errors, and those baselines that are not far off."""
    ends = parts.limits(points)
    span = ends[1] - ends[0]
    near = baselines[baselines["score"].between(ends[0] - _FAR * span, ends[1] + _FAR * span)]
    return parts.limits(pd.concat([points, near]))


def _baselines(baselines: pd.DataFrame, ends: list[float], y: alt.Y) -> list[Any]:
    """Level lines named at the right end; one beyond the panel is only named, at the edge, with an arrow."""
    if baselines.empty:
        return []
    rows = baselines.sort_values("score")
    inside = rows["score"].between(ends[0], ends[1])
    arrow = np.select([inside, rows["score"] < ends[0]], ["", " \u2193"], " \u2191")
    values = [
        f"{score:.1%}" if parts.shares(ends) else f"{score:.3g}".replace("-", "\u2212") for score in rows["score"]
    ]
    says = [f"{name} {value}{to}" for name, value, to in zip(rows["name"], values, arrow, strict=True)]
    rows = rows.assign(says=says, at=_apart(rows["score"].clip(*ends).to_numpy(float), ends))
    lines = alt.Chart(style.inline(rows[inside])).mark_rule(color=style.GREY, strokeDash=[2, 3])
    words = alt.Chart(style.inline(rows)).mark_text(align="right", baseline="bottom", dx=-3, dy=-1, fontSize=10)
    at = y.copy()
    at.shorthand = "at:Q"
    words = words.encode(at, x=alt.value("width"), text="says:N", color=alt.value(style.GREY))
    return [lines.encode(y), words]


def _apart(at: np.ndarray, ends: list[float]) -> list[float]:
    """Places of labels in ascending order, moved up from each other, and down again from the upper edge."""
    step = _APART * (ends[1] - ends[0])
    moved: list[float] = []
    for value in at:
        moved.append(max(float(value), moved[-1] + step) if moved else float(value))
    top = ends[1] - step
    for place in reversed(range(len(moved))):
        moved[place] = min(moved[place], top)
        top = moved[place] - step
    return moved


def budgets(points: pd.DataFrame, marks: pd.DataFrame) -> Any:
    """Table 4 drawn twice: against the CPT fraction, where all differences look small, and against SFT tokens.

    Args:
        points: budget (text), cpt_fraction, sft_tokens, score, low, high.
        marks: budget, mark ("predicted" | "tested best"), cpt_fraction, sft_tokens.

    """
    if points.empty:
        return style.nothing("No other budget was run with these parameters")
    panels: list[Any] = []
    rows = style.in_order(points["budget"])
    for place, budget in enumerate(rows):
        seen, own = (frame[frame["budget"] == budget] for frame in (points, marks))
        last = place == len(rows) - 1
        tokens = TokenAxis.of(seen["sft_tokens"], own["sft_tokens"])
        both = ((_fraction_axis(last), "CPT fraction"), (tokens.x(titled=last), "SFT tokens"))
        for x, scale in both:
            panel = _tested(tokens.placed(seen), tokens.placed(own), x, f"zoom_{len(panels)}")
            panels.append(panel.properties(title=f"{budget}, by {scale}", width=style.PANEL, height=150))
    text = "Scores at other budgets by CPT fraction and by SFT tokens, with the best predicted and tested"
    return style.finish(style.grid(panels, columns=2), text)


def _tested(points: pd.DataFrame, marks: pd.DataFrame, x: alt.X, zoom: str) -> Any:
    y = parts.score_axis(parts.limits(points))
    dots = alt.Chart(style.inline(points)).mark_circle(size=45, color=style.DOMAIN_RAMP[0], opacity=1)
    tips = [*parts.places(points), style.number("score", "Score", ".2%")]
    dots = dots.encode(x, y, tooltip=tips).add_params(style.zoom(zoom))
    return alt.layer(parts.rules(marks, x, _TESTED), *parts.spans(points, x, y, "rule"), dots)


def _fraction_axis(titled: bool) -> alt.X:
    axis = alt.Axis(format=".4f", tickCount=5)
    title = "CPT fraction" if titled else None
    return alt.X("cpt_fraction:Q", title=title, axis=axis, scale=alt.Scale(zero=False, padding=8))
