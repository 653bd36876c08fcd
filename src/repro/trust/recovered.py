"""Recovery studies summed up: coverage and widths of the intervals, and bias of the estimates.

A `recovered` frame has one row for each interval: quantity, study (its number), truth, estimate, lower, upper (NaN
where there is none, inf where open), covered. A study without an interval counts as a miss.
"""

from collections.abc import Sequence
from importlib import resources

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from repro.laws import ratio_label

BY_TURNING, BY_TOLERANCE, BEST = "critical ratio by turning point", "critical ratio by tolerance", "best SFT count"
MAIN = (BY_TURNING, BY_TOLERANCE, BEST)
SHARES = (BY_TURNING, BY_TOLERANCE)  # the others are tokens, compared by factors
NOMINAL = 0.95
GOAL = (0.93, 0.97)  # the coverage that the intervals are made for
LEAST = 0.9  # and the least in any one design
CELL = ("ratios", "seeds", "form")  # what a simulated study of continual pretraining varies


def wilson(found: pd.Series) -> tuple[float, float, float]:
    """The share of a column of bool that is true, and the ends of its 95% interval (Wilson)."""
    low, high = proportion_confint(int(found.sum()), len(found), method="wilson")
    return float(found.mean()), float(low), float(high)


def together(critical: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """`recovery.coverage`, of studies that can tell, and `recovery.allocation_coverage` as one `recovered` frame."""
    critical = critical[(critical["law"] == "all") & (critical["reach"] == "across")]
    pairs = zip(critical["quantity"], critical["ratio"], strict=True)
    turns = [f"T0 at R = {ratio_label(r)}" if r == r else f"critical ratio {q}" for q, r in pairs]
    rows = pd.concat([critical.assign(quantity=turns), best.assign(quantity=BEST)], ignore_index=True)
    rows["study"] = rows.groupby("quantity").cumcount()
    order = [*MAIN, *(f"T0 at R = {ratio_label(r)}" for r in sorted(critical["ratio"].dropna().unique()))]
    rows = rows.sort_values("quantity", key=lambda column: column.map(order.index), kind="stable", ignore_index=True)
    return rows.reindex(columns=["quantity", "study", *CELL, "truth", "estimate", "lower", "upper", "covered", "bound"])


def coverage(recovered: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """How often the truth is inside, for each quantity, and for each value of the columns ``by``.

    Columns quantity, those of ``by``, studies, covered (share of studies), low, high (95% Wilson interval of that
    share), missing (share of studies without an interval), open (share of intervals with no upper end), width (median:
    upper - lower for shares, upper / lower for tokens; inf where most are open), bounds (share of answers that are only
    a bound), error (median of estimate - truth for shares, of estimate / truth - 1 for tokens).
    """
    rows = []
    for (name, *cell), studies in recovered.groupby(["quantity", *by], sort=False):
        covered, low, high = wilson(studies["covered"])
        there = studies.dropna(subset=["lower", "upper"])
        width = there["upper"] - there["lower"] if name in SHARES else there["upper"] / there["lower"]
        error = studies["estimate"] - studies["truth"]
        rows.append({
            "quantity": name, **dict(zip(by, cell, strict=True)),
            "studies": len(studies), "covered": covered, "low": low, "high": high,
            "missing": 1 - len(there) / len(studies),
            "open": float(np.isinf(there["upper"]).mean()) if len(there) else np.nan,
            "width": float(width.median()) if len(there) else np.nan,
            "bounds": float(studies["bound"].eq(True).mean()),
            "error": float((error if name in SHARES else error / studies["truth"]).median()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def recorded(name: str) -> pd.DataFrame:
    """A summary of the large run, as ``tools/recoveries.py`` makes it ("coverage", "cells", "refused" or "claims"), how
    often paper B's own peaks would be shown, as ``tools/power.py`` does ("power"), or the digits of certified problems,
    as ``benchmarks/nist.py`` makes them ("nist").
    """
    return pd.read_csv(str(resources.files("repro.trust") / "recorded" / f"{name}.csv"))
