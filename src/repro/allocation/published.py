"""What paper B prints: its Tables 1-6 and A.1-A.5, the numbers in its text, and the laws fitted to its scores.

The tables are in ``published/*.csv``, one file each, digit for digit. ChemBench4K is printed in percent and the other
benchmarks as shares; :func:`scores` has shares only. Two learning rates stand beside exponents that are damaged in the
text these files were made from, and say so in their column ``note``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import resources
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportions_chisquare, test_proportions_2indep

from repro.allocation import frames
from repro.laws.allocation import Allocation, analyse_allocation, best_fraction
from repro.laws.allocation.peak import trend
from repro.laws.allocation.scores import checked, with_errors


class Benchmark(NamedTuple):
    """A benchmark of Table 6: its column there, domain, number of test items, and what a printed score is out of."""

    column: str
    domain: str
    items: int
    out_of: float


BENCHMARKS = {
    "MedQA": Benchmark("medqa", "health", 1273, 1.0),
    "HumanEval": Benchmark("humaneval", "coding", 164, 1.0),
    "HumanEval+": Benchmark("humaneval_plus", "coding", 164, 1.0),
    # The paper counts 4,000 tasks; the published test files hold 4,100. Its scores are not whole numbers of either, as
    # they would be if they were plain proportions, so the binomial error of this one is an assumption.
    "ChemBench4K": Benchmark("chembench", "chemistry", 4100, 100.0),
}
BUDGETS = {"25B": 25e9, "30B": 30e9, "35B": 35e9}
OTHERS = ("25B", "35B")
CODING = "HumanEval"  # the benchmark of the coding domain whose best allocation Section 4.2 names


@cache
def _read(name: str) -> pd.DataFrame:
    with (resources.files("repro.allocation") / "published" / f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, na_values=[""])


def table(number: str) -> pd.DataFrame:
    """A table as printed, by its number: "1" to "6", "A.1" to "A.5".

    1 chemistry: cpt_fraction, mark ("P": predicted peak), chembench, chembench_sft_only (percent).
    2 coding: cpt_fraction, mark, humaneval, humaneval_plus, and both with _sft_only (shares).
    3 health: cpt_fraction, mark, medqa, medqa_sft_only (shares).
    4 other budgets, coding: budget ("25B"), cpt_fraction, observed_score, and once for each budget empirical_optimum,
      error.
    5 other models: domain, model, total_tokens, cpt_tokens, sft_tokens (as text), benchmark, score (percent).
    6 all scores: cpt_fraction, medqa, humaneval, humaneval_plus (shares), chembench (percent).
    A.1 CPT steps: cpt_steps, chembench (percent).
    A.2 and A.3, the set-up of CPT and of SFT: aspect, value, note.
    A.4 CPT data: cluster, tokens_billions, topics.
    A.5 SFT data: dataset, tokens, domain.

    Raises FileNotFoundError if there is no such table.
    """
    return _read(f"table{number.lower().replace('a.', '_a')}").copy()


def drift() -> pd.DataFrame:
    """Drift as far as the text gives numbers (Figures 2 and 3 print none): domain, models, category, cpt_from, cpt_to,
    low, high, where. The fractions are NaN where a number is said of all of them.
    """
    return _read("drift").copy()


def value(name: str) -> float:
    """One number that the prose prints, by its ``name`` in ``text.csv``. Raises KeyError if there is no such name."""
    return float(_read("text").set_index("name")["value"][name])


def scores() -> pd.DataFrame:
    """Table 6, one row for each score: benchmark, cpt_fraction, sft_tokens (of 30B), score (share), n_items."""
    known = pd.DataFrame(BENCHMARKS.values()).assign(benchmark=list(BENCHMARKS))
    rows = table("6").melt("cpt_fraction", var_name="column", value_name="printed").merge(known, on="column")
    tokens = sft_tokens(rows["cpt_fraction"], value("budget"))
    rows = rows.assign(sft_tokens=tokens, score=rows["printed"] / rows["out_of"], n_items=rows["items"])
    return rows[["benchmark", "cpt_fraction", "sft_tokens", "score", "n_items"]]


def other_budgets() -> pd.DataFrame:
    """Table 4 by score: budget (tokens), cpt_fraction, sft_tokens, score (share), n_items, best (as tested there)."""
    printed = table("4")
    budget = printed["budget"].map(BUDGETS)
    return pd.DataFrame({
        "budget": budget,
        "cpt_fraction": printed["cpt_fraction"],
        "sft_tokens": sft_tokens(printed["cpt_fraction"], budget),
        "score": printed["observed_score"],
        "n_items": BENCHMARKS[CODING].items,
        "best": printed["cpt_fraction"] == printed.groupby("budget")["empirical_optimum"].transform("max"),
    })  # fmt: skip


def sft_tokens(cpt_fraction: pd.Series, budget: pd.Series | float) -> pd.Series:
    """SFT tokens of a budget at a CPT fraction, to the whole token."""
    return ((1 - cpt_fraction) * budget).round()


def peak(benchmark: str) -> float:
    """The CPT fraction given as the peak of a benchmark's domain (Sections 4.1, 4.2); KeyError for an unknown one."""
    return value(f"peak_{BENCHMARKS[benchmark].domain}")


def ahead(model: str) -> float:
    """By how many points of Table 5 the paper's split is ahead of another model."""
    rows = _read("table5")
    other = rows[rows["model"] == model].iloc[0]
    ours = rows[(rows["domain"] == other["domain"]) & (rows["model"] == "Our Split")].iloc[0]
    return float(ours["score"] - other["score"])


def ablated(number: str, benchmark: str, cpt_fraction: float) -> tuple[float, float]:
    """A row of Tables 1 to 3, in the unit printed: the score of the split, and that of SFT alone."""
    rows, column = table(number).set_index("cpt_fraction"), BENCHMARKS[benchmark].column
    return float(rows[column][cpt_fraction]), float(rows[f"{column}_sft_only"][cpt_fraction])


def whole(benchmark: str, items: int, printed: Iterable[float] | None = None) -> list[float]:
    """Scores in the unit printed, those of Table 6 unless given, as the nearest shares of so many items."""
    which = BENCHMARKS[benchmark]
    given = _read("table6")[which.column] if printed is None else printed
    return [which.out_of * round(score / which.out_of * items) / items for score in given]


def items_that_fit(benchmark: str, low: int, high: int, error: float = 5e-5) -> list[int]:
    """The numbers of items, low to high, of which all scores of Table 6, printed to within this error, are shares."""
    printed = _read("table6")[BENCHMARKS[benchmark].column]
    return [n for n in range(low, high + 1) if (abs(printed - whole(benchmark, n)) <= error).all()]


def equal_p(benchmark: str, first: float, second: float) -> float:
    """p of two printed scores, taken as independent samples of items, being equal (Wald's test of two proportions)."""
    n, unit = BENCHMARKS[benchmark].items, BENCHMARKS[benchmark].out_of
    return float(test_proportions_2indep(first / unit * n, n, second / unit * n, n, method="wald").pvalue)


def setting(number: str, aspect: str) -> float:
    """A number of the set-up of CPT, "A.2", or of SFT, "A.3"."""
    return float(table(number).set_index("aspect")["value"][aspect].replace(",", ""))


def trained(number: str) -> float:
    """Tokens that steps, batch and length of the set-up of CPT, "A.2", or of SFT, "A.3", come to."""
    aspects = ("Total training steps", "Global batch size", "Sequence length")
    return float(np.prod([setting(number, aspect) for aspect in aspects]))


def sequences_apart(low: float, high: float) -> float:
    """In how many of the CPT sequences that are trained on two CPT fractions of the budget are expected to differ."""
    return (high - low) * trained("A.2") / setting("A.2", "Sequence length")


@dataclass(frozen=True)
class Paper(frames.Results):
    """Equation 1 fitted to Table 6, with Equation 2 for 25B and 35B tokens; bootstrap: draws of its intervals."""

    bootstrap: int = 1000
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)

    def with_bootstrap(self, draws: int) -> Paper:
        """The same with so many draws behind the intervals; 0 for none."""
        return replace(self, bootstrap=draws)

    @cached_property
    def fits(self) -> Mapping[tuple[str, str], Allocation]:
        return {
            (str(name), "accuracy"): analyse_allocation(
                rows.drop(columns=["benchmark", "cpt_fraction"]),
                budget=value("budget"),
                bootstrap=self.bootstrap,
                predict=[BUDGETS[name] for name in OTHERS],
            )
            for name, rows in scores().groupby("benchmark", sort=False)
        }

    @property
    def points(self) -> pd.DataFrame:
        rows = [
            with_errors(fit.points.drop(columns="seed")).assign(benchmark=name, metric=metric)
            for (name, metric), fit in self.fits.items()
        ]
        return pd.concat(rows, ignore_index=True)

    @property
    def optima(self) -> pd.DataFrame:
        """As `Results.optima`, and printed_tokens, the paper's peak of that domain."""
        found = super().optima
        return found.assign(printed_tokens=(1 - found["benchmark"].map(peak)) * value("budget"))

    @property
    def flatness(self) -> pd.DataFrame:
        """Whether scores differ (benchmark, items, error, the standard error of a score, statistic, df, p_value), and
        whether they change with ln S (slope, slope_p; slope_p_without: without the allocation with the fewest SFT
        tokens), each with its _holm as `frames.holm` has it.
        """
        rows = []
        for (name, _), fit in self.fits.items():
            rest = fit.points[fit.points["sft_tokens"] > fit.points["sft_tokens"].min()].drop(columns="cpt_fraction")
            score, items, test = fit.points["score"].mean(), float(fit.points["n_items"].iloc[0]), fit.flatness
            rows.append({
                "benchmark": name, "items": items, "error": float(np.sqrt(score * (1 - score) / items)),
                "statistic": test.statistic, "df": test.df, "p_value": test.p_value,
                "slope": fit.trend.slope, "slope_p": fit.trend.p_value,
                "slope_p_without": trend(checked(rest, fit.budget)).p_value,
            })  # fmt: skip
        return frames.holm(pd.DataFrame(rows))

    @property
    def ablation(self) -> pd.DataFrame:
        """Tables 1 to 3: also cpt_fraction. Both scores are taken as independent samples of a benchmark's items, as
        answers to single items are not printed; binomial intervals and p of a Wald test of two proportions.
        """
        rows = []
        for number, name in (("3", "MedQA"), ("2", "HumanEval"), ("2", "HumanEval+"), ("1", "ChemBench4K")):
            n, unit = BENCHMARKS[name].items, BENCHMARKS[name].out_of
            for share, mark in table(number)[["cpt_fraction", "mark"]].itertuples(index=False):
                second, first = (score / unit for score in ablated(number, name, share))
                test = test_proportions_2indep(second * n, n, first * n, n, method="wald")
                half = frames.NORMAL * float(np.sqrt(test.variance))
                rows.append({
                    "name": f"{share:.7f}" + (" (P)" if mark == "P" else ""), "benchmark": name, "metric": "accuracy",
                    "cpt_fraction": share, "first": first, "second": second, "items": n, "difference": second - first,
                    "low": second - first - half, "high": second - first + half, "p_value": float(test.pvalue),
                })  # fmt: skip
        return pd.DataFrame(rows)

    @property
    def cpt_steps(self) -> pd.DataFrame:
        """Binomial errors and a chi-square test, unpaired; ChemBench4K's number of items is assumed."""
        which, rows = BENCHMARKS["ChemBench4K"], table("A.1")
        score = rows["chembench"] / which.out_of
        p_value = float(proportions_chisquare(score * which.items, [which.items] * len(score))[1])
        se = np.sqrt(score * (1 - score) / which.items)
        frame = rows[["cpt_steps"]].assign(score=score, se=se, p_value=p_value)
        return frame.assign(benchmark="ChemBench4K", metric="accuracy")

    @property
    def predictions(self) -> pd.DataFrame:
        """Equation 2 from the printed peak against what was tested (Table 4), by budget: predicted, tested (CPT
        fractions), predicted_tokens, tested_tokens, token_error (tested over predicted SFT tokens, minus 1).
        """
        tokens = (1 - peak(CODING)) * value("budget")
        rows = [
            {"budget": name, "predicted": best_fraction(BUDGETS[name], tokens), "predicted_tokens": tokens,
             "tested": value(f"observed_{name}"), "tested_tokens": (1 - value(f"observed_{name}")) * BUDGETS[name]}
            for name in OTHERS
        ]  # fmt: skip
        return pd.DataFrame(rows).assign(token_error=lambda rows: rows["tested_tokens"] / rows["predicted_tokens"] - 1)

    @property
    def other_budgets(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The best split is predicted from the printed peak."""
        names = {tokens: name for name, tokens in BUDGETS.items()}
        tested = with_errors(other_budgets())
        tested = tested.assign(budget=tested["budget"].map(names))
        rows = self.predictions
        marks = [
            pd.DataFrame({
                "budget": rows["budget"], "mark": mark,
                "cpt_fraction": rows[column], "sft_tokens": rows[f"{column}_tokens"],
            })
            for mark, column in (("predicted", "predicted"), ("tested best", "tested"))
        ]  # fmt: skip
        return tested, pd.concat(marks, ignore_index=True)


paper = Paper()
