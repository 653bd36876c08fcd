"""`repro fit allocation`: paper B's law on a reader's own scores, as text, JSON and a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from repro.fit.logs import NOTHING_SAID, Logs, read
from repro.fit.numbers import SHARE, TOKENS as UNITS
from repro.fit.report import WIDTH, Table, as_text, contract, intervals, page, rough, tables
from repro.fit.table import Column, Fault, WrongTable, numbered, repeated
from repro.laws.allocation import NAMES, Allocation, analyse_allocation
from repro.laws.allocation.scores import MOST_ITEMS, with_errors
from repro.show import charts, style

TOKENS, FRACTION = "sft_tokens", "cpt_fraction"
COLUMNS = (
    Column("score", units="%"),
    Column(TOKENS, low=0, required=False, units=UNITS),
    Column(FRACTION, low=0, high=1, required=False, units=SHARE),
    Column("n_items", kind="whole", low=1, high=MOST_ITEMS, required=False),
    Column("seed", kind="text", required=False),
)
PROPORTION = Column("score", low=0, high=1, units=SHARE)
SEVERAL = "several benchmarks need a file each"
TINY = 1e-6  # of a budget: fewer SFT tokens are no split that anybody tries, the paper's being 1e-5 or more
HEIGHT = 260


def fit(
    file: Path, budget: float, bootstrap: int, seed: int, predict: Iterable[float], logs: Logs = NOTHING_SAID
) -> Answer:
    """Fit Equation 1 of paper B to a file of scores (`analyse_allocation`); raises WrongTable with all its faults."""
    scores, notes = _read_scores(file, budget, logs)
    allocation = analyse_allocation(scores, budget=budget, bootstrap=bootstrap, seed=seed, predict=predict)
    return Answer(file, allocation, bootstrap, seed, tuple(notes))


@dataclass(frozen=True)
class Answer:
    """The analysis of one file. As text it is what the command prints."""

    file: Path
    allocation: Allocation
    bootstrap: int  # draws; 0 for no intervals
    seed: int
    notes: tuple[str, ...]  # how the file was read

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything a reader should know before using a number."""
        none = () if self.bootstrap else ("there are no intervals: --bootstrap is 0",)
        return (*self.notes, *rough(self.bootstrap), *none, *self.allocation.warnings, *self._missing())

    def _missing(self) -> Iterator[str]:
        """Why something is null that no warning of the analysis explains."""
        best = self.allocation.optimum
        if best.sft_tokens is not None and best.interval is None and self.bootstrap:
            yield f"there are no intervals: {self.allocation.method}"
        for other in self.allocation.predictions:
            if other.cpt_fraction is None and best.sft_tokens is not None:
                tokens = f"{best.sft_tokens:.4g} SFT tokens"
                yield f"no best split of {other.budget:g} tokens: the optimum alone has {tokens}"
        if not math.isfinite(self.allocation.flatness.statistic):
            yield f"the test of flatness has no finite statistic ({self.allocation.flatness.method})"

    def ends(self) -> dict[str, list[float | None]] | None:
        """The interval of every parameter; None where none were asked for or all scores are equal."""
        if not self.bootstrap or self.allocation.equal:
            return None
        return intervals(self.allocation.conf_int())

    def as_json(self) -> str:
        """The contract of the command."""
        return contract("allocation.json", answer=self)

    def tables(self) -> list[Table]:
        """The best split, the law's parameters, whether there is a peak at all, and rival laws."""
        return tables("allocation.txt", answer=self)

    def __str__(self) -> str:
        return as_text(self.tables()[:3], self.warnings)

    def html(self) -> str:
        """The report."""
        return page("allocation.html", answer=self, chart=_figure(self))


def _figure(answer: Answer) -> Any:
    points = with_errors(answer.allocation.points)
    curve = answer.allocation.curve().rename(columns={"lower": "low", "upper": "high"})
    ends = [float(curve["sft_tokens"].min()) / 1.05, float(curve["sft_tokens"].max()) * 1.05]
    title = "SFT tokens (logarithmic)"
    x = charts.x("sft_tokens:Q", title, ends, scale={"type": "log"}, format="~s", tickCount=5)
    # The band of a law that the data do not determine may leave any scale: it is cut at the edge of the panel.
    seen = pd.concat([points[["score", "low", "high"]], curve[["score"]]])
    y = charts.y("score:Q", "Score", charts.limits(seen, "score", "low", "high"))
    law = curve if answer.bootstrap else curve.drop(columns=["low", "high"])
    layers = [
        *_optimum(answer.allocation, x),
        *charts.lines(law, x, y, style.GREY, band=0.2, clip=True),
        *charts.points(points, x, y, style.DOMAIN_RAMP[0]),
    ]
    text = "Scores against SFT tokens, the allocation law and its peak, each with an interval"
    return charts.figure(layers, text, WIDTH, HEIGHT)


def _optimum(allocation: Allocation, x: alt.X) -> list[Any]:
    best = allocation.optimum
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


def _read_scores(path: Path, budget: float, logs: Logs) -> tuple[pd.DataFrame, list[str]]:
    """The scores for `analyse_allocation`, notes on how they were read; raises WrongTable with all its faults."""
    frame, faults, notes = read(path, COLUMNS, logs)
    split = next((name for name in (TOKENS, FRACTION) if name in frame), None)
    if split is None:
        raise WrongTable(path, [*faults, Fault(1, f"no column {TOKENS!r} or {FRACTION!r}; one of them is needed")])
    if "n_items" in frame:
        outside = frame[(frame["score"] < 0) | (frame["score"] > 1)]
        lines = zip(outside["line"], outside["score"], strict=True)
        beyond_one = (PROPORTION.fault(int(line), f"{score:g}") for line, score in lines)
        faults += [fault._replace(text=f"{fault.text}, as it is a proportion of n_items") for fault in beyond_one]
    if split == TOKENS:
        beyond = frame[frame[TOKENS] > budget]
        faults += [
            Fault(int(line), f"{TOKENS} is {tokens:g}; it must be at most the budget, {budget:g}", TOKENS)
            for line, tokens in zip(beyond["line"], beyond[TOKENS], strict=True)
        ]
    # Fractions that differ by less than 1 holds are the same allocation.
    same = frame if split == TOKENS else frame.assign(**{FRACTION: 1 - (1 - frame[FRACTION])})
    faults += [fault._replace(text=f"{fault.text}; {SEVERAL}") for fault in repeated(same, faults, (split, "seed"))]
    with_sft = frame[frame[split] > 0] if split == TOKENS else frame[frame[split] < 1]
    if not faults and (count := with_sft[split].nunique()) < len(NAMES):
        needed = f"the allocation law has {len(NAMES)} parameters"
        faults = [Fault(0, f"{count} different allocations with SFT tokens; {needed}")]
    if faults:
        raise WrongTable(path, faults)
    both = split == TOKENS and FRACTION in frame
    notes += [f"{FRACTION} was not read: the file has {TOKENS} as well"] if both else []
    if split == TOKENS and (most := float(frame[TOKENS].max())) < TINY * budget:
        notes.append(f"{TOKENS} is at most {most:g}, the budget {budget:g}: are both in tokens, or one in millions?")
    return numbered(frame).drop(columns=["line", *([FRACTION] if both else [])]), notes
