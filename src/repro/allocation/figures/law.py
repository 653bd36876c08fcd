"""Scores against SFT tokens with Equation 1 (Figure 1), and Table 4 drawn: the paper's scores and those of our runs."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.allocation.figures import parts
from repro.allocation.figures.parts import TokenAxis
from repro.allocation.frames import Results
from repro.show import style

FITTED, PRINTED = "peak of the law", "peak in the paper"
TRAINED = dict(zip(
    ("CPT and SFT", "snapshots of one SFT", "SFT only", "SFT of fixed steps"), style.DOMAIN_RAMP, strict=False
))  # fmt: skip
_MARKS = {FITTED: style.DOMAIN_RAMP[1], PRINTED: style.DOMAIN_RAMP[3]}
_TESTED = {"predicted": style.DOMAIN_RAMP[3], "tested best": style.DOMAIN_RAMP[2]}
_GAIN = {"accuracy": "Difference in accuracy (points)", "log-likelihood": "Difference in log-likelihood (nats/byte)"}
_TITLES = {"accuracy": "Accuracy", "log-likelihood": "Log-likelihood of the right answer (nats/byte)"}
_SIGNED = "(datum.value > 0 ? '+' : '') + datum.label"
_KEYS = ["benchmark", "metric"]
_APART = 0.08  # of the height of a panel: labels of two lines are at least that far from each other
_FAR = 0.6  # of the span of the scores: lines farther off are named at the edge, and the scores keep the panel


def law(results: Results) -> Any:
    """Figure 1, a panel for each benchmark and metric: the scores with their errors, Equation 1, its peak, baselines.

    The height of a panel is that of the scores and their errors: a band that leaves it has no limit there (between
    allocations far apart nothing keeps a narrow peak down). Models without SFT stand left of the dotted line over
    "none", where the law does not reach. A baseline far outside the scores is named at the edge with an arrow. Rows
    that are NaN are not drawn, and no panel without scores.
    """
    frames = (results.points, results.curves, results.optima, results.baselines)
    keys = list(dict.fromkeys(frames[0].dropna(subset=["score"])[_KEYS].itertuples(index=False, name=None)))
    several = len(results.metrics) > 1
    panels = []
    for place, (benchmark, metric) in enumerate(keys):
        own = [frame[(frame["benchmark"] == benchmark) & (frame["metric"] == metric)] for frame in frames]
        own = own if several else [frame.drop(columns=_KEYS).assign(benchmark=benchmark) for frame in own]
        title = _TITLES.get(metric, metric) if several else "Score"
        titled = place >= len(keys) - 2
        panel = _panel(own, title, f"zoom_{place}", titled=titled)
        panels.append(panel.properties(title=benchmark, width=style.PANEL, height=180))
    text = "Scores of each benchmark against SFT tokens, with and without CPT, the law, its peak, and baselines"
    if "printed_tokens" in frames[2]:
        text = "Scores against SFT tokens with the allocation law, its band, and the peak fitted and printed"
    return style.finish(style.grid(panels or [parts.nothing("No scores")], columns=2), text)


def _panel(frames: Sequence[pd.DataFrame], title: str, zoom: str, *, titled: bool) -> Any:
    """frames: points, curve, peak and baselines of one benchmark and metric, as `Results` has them."""
    points, curve, baselines = (frames[place].dropna(subset=["score"]) for place in (0, 1, 3))
    axis, ends, best = TokenAxis.of(points["sft_tokens"]), parts.limits(points), frames[2]
    span = ends[1] - ends[0]
    near = baselines[baselines["score"].between(ends[0] - _FAR * span, ends[1] + _FAR * span)]
    ends = parts.limits(pd.concat([points, near]))
    x, y = axis.x(titled=titled), parts.score_axis(ends, title)
    *bars, dots = _dots(axis.placed(points), x, y)
    layers = [*axis.broken(), *parts.strip(best, x, _MARKS[FITTED])]
    if len(curve):
        drawn = axis.placed(curve)
        line = alt.Chart(style.inline(drawn)).mark_line(color=style.GREY, strokeWidth=1.8, clip=True)
        layers += [*parts.band(drawn, x, y), line.encode(x, y)]
    layers += [*_peaks(best, axis, x), *bars]
    return alt.layer(*layers, *_baselines(baselines, ends, y), dots.add_params(style.zoom(zoom)))


def _peaks(best: pd.DataFrame, axis: TokenAxis, x: alt.X) -> list[Any]:
    """The peak as a line across the panel, and beside it the printed one where there is one.

    Without it the line has a legend of its own: colours are those of the dots.
    """
    if "printed_tokens" in best:
        fitted, printed = best["sft_tokens"], best["printed_tokens"]
        marks = pd.concat(
            [pd.DataFrame({"sft_tokens": at, "mark": mark}) for at, mark in ((fitted, FITTED), (printed, PRINTED))]
        )
        return [parts.rules(axis.placed(marks.dropna()), x, _MARKS)]
    peak = axis.placed(best.dropna(subset=["sft_tokens"]))
    if peak.empty:
        return []
    key = alt.Legend(
        title=None, orient="top", symbolType="stroke", symbolStrokeWidth=3, symbolStrokeColor=_MARKS[FITTED]
    )
    dash = alt.StrokeDash("mark:N", scale=alt.Scale(domain=[FITTED], range=[[1, 0]]), legend=key)
    line = alt.Chart(style.inline(peak.assign(mark=FITTED))).mark_rule(strokeWidth=1.8, color=_MARKS[FITTED])
    return [line.encode(x, dash, tooltip=[style.word("mark", "Line"), *parts.places(peak)])]


def _dots(points: pd.DataFrame, x: alt.X, y: alt.Y) -> list[Any]:
    """Scores with error bars, the dots last; by what was trained where that is known.

    Those with and without CPT are moved aside by some pixels, so that they do not cover each other.
    """
    if "trained" not in points:
        return _plain_dots(points, x, y)
    colour = parts.legend(TRAINED, "trained", points["trained"], symbolType="circle")
    there = [name for name in TRAINED if (points["trained"] == name).any()]
    layers = []
    for place, name in enumerate(there):
        rows, aside = points[points["trained"] == name], 3 * (2 * place - len(there) + 1)
        layers += parts.bars(rows, x, y, colour, xOffset=aside)
        form = ".2%" if rows["score"].between(0, 1).all() else ".4f"
        numbers = style.tips(score=("Score", form), low=("From", form), high=("To", form))
        tips = [style.word("trained", "Trained with"), *parts.places(rows), *numbers]
        dots = alt.Chart(style.inline(rows)).mark_circle(size=45, opacity=1, xOffset=aside)
        layers.append(dots.encode(x, y, colour, tooltip=tips))
    return layers


def _plain_dots(points: pd.DataFrame, x: alt.X, y: alt.Y) -> list[Any]:
    dots = alt.Chart(style.inline(points)).mark_circle(size=45, color=style.DOMAIN_RAMP[0], opacity=1)
    tips = [*parts.places(points), style.number("score", "Score", ".2%")]
    return [*parts.bars(points, x, y), dots.encode(x, y, tooltip=tips)]


def _baselines(baselines: pd.DataFrame, ends: list[float], y: alt.Y) -> list[Any]:
    """Level lines named at the right end; one beyond the panel is only named, at the edge, with an arrow."""
    if baselines.empty:
        return []
    rows = baselines.sort_values("score")
    inside = rows["score"].between(ends[0], ends[1])
    arrow = np.select([inside, rows["score"] < ends[0]], ["", " \u2193"], " \u2191")
    percent = parts.shares(ends)
    values = [f"{score:.1%}" if percent else f"{score:.3g}".replace("-", "\u2212") for score in rows["score"]]
    says = [f"{name} {value}{to}" for name, value, to in zip(rows["name"], values, arrow, strict=True)]
    at_score = style.apart(rows["score"].clip(*ends), _APART * (ends[1] - ends[0]), ends[1])
    rows = rows.assign(says=says, at=at_score)
    lines = alt.Chart(style.inline(rows[inside])).mark_rule(color=style.GREY, strokeDash=[2, 3])
    words = alt.Chart(style.inline(rows)).mark_text(align="right", baseline="bottom", dx=-3, dy=-1, fontSize=10)
    at = y.copy()
    at.shorthand = "at:Q"
    words = words.encode(at, x=alt.value("width"), text="says:N", color=alt.value(style.GREY))
    return [lines.encode(y), words]


def budgets(results: Results) -> Any:
    """Table 4 drawn twice: against the CPT fraction, where all differences look small, and against SFT tokens."""
    points, marks = results.other_budgets
    panels: list[Any] = []
    names = style.in_order(points["budget"])
    for place, budget in enumerate(names):
        own, best = (frame[frame["budget"] == budget] for frame in (points, marks))
        last = place == len(names) - 1
        tokens = TokenAxis.of(own["sft_tokens"], best["sft_tokens"])
        axis, within = alt.Axis(format=".4f", tickCount=5), alt.Scale(zero=False, padding=8)
        share = alt.X("cpt_fraction:Q", title="CPT fraction" if last else None, axis=axis, scale=within)
        for x, scale in ((share, "CPT fraction"), (tokens.x(titled=last), "SFT tokens")):
            *bars, dots = _plain_dots(tokens.placed(own), x, parts.score_axis(parts.limits(own)))
            lines, zoom = parts.rules(tokens.placed(best), x, _TESTED), style.zoom(f"zoom_{len(panels)}")
            panel = alt.layer(lines, *bars, dots.add_params(zoom))
            panels.append(panel.properties(title=f"{budget}, by {scale}", width=style.PANEL, height=150))
    text = "Scores at other budgets by CPT fraction and by SFT tokens, with the best predicted and tested"
    return style.finish(style.grid(panels, columns=2), text)


def gains(frame: pd.DataFrame) -> Any:
    """What CPT adds, comparison by comparison, with 95% intervals and a line at no difference; a panel for each metric.

    frame: as `results.compare` has it; differences in accuracy are drawn in points.
    """
    panels = []
    for place, metric in enumerate(style.in_order(frame["metric"])):
        rows = frame[frame["metric"] == metric].dropna(subset=["difference"])
        scaled = rows[["difference", "low", "high"]].astype(float) * (100 if metric == "accuracy" else 1)
        rows = rows.assign(**scaled, row=rows["benchmark"] + ", " + rows["name"])
        y = alt.Y("row:N", sort=list(rows["row"]), title=None, axis=alt.Axis(labelLimit=240))
        x = alt.X("difference:Q", title=_GAIN.get(metric, metric), axis=alt.Axis(labelExpr=_SIGNED, tickCount=6))
        numbers = {"difference": (_GAIN[metric], "+.3~g"), "low": ("From", "+.3~g"), "high": ("To", "+.3~g")}
        tips = style.tips(row="Comparison", **numbers, p_value=("p", ".3~g"))
        dots = alt.Chart(style.inline(rows)).mark_circle(size=55, color=style.DOMAIN_RAMP[0], opacity=1)
        dots = dots.encode(x, y, tooltip=tips).add_params(style.zoom(f"zoom_{place}"))
        intervals = style.bars(rows, x, y, parts.grey(None), strokeWidth=1.6)
        panel = alt.layer(style.rule("x", 0.0), *intervals, dots)
        panels.append(panel.properties(width=style.PANEL + 90, height=alt.Step(20)))
    text = "How much higher or lower scores are with CPT than with SFT alone, with 95% intervals"
    return style.finish(style.grid(panels, columns=1), text)
