"""`repro fit allocation`: paper B's law on a reader's own scores, as text, JSON and a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from repro.fit.report import Figure, Interval, Report, Section, Table, finite, interval, number, pair
from repro.fit.table import Column, Fault, WrongTable, read, repeated
from repro.laws.allocation import NAMES, Allocation, analyse_allocation
from repro.laws.allocation.scores import MOST_ITEMS, with_errors
from repro.show import style

TOKENS, FRACTION = "sft_tokens", "cpt_fraction"
COLUMNS = (
    Column("score"),
    Column(TOKENS, low=0, required=False),
    Column(FRACTION, low=0, high=1, required=False, share=True),
    Column("n_items", kind="whole", low=1, high=MOST_ITEMS, required=False),
    Column("seed", kind="text", required=False),
)
PROPORTION = Column("score", low=0, high=1, share=True)

SIZE = (340, 260)


def read_scores(path: Path, budget: float) -> tuple[pd.DataFrame, list[str]]:
    """The scores as `repro.laws.allocation.analyse_allocation` takes them, and what to know of how they were read.

    Args:
        path: a CSV file with the columns `COLUMNS`; of sft_tokens and cpt_fraction one is enough.
        budget: tokens of CPT and SFT together.

    Raises:
        WrongTable: with every fault of the file.

    """
    frame, faults = read(path, COLUMNS)
    split = next((name for name in (TOKENS, FRACTION) if name in frame), None)
    if split is None:
        raise WrongTable(path, [*faults, Fault(1, f"no column {TOKENS!r} or {FRACTION!r}; one of them is needed")])
    if "n_items" in frame:
        outside = frame[(frame["score"] < 0) | (frame["score"] > 1)]
        faults += [
            Fault(int(line), f"{PROPORTION.fault(f'{score:g}')}, as it is a proportion of n_items", "score")
            for line, score in zip(outside["line"], outside["score"], strict=True)
        ]
    if split == TOKENS:
        beyond = frame[frame[TOKENS] > budget]
        faults += [
            Fault(int(line), f"{TOKENS} is {tokens:g}; it must be at most the budget, {budget:g}", TOKENS)
            for line, tokens in zip(beyond["line"], beyond[TOKENS], strict=True)
        ]
    hint = "" if "seed" in frame else " (runs that differ in their seed need a column seed)"
    sound = frame[~frame["line"].isin([fault.line for fault in faults])]
    faults += repeated(sound, (split, "seed"), hint)
    if not faults:
        faults = _too_few(frame, split)
    if faults:
        raise WrongTable(path, faults)
    return _plain(frame, split)


def _too_few(frame: pd.DataFrame, split: str) -> list[Fault]:
    with_sft = frame[frame[split] > 0] if split == TOKENS else frame[frame[split] < 1]
    count = with_sft[split].nunique()
    if count >= len(NAMES):
        return []
    return [Fault(0, f"{count} different allocations with SFT tokens; Equation 1 has {len(NAMES)} parameters")]


def _plain(frame: pd.DataFrame, split: str) -> tuple[pd.DataFrame, list[str]]:
    """The frame with numbered seeds, without the file's line numbers and with one column for the split."""
    if "seed" in frame:
        frame = frame.assign(seed=pd.factorize(frame["seed"], sort=True)[0])
    both = split == TOKENS and FRACTION in frame
    notes = [f"{FRACTION} was not read: the file has {TOKENS} as well"] if both else []
    return frame.drop(columns=["line", *([FRACTION] if both else [])]), notes


@dataclass(frozen=True)
class Options:
    """What the command line may set; budget and predict in tokens, bootstrap 0 for no intervals."""

    budget: float
    bootstrap: int = 1000
    seed: int = 0
    predict: tuple[float, ...] = ()


@dataclass(frozen=True)
class Found:
    """The analysis of one file; ``notes`` say how it was read. Shown as text, it is what the command prints."""

    file: Path
    options: Options
    allocation: Allocation
    notes: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything a reader should know before using a number."""
        none = () if self.options.bootstrap else ("there are no intervals: --bootstrap is 0",)
        return (*self.notes, *none, *self.allocation.warnings, *self._missing())

    def _missing(self) -> Iterator[str]:
        """Why something is null that no warning of the analysis explains."""
        best = self.allocation.optimum
        if best.sft_tokens is not None and best.interval is None and self.options.bootstrap:
            yield f"there are no intervals: {self.allocation.method}"
        for one in self.allocation.predictions:
            if one.cpt_fraction is None and best.sft_tokens is not None:
                yield f"no best split of {one.budget:g} tokens: the optimum alone has {best.sft_tokens:.4g} SFT tokens"
        if finite(self.allocation.flatness.statistic) is None:
            yield f"the test of flatness has no finite statistic ({self.allocation.flatness.method})"

    def ends(self) -> dict[str, Interval | None] | None:
        """The interval of every parameter; None where none were asked for or all scores are equal."""
        if not self.options.bootstrap or self.allocation.equal:
            return None
        table = self.allocation.conf_int()
        rows = zip(table.index, table["lower"], table["upper"], strict=True)
        return {str(name): pair((float(low), float(high))) for name, low, high in rows}

    def as_json(self) -> dict[str, Any]:
        """The contract of the command, and the settings the numbers were got with."""
        found, best, test = self.allocation, self.allocation.optimum, self.allocation.flatness
        df = [finite(part) for part in test.df] if isinstance(test.df, tuple) else finite(test.df)
        return {
            "params": {name: finite(value) for name, value in found.params.items()},
            "ci": self.ends(),
            "sse": finite(found.fit.sse),
            "rse": finite(found.fit.rse),
            "r2": finite(found.r2),
            "n": found.fit.n,
            "optimum": {
                "sft_tokens": finite(best.sft_tokens),
                "ci": pair(best.interval),
                "cpt_fraction": finite(best.cpt_fraction),
                "cpt_fraction_ci": pair(best.cpt_interval),
            },
            "flatness": {
                "statistic": finite(test.statistic),
                "df": df,
                "p_value": finite(test.p_value),
                "method": test.method,
            },
            "predictions": [
                {"budget": one.budget, "cpt_fraction": finite(one.cpt_fraction), "ci": pair(one.interval)}
                for one in found.predictions
            ],
            "warnings": list(self.warnings),
            "settings": {
                "budget": found.budget,
                "bootstrap": self.options.bootstrap,
                "seed": self.options.seed,
                "intervals": found.method,
            },
        }

    def best(self) -> Table:
        """The optimum and the predictions for other budgets."""
        best = self.allocation.optimum
        rows = [
            ("best SFT tokens", number(best.sft_tokens), interval(best.interval)),
            (
                f"best CPT fraction of {best_of(self.allocation.budget)}",
                *_fraction(best.cpt_fraction, best.cpt_interval),
            ),
        ]
        rows += [
            (f"best CPT fraction of {best_of(one.budget)}", *_fraction(one.cpt_fraction, one.interval))
            for one in self.allocation.predictions
        ]
        return Table("Best split", ("", "value", "95% interval"), tuple(rows))

    def parameters(self) -> Table:
        """Equation 1's parameters with intervals."""
        ends = self.ends() or {}
        rows = tuple((name, number(v, 5), interval(ends.get(name))) for name, v in self.allocation.params.items())
        return Table("Equation 1", ("parameter", "value", "95% interval"), rows)

    def tests(self) -> Table:
        """Whether there is a peak at all."""
        test, fit = self.allocation.flatness, self.allocation.fit
        df = ", ".join(f"{part:g}" for part in (test.df if isinstance(test.df, tuple) else (test.df,)))
        rows = (
            ("are all scores equal? statistic", number(test.statistic)),
            ("degrees of freedom", df),
            ("p value", number(test.p_value, 2)),
            ("R\u00b2 of Equation 1", number(self.allocation.r2, 4)),
            ("residual standard error", number(fit.rse, 3)),
        )
        return Table(f"Whether there is a peak ({fit.n} scores)", ("", "value"), rows)

    def __str__(self) -> str:
        warnings = "\n".join(f"  - {text}" for text in self.warnings)
        tables = (self.best(), self.parameters(), self.tests())
        return "\n\n".join([*map(str, tables), *([f"Warnings\n{warnings}"] if warnings else [])])


def best_of(budget: float) -> str:
    """A budget in words."""
    return f"{budget:g} tokens"


def _fraction(value: float | None, ends: tuple[float, float] | None) -> tuple[str, str]:
    # All fractions of a large budget begin with the same nines, so they need more digits than other numbers.
    return number(value, 7), interval(ends, 7)


def fit(file: Path, options: Options) -> Found:
    """Read a file of scores and fit Equation 1 of paper B to it.

    Raises:
        WrongTable: the file is not what is needed; every fault is told.

    """
    scores, notes = read_scores(file, options.budget)
    found = analyse_allocation(
        scores, budget=options.budget, bootstrap=options.bootstrap, seed=options.seed, predict=options.predict
    )
    return Found(file, options, found, tuple(notes))


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
        for _, row in found.allocation.alternatives.iterrows()
    )
    criterion = found.allocation.alternatives.attrs["criterion"]
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
