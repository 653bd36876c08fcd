"""Numbers and phrases on the fits for the prose of the pages, all computed from data."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from repro.laws.allocation import NAME as EQUATION_1
from repro.show.words import Facts, join
from repro.trust.frames import Surface
from repro.trust.tables import OWN


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


def alternatives(frame: pd.DataFrame) -> Facts:
    """From `frames.alternatives`, for each kind (``token_general`` and so on), in words.

    <kind>_aicc, <kind>_held_out: which law is best on how many curves; <kind>_own: on how many the paper's law is best
    by AICc; <kind>_errors: the median errors of prediction of the best predicting alternative and of the paper's law.
    """
    facts: Facts = {}
    for kind, rows in frame.groupby("kind", sort=False):
        name = str(kind).replace(" ", "_")
        own = rows[rows["law"].isin(OWN)]
        facts |= {
            f"{name}_aicc": _wins(rows, "aicc"),
            f"{name}_held_out": _wins(rows, "held_out"),
            f"{name}_own": _number(int(own["aicc_wins"].sum()), int(own["aicc_judged"].sum())),
            f"{name}_errors": _errors(rows, own),
        }
    return facts


def _wins(rows: pd.DataFrame, by: str) -> str:
    """ "powers that meet on 26, one power of T on 1 of 27 curves"."""
    judged = int(rows[f"{by}_judged"].max())
    if not judged:
        return "none, as there are too few points to judge by"
    ranked = rows[rows[f"{by}_wins"] > 0].sort_values(f"{by}_wins", ascending=False, kind="stable")
    parts = [f"the {OWN.get(law, law)} on {won}" for law, won in zip(ranked["law"], ranked[f"{by}_wins"], strict=True)]
    return f"{join(parts)} of {judged} curve{'' if judged == 1 else 's'}"


def _number(wins: int, judged: int) -> str:
    return f"{wins or 'none'} of {judged}" if judged else "none, as none can be judged"


def _errors(rows: pd.DataFrame, own: pd.DataFrame) -> str:
    others = rows.drop(own.index).dropna(subset=["median_held_out"])
    if others.empty:
        return "no errors, because there are too few points"
    best = others.iloc[int(others["median_held_out"].argmin())]
    return (
        f"{best['median_held_out']:.4f} for the {best['law']}, {own['median_held_out'].iloc[0]:.4f} for the paper's law"
    )


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


def warnings(frame: pd.DataFrame, source: str = "Equation 6, general loss") -> Facts:
    """From `frames.warnings`: the most frequent warning of the general curves, and how many kinds there are at all."""
    mine = frame[frame["source"] == source]
    if mine.empty:
        return {"kinds": len(frame), "most_frequent": "none"}
    first = mine.iloc[0]
    return {"kinds": len(frame), "most_frequent": f"\u201c{first['warning']}\u201d ({first['count']} of {first['of']})"}
