"""Numbers and phrases that the prose on our own runs quotes, all of them taken from data: nothing is typed.

Where a run decides what a sentence has to say, the function returns the phrase, so that a page re-executed with other
parameters does not go on claiming the old result. Each returns every name for every study.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from repro.allocation import published
from repro.allocation.fitted import FEWEST
from repro.allocation.results import ACCURACY, AWAY, LIKELIHOOD
from repro.laws.allocation import NAME as EQUATION_1
from repro.show.words import Facts, join

LEVEL = 0.05
NOT_RUN = "this preset does not run it"
STEPS = "Total training steps"


def material(contents: pd.DataFrame) -> Facts:
    """From `Study.materials`: questions, pairs and what the near-duplicate check dropped, of the first domain."""
    name = contents["domain"].iloc[0]
    mine = contents[contents["domain"] == name]
    away = contents[contents["why"] == AWAY]
    return {
        "domain": str(name),
        "pairs": int(mine.loc[mine["part"] == "SFT pairs", "items"].sum()),
        "questions": int(mine.loc[mine["part"].str.startswith("questions"), "items"].sum()),
        "dropped": join(
            f"{int(part['dropped'].sum()):,} in {domain}" for domain, part in away.groupby("domain", sort=False)
        ),
    }


def training(held_out: pd.DataFrame, tokens: pd.DataFrame) -> Facts:
    """From `Study.held_out` and `Study.tokens`: what CPT does to held-out losses, and what sharing saves."""
    last = held_out[held_out["domain"] == held_out["domain"].iloc[0]].sort_values("tokens", kind="stable")
    ends = last.groupby("corpus", sort=False).tail(1).set_index("corpus")
    changes = {corpus.split(",")[0]: row for corpus, row in ends.iterrows()}
    told: Facts = {"cpt_tokens": int(last["tokens"].max())}
    for corpus in ("domain", "general"):
        row = changes[corpus]
        told[f"{corpus}_change"] = float(row["change"])
        told[f"{corpus}_se"] = float(row["se"])
        told[f"{corpus}_verdict"] = _moved(float(row["change"]), float(row["se"]))
    trained, naive = float(tokens["trained"].sum()), float(tokens["naive"].sum())
    return told | {"trained": trained, "naive": naive, "saved": naive / trained if trained else 1.0}


def _moved(change: float, error: float) -> str:
    if abs(change) <= 2 * error:
        return "cannot be told from unchanged"
    return "falls" if change < 0 else "rises"


def scores(found: pd.DataFrame) -> Facts:
    """From `Study.scores`: where the base stands, and the best and the worst allocation of the first benchmark.

    The error is that of one score by the number of questions.
    """
    first = str(found["benchmark"].iloc[0])
    rows = found[(found["benchmark"] == first) & (found["metric"] == ACCURACY)].dropna(subset=["score"])
    base, mine = rows[rows["kind"] == "base"], rows[rows["kind"] == "allocation"]
    told: Facts = {"benchmark": first, "base": "no score", "items": int(rows["n_items"].max()) if len(rows) else 0}
    told |= {"error": "unknown", "range_words": "nowhere: there are none"}
    if len(base):
        told["base"] = f"{base['score'].iloc[0]:.1%}"
    if len(mine):
        ordered = mine.sort_values("score", kind="stable")
        worst, best = ordered.iloc[0], ordered.iloc[-1]
        told["error"] = f"{100 * float(mine['se'].max()):.1f} points"
        told["range_words"] = (
            f"from {worst['score']:.1%} at {worst['sft_tokens']:,.0f} SFT tokens to {best['score']:.1%} at "
            f"{best['sft_tokens']:,.0f}"
        )
    return told


def law(optima: pd.DataFrame, found: pd.DataFrame) -> Facts:
    """From `fitted.optima`: whether there is a peak, whether it is inside, and whether scores differ at all.

    found: from `Study.scores`.
    """
    count = len(found.dropna(subset=["score"])[["benchmark", "metric"]].drop_duplicates())
    if optima.empty:
        none = f"there is no fit: Equation 1 needs {FEWEST} allocations with SFT tokens, and scores"
        return {"peaks": none, "flat": "there is nothing to test", "laws": none, "fitted": "none"}
    names = [f"{row['benchmark']} by {row['metric']}" for row in optima.to_dict("records")]
    tests = list(zip(names, optima["p_value"], strict=True))
    edge = [name for name, at in zip(names, optima["edge"], strict=True) if at]
    return {
        "peaks": _peaks(len(names), edge),
        "flat": _flat(tests),
        "laws": _laws(names, list(optima["preferred"])),
        "fitted": f"all {len(names)}" if len(names) == count else f"{len(names)} of {count}",
    }


def _flat(tests: list[tuple[str, float]]) -> str:
    flat = [name for name, p in tests if p > LEVEL]
    differ = [name for name, p in tests if p <= LEVEL]
    untested = [name for name, p in tests if p != p]
    words = [
        f"{join(flat)} cannot be told from flat" if flat else "",
        f"{join(differ)} differ by more than the choice of questions explains" if differ else "",
        f"{join(untested)} could not be tested" if untested else "",
    ]
    return "; ".join(word for word in words if word)


def _laws(names: list[str], preferred: list[str]) -> str:
    """Which law has the least AIC where; where the criterion is infinite there is nothing to compare."""
    words = []
    for law in dict.fromkeys(law for law in preferred if law):
        where = join(name for name, best in zip(names, preferred, strict=True) if best == law)
        words.append(f"{law.replace(EQUATION_1, 'Equation 1')} for {where}")
    without = [name for name, law in zip(names, preferred, strict=True) if not law]
    few = f"too few allocations to compare all three for {join(without)}"
    return "; ".join([*words, *([few] if without else [])])


def _peaks(count: int, edge: list[str]) -> str:
    if not edge:
        return "every peak and its interval lie inside what was tried"
    if len(edge) == count:
        return "every peak, or its interval, reaches the edge of what was tried, so that no best split is shown"
    return f"the peak of {join(edge)}, or its interval, reaches the edge of what was tried"


def paired(pairs: pd.DataFrame) -> Facts:
    """From `results.compare`: what CPT does beside SFT alone, question by question.

    by_accuracy, by_likelihood: in how many comparisons the second is better or worse, with the smallest and the largest
    difference; words that go on "CPT is ...".
    """
    told: Facts = {}
    for metric, unit, scale in ((ACCURACY, "points", 100.0), (LIKELIHOOD, "nats a byte", 1.0)):
        rows = pairs[pairs["metric"] == metric] if len(pairs) else pairs
        name = "accuracy" if metric == ACCURACY else "likelihood"
        if len(rows) == 0:
            told[f"by_{name}"] = "not compared with these parameters"
            continue
        clear = rows["p_value"] < LEVEL
        better, worse = int((clear & (rows["difference"] > 0)).sum()), int((clear & (rows["difference"] < 0)).sum())
        low, high = scale * rows["difference"].min(), scale * rows["difference"].max()
        span = " to ".join(dict.fromkeys((f"{low:+.2f}", f"{high:+.2f}")))
        told[f"by_{name}"] = f"better in {better}, worse in {worse} of {len(rows)} comparisons ({span} {unit})"
    return told


def drift(phases: pd.DataFrame, between: pd.DataFrame, scores_: pd.DataFrame) -> Facts:
    """From `Study.drift`, `Study.ratio_drift` and `Study.scores`: sizes, and whether drift goes with the score.

    Rank correlations are over the allocations of the first domain, so over few points.
    """
    phases, between = phases.dropna(subset=["drift"]), between.dropna(subset=["drift"])
    if phases.empty:
        nothing = dict.fromkeys(("cpt_drift", "sft_drift", "correlation", "largest"), NOT_RUN)
        return dict(nothing)
    mine = phases[phases["domain"] == phases["domain"].iloc[0]]
    spans = {phase: f"{part['drift'].min():.4f} to {part['drift'].max():.4f}" for phase, part in mine.groupby("phase")}
    return {
        "cpt_drift": spans.get("base to CPT", NOT_RUN),
        "sft_drift": spans.get("CPT to SFT", NOT_RUN),
        "correlation": _correlation(mine, scores_),
        "largest": _largest(between),
    }


def _correlation(phases: pd.DataFrame, found: pd.DataFrame) -> str:
    from scipy.stats import spearmanr

    rows = found[(found["kind"] == "allocation") & (found["metric"] == LIKELIHOOD)]
    rows = rows[rows["benchmark"] == found["benchmark"].iloc[0]].groupby("sft_tokens")["score"].mean()
    words = []
    for phase, part in phases.groupby("phase", sort=False):
        both = part.set_index("sft_tokens")["drift"].to_frame().join(rows, how="inner").dropna()
        if len(both) > 3 and np.ptp(both["score"]) > 0 and np.ptp(both["drift"]) > 0:
            result = spearmanr(both["drift"], both["score"])
            words.append(f"{float(result.statistic):+.2f} for {phase} ({len(both)} allocations)")
    return join(words) or "too few allocations to say"


def _largest(between: pd.DataFrame) -> str:
    if between.empty:
        return NOT_RUN
    rows = between[between["domain"] == between["domain"].iloc[0]]
    top: Any = rows.loc[rows["drift"].idxmax()]
    return (
        f"{top['drift']:.4f}, of {top['category']} in the models with {top['model']}, between "
        f"{top['sft_from']:,.0f} and {top['sft_to']:,.0f} SFT tokens"
    )


def printed_steps() -> str:
    """What the paper's printed steps amount to beside its printed budget."""
    table = published.table_a2().set_index("aspect")["value"]
    number = {name: float(table[name].replace(",", "")) for name in ("Sequence length", "Global batch size", STEPS)}
    tokens, budget = float(np.prod(list(number.values()))), published.value("budget")
    return (
        f"{number[STEPS]:,.0f} steps of {number['Global batch size']:.0f} sequences of "
        f"{number['Sequence length']:,.0f} tokens are {tokens / 1e6:.1f} million tokens, "
        f"{budget / tokens:,.0f} times fewer."
    )
