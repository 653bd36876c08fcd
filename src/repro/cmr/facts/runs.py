"""What the corpora and the training runs say: pages 1 and 2."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from repro.cmr.published import paper
from repro.cmr.tables import count
from repro.show.words import Facts, in_words, join, some

ABOUT_EQUAL = 1.05  # parameter counts within this factor are said to be as large as the paper's


def corpora(parts: pd.DataFrame, distances: pd.DataFrame) -> Facts:
    """From `Study.corpora` and `Study.distances`, whose first row is the general text against itself."""
    tokens = parts.set_index(["corpus", "part"])["tokens"]
    epochs = parts.set_index(["corpus", "part"])["epochs"]
    names = list(dict.fromkeys(parts["corpus"]))
    dropped = parts.drop_duplicates("corpus").set_index("corpus")["near_duplicates"]
    return {
        "general_tokens": count(tokens["general", "training"]),
        "replay_tokens": count(tokens["general", "replay"]),
        "general_epochs": float(epochs["general", "training"]),
        "dropped": join(f"{dropped[name]} from {name}" for name in names),
        "shares": join(_share(row) for row in distances.iloc[1:].to_dict("records")),
        "floor": float(distances["distance"].iloc[0]),
        "nearest_first": " < ".join(distances.sort_values("distance")["corpus"]),
    }


def _share(row: dict[Hashable, Any]) -> str:
    share = f"{row['share']:.1%}" if row["share"] else "none"
    return f"{share} of the general text comes from the source of {row['corpus']}"


def shapes(frame: pd.DataFrame) -> Facts:
    """From `Study.shapes`: how many sizes, and how they compare with the paper's, smallest and largest in turn."""
    ours, theirs = frame["parameters"], paper.shapes()["parameters"]
    factors = sorted([theirs.min() / ours.min(), theirs.max() / ours.max()])
    return {"sizes": in_words(len(frame)), "times_smaller": _times_smaller(*factors)}


def _times_smaller(low: float, high: float) -> str:
    if low > ABOUT_EQUAL:
        return f"about {_span(low, high)} times smaller than the paper's"
    if high < 1 / ABOUT_EQUAL:
        return f"about {_span(1 / high, 1 / low)} times larger than the paper's"
    if low > 1 / ABOUT_EQUAL and high < ABOUT_EQUAL:
        return "as large as the paper's"
    return f"about {_span(1 / high, 1 / low)} times the size of the paper's"


def _span(low: float, high: float) -> str:
    """Two significant digits: "5,000 to 9,300"."""
    ends = [f"{float(f'{value:.1e}'):,.10g}" for value in (low, high)]
    return " to ".join(dict.fromkeys(ends))


def pretraining(losses: pd.DataFrame) -> Facts:
    """From `Study.pretraining`; losses of a size are means over its seeds."""
    runs = losses.sort_values("tokens", kind="stable").groupby(["size", "seed"], sort=False)["general_loss"]
    sizes = losses["size"].unique()
    mean = runs.agg(["first", "last"]).groupby(level="size", sort=False).mean().reindex(sizes)
    return {
        "tokens": count(losses["tokens"].max()),
        "start_loss": float(mean["first"].mean()),
        "smallest": str(sizes[0]),
        "largest": str(sizes[-1]),
        "smallest_loss": float(mean["last"].iloc[0]),
        "largest_loss": float(mean["last"].iloc[-1]),
        "still_falling": _still_falling(runs.apply(lambda run: bool(run.iloc[-1] < run.iloc[-2:].iloc[0]))),
        "size_order": _size_order(mean["last"]),
        "seeds": some(losses["seed"].nunique(), "seed"),
    }


def _still_falling(falls: pd.Series) -> str:
    if falls.all():
        return "all curves still fall" if len(falls) > 1 else "the one curve still falls"
    return f"{int(falls.sum())} of {len(falls)} curves still fall" if falls.any() else "no curve still falls"


def _size_order(ends: pd.Series) -> str:
    if len(ends) < 2:
        return "there is only one size to look at"
    falls = bool((np.diff(ends) < 0).all())
    return "every larger model ends lower" if falls else "size and final loss are not in the same order"
