"""The report of `repro fit cmr`: figures and tables of every group, what was assumed, and the warnings."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.fit.cmr import Found
from repro.fit.report import WIDTH, Figure, Report, Section, Table, fit_json, interval, number
from repro.laws import Fit, Group, increments, ratio_label
from repro.show import style

HEIGHT = 230
T = "Tokens T"
R = "Domain share R"

BEYOND = 1.25  # how far past T_max the laws are drawn, as a multiple of it
POINTS = 160
ALL = 100 * (1 + 1e-9)  # T_max in hundredths of it, give or take rounding


def loss_against_tokens(
    measured: pd.DataFrame, fitted: pd.DataFrame, turns: pd.DataFrame, t_max: float, *, loss: str
) -> Any:
    """Increment of one loss ("general" or "domain") against tokens: points, Equation 6, turning points, T_max.

    Args:
        measured: columns ratio, tokens, value.
        fitted: the same, along the laws; they may go beyond T_max.
        turns: columns ratio, tokens, value; low and high are of ``tokens``. Only those in sight are drawn.
        t_max: where training ends, in tokens.
        loss: what the values are of, for the title.

    """
    last = float(fitted["tokens"].max())
    x = _tokens(last)
    y = alt.Y("value:Q", title=f"Δ {loss} loss", scale=alt.Scale(zero=False, padding=8))
    colour = _ratios(style.ratios_of(measured))
    dots, lines = (alt.Chart(style.inline(style.labelled(frame))).encode(x, y, colour) for frame in (measured, fitted))
    layers: list[Any] = [
        style.rule("x", t_max),
        dots.mark_circle(size=14, opacity=0.55),
        lines.mark_line(strokeWidth=1.8),
    ]
    seen = style.labelled(turns[turns["tokens"] <= last])
    if len(seen):
        layers.append(_bars(seen, last).encode(y=y, color=colour))
        marks = alt.Chart(style.inline(seen)).mark_point(shape="diamond", filled=True, size=75, opacity=1)
        layers.append(marks.encode(x, y, colour))
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    text = f"Increment of the {loss} loss against tokens with the fitted laws, a line for each ratio"
    return style.finish(chart, text)


def loss_against_ratio(points: pd.DataFrame, law: pd.DataFrame, *, loss: str, limit: float | None = None) -> Any:
    """One loss at T_max against R, with L(R) and its band; ``limit`` is the highest loss that is tolerated.

    points and law (which may have no rows) have columns ratio, value.
    """
    x = style.ratio_axis([0.0, 0.25, 0.5, 0.75, 1.0])
    y = alt.Y("value:Q", title=f"{loss.capitalize()} loss", scale=alt.Scale(zero=False, padding=8))
    layers: list[Any] = [] if limit is None else [style.rule("y", limit)]
    if len(law):
        layers += [*_band(law, x), alt.Chart(style.inline(law)).mark_line(color=style.GREY).encode(x, y)]
    layers.append(
        alt.Chart(style.inline(points)).mark_circle(size=60, color=style.RATIO_RAMP[0], opacity=1).encode(x, y)
    )
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    return style.finish(chart, f"The {loss} loss at the end of training against the domain share, with the law L(R)")


def ratio_against_tokens(turns: pd.DataFrame, law: pd.DataFrame, t_max: float) -> Any:
    """Each ratio at its turning point, with Equation 8 and its band, and T_max.

    turns: columns ratio, tokens; low and high are of ``tokens``. law (which may have no rows): tokens, ratio.
    """
    last = 1.08 * float(max([t_max, *turns["tokens"], *law["tokens"]]))
    x, y = _tokens(last), alt.Y("ratio:Q", title=R, scale=alt.Scale(domain=[0, 1.03], nice=False))
    layers: list[Any] = [style.rule("x", t_max)]
    if len(law):
        layers += [*_band(law, x), alt.Chart(style.inline(law)).mark_line(color=style.GREY, clip=True).encode(x, y)]
    colour = style.RATIO_RAMP[0]
    if len(turns):
        layers.append(_bars(turns, last).encode(y=y, color=alt.value(colour)))
    layers.append(
        alt.Chart(style.inline(turns))
        .mark_point(shape="diamond", filled=True, size=75, opacity=1)
        .encode(x, y, color=alt.value(colour))
    )
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    return style.finish(chart, "Domain share against the tokens at which its general loss turns, with Equation 8")


def _tokens(last: float) -> alt.X:
    # 2G for two billion; below a thousand the numbers themselves, where "500m" would be read as millions.
    axis = alt.Axis(format="~s" if last >= 1000 else "~g", tickCount=5)
    return alt.X("tokens:Q", title=T, axis=axis, scale=alt.Scale(domain=[0, last], nice=False))


def _ratios(ratios: list[float]) -> alt.Color:
    labels = [ratio_label(ratio) for ratio in ratios]
    key = alt.Legend(title=R, orient="top", columns=6, symbolType="stroke", symbolStrokeWidth=4, symbolOpacity=1)
    scale = alt.Scale(domain=labels, range=style.ramp(style.RATIO_RAMP, len(labels)))
    return alt.Color("mixture:N", scale=scale, sort=labels, legend=key)


def _bars(turns: pd.DataFrame, last: float) -> Any:
    """Intervals of turning points, cut at the edge of the panel; one that is open goes on to it."""
    known = turns.dropna(subset=["low"])
    cut = known.assign(low=known["low"].clip(0, last), high=known["high"].fillna(np.inf).clip(0, last))
    bars = alt.Chart(style.inline(cut)).mark_rule(strokeWidth=2, opacity=0.8)
    return bars.encode(alt.X("low:Q", scale=alt.Scale(domain=[0, last], nice=False)), alt.X2("high:Q"))


def _band(law: pd.DataFrame, x: alt.X) -> list[Any]:
    if not {"low", "high"} <= set(law.columns):
        return []
    rows = alt.Chart(style.inline(law.dropna(subset=["low", "high"])))
    return [rows.mark_area(color=style.GREY, opacity=0.2, clip=True).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"))]


def report(found: Found) -> Report:
    """The report of what was found; ``.html()`` is the file."""
    analysis = found.analysis
    sections = tuple(
        Section(found.name(group) or "Losses and laws", _figures(found, group), _tables(found, group))
        for group in analysis.groups
    )
    lead = (
        f"From {found.file.name}. Tokens and losses are in the units of that file. Changes of a loss (Δ) are since "
        "before continual pretraining, R is the domain's share of the tokens, T0 the turning point of the general loss."
    )
    results = (found.critical_ratios(),)
    return Report("The critical mixture ratio of your losses", lead, results, found.warnings, _assumed(found), sections)


def _assumed(found: Found) -> tuple[tuple[str, str], ...]:
    analysis, options = found.analysis, found.options
    given = "as given" if options.t_max is not None else "the most tokens in the file"
    drawn = (
        f"95%, from {options.bootstrap} draws, seed {options.seed}: {analysis.method}"
        if options.bootstrap
        else "none were asked for"
    )
    weighted = ", each weighted by its precision" if options.bootstrap else ""
    crossing = (
        "; its interval is where the draws' turning points pass T_max, and holds the law's value"
        if options.bootstrap
        else ""
    )
    return (
        ("T_max", f"{analysis.t_max:,.10g} tokens, {given}. Later points are left out of every fit."),
        ("Tolerance ε", f"the general loss may end {analysis.epsilon:g} above its value before."),
        (
            "Multiplier λ",
            f"{analysis.lagrange:g}: how much general loss counts against domain loss. The larger it is, the closer "
            "T0 is to the maximum of the general loss itself.",
        ),
        ("Intervals", drawn),
        ("Loss along training", "Eq. 6: Δ domain = α1 T^s1 + β1, Δ general = α2 T^s2 + α3 T^s3 + β2, at each ratio"),
        ("Loss at T_max", "L(R) = α R^s + β, for ratios between 0 and 1"),
        ("Critical ratio", f"Eq. 8: R(T) = α4 T^s4 + β3 through the pairs (T0, R){weighted}, at T_max{crossing}"),
    )


def _figures(found: Found, group: Group) -> tuple[Figure, ...]:
    return (
        *(Figure(_CAPTIONS[loss], _along(found, group, loss)) for loss in ("general", "domain")),
        *(Figure(_END[loss], _at_end(found, group, loss)) for loss in ("general", "domain")),
        Figure(_CRITICAL, _critical(found, group)),
    )


_CAPTIONS = {
    "general": "Change of the general loss: points measured, lines Eq. 6, diamonds the turning points with their "
    "intervals; dashed, T_max.",
    "domain": "Change of the domain loss: points measured, lines Eq. 6; dashed, T_max.",
}
_END = {
    "general": "General loss at the last point up to T_max, and L(R) with its interval; dashed, the highest loss "
    "that is tolerated.",
    "domain": "Domain loss at the last point up to T_max, and L(R) with its interval.",
}
_CRITICAL = (
    "Each ratio at its turning point, with interval, and Eq. 8 with its own; where the curve meets the dashed T_max "
    "is the critical ratio."
)


def _along(found: Found, group: Group, loss: str) -> Any:
    """Measured increments, Equation 6 and, for the general loss, turning points in one panel."""
    points = _measured(found, group)
    end = BEYOND * found.analysis.t_max
    lines = []
    for laws in group.token_laws:
        t = np.linspace(float(points["tokens"].min()), end, POINTS)
        values = increments(laws.domain.params, laws.general.params, t)[loss]
        lines.append(pd.DataFrame({"ratio": laws.ratio, "tokens": t, "value": values}))
    seen = points[points["tokens"] <= end]
    measured = pd.DataFrame({"ratio": seen["ratio"], "tokens": seen["tokens"], "value": seen[loss]})
    turns = _turns(group) if loss == "general" else _turns(group).iloc[:0]
    return loss_against_tokens(measured, pd.concat(lines), turns, found.analysis.t_max, loss=loss)


def _measured(found: Found, group: Group) -> pd.DataFrame:
    points = found.analysis.points
    mine = points[(points["size"] == group.size) & (points["domain_name"] == group.domain)]
    return mine.assign(tokens=mine["t"] * found.analysis.t_max / 100)


def _turns(group: Group) -> pd.DataFrame:
    rows = []
    for laws in group.token_laws:
        point = laws.turning_point
        if point.value is not None:
            low, high = point.interval or (np.nan, np.nan)
            value = float(increments(laws.domain.params, laws.general.params, point.value)["general"])
            rows.append({"ratio": laws.ratio, "tokens": point.value, "value": value, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["ratio", "tokens", "value", "low", "high"], dtype=float)


def _at_end(found: Found, group: Group, loss: str) -> Any:
    fit, base = group.ratio_law[loss], getattr(group.base, loss)
    seen = _measured(found, group)
    last = seen[seen["t"] <= ALL].sort_values("tokens", kind="stable").groupby("ratio").tail(1)
    points = pd.DataFrame({"ratio": last["ratio"], "value": base + last[loss]})
    law = pd.DataFrame({"ratio": [], "value": []}, dtype=float)
    if fit is not None:
        known = points.loc[points["ratio"] > 0, "ratio"]
        law = _with_band(found, fit, "ratio", np.linspace(known.min(), known.max(), POINTS), "value")
    limit = base + found.analysis.epsilon if loss == "general" else None
    return loss_against_ratio(points, law, loss=loss, limit=limit)


def _with_band(found: Found, fit: Fit, x: str, at: np.ndarray, y: str) -> pd.DataFrame:
    """The law at ``at``, with its interval where intervals were asked for."""
    if not found.options.bootstrap:
        return pd.DataFrame({x: at, y: fit.predict(at)})
    known = fit.interval(at)
    return pd.DataFrame({x: at, y: known["value"], "low": known["lower"], "high": known["upper"]})


def _critical(found: Found, group: Group) -> Any:
    turns, end = _turns(group), found.analysis.t_max
    law = pd.DataFrame({"tokens": [], "ratio": []}, dtype=float)
    by = group.critical_ratio.turning_point
    if by.law is not None and by.value is not None:
        first, last = min(float(by.law.x.min()), end), max(float(by.law.x.max()), end)
        law = _with_band(found, by.law, "tokens", np.linspace(first, last, POINTS), "ratio")
    return ratio_against_tokens(turns, law, end)


def _tables(found: Found, group: Group) -> tuple[Table, ...]:
    fits: list[tuple[str, Fit]] = [(f"L(R), {loss}", fit) for loss, fit in group.ratio_law.items() if fit is not None]
    for laws in group.token_laws:
        label = f"R = {ratio_label(laws.ratio)}"
        fits += [(f"{label}, general", laws.general), (f"{label}, domain", laws.domain)]
    if (law := group.critical_ratio.turning_point.law) is not None:
        fits.append(("Eq. 8", law))
    parameters, goodness = [], []
    for name, fit in fits:
        as_json = fit_json(fit, intervals=found.options.bootstrap > 0)
        assert as_json is not None
        ends = as_json["ci"] or {}
        parameters += [(name, key, number(v, 5), interval(ends.get(key))) for key, v in fit.params.items()]
        notes = "; ".join(as_json["warnings"])
        goodness.append((name, str(fit.n), number(fit.rse, 3), f"{fit.r2:.5f}", notes))
    return (
        found.turning_points(group),
        Table("How well the laws fit", _GOODNESS, tuple(goodness), words=True, folded=True),
        Table("Parameters of the laws", ("law", "parameter", "value", "95% interval"), tuple(parameters), folded=True),
    )


_GOODNESS = ("law", "points", "residual s.e.", "R\u00b2", "to beware of")
