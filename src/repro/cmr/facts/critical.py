"""What turning points and critical ratios say: pages 3, 6 and 7."""

import html
from dataclasses import dataclass

import numpy as np
import pandas as pd

from repro.cmr import published
from repro.cmr.frames import DomainResults
from repro.laws import noise, ratio_label
from repro.show.words import Facts, in_words, join, ratios, some

# Each definition of the critical ratio: its column in `Results.critical_ratios`, and the name of its interval there.
_DEFINITIONS = {
    "by turning point": ("critical_ratio", "turning"),
    "by tolerance": ("tolerance_ratio", "tolerance"),
    "by both": ("both", "both"),
}
# How intervals are got, and what variation is in them, by the method of the bootstrap; "" is for none.
_DRAWN = {
    "ar1": "What Equation 6 leaves over of a curve is taken for noise, correlated from one point to the next. Noise "
    "like it is put on the fitted curve {draws:,} times; each time the laws are fitted and Equation 27 is solved anew",
    "runs": "The runs of each seed deviate from the mean of all seeds. Such deviations, each run's as a whole, are put "
    "on the mean {draws:,} times; each time the laws are fitted and Equation 27 is solved anew",
    "": "There are no intervals here: no bootstrap was asked for, or the curves have no points to spare for one",
}
_HOLDS = {
    "ar1": "Each curve comes from one seed. Another seed gives another model and another order of the data, and how "
    "much that would change is not in the intervals: they say how well these very runs are known, not what a "
    "repetition would give",
    "runs": "What differs from seed to seed is in the intervals, as far as so few seeds can tell",
    "": "Without intervals, how much of a difference is noise cannot be told",
}


def turning_order(points: pd.DataFrame) -> str:
    """Whether T0 grows with R at every size, in words; `points` as `Results.turning_points` gives them.

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


def critical(results: DomainResults) -> Facts:
    """What turning points and critical ratios say; ``drawn``: how their intervals were got; ``holds``: what of."""
    method = _method(results)
    in_the_paper = turning_order(published.paper.turning_points())
    return {
        "order": turning_order(results.turning_points()),
        "published_order": in_the_paper[0].lower() + in_the_paper[1:],
        "size_trend": size_trend(results.critical_ratios()),
        "epsilon": results.epsilon,
        "binding": binding(results.tolerances(), results.epsilon),
        "drawn": _DRAWN[method].format(draws=results.analysis.settings.bootstrap),
        "holds": _HOLDS[method],
    }


def _method(results: DomainResults) -> str:
    """The bootstrap behind the intervals, as `noise` names it: "runs", "ar1", or "" where there is none."""
    return next((name for name in ("runs", "ar1") if noise.WORDS[name] in results.analysis.method), "")


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


def warnings(results: DomainResults) -> Bullets:
    """What the analysis warned of, for a cell's output."""
    return Bullets(results.analysis.warnings)


def size_trend(frame: pd.DataFrame) -> str:
    """Whether the critical ratio grows with model size, by each definition, in words.

    frame: as `DomainResults.critical_ratios` gives it.
    """
    if len(frame) < 2:
        return "there is only one size, so nothing can be said"
    names: dict[str, list[str]] = {}
    for name, (column, ends) in _DEFINITIONS.items():
        rows = frame[[column, f"{ends}_lower", f"{ends}_upper"]].set_axis(["value", "lower", "upper"], axis=1)
        names.setdefault(_trend(rows), []).append(name)
    return "; ".join(f"{join(alike)} {verdict}" for verdict, alike in names.items())


def binding(tolerances: pd.DataFrame, epsilon: float) -> str:
    """Which condition of Definition 3 decides at this tolerance and at the others, in words.

    tolerances: as `DomainResults.tolerances` gives them.
    """
    first: dict[float, tuple[int, int]] = {}
    for at, rows in tolerances.dropna(subset="binds").groupby("epsilon"):
        first[float(at)] = int((rows["binds"] == "tolerance").sum()), len(rows)  # type: ignore[arg-type]
    if epsilon not in first:
        return "in ours no size has both ratios, so which of them limits it cannot be said"
    here, of = first.pop(epsilon)
    words = f"in ours the tolerance decides at {in_words(here) if here else 'none'} of {some(of, 'size')}"
    words += "" if of == tolerances["size"].nunique() else " for which that is known"
    others = [f"{count} of {all_} at \u03b5 = {at:g}" for at, (count, all_) in first.items()]
    return f"{words} ({', '.join(others)})" if others else words


def _trend(rows: pd.DataFrame) -> str:
    """rows: value, lower, upper of each size, smallest first."""
    there = rows.dropna(subset="value")
    if len(there) < 2:
        return "too few sizes have one to tell"
    over = "" if len(there) == len(rows) else f" over the {len(there)} of {len(rows)} sizes that have one"
    steps, rises = len(there) - 1, int((np.diff(there["value"]) > 0).sum())
    grows = "it grows with model size throughout"
    if rises < steps:
        grows = f"it grows in {rises} of {steps} steps from one size to the next"
    return f"{grows}{over}, {_beyond_intervals(there)}"


def _beyond_intervals(rows: pd.DataFrame) -> str:
    """Whether sizes differ by more than their intervals: the first from the last, and neighbours."""
    if rows["lower"].isna().any():
        return "but not every size has an interval to judge this by"
    low, high = rows["lower"].to_numpy(), rows["upper"].to_numpy()
    apart = (low[1:] > high[:-1]) | (high[1:] < low[:-1])
    if low[-1] <= high[0] and high[-1] >= low[0]:
        return "but the intervals of the smallest and the largest overlap, so that this may be noise"
    side = "above" if low[-1] > high[0] else "below"
    ends = f"and the interval of the largest lies wholly {side} that of the smallest"
    if len(apart) == 1:
        return ends
    overlap = len(apart) - int(apart.sum())
    neighbours = f"in {in_words(overlap)} of {in_words(len(apart))} steps" if overlap else "nowhere"
    return f"{ends} (those of neighbouring sizes overlap {neighbours})"


def second(first: DomainResults, other: DomainResults, distances: pd.DataFrame) -> Facts:
    """The smallest model on two domains. distances: columns corpus, distance (from the general text)."""
    rows = [results.critical_ratios().iloc[0] for results in (first, other)]
    away = distances.set_index("corpus")["distance"]
    near, far = sorted(rows, key=lambda row: away[row["domain"]])
    return {
        "near": str(near["domain"]),
        "far": str(far["domain"]),
        "near_distance": float(away[near["domain"]]),
        "far_distance": float(away[far["domain"]]),
        **{f"{ends}_verdict": _nearer(near, far, column, ends) for column, ends in _DEFINITIONS.values()},
        "rise": _rises(first, other),
        "holds": _HOLDS[_method(first)],
        "printed_near": published.critical_ratio("460M", "academic"),
        "printed_far": published.critical_ratio("460M"),
    }


def _rises(first: DomainResults, other: DomainResults) -> str:
    """The highest the general loss of the smallest size stood on each domain, at the largest ratio of both."""
    frames = (results.analysis.measured() for results in (first, other))
    seen = [frame[frame["size"] == other.sizes[0]] for frame in frames]
    common = max(set(seen[0]["ratio"]) & set(seen[1]["ratio"]), default=None)
    if common is None:
        return "the domains have no ratio in common"
    peaks = [f"{f['domain_name'].iloc[0]}: {f.loc[f['ratio'] == common, 'general'].max():+.3f}" for f in seen]
    return f"at R = {ratio_label(common)} it stood at most this many nats above its start: {join(peaks)}"


def _nearer(near: pd.Series, far: pd.Series, column: str, ends: str) -> str:
    """Whether the ratio in ``column`` is larger on the nearer domain, and by more than the intervals, in words."""
    if np.isnan(near[column]) or np.isnan(far[column]):
        lacking = "the nearer" if np.isnan(near[column]) else "the farther"
        lacking = "either" if np.isnan(near[column]) and np.isnan(far[column]) else lacking
        return f"it does not exist for {lacking} domain, so there is nothing to compare"
    order = "larger" if near[column] > far[column] else "equal" if near[column] == far[column] else "smaller"
    shown = f"{_share(near, column, ends)} against {_share(far, column, ends)}"
    return f"it is {order} for the nearer domain, {shown}{_told_apart(near, far, ends)}"


def _share(row: pd.Series, column: str, ends: str) -> str:
    low, high = row[f"{ends}_lower"], row[f"{ends}_upper"]
    return f"{row[column]:.1%}" + ("" if np.isnan(low) else f" ({100 * low:.1f} to {100 * high:.1f})")


def _told_apart(near: pd.Series, far: pd.Series, ends: str) -> str:
    low, high = (np.array([row[f"{ends}_{end}"] for row in (near, far)]) for end in ("lower", "upper"))
    if np.isnan(low).any():
        return ", without intervals to judge this by"
    return ", and the intervals do not overlap" if max(low) > min(high) else ", but the intervals overlap"
