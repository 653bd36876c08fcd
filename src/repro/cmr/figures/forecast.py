"""Forecasts from half of the budget beside what came: errors of the losses, with intervals."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.show import style

_KINDS = {"tried for half of the budget": "#3f86e8", "not tried": "#e2622f"}


def forecast_errors(frame: pd.DataFrame) -> Any:
    """Forecast less what came (nats per token), a panel for each loss; rows of `repro.cmr.forecasts` with a ratio.

    A bar is the 95% interval of the forecast; one that crosses the line at 0 holds what came.
    """
    rows = style.labelled(frame[frame["ratio"].notna()])
    if rows.empty:
        return style.nothing("No loss could be forecast")
    moved = {name: rows[name] - rows["came"] for name in ("forecast", "low", "high")}
    kinds = np.where(rows["tried"].astype(bool), *_KINDS)
    rows = rows.assign(**moved, kind=kinds, place=rows["size"] + ", R = " + rows["mixture"])
    limit = 1.3 * float(rows["forecast"].abs().max())
    ends = [*rows["low"].dropna().abs(), *rows["high"].dropna().abs()]
    reach = max(limit, float(np.quantile(ends, 0.8)) if ends else 0.0)
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    title = "Forecast less what came (nats/token)"
    key = alt.Legend(title=None, orient="top", symbolOpacity=1)
    seen = {kind: hue for kind, hue in _KINDS.items() if kind in kinds}
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
