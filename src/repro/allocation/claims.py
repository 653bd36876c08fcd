"""How paper B's claims are checked, by their ids: RECOMPUTED has what the paper's other numbers give, REPLICATED what
the runs of a study give. Printed scores are taken as independent samples of a benchmark's items. One rule for tests of
either: what is clear (p at most `LEVEL`) agrees or differs, what is not cannot be told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import linregress, spearmanr

from repro.allocation import published as paper
from repro.allocation.design import PHASES
from repro.allocation.published import BENCHMARKS, BUDGETS, CODING, OTHERS, equal_p, table, value
from repro.allocation.results import ACCURACY, KEYS, compare
from repro.allocation.study import Study
from repro.laws.allocation import NAME, Allocation, allocation_law, best_fraction
from repro.laws.allocation.law import ALTERNATIVES, draw, monotone_laws
from repro.laws.allocation.peak import Optimum, Trend, optimum, trend
from repro.laws.allocation.scores import Scores, checked
from repro.laws.comparison import compare as compare_laws
from repro.laws.inference import LEVEL
from repro.laws.law import Fit
from repro.study import claims
from repro.study.claims import Replicated

DRAWS = 200  # behind the interval of a printed peak
CLEARLY = 4.0  # above the best law's criterion: a law so far behind has little support (Burnham & Anderson 2002)
STEEP = 1.5  # problems: a fall by one is none that a benchmark can show less of
N, RANGE, SFT = value("budget"), (value("range_low"), value("range_high")), (value("sft_low"), value("sft_high"))
UNSTEADY = (0.999937, 0.99994)  # the two splits between which Section 5.1 has drift jump
SPLITS = table("6").set_index("cpt_fraction")
DOMAINS = SPLITS[["medqa", "humaneval", "chembench"]]  # a benchmark for each domain
FROM_PEAK = SPLITS["humaneval"].loc[SPLITS["humaneval"].idxmax() :]
SCORES, OTHER = paper.scores(), paper.other_budgets()
DRIFT = paper.drift().set_index(["domain", "category"])
ENDS = {key: [row["cpt_from"], row["cpt_to"]] for key, row in DRIFT.iterrows()}  # of the interval of a printed drift
REPLAY = DRIFT.xs("CPT replay added", level="category")
GAPS = DRIFT[DRIFT["models"] == "base to CPT"].droplevel("category")
ABLATION = [
    (number, name, float(fraction), mark == "P")
    for number, name in (("1", "ChemBench4K"), ("2", "HumanEval"), ("2", "HumanEval+"), ("3", "MedQA"))
    for fraction, mark in table(number)[["cpt_fraction", "mark"]].itertuples(index=False)
]  # the rows of Tables 1 to 3, and whether they are marked as predicted peaks
SETUPS = ("A.2", "A.3")
COUNTS = (1273, 164, 164, 4000)  # of items, as the paper has them
PEAKS = [(name, *paper.ablated(number, name, fraction)) for number, name, fraction, marked in ABLATION if marked]
show, decisive = partial(claims.show, "allocation"), partial(claims.decisive, "allocation")


def _elsewhere(number: str, benchmark: str, fraction: float) -> list[float]:
    """A row of Tables 1 to 3 anew: the score by Table 6, if it is there; but of ChemBench, SFT alone in whole items."""
    which, printed = BENCHMARKS[benchmark], paper.ablated(number, benchmark, fraction)
    both, alone = paper.whole(benchmark, which.items, printed)
    both = float(SPLITS[which.column].get(fraction, both))
    return [both] if benchmark == "ChemBench4K" else [both, alone]


def _models(domain: str, column: str) -> pd.Series:
    """A column of Table 5 by model, tokens in the unit printed: "58.7M" is 58.7, "N/A" is NaN."""
    rows = table("5").set_index("model")
    found = rows[rows["domain"] == domain][column]
    return found if column == "score" else pd.to_numeric(found.str[:-1], errors="coerce")


def _checked(benchmark: str, fewest: float = 0.0) -> Scores:
    """Table 6 at splits with more than the fewest SFT tokens."""
    rows = SCORES[(SCORES["benchmark"] == benchmark) & (SCORES["sft_tokens"] > fewest)]
    return checked(rows[["sft_tokens", "score", "n_items"]], N)


@cache
def _fitted(benchmark: str) -> tuple[Scores, Fit]:
    data = _checked(benchmark)
    return data, allocation_law(data.tokens).fit(data.tokens, data.values, data.weights())


@cache
def printed_optimum(benchmark: str) -> Optimum:
    """The peak of Equation 1 on Table 6, with its interval."""
    data, fit = _fitted(benchmark)
    return optimum(data, replace(fit, draws=draw(data, fit, DRAWS, 0)))


def _test(p_value: float, claimed: bool, shown: float | None = None) -> Replicated:
    """A difference by its test, which shows p or ``shown``. claimed: whether a clear one is what the paper says."""
    return Replicated(p_value if shown is None else shown, None, claimed if p_value <= LEVEL else None)


def _narrow(best: Optimum) -> bool:
    """Whether a peak is known to within the width, in ln S, of the range in which the paper has all peaks."""
    return best.interval is not None and best.interval[1] / best.interval[0] <= SFT[1] / SFT[0]


def _width(best: Optimum) -> Replicated:
    """The upper over the lower end of a peak's interval; a wide one says nothing of where the peak is."""
    low, high = best.interval or (np.nan, np.nan)
    return Replicated(high / low if best.interval else None, None, _narrow(best) or None)


def _behind(benchmark: str) -> Replicated:
    """How far Akaike's criterion of Equation 1 lies above the least on Table 6."""
    data, fit = _fitted(benchmark)
    laws = (fit.law, *monotone_laws(fit.law), *ALTERNATIVES)
    table = compare_laws(laws, data.tokens, data.values, data.weights(), held_out="tail", known=True)
    behind = float(table.set_index("law")["delta_aicc"][NAME])
    return Replicated(behind, None, True if behind == 0 else False if behind >= CLEARLY else None)


def _slope(found: Trend) -> Replicated:
    return _test(found.p_value, bool(found.slope < 0), found.slope)


def _falls(budget: str) -> Replicated:
    rows = OTHER[OTHER["budget"] == BUDGETS[budget]]
    return _slope(trend(checked(rows[["sft_tokens", "score", "n_items"]], BUDGETS[budget])))


def _best_inside() -> Replicated:
    """How many splits of each budget lie in the range of the best ones; without one at either, nothing is tested."""
    inside = OTHER["sft_tokens"].between(*SFT)
    counts = inside.groupby(OTHER["budget"], sort=False).sum()
    return Replicated(tuple(map(float, counts)), None, bool(inside[OTHER["best"]].all()) if counts.min() else None)


def _tested(budget: str) -> pd.Series:
    return OTHER[OTHER["budget"] == BUDGETS[budget]].set_index("cpt_fraction")["score"]


def _near(budget: str) -> bool:
    tested = _tested(budget)
    return bool(tested.iloc[np.argmin(np.abs(tested.index - value(f"predicted_{budget}")))] > tested.median())


def unsteady(benchmark: str) -> tuple[float, float]:
    """By how much Table 6's score changes where drift jumps, and p of no change."""
    before, after = SPLITS[BENCHMARKS[benchmark].column][list(UNSTEADY)]
    return float(after - before), equal_p(benchmark, before, after)


RECOMPUTED: Mapping[str, Callable[[], Any]] = {
    "B001": lambda: [N * (1 - end) / 1e6 for end in RANGE],
    "B002": lambda: [best_fraction(N, tokens) for tokens in reversed(SFT)],
    "B003": lambda: paper.ahead("Code Llama"),
    "B004": lambda: paper.ahead("Code Llama - Python"),
    "B005": lambda: paper.ahead("Hippocrates-Meta 7B"),
    "B006": lambda: _test(equal_p("MedQA", *(_models("Health", "score").iloc[[0, 2]] / 100)), claimed=False),
    "B007": lambda: 100 * (1 - N / (1e9 * _models("Coding", "total_tokens").max())),
    "B008": lambda: _models("Coding", "score").drop("Our Split").idxmax() == "Code Llama",
    "B009": lambda: _models("Health", "sft_tokens")["Hippocrates-Mistral 7B"],
    "B010": lambda: (_models("Coding", "total_tokens") - _models("Coding", "sft_tokens")).max(),
    "B012": lambda: 2000 in table("A.1")["cpt_steps"].to_list(),
    "B013": lambda: paper.trained("A.2") / 1e9,
    "B014": lambda: paper.trained("A.3") / 1e6,
    "B015": lambda: [paper.trained("A.2") / (paper.trained("A.2") + paper.trained("A.3"))] * 2,
    "B016": lambda: max(SCORES["sft_tokens"].max(), OTHER["sft_tokens"].max()) / 1e6,
    "B017": lambda: _together([_falls(budget) for budget in OTHERS]),
    "B018": lambda: _together([_behind(benchmark) for benchmark in BENCHMARKS]),
    "B019": lambda: (SPLITS.idxmin() == SPLITS.index.max()).all(),
    "B020": _best_inside,
    "B022": lambda: DOMAINS.idxmax().between(*RANGE).all(),
    **{f"B{n:03}": partial(_elsewhere, *row[:3]) for n, row in enumerate(ABLATION, 23)},
    "B035": lambda: all(both > alone for _, both, alone in PEAKS),
    "B036": lambda: _together([_test(equal_p(name, both, alone), bool(both > alone)) for name, both, alone in PEAKS]),
    "B037": lambda: [N * (1 - end) / 1e6 for end in reversed(RANGE)],
    "B038": lambda: SPLITS["humaneval"].idxmax(),
    "B039": lambda: printed_optimum(CODING).cpt_fraction,
    "B040": lambda: paper.peak(CODING),
    "B041": lambda: _narrow(printed_optimum(CODING)),
    "B042": lambda: best_fraction(BUDGETS["25B"], (1 - paper.peak(CODING)) * N),
    "B043": lambda: best_fraction(BUDGETS["35B"], (1 - paper.peak(CODING)) * N),
    "B044": lambda: abs(value("observed_25B") - value("predicted_25B")),
    "B045": lambda: abs(value("observed_35B") - value("predicted_35B")),
    "B046": lambda: _near("35B"),
    "B047": lambda: _near("25B"),
    "B048": lambda: _tested("25B").std() < _tested("35B").std(),
    "B050": lambda: paper.whole(CODING, 164, [_tested("35B").max()]),
    **{f"B{n:03}": partial(paper.whole, CODING, 164, [score]) for n, score in enumerate(OTHER["score"], 51)},
    **{f"B{n:03}": partial(paper.whole, *of) for n, of in enumerate(zip(BENCHMARKS, COUNTS, strict=True), 63)},
    "B067": lambda: _together(
        [_test(trend(_checked(name, SCORES["sft_tokens"].min())).p_value, claimed=True) for name in BENCHMARKS]
    ),
    "B068": lambda: paper.ablated("3", "MedQA", 0.99993)[0],
    "B069": lambda: SPLITS["medqa"].idxmax(),
    "B070": lambda: 100 * SPLITS["humaneval"].max() - value("code_llama_gain"),
    "B071": lambda: 100 * SPLITS["humaneval"].max() - value("code_llama_python_gain"),
    "B072": lambda: 100 * SPLITS["medqa"].max() - value("hippocrates_gain"),
    "B076": lambda: paper.sequences_apart(*UNSTEADY) >= 1,
    "B077": lambda: set(ENDS["health", "CPT new added"]) <= set(SPLITS.index),
    "B078": lambda: set(ENDS["health", "SFT replay removed"]) <= set(SPLITS.index),
    "B079": lambda: set(ENDS["coding", "SFT replay removed"]) <= set(SPLITS.index),
    "B080": lambda: REPLAY["low"][["coding", "chemistry"]],
    "B082": lambda: DRIFT.loc[("health", "all four"), "high"] < REPLAY["low"].min(),
    "B083": lambda: _together([_test(unsteady(name)[1], claimed=False) for name in BENCHMARKS if name != "MedQA"]),
    "B084": lambda: all(-unsteady(name)[0] * 164 > STEEP for name in ("HumanEval", "HumanEval+")),
    "B086": lambda: DOMAINS.idxmax().idxmin() == "humaneval"
    and spearmanr(FROM_PEAK.index, FROM_PEAK, alternative="less").pvalue <= LEVEL,
    "B088": lambda: any(table(number)["value"].str.contains("replay", case=False).any() for number in SETUPS),
    "B089": lambda: GAPS["low"]["chemistry"] > GAPS["high"].drop("chemistry").max(),
    "B090": lambda: GAPS["high"]["health"] <= GAPS["low"].drop("health").min(),
    "B093": lambda: GAPS["high"].sort_values().index.map(lambda name: value(f"peak_{name}")).is_monotonic_increasing,
    "B095": lambda: linregress(table("A.1")["cpt_steps"], table("A.1")["chembench"]).slope <= 0,
    "B096": lambda: table("A.1")["chembench"].max() <= SPLITS["chembench"].max(),
    "B098": lambda: len({paper.setting(n, "LoRA scaling factor") / paper.setting(n, "LoRA rank") for n in SETUPS}) == 1,
    "B099": lambda: table("A.4")["tokens_billions"].min() > N / 1e9,
    "B100": lambda: table("A.5").set_index("domain")["tokens"]["Health"] >= SFT[1],
    "B101": lambda: table("A.5").set_index("domain")["tokens"].drop("Health").min() >= 10 * SFT[1],
    "B102": lambda: any({"mmlu", "hellaswag"} & set(table(number)) for number in "12346"),
    "B103": lambda: paper.items_that_fit("MedQA", 1000, 1600),
    "B104": lambda: bool(paper.items_that_fit("ChemBench4K", 3500, 4500)),
    "B105": lambda: 164 not in paper.items_that_fit("HumanEval+", 100, 300, error=1e-4),
    "B106": lambda: [min(BUDGETS.values()) / 1e9, max(BUDGETS.values()) / 1e9],
    "B108": lambda: REPLAY["cpt_from"]["coding"],
    "B110": lambda: _together([_width(printed_optimum(benchmark)) for benchmark in BENCHMARKS]),
    "B112": lambda: _together(
        [_test(test.pvalue, bool(test.statistic > 0), float(test.statistic))
         for test in (spearmanr(DOMAINS[a], DOMAINS[b]) for a, b in combinations(DOMAINS, 2))]
    ),
    "B113": lambda: not any(_fitted(benchmark)[1].warnings for benchmark in BENCHMARKS),
    "B114": lambda: paper.sequences_apart(SPLITS.index.min(), SPLITS.index.max()) >= 1,
    "B115": lambda: len(SPLITS),
    "B116": lambda: [BUDGETS[budget] / 1e9 for budget in OTHERS],
    "B117": lambda: [(N - tokens) / 1e9 for tokens in SFT],
    "B118": lambda: 100 * SPLITS["humaneval"].max(),
    "B119": lambda: 100 * SPLITS["medqa"].max(),
    "B120": lambda: ENDS["health", "CPT new added"],
    "B121": lambda: (_tested("25B") == _tested("25B").max()).sum() == 1,
    "B122": lambda: set(_tested("25B").nlargest(3).index) == {0.99950, 0.99975, 0.99990},
}  # fmt: skip


def _together(found: Sequence[Replicated]) -> Replicated | None:
    """Several as one: it holds if it does in all, and not if it fails in one."""
    if len(found) < 2:
        return found[0] if found else None
    holds, values = {each.holds for each in found}, [np.nan if each.value is None else each.value for each in found]
    return Replicated(tuple(values), None, False if False in holds else None if None in holds else True)  # type: ignore[arg-type]


def _each(judge: Callable[[Allocation], Replicated]) -> Callable[[Study], Replicated | None]:
    """What Equation 1 on the accuracy of each domain's first benchmark gives."""

    def found(study: Study) -> Replicated | None:
        first = study.results().scores.drop_duplicates("domain")["benchmark"]
        laws = [study.results().fits.get((name, ACCURACY)) for name in first]
        return _together([judge(law) for law in laws if law])

    return found


def _share(law: Allocation) -> Replicated:
    """The best CPT share; whether it lies in the paper's range can be told only where that range was tried."""
    tried, ends = law.points["cpt_fraction"], law.optimum.cpt_interval
    if ends is None or not (tried.min() <= RANGE[0] and RANGE[1] <= tried.max() and law.peak_shown):
        return Replicated(law.optimum.cpt_fraction, ends)
    inside, apart = RANGE[0] <= ends[0] and ends[1] <= RANGE[1], ends[1] < RANGE[0] or RANGE[1] < ends[0]
    return Replicated(law.optimum.cpt_fraction, ends, True if inside else False if apart else None)


def _equation_1(law: Allocation) -> Replicated:
    behind = float(law.alternatives.set_index("law")["delta_aicc"][NAME])
    enough = len(law.points) >= 2 * len(law.params)  # with fewer scores six parameters never pay for themselves
    worse = behind >= CLEARLY and enough and law.flatness.p_value <= LEVEL
    return Replicated(behind, None, True if behind == 0 and law.peak_shown else False if worse else None)


def _by_accuracy(frame: pd.DataFrame) -> list[Replicated]:
    """Differences with their intervals: each holds if that lies above 0, and not if below."""
    rows = frame.loc[frame["metric"] == ACCURACY, ["difference", "low", "high"]].astype(float).to_numpy().tolist()
    return [Replicated(x, (low, high), True if low > 0 else False if high < 0 else None) for x, low, high in rows]


def _middle(study: Study, *, base: bool) -> Replicated | None:
    ours, name = study.results(), study.params.domains[0].name
    rows = ours.allocations.drop_duplicates(KEYS).sort_values("sft_tokens", kind="stable")
    rows = rows[(rows["domain"] == name) & (rows["seed"] == study.params.seeds[0])]
    both = rows[(rows["cpt_tokens"] > 0) & (rows["sft_tokens"] > 0)]
    if both.empty:
        return None
    first = {"kind": "base", "domain": name} if base else dict(rows.iloc[0][KEYS])
    found = _by_accuracy(compare(ours.items, ACCURACY, [(first, dict(both.iloc[len(both) // 2][KEYS]), "")]))
    return found[0] if found else None


def _extreme(study: Study, domain: str, sign: int) -> Replicated | None:
    """A domain's drift from base to CPT, and whether it is the most (1) or the least (-1) of all domains, clearly."""
    moved = study.drift()
    moved = moved[moved["phase"] == PHASES[0]].groupby("domain")["drift"].agg(["mean", "min", "max"])
    if domain not in moved.index or len(moved) < 2:
        return None
    mean, low, high = map(float, moved.loc[domain])
    above, below = low > moved["max"].drop(domain).max(), high < moved["min"].drop(domain).min()
    return Replicated(mean, (low, high), bool(above if sign > 0 else below) if above or below else None)


def _against(study: Study, column: str) -> Replicated | None:
    """Whether drift from base to CPT in coding falls as SFT tokens, or the score, rise: their rank correlation."""
    moved = study.drift()
    moved = moved[(moved["phase"] == PHASES[0]) & (moved["domain"] == "coding")]
    both = moved.merge(study.results().score_line[["domain", "sft_tokens", "score"]], on=["domain", "sft_tokens"])
    test = spearmanr(both["drift"], both[column]) if len(both) > 3 else None
    return test and Replicated(float(test.statistic), None, bool(test.statistic < 0) if test.pvalue <= LEVEL else None)


REPLICATED: Mapping[str, Callable[[Study], Replicated | None]] = {
    **dict.fromkeys(("B001", "B002", "B022"), _each(_share)),
    "B017": _each(lambda law: _slope(law.trend)),
    "B018": _each(_equation_1),
    "B019": lambda study: _middle(study, base=False),
    "B035": lambda study: _together(_by_accuracy(study.results().ablation)),
    "B036": lambda study: _together(_by_accuracy(study.results().splits)),
    **dict.fromkeys(("B041", "B110"), _each(lambda law: _width(law.optimum))),
    "B074": lambda study: _middle(study, base=True),
    "B089": lambda study: _extreme(study, "chemistry", 1),
    "B090": lambda study: _extreme(study, "health", -1),
    "B091": lambda study: _against(study, "sft_tokens"),
    "B092": lambda study: _against(study, "score"),
    "B107": _each(lambda law: Replicated(law.optimum.sft_tokens and law.optimum.sft_tokens / law.budget)),
    "B113": _each(lambda law: Replicated(not law.fit.warnings, None, not law.fit.warnings or None)),
}  # fmt: skip
