"""Losses at the end of the run against the mixture ratio and the law L(R): Figure 3 of paper A, and forecasts."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.cmr.figures.losses import joined
from repro.cmr.frames import Results, held_out_errors
from repro.show import charts, style

# A five-pointed star in the unit square that Vega scales; its built-in shapes have none.
_STAR = "M0,-1L0.22,-0.31L0.95,-0.31L0.36,0.12L0.59,0.81L0,0.38L-0.59,0.81L-0.36,0.12L-0.95,-0.31L-0.22,-0.31Z"
_FORMS = {"measured": "circle", "measured, not fitted": "triangle-up", "held out, measured": "square",
          "held out, predicted": _STAR}  # fmt: skip
_COLOURS = dict(zip(_FORMS, ("#3f86e8", style.GREY, "#3f86e8", "#e2622f"), strict=True))
_LOSSES = {"general": "#3f86e8", "domain": "#e2622f"}
_TRIED = {"tried for half of the budget": "#3f86e8", "not tried": "#e2622f"}


def loss_against_ratio(results: Results, loss: str | None = None) -> Any:
    """Figure 3: loss at the end of the run against R, the law L(R), and its prediction of a ratio held out.

    loss: "general" or "domain", by default all that were measured. Intervals are drawn where there are any.
    """
    points, fitted, seen, _ = results.held_out(loss)
    points = style.labelled(points.assign(kind=points["kind"].str.replace("measured", seen)))
    colours, forms = ({k.replace("measured", seen): v for k, v in of.items()} for of in (_COLOURS, _FORMS))
    colour = charts.by(alt.Color, "kind", colours, points["kind"], symbolStrokeWidth=1.6)
    shape = charts.by(alt.Shape, "kind", forms, points["kind"], symbolStrokeWidth=1.6)
    title = ("Loss" if seen == "measured" else "Change of loss") + " (nats/token)"
    y = charts.y("value:Q", title, scale={"zero": False, "padding": 9})
    tips = style.tips(size="Model size", mixture="Domain share R", kind="Point", value=("Loss", ".4f"))
    losses, sizes = style.in_order(points["loss"]), style.in_order(points["size"])
    panels = [(size, kind) for size in sizes for kind in losses]
    cells: list[Any] = []
    for size, kind in panels:
        mine, law = (f[(f["size"] == size) & (f["loss"] == kind)] for f in (points, fitted))
        x = style.ratio_axis(style.ratios_of(mine), titled=len(cells) >= len(panels) - 2)
        dashed = [style.extrapolated((4, 3)), alt.Detail("part:N")]
        path = charts.lines(joined(law, "ratio", ["size", "loss"]), x, y, style.GREY, *dashed, strokeWidth=1.8)
        *bars, dots = charts.points(mine, x, y, colour, tips=tips, size=80, filled=False, strokeWidth=1.8)
        cells.append(charts.layered([*path, *bars, dots.encode(shape)], title=f"{size}, {kind} loss"))
    return charts.panels(cells, f"Loss at the end of the run against the domain share, {seen}, fitted and predicted")


def prediction_errors(*sides: Results) -> Any:
    """Relative error of predicting the ratio held out (percent), a row for each size of each side; general and domain
    loss in colours.
    """
    errors = pd.concat([held_out_errors(side.held_out().points) for side in sides]).rename("error").reset_index()
    if errors.empty:
        return charts.nothing("No ratio could be predicted from the others")
    x = charts.x("error:Q", "Predicted less measured (% of the loss)")
    y = charts.y("size:N", "Model size", sort=style.in_order(size for side in sides for size in side.sizes))
    shape = charts.by(alt.Shape, "loss", {"general": "circle", "domain": "diamond"}, title="Loss")
    tips = style.tips(size="Model size", loss="Loss", error=("Error in %", "+.3f"))
    colour = charts.by(alt.Color, "loss", _LOSSES, title="Loss")
    (dots,) = charts.points(errors, x, y, colour, tips=tips, along="x", size=80)
    text = "Relative error of the loss predicted at the ratio held out, a row for each model size"
    return charts.figure([style.rule("x", 0.0), dots.encode(shape)], text, 560, alt.Step(22))


def forecast_errors(frame: pd.DataFrame) -> Any:
    """Forecast less what came (nats per token), a panel for each loss; rows of `repro.cmr.forecasts` with a ratio.

    A bar is the 95% interval of the forecast; one that crosses the line at 0 holds what came.
    """
    rows = style.labelled(frame.dropna(subset=["ratio", "forecast"]))
    if rows.empty:
        return charts.nothing("No loss could be forecast")
    moved = {name: rows[name] - rows["came"] for name in ("forecast", "low", "high")}
    kinds = np.where(rows["tried"].astype(bool), *_TRIED)
    rows = rows.assign(**moved, kind=kinds, place=rows["size"] + ", R = " + rows["mixture"])
    ends = [*rows["low"].dropna().abs(), *rows["high"].dropna().abs()]
    reach = max(1.3 * float(rows["forecast"].abs().max()), float(np.quantile(ends, 0.8)) if ends else 0.0)
    x = charts.x("forecast:Q", "Forecast less what came (nats/token)", [-reach, reach])
    y = charts.y("place:N", sort=style.in_order(rows["place"]), labelLimit=120)
    numbers = {"low": ("From", "+.4f"), "high": ("To", "+.4f")}
    tips = style.tips(place="Curve", kind="The ratio was", forecast=("Error", "+.4f"), **numbers)
    colour, panels = charts.by(alt.Color, "kind", _TRIED, kinds), list[Any]()
    for what in style.in_order(rows["what"]):
        mine = rows[rows["what"] == what]
        layers = charts.points(mine, x, y.axis(None) if panels else y, colour, tips=tips, along="x", bar=2, clip=True)
        panels.append(charts.layered([style.rule("x", 0.0), *layers], 250, 15 * mine["place"].nunique(), what))
    return charts.panels(panels, "Errors of losses forecast from half of the budget, with their 95% intervals")
