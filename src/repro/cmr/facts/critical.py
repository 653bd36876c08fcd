"""What turning points and critical ratios say: pages 3, 6 and 7."""

import html
from dataclasses import dataclass

import numpy as np
import pandas as pd

from repro.cmr import frames, published
from repro.cmr.facts.words import Facts, join, ratios, shares
from repro.laws import Analysis, ratio_label

_DEFINITIONS = {"by turning point": "critical_ratio", "by tolerance": "tolerance_ratio", "by both": "both"}


def turning_order(points: pd.DataFrame) -> str:
    """Whether T0 grows with R at every size, in words; `points` as `frames.turning_points` gives them.

    A trajectory that does not turn counts as turning after every other.
    """
    breaks, silent, sizes = [], [], points["size"].nunique()
    for size, rows in points.groupby("size", sort=False):
        wrong = _out_of_order(rows.sort_values("ratio"))
        if wrong:
            breaks.append(f"{size} (at R = {ratios(wrong)})")
        elif rows["t"].notna().sum() < 2:
            silent.append(str(size))
    if len(silent) == sizes:
        return "There are too few turning points to tell whether they come later as R grows"
    rest = f" (too few ratios turn to tell at {join(silent)})" if silent else ""
    if len(breaks) + len(silent) == sizes and breaks:
        return f"The turning point does not always come later as R grows: not at {join(breaks)}{rest}"
    if breaks:
        return f"The turning point comes later as R grows, except at {join(breaks)}{rest}"
    where = " at the one size there is" if sizes == 1 else " at every other size" if silent else " at every size"
    return f"The turning point comes later as R grows{where}{rest}"


def _out_of_order(rows: pd.DataFrame) -> list[float]:
    """The ratios that turn no later than the one before, among rows in ascending order of ratio."""
    times = rows["t"].fillna(np.inf).to_numpy(float)
    late = np.isfinite(times[1:]) & (times[1:] <= times[:-1])
    return list(rows["ratio"].to_numpy(float)[1:][late])


def critical(analysis: Analysis) -> Facts:
    """Critical ratios of one domain, in words where a size may have none."""
    found = frames.critical_ratios(analysis)
    return {
        "by_turning": shares(found["size"], found["critical_ratio"]),
        "by_tolerance": shares(found["size"], found["tolerance_ratio"]),
        "both": shares(found["size"], found["both"]),
        "size_trend": size_trend(found),
        "epsilon": analysis.epsilon,
    }


@dataclass(frozen=True)
class Bullets:
    """A list of sentences that a notebook shows as one."""

    items: tuple[str, ...]

    def _repr_markdown_(self) -> str:
        return "\n".join(f"- {item}" for item in self.items) or "None."

    def _repr_html_(self) -> str:
        if not self.items:
            return "<p>None.</p>"
        return "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in self.items) + "</ul>"


def warnings(analysis: Analysis) -> Bullets:
    """What the analysis warned of, for a cell's output."""
    return Bullets(analysis.warnings)


def size_trend(found: pd.DataFrame) -> str:
    """Whether the critical ratio grows with model size, by each definition, in words.

    found: as `frames.critical_ratios` gives it.
    """
    if len(found) < 2:
        return "there is only one size, so nothing can be said"
    names: dict[str, list[str]] = {}
    for name, column in _DEFINITIONS.items():
        names.setdefault(_trend(found[column]), []).append(name)
    return "; ".join(f"{join(alike)} {verdict}" for verdict, alike in names.items())


def _trend(values: pd.Series) -> str:
    there = values.dropna()
    if len(there) < 2:
        return "too few sizes have one to tell"
    over = "" if len(there) == len(values) else f" over the {len(there)} of {len(values)} sizes that have one"
    rises = int((np.diff(there) > 0).sum())
    if rises == len(there) - 1:
        return f"it grows with model size throughout{over}"
    return f"it grows in {rises} of {len(there) - 1} steps from one size to the next{over}"


def second(first: Analysis, other: Analysis, distances: pd.DataFrame) -> Facts:
    """The smallest model on two domains. distances: columns corpus, distance (from the general text)."""
    rows = [frames.critical_ratios(a).iloc[0] for a in (first, other)]
    away = distances.set_index("corpus")["distance"]
    near, far = sorted(rows, key=lambda row: away[row["domain"]])
    return {
        "near": str(near["domain"]),
        "far": str(far["domain"]),
        "near_distance": float(away[near["domain"]]),
        "far_distance": float(away[far["domain"]]),
        "turning_verdict": _nearer(near["critical_ratio"], far["critical_ratio"]),
        "tolerance_verdict": _nearer(near["tolerance_ratio"], far["tolerance_ratio"]),
        "both_verdict": _nearer(near["both"], far["both"]),
        "rise": _rises(first, other),
        "printed_near": published.critical_ratio("460M", "academic"),
        "printed_far": published.critical_ratio("460M"),
    }


def _rises(first: Analysis, other: Analysis) -> str:
    """The highest the general loss of the smallest size stood on each domain, at the largest ratio of both."""
    size = other.groups[0].size
    seen = [frame[frame["size"] == size] for frame in (first.measured(), other.measured())]
    common = max(set(seen[0]["ratio"]) & set(seen[1]["ratio"]), default=None)
    if common is None:
        return "the domains have no ratio in common"
    peaks = [f"{f['domain_name'].iloc[0]}: {f.loc[f['ratio'] == common, 'general'].max():+.3f}" for f in seen]
    return f"at R = {ratio_label(common)} it stood at most this many nats above its start: {join(peaks)}"


def _nearer(near: float, far: float) -> str:
    if np.isnan(near) or np.isnan(far):
        lacking = "the nearer" if np.isnan(near) else "the farther"
        lacking = "either" if np.isnan(near) and np.isnan(far) else lacking
        return f"it does not exist for {lacking} domain, so there is nothing to compare"
    order = "larger" if near > far else "equal" if near == far else "smaller"
    return f"it is {order} for the nearer domain, {near:.1%} against {far:.1%}"
