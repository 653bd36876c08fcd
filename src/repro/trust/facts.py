"""Numbers and phrases on the fits for the prose of the pages, all computed from data."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from repro.show.words import Facts
from repro.trust.frames import Surface


def nist(frame: pd.DataFrame) -> Facts:
    """From `nist.digits`: how many problems, the fewest digits, and where."""
    worst = frame.iloc[int(frame["digits"].argmin())]
    return {
        "problems": len(frame),
        "least_digits": float(worst["digits"]),
        "least_problem": str(worst["problem"]),
        "median_digits": float(frame["digits"].median()),
    }


def surfaces(surfaces: Sequence[Surface]) -> Facts:
    """How much of all pairs of exponents is within the 95% region, in words, best and least determined curve."""
    shares = [f"{surface.share:.0%} of all pairs of exponents for {surface.curve.label}" for surface in surfaces]
    return {"regions": " and ".join(shares) or "no curve, because none has more points than parameters"}


def summary(surfaces: Sequence[Surface]) -> str:
    """The fit of the curve with the best determined exponents, as text."""
    if not surfaces:
        return "no curve has more points than parameters"
    return f"{surfaces[0].curve.label}\n{surfaces[0].curve.fit.summary()}"
