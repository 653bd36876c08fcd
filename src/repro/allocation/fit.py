"""`repro fit allocation`: paper B's law on a reader's own scores, as text, JSON and a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.allocation.scores_file import read_scores
from repro.laws.allocation import Allocation, analyse_allocation
from repro.show.as_json import Interval, finite, pair
from repro.show.report import Table, interval, number


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
