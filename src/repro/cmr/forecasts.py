"""Forecasts: what half of the budget and four of the ratios say of the full budget, beside what came out there.

Paper A holds that critical ratios can be predicted (Section 5); it prints no forecast of one. A forecasts frame has one
row for each: size, what ("general loss" | "domain loss" | "critical ratio by turning point" | "critical ratio by
tolerance"), ratio (NaN for critical ratios), tried (whether the ratio was among the four), forecast with low and high
(95%, NaN where unknown), came (what was measured in the end), came_low, came_high, halfway (the same quantity at half
of the budget: the forecast of one who expects no change). Losses are in nats per token, critical ratios are shares.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from repro.cmr.frames import T_MAX, DomainResults
from repro.cmr.published import Paper, paper
from repro.laws import CMR_LAW, RATIO_LAW, Analysis, Fit, Group, analyse

EARLY = 0.5  # of the budget
FOUR = 4  # ratios: the fewest that leave L(R) a residual
SEEN = (1 / 8, 1 / 4, 1 / 3, 1 / 2)  # of the paper's
COLUMNS = ["size", "what", "ratio", "tried", "forecast", "low", "high", "came", "came_low", "came_high", "halfway"]


def chosen(ratios: list[float]) -> list[float]:
    """Four of ascending ratios between 0 and 1, as evenly placed as they go, the first and the last among them."""
    inside = [ratio for ratio in ratios if 0 < ratio < 1]
    if not inside:
        return []
    return [inside[place] for place in np.unique(np.linspace(0, len(inside) - 1, FOUR).round().astype(int))]


def of_runs(losses: pd.DataFrame, full: Analysis) -> pd.DataFrame:
    """Forecasts for the runs behind ``full``, of one domain, from their rows in ``losses`` (`Study.losses`): by
    Equation 6 to the end for ratios that were tried, on L(R) through such ends for the others.
    """
    end, own = full.settings.t_max, full.settings
    four = chosen(sorted({laws.ratio for group in full.groups for laws in group.token_laws}))
    losses = losses[losses["domain"] == full.groups[0].domain]
    known = losses["ratio"].map(lambda ratio: bool(np.isclose(ratio, four).any()))
    early = losses[(losses["tokens"] == 0) | (known & (losses["tokens"] <= EARLY * end))]
    if not (early["tokens"] > 0).any():
        return pd.DataFrame(columns=COLUMNS)
    same: dict[str, Any] = {"epsilon": own.epsilon, "lagrange": own.lagrange, "bootstrap": own.bootstrap}
    ahead, halfway = (analyse(early, t_max=t, unit=own.unit, **same) for t in (end, EARLY * end))
    came = DomainResults(full).end_losses()
    rows = [
        row
        for group, before, after in zip(ahead.groups, halfway.groups, full.groups, strict=True)
        for row in (
            *_losses(group, before, came[came["size"] == group.size], own.end),
            *_critical(group, before, after),
        )
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _losses(ahead: Group, halfway: Group, came: pd.DataFrame, end: float) -> Iterator[dict[str, Any]]:
    token_laws = {laws.ratio: laws for laws in ahead.token_laws}
    rows = came[(came["ratio"] > 0) & (came["ratio"] < 1)]
    for ratio, loss, value in rows[["ratio", "loss", "value"]].itertuples(index=False):
        base, along = getattr(ahead.base, loss), token_laws.get(ratio)
        across = ahead.ratio_law[loss]
        guess = _ends(across, ratio) if along is None else [base + x for x in _ends(getattr(along, loss), end)]
        before = halfway.ratio_law[loss]
        row = {"size": ahead.size, "what": f"{loss} loss", "ratio": ratio, "tried": along is not None, "came": value}
        row |= dict(zip(("forecast", "low", "high"), guess, strict=True))
        yield row | {"halfway": np.nan if before is None else float(before.predict(ratio))}


def _ends(law: Fit | None, at: float) -> list[float]:
    """Value, lower and upper end of a law at one place."""
    return [np.nan] * 3 if law is None else law.interval(at).iloc[0].tolist()


def _critical(ahead: Group, halfway: Group, after: Group) -> Iterator[dict[str, Any]]:
    for name in ("turning_point", "tolerance"):
        guess, before, found = (getattr(group.critical_ratio, name) for group in (ahead, halfway, after))
        row = {"size": ahead.size, "what": f"critical ratio by {name.replace('_', ' ')}", "ratio": np.nan}
        for column, route in (("forecast", guess), ("came", found), ("halfway", before)):
            row[column] = np.nan if route.value is None else route.value
        for ends, route in ((("low", "high"), guess), (("came_low", "came_high"), found)):
            row |= dict(zip(ends, route.interval or (np.nan, np.nan), strict=True))
        yield row | {"tried": False}


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """How forecasts of losses did, by loss and by whether the ratio was tried.

    Columns what, tried, forecasts (how many), inside (share of those with an interval that hold what came), error and
    no_change: median absolute errors, nats per token, of the forecast and of the loss halfway.
    """
    rows = []
    for (what, tried), part in frame[frame["ratio"].notna()].groupby(["what", "tried"]):
        known = part.dropna(subset=["low", "high", "came"])
        errors = {name: (part[name] - part["came"]).abs().median() for name in ("forecast", "halfway")}
        inside = known["came"].between(known["low"], known["high"]).mean()
        row = {"what": what, "tried": tried, "forecasts": len(part), "inside": inside}
        rows.append(row | {"error": errors["forecast"], "no_change": errors["halfway"]})
    return pd.DataFrame(rows, columns=["what", "tried", "forecasts", "inside", "error", "no_change"])


def published(source: Paper = paper) -> pd.DataFrame:
    """Forecasts from what the paper prints: L(R) through the ends of four curves of Table 4, at the two other ratios,
    and Equation 8 through the turning points in the first half of the run. Increments of losses, not losses.
    """
    ends = source.curves([T_MAX])
    turns = source.turning_points()
    rows: list[dict[str, Any]] = []
    for size in source.sizes:
        mine = ends[ends["size"] == size].set_index("ratio")
        seen = [ratio for ratio in mine.index if np.isclose(ratio, SEEN).any()]
        for loss in ("general", "domain"):
            law = RATIO_LAW.fit(np.array(seen), mine.loc[seen, loss].to_numpy(float))
            for ratio in mine.index.difference(seen):
                guess = dict(zip(("forecast", "low", "high"), _ends(law, ratio), strict=True))
                row = {"size": size, "what": f"{loss} loss", "ratio": ratio, "tried": False}
                rows.append(row | guess | {"came": mine.loc[ratio, loss]})
        early = turns[(turns["size"] == size) & (turns["t"] > 0) & (turns["t"] <= EARLY * T_MAX)]
        row = {"size": size, "what": "critical ratio by turning point", "tried": False}
        row["came"] = float(CMR_LAW.evaluate(source.equation_8()[size], T_MAX))
        if len(early) >= len(CMR_LAW.names):
            row["forecast"] = float(CMR_LAW.fit(early["t"], early["ratio"]).predict(T_MAX))
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)
