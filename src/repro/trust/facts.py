"""Numbers and phrases on the fits for the prose of the pages, all computed from data."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from repro.laws.allocation import NAME as EQUATION_1
from repro.show.words import Facts, join
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


def preferred(frame: pd.DataFrame, by: str = "delta_aicc") -> str:
    """Which law has the least of ``by`` for each benchmark: "the flat line for A and B and Equation 1 for C".

    frame: columns benchmark, law and ``by``.
    """
    names = {EQUATION_1: "Equation 1"}
    best = frame.dropna(subset=[by]).sort_values(by, kind="stable").groupby("benchmark", sort=False).head(1)
    parts = [
        f"{names.get(str(law), f'the {law}')} for {join(rows['benchmark'])}"
        for law, rows in best.groupby("law", sort=False)
    ]
    return join(parts) or "none, because there are too few points"
