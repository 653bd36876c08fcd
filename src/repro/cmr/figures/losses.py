"""Losses along training: which rows become lines, dots and marks; general against domain loss (Figures 1, 2 and 8 of
paper A), either against tokens (4, 7, 9 and 10), pretraining curves, and the corpora.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from repro.cmr.frames import RUN, T_MAX, DomainResults, Results
from repro.laws import ratio_label
from repro.show import charts, style

TURN = "turning point T0"
END = "end of run"
KEYS = ["size", "ratio"]
SMALL = 1 / 2  # the largest ratio of the panels that leave the steep curves out
# A head pointing up; an equilateral triangle would look the same in three directions.
SHAPES = {END: "M0,-1L0.75,0.9L0,0.5L-0.75,0.9Z", TURN: "diamond"}
_INCREMENTS = {"general": ("General increment", "+.4f"), "domain": ("Domain increment", "+.4f")}
_TIPS = style.tips(size="Model size", mixture="Domain share R", t=("T", ".1f"), **_INCREMENTS)
_FIELDS = ["size", "mixture", "t", "general", "domain"]


class Rows(NamedTuple):
    """What is drawn of some trajectories: rows of lines, of measured dots and of turning points."""

    drawn: pd.DataFrame
    dots: pd.DataFrame
    turns: pd.DataFrame

    @classmethod
    def of(cls, results: Results, curves: pd.DataFrame) -> Rows:
        """The rows of curves of these results, and their turning points."""
        drawn = _lines(curves)
        measured = style.labelled(curves[curves["kind"] == "measured"])
        return cls(drawn, measured, _turns(results.turning_points(), drawn))

    def where(self, field: str, value: str) -> Rows:
        """The rows whose text ``field`` ("size" or "mixture") has this value."""
        return Rows(*(frame[frame[field] == value] for frame in self))

    def small(self) -> Rows:
        """The rows with a ratio of at most `SMALL`; with any ratio, if none is so small."""
        small = Rows(*(frame[frame["ratio"] <= SMALL + 1e-9] for frame in self))
        return small if len(small.drawn) else self

    def span(self, column: str) -> list[float]:
        """Axis limits around the lines and dots of one increment, with a margin."""
        return charts.limits(pd.concat([self.drawn, self.dots]), column)

    def layers(
        self,
        x: alt.X,
        y: alt.Y,
        key: charts.Key,
        marks: pd.DataFrame,
        *of_lines: Any,
        ends: Sequence[str] = ("low", "high"),
    ) -> list[Any]:
        """The points measured, the lines on the bands between the columns ``ends``, and marks: rows with a column mark
        (`TURN` or `END`) and angle, in degrees. of_lines: other channels of the lines.
        """
        dots = charts.points(self.dots[_FIELDS], x, y, key, tips=_TIPS, size=10, aria=False, opacity=0.6)
        fields = [column for column in (*_FIELDS, "kind", "hover", *ends) if column in self.drawn]
        path = charts.lines(self.drawn[fields], x, y, key, *of_lines, tips=_TIPS, ends=ends)
        shape = charts.by(
            alt.Shape, "mark", SHAPES, marks["mark"], symbolFillColor=style.GREY, symbolStrokeColor=style.GREY
        )
        turned = alt.Angle("angle:Q", scale=None)
        tips = [*style.tips(mark="Mark"), *_TIPS]
        drawn = charts.points(marks[[*_FIELDS, "mark", "angle"]], x, y, key, shape, turned, tips=tips, size=75)
        return [*(dots if len(self.dots) else []), *path, *(drawn if len(marks) else [])]


def _lines(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows to draw as lines: the fit where a trajectory has one, else its measurements, :func:`joined` along t.

    Adds ``mixture`` (label of the ratio) and ``hover`` (every eighth row or so, where tooltips sit).
    """
    fitted = curves["kind"].eq("fitted").groupby([curves[key] for key in KEYS]).transform("any")
    drawn = curves[(curves["kind"] != "measured") | ~fitted]
    drawn = style.labelled(drawn).sort_values("t", kind="stable")
    place = drawn.groupby(KEYS, sort=False).cumcount()
    count = drawn.groupby(KEYS, sort=False)["t"].transform("size")
    every = np.maximum(count // 10, 1)
    return joined(drawn.assign(hover=(place % every == 0) | (place == count - 1)), "t", KEYS, hover=False)


def joined(rows: pd.DataFrame, along: str, keys: list[str], **seam: Any) -> pd.DataFrame:
    """The rows of curves, told apart by ``keys``, in order of ``along``. Where the kind changes on a curve, the row
    before is repeated in the new kind, so that there is no gap. Adds part, the number of each stretch of one kind.
    seam: other columns of the repeated rows.
    """
    rows = rows.sort_values(along, kind="stable", ignore_index=True)
    of = [rows[key] for key in keys]
    begins = rows["kind"] != rows["kind"].groupby(of).shift()
    rows = rows.assign(part=begins.groupby(of).cumsum().astype(str))
    before = rows.index.to_series().groupby(of).shift()[begins].dropna()
    after = {name: rows.loc[before.index, name].to_numpy() for name in ("kind", "part")}
    seams = rows.loc[before.astype(int)].assign(**after, **seam)
    return pd.concat([rows, seams]).sort_values(along, kind="stable")


def _turns(points: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """The turning points that exist on the trajectories drawn, up to the last t drawn."""
    there = style.labelled(points[points["t"].notna() & (points["t"] <= float(drawn["t"].max()))])
    there = there.merge(drawn[["size", "mixture"]].drop_duplicates())
    return there.assign(mark=TURN, angle=0.0)


def _ends(drawn: pd.DataFrame) -> pd.DataFrame:
    """The last row of every trajectory, with the increments one step (a twentieth of the run) before."""
    parts = [part for _, part in drawn.groupby(KEYS, sort=False)]
    last = pd.concat([part.tail(1) for part in parts])
    before = pd.concat([part.tail(1 + max(len(part) // 20, 1)).head(1) for part in parts])
    past = {f"from_{loss}": before[loss].to_numpy() for loss in ("general", "domain")}
    return last.assign(**past, mark=END)


_WIDE, _HIGH = style.PANEL, 190  # of a panel


def trade_off(results: Results) -> Any:
    """Figure 1: every size and ratio in the plane of the two increments, following training; dashed: the tolerance. A
    row for each size: small ratios on the left, at their own scale, all on the right, or one panel (:func:`_split`).
    """
    rows = Rows.of(results, results.curves(RUN))
    sizes, key = style.in_order(rows.drawn["size"]), charts.Key.ratios(style.ratios_of(rows.drawn))
    cells = {f"{size}, {name}": mine for size in sizes for name, mine in _split(rows.where("size", size))}
    text = "General against domain loss increment, a row for each model size, a line for each ratio"
    return charts.panels(_planes(cells, key, results.epsilon), text)


def cross_sections(results: Results) -> Any:
    """Figure 8: the trade-off cut at each ratio, coloured by size."""
    rows = Rows.of(results, results.curves(RUN))
    there = [ratio_label(ratio) for ratio in style.ratios_of(rows.drawn)]
    cells = {f"R = {label}": rows.where("mixture", label) for label in there}
    text = "General against domain loss increment, a panel for each ratio, a line for each model size"
    return charts.panels(_planes(cells, charts.Key.sizes(rows.drawn), None), text)


def _split(rows: Rows) -> list[tuple[str, Rows]]:
    """The panels of one size: the small ratios, if they are some but not all, and all."""
    small, every = rows.small(), ("all ratios", rows)
    if len(small.drawn) == len(rows.drawn):
        return [every]
    return [(f"up to {ratio_label(SMALL)}", small), every]


def _planes(cells: Mapping[str, Rows], key: charts.Key, epsilon: float | None) -> list[Any]:
    """The trade-off plane of each of the rows, by its title, with a line at ``epsilon`` if that is within it."""
    return [
        _plane(rows, key, epsilon, title, style.DOMAIN if place >= len(cells) - 2 else None)
        for place, (title, rows) in enumerate(cells.items())
    ]


def _plane(rows: Rows, key: charts.Key, epsilon: float | None, title: str, x_title: str | None) -> Any:
    across, up = rows.span("domain"), rows.span("general")
    x = charts.x("domain:Q", x_title, across, tickCount=5, labelSeparation=8)
    y = charts.y("general:Q", style.GENERAL, up)
    zero = style.rule("y", 0.0, (1, 3)).encode(charts.y("at:Q", style.GENERAL, up))
    limit = [style.rule("y", epsilon)] if epsilon is not None and epsilon <= up[1] else []
    layers = rows.layers(x, y, key, _marks(rows, across, up), alt.Order("t:Q"), alt.Detail(["size:N", "mixture:N"]))
    return charts.layered([zero, *limit, *layers], _WIDE, _HIGH, title)


def _marks(rows: Rows, x_span: Sequence[float], y_span: Sequence[float]) -> pd.DataFrame:
    """Arrow heads turned along the end of each trajectory as drawn, and turning points."""
    ends = _ends(rows.drawn)
    across = (ends["domain"] - ends["from_domain"]) / (x_span[1] - x_span[0]) * _WIDE
    up = (ends["general"] - ends["from_general"]) / (y_span[1] - y_span[0]) * _HIGH
    angle = np.degrees(np.arctan2(across.astype(float), up.astype(float)))
    return pd.concat([ends.assign(angle=angle), rows.turns], ignore_index=True)


# Ticks of the symmetric logarithmic axis, which near zero would otherwise be crowded or bare.
_TICKS = [s * v for v in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0) for s in (-1, 1)] + [0.0]

_SYMLOG = " (symmetric log axis)"
DISTANCE = "Jensen-Shannon distance (0 to 1)"


def loss_against_tokens(results: Results, size: str, *, band: bool = False) -> Any:
    """Figure 4: increment of the general loss of one size against T, fitted and extrapolated (dashed).

    The ratios are those up to `SMALL`, or all, if none is so small. band: with the interval of each curve.
    """
    text = f"General loss increment of {size} against tokens, fitted and extrapolated, a line for each ratio"
    return _side_by_side({size: _beyond(results, size, band)}, results.t_title, text)


def loss_on_two_domains(*sides: DomainResults) -> Any:
    """Figure 7, for each domain a panel as in Figure 4, of the smallest size; all with one axis."""
    size = sides[-1].sizes[0]
    panels = {f"{size} on {side.domain}": _beyond(side, size) for side in sides}
    text = f"General loss increment of {size} against tokens, a panel for each domain, a line for each ratio"
    return _side_by_side(panels, sides[0].t_title, text)


def _beyond(results: Results, size: str, band: bool = False) -> Rows:
    """The small ratios of a size; ValueError if there is nothing to draw for it."""
    curves = results.curves(np.arange(1, results.last_t + 1), band=band)
    if not (mine := curves["size"] == size).any():
        raise ValueError(f"no curves for size {size!r}; there are {', '.join(style.in_order(curves['size']))}")
    return Rows.of(results, curves[mine]).small()


def _side_by_side(panels: Mapping[str, Rows], x_title: str, text: str) -> Any:
    key = charts.Key.ratios(sorted({ratio for rows in panels.values() for ratio in style.ratios_of(rows.drawn)}))
    x, single = _tokens(x_title), len(panels) == 1
    spans = [end for rows in panels.values() for end in rows.span("general")]
    y = charts.y("general:Q", style.GENERAL, None if single else [min(spans), max(spans)], scale={"zero": False})
    shape = (charts.WIDE, 340) if single else (style.PANEL, 240)
    cells = [charts.layered(_track(rows, x, y, key), *shape, title) for title, rows in panels.items()]
    return charts.panels(cells, text)


def all_loss_against_tokens(results: Results) -> Any:
    """Figure 9: increment of the general loss against T for every size (columns) and ratio (rows of one scale)."""
    rows = Rows.of(results, results.curves(np.arange(1, results.last_t + 1)))
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
    rows = Rows.of(results, results.curves(RUN))
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


def _tokens(title: str | None, ticks: int = 6) -> alt.X:
    return charts.x("t:Q", title, scale={"nice": False, "zero": True}, tickCount=ticks)


def _track(rows: Rows, x: alt.X, y: alt.Y, key: charts.Key, loss: str = "general", *, rule: bool = True) -> list[Any]:
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
