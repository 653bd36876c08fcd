"""Training tokens, and losses against them: Figures 4, 7, 9 and 10 of paper A, pretraining curves, the corpora."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.cmr.figures import parts
from repro.cmr.frames import RUN, T_MAX, DomainResults, Results
from repro.laws import ratio_label
from repro.show import charts, style

# Ticks of the symmetric logarithmic axis, which near zero would otherwise be crowded or bare.
_TICKS = [s * v for v in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0) for s in (-1, 1)] + [0.0]

_SYMLOG = " (symmetric log axis)"
DISTANCE = "Jensen-Shannon distance (0 to 1)"


def loss_against_tokens(results: Results, size: str, *, band: bool = False) -> Any:
    """Figure 4: increment of the general loss of one size against T, fitted and extrapolated (dashed).

    The ratios are those of `parts.small_of`. band: with the interval of each curve.
    """
    text = f"General loss increment of {size} against tokens, fitted and extrapolated, a line for each ratio"
    return _side_by_side({size: _beyond(results, size, band)}, results.t_title, text)


def loss_on_two_domains(*sides: DomainResults) -> Any:
    """Figure 7, for each domain a panel as in Figure 4, of the smallest size; all with one axis."""
    size = sides[-1].sizes[0]
    panels = {f"{size} on {side.domain}": _beyond(side, size) for side in sides}
    text = f"General loss increment of {size} against tokens, a panel for each domain, a line for each ratio"
    return _side_by_side(panels, sides[0].t_title, text)


def _beyond(results: Results, size: str, band: bool = False) -> parts.Rows:
    return _rows(parts.small_of(results.curves(np.arange(1, results.last_t + 1), band=band), size), results)


def _side_by_side(panels: Mapping[str, parts.Rows], x_title: str, text: str) -> Any:
    key = charts.Key.ratios(sorted({ratio for rows in panels.values() for ratio in style.ratios_of(rows.drawn)}))
    x, single = _tokens(x_title), len(panels) == 1
    spans = [end for rows in panels.values() for end in rows.span("general")]
    y = charts.y("general:Q", style.GENERAL, None if single else [min(spans), max(spans)], scale={"zero": False})
    shape = (charts.WIDE, 340) if single else (style.PANEL, 240)
    cells = [charts.layered(_track(rows, x, y, key), *shape, title) for title, rows in panels.items()]
    return charts.panels(cells, text)


def all_loss_against_tokens(results: Results) -> Any:
    """Figure 9: increment of the general loss against T for every size (columns) and ratio (rows of one scale)."""
    rows = _rows(results.curves(np.arange(1, results.last_t + 1)), results)
    there, sizes = style.ratios_of(rows.drawn), style.in_order(rows.drawn["size"])
    key, cells = charts.Key.ratios(there), []
    for ratio in there:
        label = ratio_label(ratio)
        row, x = rows.where("mixture", label), _tokens("T" if ratio == there[-1] else None, 3)
        for size in sizes:
            first = size == sizes[0]
            title = "Δ general loss" if first else None
            y = charts.y("general:Q", title, row.span("general"), tickCount=3, labels=first)
            layers = _track(row.where("size", size), x, y, key)
            cells.append(charts.layered(layers, 580 // len(sizes), 92, f"{size}, R = {label}"))
    note = alt.Title(f"x: {results.t_title}; y: {style.GENERAL}, same scale within a row", fontSize=11)
    text = "General loss increment against tokens, a panel for each model size and ratio"
    return charts.panels(cells, text, len(sizes), 10).properties(title=note)


def both_losses(results: Results, *only: str) -> Any:
    """Figure 10: both increments against T up to the end of the run, a row for each size (all, unless some are named),
    coloured by ratio; the general one on a symmetric logarithmic axis, where the largest ratio does not flatten the
    others.
    """
    rows = parts.Rows.of(results.curves(RUN), results.turning_points())
    key, sizes = charts.Key.ratios(style.ratios_of(rows.drawn)), only or style.in_order(rows.drawn["size"])
    symmetric = {"type": "symlog", "constant": 0.01, "nice": False}
    general = charts.y("general:Q", style.GENERAL, scale=symmetric, values=_TICKS, format="~g")
    losses = {
        "domain loss": ("domain", charts.y("domain:Q", style.DOMAIN, scale={"zero": False}, tickCount=6)),
        f"general loss{_SYMLOG}": ("general", general),
    }
    cells = [
        charts.layered(_track(rows.where("size", size), x, y, key, loss, rule=False), title=f"{size}, {name}")
        for size, x in ((size, _tokens(results.t_title if size == sizes[-1] else None)) for size in sizes)
        for name, (loss, y) in losses.items()
    ]
    text = "Domain and general loss increments against tokens, a row for each model size, a line for each ratio"
    return charts.panels(cells, text)


def pretraining_curves(frame: pd.DataFrame) -> Any:
    """General validation loss of every size while it is pretrained: columns size, tokens, general_loss (nats/token),
    and seed where there are several; then the mean, with a band from lowest to highest.
    """
    by_point = frame[frame["tokens"] > 0].groupby(["size", "tokens"], sort=False)["general_loss"]
    rows = by_point.agg(["mean", "min", "max", "size"]).rename(columns={"size": "seeds"}).reset_index()
    rows = rows.assign(millions=rows["tokens"] / 1e6)
    numbers = {"millions": ("Million tokens", ".2f"), "mean": ("General validation loss", ".4f")}
    if (rows["seeds"] > 1).any():
        numbers |= {"min": ("Lowest seed", ".4f"), "max": ("Highest seed", ".4f"), "seeds": ("Seeds", "d")}
    else:
        rows = rows.drop(columns=["min", "max"])
    x = charts.x("millions:Q", "Pretraining tokens (millions)", scale={"nice": False})
    y = charts.y("mean:Q", "General validation loss (nats/token)", scale={"zero": False})
    tips = style.tips(size="Model size", **numbers)
    layers = charts.lines(rows, x, y, charts.Key.sizes(frame), tips=tips, dots=22, ends=("min", "max"))
    return charts.figure(layers, "General validation loss during pretraining, a line for each model size")


def _rows(curves: pd.DataFrame, results: Results) -> parts.Rows:
    """The rows of curves; the last fitted one is repeated as the first extrapolated one, so that there is no gap."""
    rows = parts.Rows.of(curves, results.turning_points())
    drawn = rows.drawn
    fitted = drawn[drawn["kind"] == "fitted"]
    last = fitted.loc[fitted.groupby(parts.KEYS, sort=False)["t"].idxmax()]
    beyond = {tuple(key) for key in drawn.loc[drawn["kind"] == "extrapolated", parts.KEYS].to_numpy()}
    keep = [tuple(key) in beyond for key in last[parts.KEYS].to_numpy()]
    seams = last[keep].assign(kind="extrapolated", hover=False)
    return rows._replace(drawn=pd.concat([drawn, seams]).sort_values("t", kind="stable"))


def _tokens(title: str | None, ticks: int = 6) -> alt.X:
    return charts.x("t:Q", title, scale={"nice": False, "zero": True}, tickCount=ticks)


def _track(
    rows: parts.Rows, x: alt.X, y: alt.Y, key: charts.Key, loss: str = "general", *, rule: bool = True
) -> list[Any]:
    """An increment against T, dashed where extrapolated, with measured dots and turning points, and a rule at T_max."""
    dashed = [style.extrapolated(), alt.Detail("kind:N")]
    layers = rows.layers(x, y, key, rows.turns, *dashed, ends=(f"{loss}_low", f"{loss}_high"))
    return [*([style.rule("x", T_MAX)] if rule else []), *layers]


def corpus_sizes(frame: pd.DataFrame) -> Any:
    """Tokens of each corpus by part: columns corpus, part ("training" | "validation"), tokens, documents."""
    rows = frame.assign(millions=frame["tokens"] / 1e6)
    parts = dict(zip(style.in_order(frame["part"]), style.DOMAIN_RAMP, strict=False))
    bars = alt.Chart(style.inline(rows)).mark_bar().encode(
        charts.x("millions:Q", "Tokens (millions)", tickCount=8),
        charts.y("corpus:N", sort=style.in_order(frame["corpus"])),
        alt.YOffset("part:N", sort=list(parts)),
        charts.by(alt.Color, "part", parts, title="Part"),
        tooltip=style.tips(corpus="Corpus", part="Part", tokens=("Tokens", ",.0f"), documents=("Documents", ",.0f")),
    )  # fmt: skip
    return charts.figure([bars], "Tokens of each corpus by part", 520, alt.Step(16))


def corpus_distance(frame: pd.DataFrame) -> Any:
    """Distance of each corpus from the general text: columns corpus, distance."""
    bars = alt.Chart(style.inline(frame)).mark_bar(color=style.DOMAIN_RAMP[0], opacity=0.6).encode(
        charts.x("distance:Q", DISTANCE, scale={"zero": True}),
        charts.y("corpus:N", sort=style.in_order(frame["corpus"])),
        tooltip=style.tips(corpus="Corpus", distance=(DISTANCE, ".3f")),
    )  # fmt: skip
    return charts.figure([bars], f"{DISTANCE} of each corpus", 520, alt.Step(28))
