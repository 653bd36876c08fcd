"""Scores against SFT tokens with Equation 1 (Figure 1), and Table 4 drawn: the paper's scores and those of our runs."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.allocation.figures import parts
from repro.allocation.figures.parts import TokenAxis
from repro.allocation.frames import Results
from repro.show import charts, style

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
    that are NaN are not drawn, no peak without its curve, and no panel without scores.
    """
    frames = (results.points, results.curves, results.optima, results.baselines)
    keys = list(dict.fromkeys(frames[0].dropna(subset=["score"])[_KEYS].itertuples(index=False, name=None)))
    several = len(results.metrics) > 1
    cells = []
    for place, (benchmark, metric) in enumerate(keys):
        own = [frame[(frame["benchmark"] == benchmark) & (frame["metric"] == metric)] for frame in frames]
        own = own if several else [frame.drop(columns=_KEYS).assign(benchmark=benchmark) for frame in own]
        title = _TITLES.get(metric, metric) if several else "Score"
        cells.append(charts.layered(_panel(own, title, titled=place >= len(keys) - 2), title=benchmark))
    text = "Scores of each benchmark against SFT tokens, with and without CPT, the law, its peak, and baselines"
    if "printed_tokens" in frames[2]:
        text = "Scores against SFT tokens with the allocation law, its band, and the peak fitted and printed"
    return charts.panels(cells or [charts.empty("No scores")], text)


def _panel(frames: Sequence[pd.DataFrame], title: str, *, titled: bool) -> list[Any]:
    """frames: points, curve, peak and baselines of one benchmark and metric, as `Results` has them."""
    points, curve, baselines = (frames[place].dropna(subset=["score"]) for place in (0, 1, 3))
    axis, ends, best = TokenAxis.of(points["sft_tokens"]), charts.limits(points, *parts.SCORE), frames[2]
    best = best if len(curve) else best.head(0)
    span = ends[1] - ends[0]
    near = baselines[baselines["score"].between(ends[0] - _FAR * span, ends[1] + _FAR * span)]
    ends = charts.limits(pd.concat([points, near]), *parts.SCORE)
    x, y = axis.x(titled=titled), parts.score_axis(ends, title)
    *bars, dots = _dots(axis.placed(points), x, y)
    path = charts.lines(axis.placed(curve), x, y, style.GREY, band=0.2, zoom=False, strokeWidth=1.8, clip=True)
    below = [*axis.broken(), *parts.strip(best, x, _MARKS[FITTED]), *(path if len(curve) else [])]
    return [*below, *_peaks(best, axis, x), *bars, *_baselines(baselines, ends, y), dots.add_params(style.zoom())]


def _peaks(best: pd.DataFrame, axis: TokenAxis, x: alt.X) -> list[Any]:
    """The peak as a line across the panel, and beside it the printed one where there is one.

    Without it the line has a legend of its own: colours are those of the dots.
    """
    if "printed_tokens" in best:
        marks = best[["sft_tokens", "printed_tokens"]].set_axis([FITTED, PRINTED], axis=1)
        marks = marks.melt(var_name="mark", value_name="sft_tokens").dropna()
        return [parts.rules(axis.placed(marks[["sft_tokens", "mark"]]), x, _MARKS)]
    peak = axis.placed(best.dropna(subset=["sft_tokens"]))
    if peak.empty:
        return []
    look: dict[str, Any] = {"symbolType": "stroke", "symbolStrokeWidth": 3, "symbolStrokeColor": _MARKS[FITTED]}
    dash = charts.by(alt.StrokeDash, "mark", {FITTED: [1, 0]}, **look)
    line = alt.Chart(style.inline(peak.assign(mark=FITTED))).mark_rule(strokeWidth=1.8, color=_MARKS[FITTED])
    return [line.encode(x, dash, tooltip=[*style.tips(mark="Line"), *parts.places(peak)])]


def _dots(points: pd.DataFrame, x: alt.X, y: alt.Y) -> list[Any]:
    """Scores with error bars, the dots last; by what was trained where that is known.

    Those with and without CPT are moved aside by some pixels, so that they do not cover each other.
    """
    if "trained" not in points:
        return _plain_dots(points, x, y)
    colour = charts.by(alt.Color, "trained", TRAINED, points["trained"], symbolType="circle")
    there = [name for name in TRAINED if (points["trained"] == name).any()]
    layers = []
    for place, name in enumerate(there):
        rows, aside = points[points["trained"] == name], 3 * (2 * place - len(there) + 1)
        form = ".2%" if rows["score"].between(0, 1).all() else ".4f"
        numbers = style.tips(score=("Score", form), low=("From", form), high=("To", form))
        tips = [*style.tips(trained="Trained with"), *parts.places(rows), *numbers]
        layers += charts.points(rows, x, y, colour, tips=tips, bar=1.3, offset=aside, size=45)
    return layers


def _plain_dots(points: pd.DataFrame, x: alt.X, y: alt.Y, *, zoom: bool = False) -> list[Any]:
    tips = [*parts.places(points), *style.tips(score=("Score", ".2%"))]
    return charts.points(points, x, y, style.DOMAIN_RAMP[0], tips=tips, bar=1.3, size=45, zoom=zoom)


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
    cells: list[Any] = []
    names = style.in_order(points["budget"])
    for budget in names:
        own, best = (frame[frame["budget"] == budget] for frame in (points, marks))
        last, tokens = budget == names[-1], TokenAxis.of(own["sft_tokens"], best["sft_tokens"])
        title, within = "CPT fraction" if last else None, {"zero": False, "padding": 8}
        share = charts.x("cpt_fraction:Q", title, scale=within, format=".4f", tickCount=5)
        for x, scale in ((share, "CPT fraction"), (tokens.x(titled=last), "SFT tokens")):
            y = parts.score_axis(charts.limits(own, *parts.SCORE))
            layers = [parts.rules(tokens.placed(best), x, _TESTED), *_plain_dots(tokens.placed(own), x, y, zoom=True)]
            cells.append(charts.layered(layers, height=150, title=f"{budget}, by {scale}"))
    text = "Scores at other budgets by CPT fraction and by SFT tokens, with the best predicted and tested"
    return charts.panels(cells, text)


def gains(frame: pd.DataFrame) -> Any:
    """What CPT adds, comparison by comparison, with 95% intervals and a line at no difference; a panel for each metric.

    frame: as `results.compare` has it; differences in accuracy are drawn in points.
    """
    cells = []
    for metric in style.in_order(frame["metric"]):
        rows = frame[frame["metric"] == metric].dropna(subset=["difference"])
        scaled = rows[["difference", "low", "high"]].astype(float) * (100 if metric == "accuracy" else 1)
        title = str(rows["benchmark"].iloc[0]) if rows["benchmark"].nunique() == 1 else ""
        rows = rows.assign(**scaled, row=rows["name"] if title else rows["benchmark"] + ", " + rows["name"])
        y = charts.y("row:N", sort=list(rows["row"]), labelLimit=240)
        x = charts.x("difference:Q", _GAIN[metric], scale={"padding": 12}, labelExpr=_SIGNED, tickCount=6)
        numbers = {"difference": (_GAIN[metric], "+.3~g"), "low": ("From", "+.3~g"), "high": ("To", "+.3~g")}
        tips = style.tips(row="Comparison", **numbers, p_value=("p", ".3~g"))
        layers = charts.points(rows, x, y, style.DOMAIN_RAMP[0], tips=tips, along="x", zoom=True)
        cells.append(charts.layered([style.rule("x", 0.0), *layers], style.PANEL, alt.Step(20), title))
    return charts.panels(
        cells, "How much higher or lower scores are with CPT than with SFT alone, with 95% intervals", columns=1
    )
