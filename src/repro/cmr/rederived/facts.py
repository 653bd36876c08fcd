"""Numbers on the printed tables for the prose of their pages."""

from __future__ import annotations

import pandas as pd

from repro.cmr.rederived import frames
from repro.show.words import Facts


def prediction() -> Facts:
    """Table 2: mean errors in percent, of the printed predictions, refitted, without R = 1, and reading 33% as 0.33.

    times_better: like for like, the printed one over that without R = 1, as section 5.1 fits.
    """
    close, coarse, interior = (frames.prediction(*how) for how in ((), (frames.READ_AS[1 / 3],), (1 / 3, 3 / 4)))
    printed, inside = frames.relative_error(close, "printed"), frames.relative_error(interior, "refitted")
    return {
        "printed_error": 100 * printed,
        "refit_error": 100 * frames.relative_error(close, "refitted"),
        "interior_error": 100 * inside,
        "coarse_error": 100 * frames.relative_error(coarse, "refitted"),
        "times_better": printed / inside,
    }


def chain(turns: pd.DataFrame, deviation: pd.DataFrame) -> Facts:
    """From `frames.turns` and `frames.deviation`, how well Tables 4 and 5 and the text agree.

    turns_mean, turns_largest: distances of turning points in percent, at the ratios fitted; low_mean: the mean at the
    smallest multiplier; enough: the smallest whose mean is within a tenth of the best; largest, first: distances of
    critical ratios from the printed ones in points, the largest and that of the smallest size.
    """
    away = 100 * turns.loc[frames.fitted(turns["ratio"]), "difference"].abs()
    rows = frames.critical_ratios()
    ratios = 100 * (rows["table4"] - rows["printed"]).abs()
    return {
        "turns_mean": float(away.mean()),
        "turns_largest": float(away.max()),
        "low_mean": 100 * float(deviation["mean"].iloc[0]),
        "enough": float(deviation.loc[deviation["mean"] <= 1.1 * deviation["mean"].min(), "lagrange"].min()),
        "largest": float(ratios.max()),
        "first": float(ratios.iloc[0]),
    }
