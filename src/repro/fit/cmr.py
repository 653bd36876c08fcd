"""`repro fit cmr`: paper A's analysis of a reader's own losses, as text, JSON and a report of every group."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from scipy import stats

from repro.fit.logs import NOTHING_SAID, Logs
from repro.fit.losses import read_losses
from repro.fit.report import WIDTH, Table, as_text, contract, ends, page, plain, rough, tables
from repro.laws import Analysis, Fit, Group, TurningPoint, analyse, increments, ratio_label
from repro.laws.cmr.critical import Critical
from repro.laws.cmr.losses import NOTHING, Base
from repro.output import LONGEST_NAME, shown
from repro.show import charts, style

NO_DRAWS = "--bootstrap is 0: there are no intervals, and all turning points count alike"
MANY = 5_000  # rows from which on the command says how far it is
ODDS = 1e-3  # of a pattern in residuals by chance, over all ratios
HEIGHT = 230
BEYOND = 1.25  # how far past T_max the laws are drawn, as a multiple of it
POINTS = 160
ALL = 100 * (1 + 1e-9)  # T_max in hundredths of it, give or take rounding
COLOUR = style.RATIO_RAMP[0]
Result = TurningPoint | Critical


def fit(file: Path, t_max: float | None, base: Base | None, logs: Logs = NOTHING_SAID, **chosen: Any) -> Answer:
    """Read a file of losses and do the whole of paper A's analysis on it. t_max is in the unit of the file's tokens
    (None: their largest value), base for groups without a row at 0 tokens; epsilon (in the unit of the losses),
    lagrange, bootstrap and seed are as `analyse` takes them. Raises WrongTable with every fault of the file; ValueError
    for an option out of range.
    """
    losses, notes = read_losses(file, t_max, base, logs)
    if len(losses) > MANY:
        print(f"{shown(file, LONGEST_NAME)}: {len(losses):,} rows read; fitting the laws", file=sys.stderr, flush=True)
    analysis = analyse(losses, t_max=t_max, unit=1.0, **chosen)
    several = {"size": "size" in losses, "domain": len({group.domain for group in analysis.groups}) > 1}
    keys = tuple(key for key, named in several.items() if named)
    return Answer(file, analysis, tuple(notes), keys, t_max is not None)


@dataclass(frozen=True)
class Answer:
    """The analysis of one file, T in the unit of its tokens. As text it is what the command prints."""

    file: Path
    analysis: Analysis
    notes: tuple[str, ...]  # how the file was read
    keys: tuple[str, ...]  # of size and domain, those that tell groups apart
    given: bool  # whether T_max was

    @property
    def drawn(self) -> bool:
        """Whether there are intervals."""
        return self.analysis.settings.bootstrap > 0

    def name(self, group: Group) -> str:
        """A group's size, domain or both, whichever tell it from the others; "" where there is only one group."""
        return ", ".join(shown(getattr(group, key)) for key in self.keys)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every warning, each naming its group where there are several."""
        of_groups = (
            f"{self.name(group)}: {warning}" if self.keys else warning
            for group in self.analysis.groups
            for warning in (*group.warnings, *_patterns(group), *(self._without_interval(group) if self.drawn else ()))
        )
        return (*self.notes, *rough(self.analysis.settings.bootstrap), *(() if self.drawn else (NO_DRAWS,)), *of_groups)

    def _without_interval(self, group: Group) -> Iterator[str]:
        """Why an interval of something that exists is null, or one of its ends."""
        results: list[tuple[str, Result]] = [
            *((f"T0 at R = {ratio_label(laws.ratio)}", laws.turning_point) for laws in group.token_laws),
            ("the critical ratio by turning point", group.critical_ratio.turning_point),
            ("the critical ratio by tolerance", group.critical_ratio.tolerance),
        ]
        for what, result in results:
            limits = plain(ends(result))
            if result.value is not None and limits is None:
                yield f"{what} has no interval: too few bootstrap draws have one, or a curve has no point to spare"
            elif limits is not None and None in limits:
                yield f"{what} has an interval that is open above: in some bootstrap draws there is no turn"

    def as_json(self) -> str:
        """The contract of the command."""
        return contract("cmr.json", answer=self)

    def tables(self) -> list[Table]:
        """The turning points of each group; then, of all, critical ratios and how well the laws along training fit."""
        return tables("cmr.txt", answer=self)

    def html(self) -> str:
        """The report."""
        groups = [(group, _figures(self, group), *_laws(self, group)) for group in self.analysis.groups]
        return page("cmr.html", answer=self, groups=groups)

    def __str__(self) -> str:
        return as_text(self.tables(), self.warnings)


def _patterns(group: Group) -> Iterator[str]:
    """Where residuals of Equation 6 keep their sign for longer than independent noise does (by sign changes)."""
    for loss in ("general", "domain"):
        found = []
        for laws in group.token_laws:
            fit: Fit = getattr(laws, loss)
            if np.ptp(fit.y) < NOTHING:
                continue
            means = pd.Series(fit.y - fit.predict(fit.x)).groupby(fit.x).mean().to_numpy()
            changes = int(np.sum(np.diff(np.sign(means)) != 0))
            if stats.binom.cdf(changes, len(means) - 1, 0.5) < ODDS / len(group.token_laws):
                found.append(f"{ratio_label(laws.ratio)} ({changes} changes of sign in {len(means)} points)")
        if found:
            text = f"residuals of the {loss} loss follow a pattern at R = {', '.join(found)}"
            yield f"{text}: the noise has a memory, or the law does not follow the loss"


def _laws(answer: Answer, group: Group) -> list[Table]:
    """How well every law of a group fits, and the laws' parameters."""
    fits: list[tuple[str, Fit]] = [(f"L(R), {loss}", fit) for loss, fit in group.ratio_law.items() if fit is not None]
    for laws in group.token_laws:
        label = f"R = {ratio_label(laws.ratio)}"
        fits += [(f"{label}, general", laws.general), (f"{label}, domain", laws.domain)]
    if (law := group.critical_ratio.turning_point.law) is not None:
        fits.append(("critical-ratio law", law))
    return tables("group.txt", answer=answer, laws=fits)


def _figures(answer: Answer, group: Group) -> dict[str, Any]:
    changes = {loss: _against_tokens(answer, group, loss) for loss in ("general", "domain")}
    ends = {f"{loss}_end": _against_ratio(answer, group, loss) for loss in ("general", "domain")}
    return {**changes, **ends, "critical": _turning_points(answer, group)}


def _against_tokens(answer: Answer, group: Group, loss: str) -> Any:
    """Increments of one loss against tokens: measured, Equation 6, T_max and, for the general loss, turning points."""
    points = _of_group(answer, group, answer.analysis.points)
    at = np.linspace(float(points["t"].min()), 100 * BEYOND, POINTS)
    curves = _of_group(answer, group, answer.analysis.curves(at))
    points = points[points["t"] <= 100 * BEYOND]
    measured, fitted = (frame[["ratio", "tokens"]].assign(value=frame[loss]) for frame in (points, curves))
    last = float(fitted["tokens"].max())
    x, y = _tokens(last), charts.y("value:Q", f"Δ {loss} loss", scale={"zero": False, "padding": 8})
    colour = style.ratio_colour(style.ratios_of(measured))
    layers: list[Any] = [
        style.rule("x", answer.analysis.settings.t_max),
        *charts.points(style.labelled(measured), x, y, colour, size=14, opacity=0.55),
        *charts.lines(style.labelled(fitted), x, y, colour, strokeWidth=1.8),
    ]
    turns = style.labelled(_turns(group).query("tokens <= @last"))
    if loss == "general" and len(turns):
        layers += _diamonds(turns, last, x, y, colour)
    text = f"Increment of the {loss} loss against tokens with the fitted laws, a line for each ratio"
    return charts.figure(layers, text, WIDTH, HEIGHT)


def _against_ratio(answer: Answer, group: Group, loss: str) -> Any:
    """One loss at T_max against R, with L(R) and its band; for the general loss, the highest that is tolerated."""
    fit, base = group.ratio_law[loss], getattr(group.base, loss)
    points = _of_group(answer, group, answer.analysis.points).query("t <= @ALL").sort_values("t", kind="stable")
    points = points.groupby("ratio").tail(1)
    points = points[["ratio"]].assign(value=base + points[loss])
    x = style.ratio_axis([0.0, 0.25, 0.5, 0.75, 1.0])
    y = charts.y("value:Q", f"{loss.capitalize()} loss", scale={"zero": False, "padding": 8})
    layers: list[Any] = [style.rule("y", base + answer.analysis.settings.epsilon)] if loss == "general" else []
    if fit is not None:
        known = points.loc[points["ratio"] > 0, "ratio"]
        law = _with_band(answer, fit, "ratio", np.linspace(known.min(), known.max(), POINTS), "value")
        layers += charts.lines(law, x, y, style.GREY, band=0.2)
    layers += charts.points(points, x, y, COLOUR, size=60)
    text = f"The {loss} loss at the end of training against the domain share, with the law L(R)"
    return charts.figure(layers, text, WIDTH, HEIGHT)


def _turning_points(answer: Answer, group: Group) -> Any:
    """Each ratio at its turning point, with Equation 8 and its band, and T_max."""
    turns, t_max = _turns(group), answer.analysis.settings.t_max
    by = group.critical_ratio.turning_point
    law = pd.DataFrame({"tokens": [], "ratio": []}, dtype=float)
    if by.law is not None and by.value is not None:
        first, last = min(float(by.law.x.min()), t_max), max(float(by.law.x.max()), t_max)
        law = _with_band(answer, by.law, "tokens", np.linspace(first, last, POINTS), "ratio")
    end = 1.08 * float(max([t_max, *turns["tokens"], *law["tokens"]]))
    x, y = _tokens(end), charts.y("ratio:Q", "Domain share R", [0, 1.03])
    layers: list[Any] = [style.rule("x", t_max)]
    if len(law):
        layers += charts.lines(law, x, y, style.GREY, band=0.2, clip=True)
    layers += _diamonds(turns, end, x, y, COLOUR)
    text = "Domain share against the tokens at which its general loss turns, with its law"
    return charts.figure(layers, text, WIDTH, HEIGHT)


def _of_group(answer: Answer, group: Group, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one group of measured points or fitted curves, with the tokens of the file."""
    mine = frame[(frame["size"] == group.size) & (frame["domain_name"] == group.domain)]
    return mine.assign(tokens=mine["t"] * answer.analysis.settings.t_max / 100)


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
    curve = fit.interval(at) if answer.drawn else pd.DataFrame({"value": fit.predict(at)})
    return curve.rename(columns={"value": y, "lower": "low", "upper": "high"}).assign(**{x: at})


def _tokens(last: float) -> alt.X:
    # 2G for two billion; below a thousand the numbers themselves, where "500m" would be read as millions.
    return charts.x("tokens:Q", "Tokens T", [0, last], format="~s" if last >= 1000 else "~g", tickCount=5)


def _diamonds(turns: pd.DataFrame, last: float, x: alt.X, y: alt.Y, look: charts.Look) -> list[Any]:
    """Turning points, their intervals cut at the edge of the panel; one that is open goes on to it."""
    high = turns["high"].where(turns["low"].isna(), turns["high"].fillna(np.inf)).clip(0, last)
    cut = turns.assign(low=turns["low"].clip(0, last), high=high)
    return charts.points(cut, x, y, look, along="x", bar=2, shape="diamond", size=75)
