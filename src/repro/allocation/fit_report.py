"""The report of `repro fit allocation`: scores with Equation 1, the optimum, what was assumed, and the warnings."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from repro.allocation.fit import Found
from repro.allocation.frames import with_errors
from repro.show import style
from repro.show.report import Figure, Report, Section, Table, number

SIZE = (340, 260)


def report(found: Found) -> Report:
    """The report of what was found; ``.html()`` is the file."""
    lead = (
        f"From {found.file.name}: scores at several splits of {found.allocation.budget:g} tokens between CPT and SFT."
    )
    figure = Figure(_CAPTION, _figure(found))
    section = Section("Scores and the law", (figure,), (found.parameters(), found.tests(), _rivals(found)))
    results = (found.best(),)
    title = "The best split of your token budget"
    return Report(title, lead, results, found.warnings, _assumed(found), (section,))


_CAPTION = (
    "Scores (bars: 95% Wilson intervals, where the file has n_items), Eq. 1 with its pointwise 95% band, and the best "
    "number of SFT tokens (line) with its 95% interval (strip)."
)


def _assumed(found: Found) -> tuple[tuple[str, str], ...]:
    allocation = found.allocation
    return (
        ("Budget", f"{allocation.budget:g} tokens of CPT and SFT together"),
        ("Eq. 1", "P(S) = P_base + A exp(-(ln S - μ)² / 2σ²) - λ / (S - S_min), S in SFT tokens"),
        ("Other budgets", "Eq. 2: the best number of SFT tokens, exp μ, is taken to be the same for every budget"),
        ("Fit and intervals", f"{allocation.method}; seed {found.options.seed}"),
        ("Test", allocation.flatness.method),
    )


def _rivals(found: Found) -> Table:
    rows = tuple(
        (str(row["law"]), str(row["parameters"]), number(row["delta_aicc"], 3), number(row["loo"], 3))
        for _, row in found.allocation.rivals.iterrows()
    )
    criterion = found.allocation.rivals.attrs["criterion"]
    head = ("law", "parameters", f"{criterion} above the best", "error of allocations held out")
    return Table("Equation 1 and simpler rivals", head, rows)


def _figure(found: Found) -> Any:
    points = with_errors(found.allocation.points)
    curve = found.allocation.curve().rename(columns={"lower": "low", "upper": "high"})
    band = curve.dropna(subset=["low"]) if found.options.bootstrap else curve.iloc[:0]
    limits = [float(curve["sft_tokens"].min()) / 1.05, float(curve["sft_tokens"].max()) * 1.05]
    x = alt.X(
        "sft_tokens:Q",
        title="SFT tokens (logarithmic)",
        axis=alt.Axis(format="~s", tickCount=5),
        scale=alt.Scale(type="log", domain=limits, nice=False),
    )
    # The band of a law that the data do not determine may leave any scale: it is cut at the edge of the panel.
    seen = pd.concat([points["score"], points["low"], points["high"], curve["score"]]).dropna()
    margin = 0.06 * float(seen.max() - seen.min() or 1)
    shown = alt.Scale(domain=[float(seen.min()) - margin, float(seen.max()) + margin], nice=False)
    y = alt.Y("score:Q", title="Score", scale=shown)
    layers = [*_optimum(found, x), *_spans(band, x, shown, "area")]
    layers.append(alt.Chart(style.inline(curve)).mark_line(color=style.GREY, strokeWidth=2).encode(x, y))
    layers += _spans(points.dropna(subset=["low"]), x, shown, "rule")
    dots = alt.Chart(style.inline(points[["sft_tokens", "score"]]))
    layers.append(dots.mark_circle(size=55, color=style.DOMAIN_RAMP[0], opacity=1).encode(x, y))
    chart = alt.layer(*layers).properties(width=SIZE[0], height=SIZE[1])
    return style.finish(chart, "Scores against SFT tokens, the law of Equation 1 and its peak, each with an interval")


def _spans(frame: pd.DataFrame, x: alt.X, shown: alt.Scale, form: str) -> list[Any]:
    if frame.empty:
        return []
    base = alt.Chart(style.inline(frame[["sft_tokens", "low", "high"]]))
    area = base.mark_area(color=style.GREY, opacity=0.2, clip=True)
    drawn = area if form == "area" else base.mark_rule(color=style.DOMAIN_RAMP[0], opacity=0.7)
    return [drawn.encode(x, alt.Y("low:Q", title="Score", scale=shown), alt.Y2("high:Q"))]


def _optimum(found: Found, x: alt.X) -> list[Any]:
    best = found.allocation.optimum
    if best.sft_tokens is None:
        return []
    colour = style.DOMAIN_RAMP[1]
    line = alt.Chart(style.inline(pd.DataFrame({"sft_tokens": [best.sft_tokens]})))
    layers: list[Any] = [line.mark_rule(color=colour, strokeWidth=2).encode(x)]
    if best.interval is not None:
        low, high = best.interval
        strip = alt.Chart(style.inline(pd.DataFrame({"sft_tokens": [low], "high": [high]})))
        layers.insert(0, strip.mark_rect(color=colour, opacity=0.15).encode(x, alt.X2("high:Q")))
    return layers
