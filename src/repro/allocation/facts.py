"""Numbers and phrases that the prose on paper B quotes, all of them taken from data: nothing is typed."""

from __future__ import annotations

from typing import Any

from repro.allocation import frames, published
from repro.allocation.frames import Analyses
from repro.laws.allocation import Allocation
from repro.show.words import Facts, join

EDGE = 1.001  # an interval that ends this near to the fewest or the most tokens is open


def peaks(found: Analyses) -> Facts:
    """Whether there is a peak at all.

    flat_names, flat_count, benchmarks: which benchmarks cannot be told from flat (p > 0.05), how many, of how many;
    flat_verdict: the sentence on them; widest, widest_name: the widest interval of a peak, as highest over lowest SFT
    tokens (0 and "none" without intervals), and whose it is; open_count: how many intervals reach the edge of the data.
    """
    test = frames.flatness(found)
    flat = list(test.loc[test["p_value"] > 0.05, "benchmark"])
    best = frames.optima(found).dropna(subset=["low", "high"]).set_index("benchmark")
    ratio = best["high"] / best["low"]
    open_ = [name for name in best.index if _open(found[name], best.loc[name, "low"], best.loc[name, "high"])]
    verdict = f"the sixteen scores of {join(flat)} cannot be told from equal" if flat else "no benchmark is flat"
    return {
        "flat_names": join(flat) or "none",
        "flat_count": len(flat),
        "flat_verdict": verdict,
        "benchmarks": len(test),
        "widest": float(ratio.max()) if len(ratio) else 0.0,
        "widest_name": join(ratio.index[ratio >= ratio.max() / EDGE]) or "none",
        "open_count": len(open_),
    }  # fmt: skip


def _open(one: Allocation, low: float, high: float) -> bool:
    tokens = one.points["sft_tokens"]
    return bool(low <= tokens.min() * EDGE or high >= tokens.max() / EDGE)


def budgets(found: Analyses) -> Facts:
    """Equation 2 against what was tested, for 25B and 35B tokens, from the printed peak.

    For each, by its ending _25B or _35B: predicted, tested (CPT fractions); predicted_tokens, tested_tokens (millions
    of SFT tokens); token_error (percent) and error (of the fraction).
    """
    rows = frames.budgets(found).query("source == 'printed peak'")
    facts: Facts = {"peak_tokens": (1 - published.peak(published.CODING)) * published.value("budget") / 1e6}
    for row in rows.to_dict("records"):
        facts |= _of(row)
    return facts


def _of(row: dict[Any, Any]) -> Facts:
    name = row["budget"]
    return {
        f"predicted_{name}": float(row["predicted"]),
        f"tested_{name}": float(row["tested"]),
        f"predicted_tokens_{name}": float(row["predicted_tokens"]) / 1e6,
        f"tested_tokens_{name}": float(row["tested_tokens"]) / 1e6,
        f"token_error_{name}": 100 * float(row["token_error"]),
        f"error_{name}": float(row["error"]),
    }
