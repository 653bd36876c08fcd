"""Numbers and phrases that the prose of the pages quotes, all of them taken from data: nothing is typed.

Each function returns names for ``display.glue``. Where a run decides what a sentence has to say, the function
returns the phrase, so that a page re-executed with other parameters does not go on claiming the old result.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from repro.cmr import frames, published
from repro.cmr.style import ratio_label
from repro.cmr.tables import count
from repro.laws import Analysis

Facts = dict[str, float | int | str]


def corpora(parts: pd.DataFrame, distances: pd.DataFrame) -> Facts:
    """From `Study.corpora` and `Study.distances`."""
    tokens = parts.set_index(["corpus", "part"])["tokens"]
    epochs = parts.set_index(["corpus", "part"])["epochs"]
    names = list(dict.fromkeys(parts["corpus"]))
    dropped = parts.drop_duplicates("corpus").set_index("corpus")["near_duplicates"]
    ordered = distances.sort_values("distance")["corpus"].tolist()
    return {
        "general_tokens": count(tokens["general", "training"]),
        "replay_tokens": count(tokens["general", "replay"]),
        "general_epochs": float(epochs["general", "training"]),
        "dropped": join(f"{dropped[name]} from {name}" for name in names),
        "floor": float(distances["distance"].iloc[0]),
        "nearest_first": " < ".join(ordered),
    }


def pretraining(losses: pd.DataFrame) -> Facts:
    """From `Study.pretraining`."""
    ends = losses.sort_values("tokens").groupby("size", sort=False)["general_loss"].agg(["first", "last"])
    ends = ends.reindex(losses["size"].unique())
    falls = bool((np.diff(ends["last"]) < 0).all())
    return {
        "tokens": count(losses["tokens"].max()),
        "start_loss": float(ends["first"].mean()),
        "smallest": str(ends.index[0]),
        "largest": str(ends.index[-1]),
        "smallest_loss": float(ends["last"].iloc[0]),
        "largest_loss": float(ends["last"].iloc[-1]),
        "still_falling": _still_falling(losses),
        "size_order": "every larger model ends lower" if falls else "size and final loss are not in the same order",
    }


def _still_falling(losses: pd.DataFrame) -> str:
    last = (
        losses.sort_values("tokens").groupby(["size", "seed"], sort=False)["general_loss"].apply(lambda v: v.iloc[-2:])
    )
    falls = last.groupby(level=[0, 1]).apply(lambda pair: pair.iloc[1] < pair.iloc[0])
    return "all curves still fall" if falls.all() else f"{int(falls.sum())} of {len(falls)} curves still fall"


def trade_off(analysis: Analysis) -> Facts:
    """From the analysis of one domain."""
    points = frames.turning_points(analysis)
    inside = points[(points["status"] == "inside") & (points["t"] > 0)]
    return {
        "curves": len(points),
        "turned": len(inside),
        "still_rising": _by_size(points, points[points["status"] != "inside"], "none"),
        "order": turning_order(points),
        "no_replay": no_replay(analysis.curves([100.0])),
        "published_no_replay": no_replay(published.curves([100.0])),
    }


def no_replay(ends: pd.DataFrame) -> str:
    """How much higher the general loss ends at R = 1 than at the largest ratio below, in words.

    ends: increments at the end of training, as `Analysis.curves` or `published.curves` gives them.
    """
    wide = ends.pivot(index="size", columns="ratio", values="general")
    below = [float(ratio) for ratio in ends["ratio"].unique() if ratio < 1]
    if 1.0 not in wide.columns or not below:
        return "is not known, for want of such runs"
    factors = wide[1.0] / wide[max(below)]
    label = ratio_label(max(below))
    return f"ends {factors.min():.1f} to {factors.max():.1f} times as far above its start as at R = {label}"


def turning_order(points: pd.DataFrame) -> str:
    """Whether T0 grows with R at every size, in words; `points` as `frames.turning_points` gives them."""
    breaks = []
    for size, rows in points.dropna(subset="t").groupby("size", sort=False):
        sorted_rows = rows.sort_values("ratio")
        wrong = sorted_rows["ratio"][np.r_[False, np.diff(sorted_rows["t"]) < 0]]
        if len(wrong):
            breaks.append(f"{size} (at R = {', '.join(map(ratio_label, wrong))})")
    if not breaks:
        return "The turning point comes later as R grows, at every size"
    return f"The turning point comes later as R grows, except for {join(breaks)}"


def ratio(points: pd.DataFrame, name: str) -> Facts:
    """Mean absolute errors of the held-out prediction, in percent; points as `frames.held_out` gives them."""
    errors = held_out_errors(points)
    return {f"{name}_{loss}_error": float(values.abs().mean()) for loss, values in errors.items()}


def printed_error() -> Facts:
    """Mean absolute error of the predictions that Table 2 prints, recomputed from the losses it prints, in percent."""
    seen = published.held_out_points().query("kind == 'held out, measured'").set_index("size")["value"]
    guess = published.held_out_predictions().set_index("size")["loss"]
    return {"printed_error": float((guess / seen - 1).abs().mean() * 100)}


def beyond_the_law(points: pd.DataFrame, law: pd.DataFrame) -> str:
    """Where the general loss at R = 1 lies against the law fitted below it, in words."""
    at_end = [frame[(frame["loss"] == "general") & np.isclose(frame["ratio"], 1)] for frame in (points, law)]
    seen, fitted = (frame.drop_duplicates("size").set_index("size")["value"] for frame in at_end)
    gaps = (seen - fitted).dropna()
    if gaps.empty:
        return "is not known here, for want of such runs"
    return f"lies {gaps.min():.2f} to {gaps.max():.2f} nats from the law's continuation"


def held_out_errors(points: pd.DataFrame) -> dict[str, pd.Series]:
    """loss -> relative error of the predicted ratio in percent, by size."""
    keyed = points.set_index(["size", "loss"])
    guess = keyed.loc[keyed["kind"] == "held out, predicted", "value"]
    seen = keyed.loc[keyed["kind"] == "held out, measured", "value"]
    errors = (guess / seen - 1) * 100
    return {str(loss): rows for loss, rows in errors.groupby(level="loss")}


def tokens(analysis: Analysis) -> Facts:
    """How well Equation 6 fits: medians and extremes over sizes and ratios."""
    quality = frames.fit_quality(analysis)
    r2 = quality[quality["metric"] == "R2"].groupby("loss")["value"]
    printed = published.table3()
    printed_r2 = printed[printed["metric"] == "R2"].groupby("loss")["value"]
    return {
        "general_r2": float(r2.median()["general"]),
        "general_r2_least": float(r2.min()["general"]),
        "domain_r2": float(r2.median()["domain"]),
        "domain_r2_least": float(r2.min()["domain"]),
        "printed_general_r2": float(printed_r2.median()["general"]),
        "printed_domain_r2": float(printed_r2.median()["domain"]),
        "mse_factor": _mse_factor(printed),
    }


def _mse_factor(printed: pd.DataFrame) -> float:
    """By how much the printed errors of the domain loss are too small for the printed R2: the median over Table 3."""
    wide = printed[printed["loss"] == "domain"].pivot(index=["size", "ratio"], columns="metric", values="value")
    variance = published.curves(np.arange(1, 101)).groupby(["size", "ratio"])["domain"].var(ddof=0)
    return float(((1 - wide["R2"]) * variance / wide["MSE"]).median())


def critical(analysis: Analysis) -> Facts:
    """Critical ratios of one domain, in words where a size may have none."""
    found = frames.critical_ratios(analysis)
    return {
        "by_turning": join(_shares(found["size"], found["critical_ratio"])),
        "by_tolerance": join(_shares(found["size"], found["tolerance_ratio"])),
        "size_trend": size_trend(found),
        "epsilon": analysis.epsilon,
        "warned": len(analysis.warnings),
        "warnings": "; ".join(analysis.warnings) or "none",
    }


def size_trend(found: pd.DataFrame) -> str:
    """Whether the critical ratio grows with model size, by either definition, in words."""
    verdicts = []
    for name, column in (("by turning points", "critical_ratio"), ("by tolerance", "tolerance_ratio")):
        there = found[column].dropna()
        if len(there) < 2:
            verdicts.append(f"{name} too few sizes have one to tell")
        elif (np.diff(there) > 0).all():
            verdicts.append(f"{name} it grows with model size throughout")
        else:
            rises = int((np.diff(there) > 0).sum())
            verdicts.append(f"{name} it grows in {rises} of {len(there) - 1} steps from one size to the next")
    return "; ".join(verdicts)


def second(first: Analysis, other: Analysis, distances: pd.DataFrame) -> Facts:
    """The smallest model on two domains."""
    rows = [frames.critical_ratios(a).iloc[0] for a in (first, other)]
    away = distances.set_index("corpus")["distance"]
    near, far = sorted(rows, key=lambda row: away[row["domain"]])
    return {
        "size": str(near["size"]),
        "near": str(near["domain"]),
        "far": str(far["domain"]),
        "near_distance": float(away[near["domain"]]),
        "far_distance": float(away[far["domain"]]),
        "turning_verdict": _nearer(near["critical_ratio"], far["critical_ratio"]),
        "tolerance_verdict": _nearer(near["tolerance_ratio"], far["tolerance_ratio"]),
        "rise": _rises(first, other),
        "printed_near": published.critical_ratio("460M", "academic"),
        "printed_far": published.critical_ratio("460M"),
    }


def _rises(first: Analysis, other: Analysis) -> str:
    """The highest the general loss of the smallest size stood on each domain, at the largest ratio of both."""
    seen = [a.measured() for a in (first, other)]
    size = seen[1]["size"].iloc[0]
    common = max(set(seen[0]["ratio"]) & set(seen[1]["ratio"]), default=None)
    if common is None:
        return "the domains have no ratio in common"
    peaks = [
        f"{f['domain_name'].iloc[0]}: {f.loc[(f['size'] == size) & (f['ratio'] == common), 'general'].max():.3f}"
        for f in seen
    ]
    return f"at R = {ratio_label(common)} it stood at most this many nats above its start: {join(peaks)}"


def _nearer(near: float, far: float) -> str:
    if np.isnan(near) or np.isnan(far):
        lacking = "the nearer" if np.isnan(near) else "the farther"
        lacking = "either" if np.isnan(near) and np.isnan(far) else lacking
        return f"it does not exist for {lacking} domain, so there is nothing to compare"
    order = "larger" if near > far else "not larger"
    return f"it is {order} for the nearer domain, {near:.1%} against {far:.1%}"


def _shares(names: Iterable[str], values: Sequence[float] | pd.Series) -> list[str]:
    return [f"{n}: none" if np.isnan(v) else f"{n}: {v:.1%}" for n, v in zip(names, values, strict=True)]


def _by_size(points: pd.DataFrame, chosen: pd.DataFrame, nothing: str) -> str:
    parts = []
    for size in dict.fromkeys(points["size"]):
        ratios = chosen.loc[chosen["size"] == size, "ratio"]
        parts.append(f"{size}: {', '.join(map(ratio_label, ratios)) or nothing}")
    return "; ".join(parts)


def join(words: Iterable[str]) -> str:
    """ "a, b and c"."""
    listed = list(words)
    return " and ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else "".join(listed)
