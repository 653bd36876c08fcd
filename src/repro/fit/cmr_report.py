"""The report of `repro fit cmr`: figures and tables of every group, what was assumed, and the warnings."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.fit.cmr import Answer
from repro.fit.report import WIDTH, Figure, Report, Section, Table, fit_json, interval, number
from repro.laws import Fit, Group, increments, ratio_label
from repro.show import style

HEIGHT = 230
BEYOND = 1.25  # how far past T_max the laws are drawn, as a multiple of it
POINTS = 160
ALL = 100 * (1 + 1e-9)  # T_max in hundredths of it, give or take rounding
COLOUR = style.RATIO_RAMP[0]
BAND: dict[str, Any] = {"color": style.GREY, "opacity": 0.2, "clip": True}

CHANGE = {
    "general": "Change of the general loss: points measured, lines Eq. 6, diamonds the turning points with their "
    "intervals; dashed, T_max.",
    "domain": "Change of the domain loss: points measured, lines Eq. 6; dashed, T_max.",
}
END = {
    "general": "General loss at the last point up to T_max, and L(R) with its interval; dashed, the highest loss "
    "that is tolerated.",
    "domain": "Domain loss at the last point up to T_max, and L(R) with its interval.",
}
CRITICAL = (
    "Each ratio at its turning point, with interval, and Eq. 8 with its own; where the curve meets the dashed T_max "
    "is the critical ratio."
)
GOODNESS = ("law", "points", "residual s.e.", "R\u00b2", "to beware of")


def report(answer: Answer) -> Report:
    """The report of an answer; ``.html()`` is the file."""
    sections = tuple(
        Section(answer.name(group) or "Losses and laws", _figures(answer, group), _tables(answer, group))
        for group in answer.analysis.groups
    )
    title = "The critical mixture ratio of your losses"
    lead = (
        f"From {answer.file.name}. Tokens and losses are in the units of that file. Changes of a loss (Δ) are since "
        "before continual pretraining, R is the domain's share of the tokens, T0 the turning point of the general loss."
    )
    return Report(title, lead, (answer.critical_ratios(),), answer.warnings, _assumed(answer), sections)


def _assumed(answer: Answer) -> tuple[tuple[str, str], ...]:
    analysis, options = answer.analysis, answer.options
    given = "as given" if options.t_max is not None else "the most tokens in the file"
    drawn, weighted, crossing = "none were asked for", "", ""
    if answer.drawn:
        drawn = f"95%, from {options.bootstrap} draws, seed {options.seed}: {analysis.method}"
        weighted = ", each weighted by its precision"
        crossing = "; its interval is where the draws' turning points pass T_max, and holds the law's value"
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


def _tables(answer: Answer, group: Group) -> tuple[Table, ...]:
    fits: list[tuple[str, Fit]] = [(f"L(R), {loss}", fit) for loss, fit in group.ratio_law.items() if fit is not None]
    for laws in group.token_laws:
        label = f"R = {ratio_label(laws.ratio)}"
        fits += [(f"{label}, general", laws.general), (f"{label}, domain", laws.domain)]
    if (law := group.critical_ratio.turning_point.law) is not None:
        fits.append(("Eq. 8", law))
    parameters, goodness = [], []
    for name, fit in fits:
        as_json = fit_json(fit, drawn=answer.drawn)
        assert as_json is not None
        ends = as_json["ci"] or {}
        parameters += [(name, key, number(v, 5), interval(ends.get(key))) for key, v in fit.params.items()]
        goodness.append((name, str(fit.n), number(fit.rse, 3), f"{fit.r2:.5f}", "; ".join(as_json["warnings"])))
    return (
        answer.turning_points(group),
        Table("How well the laws fit", GOODNESS, tuple(goodness), words=True, folded=True),
        Table("Parameters of the laws", ("law", "parameter", "value", "95% interval"), tuple(parameters), folded=True),
    )


def _figures(answer: Answer, group: Group) -> tuple[Figure, ...]:
    return (
        *(Figure(CHANGE[loss], _against_tokens(answer, group, loss)) for loss in ("general", "domain")),
        *(Figure(END[loss], _against_ratio(answer, group, loss)) for loss in ("general", "domain")),
        Figure(CRITICAL, _turning_points(answer, group)),
    )


def _against_tokens(answer: Answer, group: Group, loss: str) -> Any:
    """Increments of one loss against tokens: measured, Equation 6, T_max and, for the general loss, turning points."""
    t_max = answer.analysis.t_max
    points = _measured(answer, group)
    at = np.linspace(float(points["tokens"].min()), BEYOND * t_max, POINTS)
    fitted = pd.concat(
        pd.DataFrame(
            {"ratio": laws.ratio, "tokens": at, "value": increments(laws.domain.params, laws.general.params, at)[loss]}
        )
        for laws in group.token_laws
    )
    points = points[points["tokens"] <= BEYOND * t_max]
    measured = points[["ratio", "tokens"]].assign(value=points[loss])
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
    turns = style.labelled(_turns(group).query("tokens <= @last"))
    if loss == "general" and len(turns):
        layers += _bars(turns, last, y, colour)
        layers.append(_diamonds(turns).encode(x, y, colour))
    return _finished(layers, f"Increment of the {loss} loss against tokens with the fitted laws, a line for each ratio")


def _against_ratio(answer: Answer, group: Group, loss: str) -> Any:
    """One loss at T_max against R, with L(R) and its band; for the general loss, the highest that is tolerated."""
    fit, base = group.ratio_law[loss], getattr(group.base, loss)
    points = _measured(answer, group).query("t <= @ALL").sort_values("tokens", kind="stable").groupby("ratio").tail(1)
    points = points[["ratio"]].assign(value=base + points[loss])
    x = style.ratio_axis([0.0, 0.25, 0.5, 0.75, 1.0])
    y = alt.Y("value:Q", title=f"{loss.capitalize()} loss", scale=alt.Scale(zero=False, padding=8))
    layers: list[Any] = [style.rule("y", base + answer.analysis.epsilon)] if loss == "general" else []
    if fit is not None:
        known = points.loc[points["ratio"] > 0, "ratio"]
        law = _with_band(answer, fit, "ratio", np.linspace(known.min(), known.max(), POINTS), "value")
        layers += style.band(law, "y", x, **BAND)
        layers.append(alt.Chart(style.inline(law)).mark_line(color=style.GREY).encode(x, y))
    dots = alt.Chart(style.inline(points)).mark_circle(size=60, color=COLOUR, opacity=1)
    layers.append(dots.encode(x, y))
    return _finished(layers, f"The {loss} loss at the end of training against the domain share, with the law L(R)")


def _turning_points(answer: Answer, group: Group) -> Any:
    """Each ratio at its turning point, with Equation 8 and its band, and T_max."""
    turns, t_max = _turns(group), answer.analysis.t_max
    by = group.critical_ratio.turning_point
    law = pd.DataFrame({"tokens": [], "ratio": []}, dtype=float)
    if by.law is not None and by.value is not None:
        first, last = min(float(by.law.x.min()), t_max), max(float(by.law.x.max()), t_max)
        law = _with_band(answer, by.law, "tokens", np.linspace(first, last, POINTS), "ratio")
    end = 1.08 * float(max([t_max, *turns["tokens"], *law["tokens"]]))
    x, y = _tokens(end), alt.Y("ratio:Q", title="Domain share R", scale=alt.Scale(domain=[0, 1.03], nice=False))
    color = alt.ColorValue(COLOUR)
    layers: list[Any] = [style.rule("x", t_max)]
    if len(law):
        layers += style.band(law, "y", x, **BAND)
        layers.append(alt.Chart(style.inline(law)).mark_line(color=style.GREY, clip=True).encode(x, y))
    if len(turns):
        layers += _bars(turns, end, y, color)
    layers.append(_diamonds(turns).encode(x, y, color))
    return _finished(layers, "Domain share against the tokens at which its general loss turns, with Equation 8")


def _measured(answer: Answer, group: Group) -> pd.DataFrame:
    points = answer.analysis.points
    mine = points[(points["size"] == group.size) & (points["domain_name"] == group.domain)]
    return mine.assign(tokens=mine["t"] * answer.analysis.t_max / 100)


def _turns(group: Group) -> pd.DataFrame:
    """Turning points: ratio, tokens with their interval (low, high), and the general increment there as value."""
    rows = []
    for laws in group.token_laws:
        point = laws.turning_point
        if point.value is not None:
            low, high = point.interval or (np.nan, np.nan)
            value = float(increments(laws.domain.params, laws.general.params, point.value)["general"])
            rows.append({"ratio": laws.ratio, "tokens": point.value, "value": value, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["ratio", "tokens", "value", "low", "high"], dtype=float)


def _with_band(answer: Answer, fit: Fit, x: str, at: np.ndarray, y: str) -> pd.DataFrame:
    """The law at ``at``, with its interval if there are intervals."""
    if not answer.drawn:
        return pd.DataFrame({x: at, y: fit.predict(at)})
    known = fit.interval(at)
    return pd.DataFrame({x: at, y: known["value"], "low": known["lower"], "high": known["upper"]})


def _tokens(last: float) -> alt.X:
    # 2G for two billion; below a thousand the numbers themselves, where "500m" would be read as millions.
    axis = alt.Axis(format="~s" if last >= 1000 else "~g", tickCount=5)
    return alt.X("tokens:Q", title="Tokens T", axis=axis, scale=alt.Scale(domain=[0, last], nice=False))


def _ratios(ratios: list[float]) -> alt.Color:
    labels = [ratio_label(ratio) for ratio in ratios]
    key = alt.Legend(
        title="Domain share R", orient="top", columns=6, symbolType="stroke", symbolStrokeWidth=4, symbolOpacity=1
    )
    scale = alt.Scale(domain=labels, range=style.ramp(style.RATIO_RAMP, len(labels)))
    return alt.Color("mixture:N", scale=scale, sort=labels, legend=key)


def _diamonds(turns: pd.DataFrame) -> Any:
    return alt.Chart(style.inline(turns)).mark_point(shape="diamond", filled=True, size=75, opacity=1)


def _bars(turns: pd.DataFrame, last: float, *channels: Any) -> list[Any]:
    """Intervals of turning points, cut at the edge of the panel; one that is open goes on to it."""
    known = turns.dropna(subset=["low"])
    cut = known.assign(low=known["low"].clip(0, last), high=known["high"].fillna(np.inf).clip(0, last))
    across = alt.X(scale=alt.Scale(domain=[0, last], nice=False))
    return style.bars(alt.Chart(style.inline(cut)), across, *channels, strokeWidth=2, opacity=0.8)


def _finished(layers: list[Any], description: str) -> Any:
    return style.finish(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT), description)
