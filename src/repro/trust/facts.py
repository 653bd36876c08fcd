"""Numbers and phrases on the fits for the prose of the pages, all computed from data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from repro.laws.allocation import NAME as EQUATION_1
from repro.show.words import Facts, join
from repro.trust import recovered
from repro.trust.frames import Surface

LEVEL = 0.05


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


_SHORT = {"turning": recovered.BY_TURNING, "tolerance": recovered.BY_TOLERANCE, "best": recovered.BEST}


def coverage(frame: pd.DataFrame) -> Facts:
    """From `recovered.coverage`. For each of turning, tolerance and best: <name>_coverage, <name>_verdict (against the
    goal), <name>_width, all in words; turns_coverage: the range over the turning points; goal; studies.
    """
    by_name = frame.set_index("quantity").to_dict("index")
    facts: Facts = {
        "studies": int(frame["studies"].max()),
        "goal": f"{recovered.GOAL[0]:.0%} to {recovered.GOAL[1]:.0%}",
    }
    for name, quantity in _SHORT.items():
        row = by_name[quantity]
        facts |= {
            f"{name}_coverage": f"{row['covered']:.1%} (95% interval {row['low']:.1%} to {row['high']:.1%})",
            f"{name}_verdict": _verdict(float(row["covered"]), float(row["low"]), float(row["high"])),
            f"{name}_width": _width(quantity, float(row["width"])),
            f"{name}_missing": f"{row['missing']:.1%}",
        }
    turns = frame.loc[~frame["quantity"].isin(recovered.MAIN), "covered"]
    return facts | {"turns_coverage": f"{turns.min():.1%} to {turns.max():.1%}"}


def _verdict(share: float, low: float, high: float) -> str:
    if recovered.GOAL[0] <= share <= recovered.GOAL[1]:
        doubt = ", though so few studies do not rule out less" if low < recovered.GOAL[0] else ""
        return f"within what they are made for{doubt}"
    if low <= recovered.GOAL[1] and high >= recovered.GOAL[0]:
        return "outside what they are made for, by no more than so few studies explain"
    return "not what they are made for"


def _width(quantity: str, width: float) -> str:
    if width != width:
        return "not known, because there are no intervals"
    return f"{100 * width:.1f} points of R" if quantity in recovered.SHARES else f"a factor of {width:.2f}"


def bias(bias_frame: pd.DataFrame, late_frame: pd.DataFrame) -> Facts:
    """From `recovered.bias` and `recovered.late`: by how much Equation 8 errs, and how late turns are estimated."""
    row = bias_frame.set_index("quantity").to_dict("index")[recovered.BY_TURNING]
    beyond = late_frame.set_index("truth").to_dict("index")["beyond the run"]
    turns = "there are none" if not beyond["turns"] else (
        f"{beyond['early']:.0%} are found too early, {beyond['late']:.0%} too late, and {beyond['none']:.0%} not at all"
    )  # fmt: skip
    return {"equation_8": _direction(row), "late_turns": turns}


def _direction(row: dict[Any, Any]) -> str:
    """Whether a ratio is estimated too high or too low, by a sign test; ``row`` of `recovered.bias`."""
    above, below = (round(row[side] * row["studies"]) for side in ("above", "below"))
    if not above + below:
        return "cannot be said to err, because there are no estimates"
    p_value = float(binomtest(above, above + below).pvalue)
    way = "errs neither upwards nor downwards as far as these studies can tell"
    if p_value < LEVEL:
        way = f"errs {'upwards' if above > below else 'downwards'} in these studies"
    return (
        f"{way}: it is too high in {above} of them and too low in {below} (sign test: p {_chance(p_value)}), with a "
        f"median error of {100 * row['error']:+.1f} points of R"
    )


def _chance(p_value: float) -> str:
    return "below 0.001" if p_value < 0.001 else f"= {p_value:.2g}"
