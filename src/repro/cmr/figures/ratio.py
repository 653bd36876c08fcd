"""Losses at the end of the run against the mixture ratio and the law L(R): Figure 3 of paper A, and forecasts."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.cmr.frames import Results, held_out_errors
from repro.show import style

# A five-pointed star in the unit square that Vega scales; its built-in shapes have none.
_STAR = "M0,-1L0.22,-0.31L0.95,-0.31L0.36,0.12L0.59,0.81L0,0.38L-0.59,0.81L-0.36,0.12L-0.95,-0.31L-0.22,-0.31Z"
_MARKS = {
    "measured": ("circle", "#3f86e8"),
    "measured, not fitted": ("triangle-up", "#7a8088"),
    "held out, measured": ("square", "#3f86e8"),
    "held out, predicted": (_STAR, "#e2622f"),
}
_TRIED = {"tried for half of the budget": "#3f86e8", "not tried": "#e2622f"}


def loss_against_ratio(results: Results, loss: str | None = None) -> Any:
    """Figure 3: loss at the end of the run against R, the law L(R), and its prediction of a ratio held out.

    loss: "general" or "domain", by default all that were measured. Intervals are drawn where there are any.
    """
    points, fitted, seen, _ = results.held_out(loss)
    points = style.labelled(points.assign(kind=points["kind"].str.replace("measured", seen)))
    marks = {kind.replace("measured", seen): mark for kind, mark in _MARKS.items()}
    marks = {kind: mark for kind, mark in marks.items() if (points["kind"] == kind).any()}
    key = alt.Legend(title=None, orient="top", symbolStrokeWidth=1.6, symbolOpacity=1)
    forms, colours = (alt.Scale(domain=list(marks), range=[mark[i] for mark in marks.values()]) for i in (0, 1))
    title = ("Loss" if seen == "measured" else "Change of loss") + " (nats/token)"
    channels = (
        alt.Y("value:Q", title=title, scale=alt.Scale(zero=False, padding=9)),
        alt.Color("kind:N", scale=colours, legend=key),
        alt.Shape("kind:N", scale=forms, legend=key),
    )
    losses, sizes = style.in_order(points["loss"]), style.in_order(points["size"])
    cells: list[Any] = []
    for place, size in enumerate(sizes):
        for kind in losses:
            last = place >= len(sizes) - (1 if len(losses) > 1 else 2)
            mine, law = (f[(f["size"] == size) & (f["loss"] == kind)] for f in (points, fitted))
            panel = _panel(mine, law, channels, f"zoom_{len(cells)}", titled=last)
            cells.append(panel.properties(title=f"{size}, {kind} loss"))
    text = f"Loss at the end of the run against the domain share, {seen}, fitted and predicted"
    return style.finish(style.grid(cells, columns=2), text)


def prediction_errors(*sides: Results) -> Any:
    """Relative error of predicting the ratio held out (percent), a row for each size of each side; general and domain
    loss in colours.
    """
    errors = pd.concat([held_out_errors(side.held_out().points) for side in sides]).rename("error").reset_index()
    if errors.empty:
        return style.nothing("No ratio could be predicted from the others")
    sizes = style.in_order(size for side in sides for size in side.sizes)
    scale = alt.Scale(domain=["general", "domain"], range=["#3f86e8", "#e2622f"])
    key = alt.Legend(title="Loss", orient="top", symbolOpacity=1)
    dots = alt.Chart(style.inline(errors)).mark_point(filled=True, size=80, opacity=1)
    dots = dots.encode(
        alt.X("error:Q", title="Predicted less measured (% of the loss)"),
        alt.Y("size:N", title="Model size", sort=sizes),
        alt.Color("loss:N", scale=scale, legend=key),
        alt.Shape("loss:N", scale=alt.Scale(domain=["general", "domain"], range=["circle", "diamond"]), legend=key),
        tooltip=style.tips(size="Model size", loss="Loss", error=("Error in %", "+.3f")),
    )
    chart = alt.layer(style.rule("x", 0.0), dots).properties(width=560, height=alt.Step(22))
    return style.finish(chart, "Relative error of the loss predicted at the ratio held out, a row for each model size")


def forecast_errors(frame: pd.DataFrame) -> Any:
    """Forecast less what came (nats per token), a panel for each loss; rows of `repro.cmr.forecasts` with a ratio.

    A bar is the 95% interval of the forecast; one that crosses the line at 0 holds what came.
    """
    rows = style.labelled(frame[frame["ratio"].notna()])
    if rows.empty:
        return style.nothing("No loss could be forecast")
    moved = {name: rows[name] - rows["came"] for name in ("forecast", "low", "high")}
    kinds = np.where(rows["tried"].astype(bool), *_TRIED)
    rows = rows.assign(**moved, kind=kinds, place=rows["size"] + ", R = " + rows["mixture"])
    limit = 1.3 * float(rows["forecast"].abs().max())
    ends = [*rows["low"].dropna().abs(), *rows["high"].dropna().abs()]
    reach = max(limit, float(np.quantile(ends, 0.8)) if ends else 0.0)
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    title = "Forecast less what came (nats/token)"
    key = alt.Legend(title=None, orient="top", symbolOpacity=1)
    seen = {kind: hue for kind, hue in _TRIED.items() if kind in kinds}
    colour = alt.Color("kind:N", scale=alt.Scale(domain=list(seen), range=list(seen.values())), legend=key)
    tips = style.tips(
        place="Curve", kind="The ratio was", forecast=("Error", "+.4f"), low=("From", "+.4f"), high=("To", "+.4f")
    )
    panels = []
    for place, what in enumerate(style.in_order(rows["what"])):
        mine = rows[rows["what"] == what]
        x = alt.X("forecast:Q", title=title, scale=scale)
        axis = alt.Axis(labelLimit=120) if not place else None
        y = alt.Y("place:N", sort=style.in_order(rows["place"]), title=None, axis=axis)
        bars = style.bars(mine, alt.X(title=title, scale=scale), y, colour, strokeWidth=2, clip=True)
        dots = alt.Chart(style.inline(mine)).mark_circle(size=55, opacity=1).encode(x, y, colour, tooltip=tips)
        layers = [style.rule("x", 0.0), *bars, dots]
        panels.append(alt.layer(*layers).properties(title=what, width=250, height=15 * mine["place"].nunique()))
    text = "Errors of losses forecast from half of the budget, with their 95% intervals"
    return style.finish(style.grid(panels, columns=2), text)


def _panel(points: pd.DataFrame, law: pd.DataFrame, channels: Sequence[Any], zoom: str, *, titled: bool) -> Any:
    x, y = style.ratio_axis(style.ratios_of(points), titled=titled), channels[0]
    tips = style.tips(size="Model size", mixture="Domain share R", kind="Point", value=("Loss", ".4f"))
    dots = alt.Chart(style.inline(points)).mark_point(size=80, strokeWidth=1.8, opacity=1)
    line = alt.Chart(style.inline(_joined(law))).mark_line(color=style.GREY, strokeWidth=1.8)
    layers = [
        *style.band(law, "y", x, color=style.GREY, opacity=0.18),
        line.encode(x, y, style.extrapolated((4, 3)), detail="part:N"),
        *style.bars(points, "y", x, color=style.GREY),
        dots.encode(x, *channels, tooltip=tips).add_params(style.zoom(zoom)),
    ]
    return alt.layer(*layers).properties(width=style.PANEL, height=180)


def _joined(fitted: pd.DataFrame) -> pd.DataFrame:
    """Stretches of one kind numbered in ``part``, each repeating the last row of the one before: no gaps."""
    rows = fitted.sort_values("ratio", kind="stable").reset_index(drop=True)
    begins = rows["kind"].ne(rows["kind"].shift())
    rows = rows.assign(part=begins.cumsum().astype(str))
    starts = rows.index[begins][1:]
    seams = [rows.loc[at - 1].to_dict() | rows.loc[at, ["kind", "part"]].to_dict() for at in starts]
    return pd.concat([rows, pd.DataFrame(seams)]).sort_values("ratio", kind="stable") if seams else rows
