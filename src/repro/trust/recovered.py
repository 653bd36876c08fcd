"""Recovery studies summed up: coverage and widths of the intervals, and bias of the estimates.

A `recovered` frame has one row for each interval: quantity, study (its number), truth, estimate, lower, upper (NaN
where there is none, inf where open), covered. A study without an interval counts as a miss.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from repro.laws import ratio_label

BY_TURNING, BY_TOLERANCE, BEST = "critical ratio by turning point", "critical ratio by tolerance", "best SFT count"
MAIN = (BY_TURNING, BY_TOLERANCE, BEST)
SHARES = (BY_TURNING, BY_TOLERANCE)  # the others are tokens, compared by factors
NOMINAL = 0.95
GOAL = (0.92, 0.98)  # the coverage that the intervals are made for
RUN = 100.0  # turning points are in hundredths of the run


def together(critical: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Both recoveries as one `recovered` frame.

    critical: as :func:`repro.trust.recovery.coverage` gives it; best: as
    :func:`repro.trust.recovery.allocation_coverage` does.
    """
    pairs = zip(critical["quantity"], critical["ratio"], strict=True)
    turns = [f"T0 at R = {ratio_label(r)}" if r == r else f"critical ratio {q}" for q, r in pairs]
    rows = pd.concat([critical.assign(quantity=turns), best.assign(quantity=BEST)], ignore_index=True)
    rows["study"] = rows.groupby("quantity").cumcount()
    order = [*MAIN, *(name for name in dict.fromkeys(turns) if name not in MAIN)]
    rows = rows.sort_values("quantity", key=lambda column: column.map(order.index), kind="stable", ignore_index=True)
    return rows[["quantity", "study", "truth", "estimate", "lower", "upper", "covered"]]


def coverage(recovered: pd.DataFrame) -> pd.DataFrame:
    """How often the truth is inside, for each quantity.

    Columns quantity, studies, covered (share of studies), low, high (95% Wilson interval of that share), missing
    (share of studies without an interval), open (share of intervals with no upper end), width (median: upper - lower
    for shares, upper / lower for tokens; inf where most are open).
    """
    rows = []
    for name, studies in recovered.groupby("quantity", sort=False):
        low, high = proportion_confint(int(studies["covered"].sum()), len(studies), method="wilson")
        there = studies.dropna(subset=["lower", "upper"])
        width = there["upper"] - there["lower"] if name in SHARES else there["upper"] / there["lower"]
        rows.append({
            "quantity": name, "studies": len(studies), "covered": float(studies["covered"].mean()),
            "low": float(low), "high": float(high), "missing": 1 - len(there) / len(studies),
            "open": float(np.isinf(there["upper"]).mean()) if len(there) else np.nan,
            "width": float(width.median()) if len(there) else np.nan,
        })  # fmt: skip
    return pd.DataFrame(rows)


def bias(recovered: pd.DataFrame) -> pd.DataFrame:
    """Which way the estimates err, for each quantity.

    Columns quantity, studies, above, below, none (shares of studies with an estimate too high, too low, none), error
    (median of estimate - truth for shares, of estimate / truth - 1 for tokens).
    """
    rows = []
    for name, studies in recovered.groupby("quantity", sort=False):
        error = studies["estimate"] - studies["truth"]
        error = error if name in SHARES else error / studies["truth"]
        rows.append({
            "quantity": name, "studies": len(studies), "above": float((error > 0).mean()),
            "below": float((error < 0).mean()), "none": float(error.isna().mean()), "error": float(error.median()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def late(recovered: pd.DataFrame) -> pd.DataFrame:
    """How turning points are estimated, by where they truly lie. Columns truth ("within the run" | "beyond the run"),
    turns (how many), early, late, none (shares found too early, too late, not at all).
    """
    turns = recovered[recovered["quantity"].str.startswith("T0")]
    rows = []
    for name, among in (
        ("within the run", turns[turns["truth"] <= RUN]),
        ("beyond the run", turns[turns["truth"] > RUN]),
    ):
        shares = [(among["estimate"] < among["truth"]), (among["estimate"] > among["truth"]), among["estimate"].isna()]
        early, after, none = (float(share.mean()) for share in shares)
        rows.append({"truth": name, "turns": len(among), "early": early, "late": after, "none": none})
    return pd.DataFrame(rows)
