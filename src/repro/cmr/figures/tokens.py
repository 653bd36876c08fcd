"""Training tokens, and losses against them: Figures 4, 7, 9 and 10 of paper A, pretraining curves, the corpora."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.cmr.figures import parts
from repro.cmr.frames import RUN, T_MAX, DomainResults, Results
from repro.laws import ratio_label
from repro.show import style

_FIELDS = ["size", "mixture", "t", "general", "domain", "kind", "hover"]
# Ticks of the symmetric logarithmic axis, which near zero would otherwise be crowded or bare.
_TICKS = [s * v for v in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0) for s in (-1, 1)] + [0.0]

_SYMLOG = " (symmetric log axis)"
DISTANCE = "Jensen-Shannon distance (0 to 1)"


def loss_against_tokens(results: Results, size: str, *, band: bool = False) -> Any:
    """Figure 4: increment of the general loss of one size against T, fitted and extrapolated (dashed).

    The ratios are those of `parts.small_of`. band: with the interval of each curve.
    """
    text = f"General loss increment of {size} against tokens, fitted and extrapolated, a line for each ratio"
    return style.finish(_side_by_side({size: _beyond(results, size, band)}, results.t_title), text)


def loss_on_two_domains(*sides: DomainResults) -> Any:
    """Figure 7, for each domain a panel as in Figure 4, of the smallest size; all with one axis."""
    size = sides[-1].sizes[0]
    panels = {f"{size} on {side.domain}": _beyond(side, size) for side in sides}
    text = f"General loss increment of {size} against tokens, a panel for each domain, a line for each ratio"
    return style.finish(_side_by_side(panels, sides[0].t_title), text)


def _beyond(results: Results, size: str, band: bool = False) -> parts.Rows:
    return _rows(parts.small_of(results.curves(np.arange(1, results.last_t + 1), band=band), size), results)


def _side_by_side(panels: Mapping[str, parts.Rows], x_title: str) -> Any:
    ratios = sorted({ratio for rows in panels.values() for ratio in style.ratios_of(rows.drawn)})
    colour, pick, several = style.ratio_colour(ratios), style.picked("mixture"), len(panels) > 1
    spans = [end for rows in panels.values() for end in rows.span("general")]
    shape: dict[str, Any] = {"width": style.PANEL, "height": 240} if several else {"width": 600, "height": 340}
    limits = [min(spans), max(spans)] if several else None
    charts = [
        _track(
            rows, colour, pick, f"zoom_{place}", title, x_title=x_title, y_title=style.GENERAL, t_max=T_MAX,
            limits=limits, **shape,
        )
        for place, (title, rows) in enumerate(panels.items())
    ]  # fmt: skip
    return style.grid(charts, columns=2) if several else charts[0]


def all_loss_against_tokens(results: Results) -> Any:
    """Figure 9: increment of the general loss against T for every size (columns) and ratio (rows of one scale)."""
    rows = _rows(results.curves(np.arange(1, results.last_t + 1)), results)
    there, sizes = style.ratios_of(rows.drawn), style.in_order(rows.drawn["size"])
    labels = [ratio_label(ratio) for ratio in there]
    colour, pick = style.ratio_colour(there), style.picked("mixture")
    cells: list[Any] = []
    for label in labels:
        row = rows.where("mixture", label)
        for size in sizes:
            first, last = size == sizes[0], label == labels[-1]
            cells.append(_track(
                row.where("size", size), colour, pick, f"zoom_{len(cells)}", f"{size}, R = {label}", height=92,
                width=580 // len(sizes), x_title="T" if last else None, y_title="Δ general loss" if first else None,
                t_max=T_MAX, limits=row.span("general"), ticks=3, y_labels=first,
            ))  # fmt: skip
    note = alt.Title(f"x: {results.t_title}; y: {style.GENERAL}, same scale within a row", fontSize=11)
    whole = style.grid(cells, columns=len(sizes), spacing=10).properties(title=note)
    return style.finish(whole, "General loss increment against tokens, a panel for each model size and ratio")


def both_losses(results: Results, *only: str) -> Any:
    """Figure 10: both increments against T up to the end of the run, a row for each size (all, unless some are named),
    coloured by ratio; the general one on a symmetric logarithmic axis, where the largest ratio does not flatten the
    others.
    """
    rows = parts.Rows.of(results.curves(RUN), results.turning_points())
    colour, pick = style.ratio_colour(style.ratios_of(rows.drawn)), style.picked("mixture")
    sizes = only or style.in_order(rows.drawn["size"])
    cells: list[Any] = []
    for size in sizes:
        for loss, y_title, note in (("domain", style.DOMAIN, ""), ("general", style.GENERAL, _SYMLOG)):
            cells.append(_track(
                rows.where("size", size), colour, pick, f"zoom_{len(cells)}", f"{size}, {loss} loss{note}", loss,
                x_title=results.t_title if size == sizes[-1] else None, y_title=y_title,
                symmetric_log=loss == "general",
            ))  # fmt: skip
    text = "Domain and general loss increments against tokens, a row for each model size, a line for each ratio"
    return style.finish(style.grid(cells, columns=2), text)


def pretraining_curves(frame: pd.DataFrame) -> Any:
    """General validation loss of every size while it is pretrained: columns size, tokens, general_loss (nats/token),
    and seed where there are several; then the mean, with a band from lowest to highest.
    """
    by_point = frame[frame["tokens"] > 0].groupby(["size", "tokens"], sort=False)["general_loss"]
    rows = by_point.agg(["mean", "min", "max", "size"]).rename(columns={"size": "seeds"}).reset_index()
    rows = rows.assign(millions=rows["tokens"] / 1e6)
    sizes, pick = style.in_order(frame["size"]), style.picked("size")
    x = alt.X("millions:Q", title="Pretraining tokens (millions)", scale=alt.Scale(nice=False))
    y = alt.Y("mean:Q", title="General validation loss (nats/token)", scale=alt.Scale(zero=False))
    base = alt.Chart(style.inline(rows)).encode(x, y, style.size_colour(sizes), style.faded(pick))
    tips = style.tips(size="Model size", millions=("Million tokens", ".2f"), mean=("General validation loss", ".4f"))
    layers: list[Any] = [base.mark_line(strokeWidth=2).add_params(pick, style.zoom())]
    if (rows["seeds"] > 1).any():
        tips += style.tips(min=("Lowest seed", ".4f"), max=("Highest seed", ".4f"), seeds=("Seeds", "d"))
        layers = [*style.band(base, "y", style.faded(pick, 0.18), ends=("min", "max"), aria=False), *layers]
    layers.append(base.mark_circle(size=22, aria=False).encode(tooltip=tips))
    chart = alt.layer(*layers).properties(width=600, height=320)
    return style.finish(chart, "General validation loss during pretraining, a line for each model size")


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


def _track(
    rows: parts.Rows,
    colour: alt.Color,
    pick: alt.Parameter,
    zoom: str,
    title: str = "",
    loss: str = "general",
    *,
    width: int = style.PANEL,
    height: int = 180,
    x_title: str | None = None,
    y_title: str | None = None,
    t_max: float | None = None,
    symmetric_log: bool = False,
    limits: Sequence[float] | None = None,
    ticks: int = 6,
    y_labels: bool = True,
) -> Any:
    """One panel of an increment against T: lines (dashed: extrapolated), measured dots, turning points. ``zoom`` names
    its drag-and-scroll selection, unique in the figure.
    """
    along = alt.Scale(nice=False, zero=True)
    x = alt.X("t:Q", title=x_title, axis=alt.Axis(tickCount=ticks), scale=along)
    axis, scale = alt.Axis(tickCount=ticks, labels=y_labels), alt.Scale(zero=False)
    if symmetric_log:
        axis = alt.Axis(values=_TICKS, format="~g")
        scale = alt.Scale(type="symlog", constant=0.01, nice=False)
    elif limits is not None:
        scale = alt.Scale(domain=list(limits), nice=False)
    y = alt.Y(f"{loss}:Q", title=y_title, axis=axis, scale=scale)
    base = alt.Chart(style.inline(rows.drawn[_FIELDS])).encode(x, y, colour)
    opacity = style.faded(pick)
    layers: list[Any] = [] if t_max is None else [style.rule("x", t_max)]
    ends = f"{loss}_low", f"{loss}_high"
    detail = [alt.Detail("size:N"), alt.Detail("mixture:N")]
    interval = rows.drawn.reindex(columns=["size", "mixture", "t", *ends])
    layers += style.band(interval, "y", x, colour, style.faded(pick, 0.18), detail, ends=ends, line=False)
    layers += rows.seen(x, y, colour, style.faded(pick, 0.6), size=11)
    line = base.mark_line(strokeWidth=2).add_params(pick, style.zoom(zoom))
    line = line.encode(opacity, style.extrapolated(), detail=["size:N", "mixture:N", "kind:N"])
    layers += [line, style.hover(base, parts.tooltips(), size=70, aria=False)]
    if len(rows.turns):
        marks = alt.Chart(style.inline(rows.turns)).mark_point(filled=True, size=75)
        tips = [*style.tips(mark="Mark"), *parts.tooltips()]
        layers.append(marks.encode(x, y, colour, parts.mark_shape(parts.TURN), opacity, tooltip=tips))
    return alt.layer(*layers).properties(width=width, height=height, title=title)


def corpus_sizes(frame: pd.DataFrame) -> Any:
    """Tokens of each corpus by part: columns corpus, part ("training" | "validation"), tokens, documents."""
    rows = frame.assign(millions=frame["tokens"] / 1e6)
    tips = style.tips(corpus="Corpus", part="Part", tokens=("Tokens", ",.0f"), documents=("Documents", ",.0f"))
    parts = style.in_order(frame["part"])
    scale = alt.Scale(domain=parts, range=list(style.DOMAIN_RAMP[: len(parts)]))
    key = alt.Legend(orient="top", symbolOpacity=1)
    bars = alt.Chart(style.inline(rows)).mark_bar().encode(
        alt.X("millions:Q", title="Tokens (millions)", axis=alt.Axis(tickCount=8)),
        alt.Y("corpus:N", title=None, sort=style.in_order(frame["corpus"])),
        alt.YOffset("part:N", sort=parts),
        alt.Color("part:N", sort=parts, title="Part", scale=scale, legend=key),
        tooltip=tips,
    )  # fmt: skip
    return style.finish(bars.properties(width=520, height=alt.Step(16)), "Tokens of each corpus by part")


def corpus_distance(frame: pd.DataFrame) -> Any:
    """Distance of each corpus from the general text: columns corpus, distance."""
    y = alt.Y("corpus:N", title=None, sort=style.in_order(frame["corpus"]))
    x = alt.X("distance:Q", title=DISTANCE, scale=alt.Scale(zero=True))
    lengths = alt.Chart(style.inline(frame)).mark_bar(color=style.DOMAIN_RAMP[0], opacity=0.6)
    lengths = lengths.encode(x, y, tooltip=style.tips(corpus="Corpus", distance=(DISTANCE, ".3f")))
    chart = alt.layer(lengths).properties(width=520, height=alt.Step(28))
    return style.finish(chart, f"{DISTANCE} of each corpus")
