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
    ends = ends.reindex(dict.fromkeys(losses["size"]))
    falls = bool((np.diff(ends["last"]) < 0).all())
    return {
        "tokens": count(losses["tokens"].max()),
        "start_loss": float(ends["first"].mean()),
        "smallest": str(ends.index[0]),
        "largest": str(ends.index[-1]),
        "smallest_loss": float(ends["last"].iloc[0]),
        "largest_loss": float(ends["last"].iloc[-1]),
        "size_order": "every larger model ends lower" if falls else "size and final loss are not in the same order",
    }


def trade_off(analysis: Analysis) -> Facts:
    """From the analysis of one domain."""
    points = frames.turning_points(analysis)
    inside = points[(points["status"] == "inside") & (points["t"] > 0)]
    return {
        "curves": len(points),
        "turned": len(inside),
        "turned_by_size": _by_size(points, inside, "none"),
        "still_rising": _by_size(points, points[points["status"] != "inside"], "none"),
        "order": turning_order(points),
    }


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
    """Errors of the held-out prediction, in percent; points as `frames.held_out` gives them."""
    errors = held_out_errors(points)
    return {f"{name}_{loss}_error": float(values.abs().mean()) for loss, values in errors.items()}


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
    }


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
        "printed_near": published.critical_ratio("460M", "academic"),
        "printed_far": published.critical_ratio("460M"),
    }


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
