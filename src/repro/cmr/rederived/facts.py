"""Numbers and phrases on the printed tables for the prose of their page."""

from __future__ import annotations

import pandas as pd

from repro.cmr import published
from repro.cmr.published import paper
from repro.cmr.rederived import frames
from repro.laws import ratio_label
from repro.show.words import Facts, join


def prediction() -> Facts:
    """Table 2: mean errors in percent, of the printed predictions, refitted, without R = 1, and reading 33% as 0.33."""
    close, coarse = frames.prediction(), frames.prediction(frames.READ_AS[1 / 3])
    return {
        "printed_error": 100 * frames.relative_error(close, "printed"),
        "refit_error": 100 * frames.relative_error(close, "refitted"),
        "interior_error": 100 * frames.relative_error(frames.prediction(largest=3 / 4), "refitted"),
        "coarse_error": 100 * frames.relative_error(coarse, "refitted"),
        "times_better": frames.relative_error(close, "printed") / frames.relative_error(close, "refitted"),
    }


def critical_ratios() -> Facts:
    """How far Equation 8 through Table 4's turning points is from the printed critical ratios, in points.

    largest, largest_size; first_size, first: of the smallest size; table5: the largest for Table 5's own curve;
    ratios: those that it is fitted to, in words.
    """
    rows = frames.critical_ratios()
    away = 100 * (rows["table4"] - rows["printed"]).abs()
    place = int(away.argmax())
    return {
        "largest": float(away.iloc[place]),
        "largest_size": str(rows["size"].iloc[place]),
        "first_size": str(rows["size"].iloc[0]),
        "first": float(away.iloc[0]),
        "table5": float(100 * (rows["table5"] - rows["printed"]).abs().max()),
        "ratios": join(map(ratio_label, frames.AMONG)),
    }


def turns(rows: pd.DataFrame) -> Facts:
    """From `frames.turns`: how far both tables are apart, where the ratios are those fitted and where they are not.

    turns_mean, turns_largest (percent, at the ratios fitted); without: ratios at which some size does not turn.
    """
    away = 100 * rows.loc[frames.fitted(rows["ratio"]), "difference"].abs()
    lost = rows[rows["t"].isna()].groupby("ratio")["size"].agg(list)
    says = [f"R = {ratio_label(float(ratio))} ({join(sizes)})" for ratio, sizes in lost.items()]  # type: ignore[arg-type]
    return {"turns_mean": float(away.mean()), "turns_largest": float(away.max()), "without": join(says) or "none"}


def multipliers(deviation: pd.DataFrame) -> Facts:
    """From `frames.deviation`: the multiplier that comes nearest to Table 5, and how flat the choice is.

    best_multiplier; best_mean, low_mean, high_mean: mean distance in percent there and at both ends; enough: the
    smallest multiplier whose mean distance is within a tenth of the best.
    """
    best = deviation.iloc[int(deviation["mean"].argmin())]
    enough = deviation.loc[deviation["mean"] <= 1.1 * best["mean"], "lagrange"].min()
    return {
        "best_multiplier": float(best["lagrange"]),
        "best_mean": 100 * float(best["mean"]),
        "low_mean": 100 * float(deviation["mean"].iloc[0]),
        "high_mean": 100 * float(deviation["mean"].iloc[-1]),
        "enough": float(enough),
        "lagrange_low": int(published.value("lagrange_low")),
        "lagrange_high": int(published.value("lagrange_high")),
    }


def curves(rows: pd.DataFrame) -> Facts:
    """From `frames.curves`: how far the refitted curves part from the printed ones at the end, in points, by size."""
    last = rows[rows["t"] == rows["t"].max()].pivot(index="size", columns="source", values="ratio")
    away = (100 * (last[frames.REFIT] - last[frames.PRINTED])).reindex(list(paper.sizes))
    says = join(f"{value:+.1f} ({size})" for size, value in away.items())
    return {"parting": says, "last_t": int(rows["t"].max()), "last_tokens": float(rows["t"].max() * frames.UNIT / 1e9)}
