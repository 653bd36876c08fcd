"""From an analysis to frames on its fits: how well exponents are known, which laws win."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from repro.laws import Analysis, Fit, ratio_label
from repro.laws.cmr.laws import CMR_LAWS, DOMAIN_TOKEN_LAWS, GENERAL_TOKEN_LAWS, RATIO_LAWS
from repro.laws.comparison import HeldOut, compare
from repro.laws.inference import LEVEL
from repro.laws.law import Law
from repro.laws.solver import Array

CELLS = 36  # of a score surface, along each exponent


def alternatives(analysis: Analysis) -> pd.DataFrame:
    """How paper A's laws and their alternatives do over all curves of an analysis.

    L(R) and Equation 8 are judged by leaving out one point at a time, Equation 6 by the last fifth of each
    trajectory. A curve takes part in a judgement only where every law of its kind can be judged.

    One row for each kind ("ratio general", "ratio domain", "token general", "token domain", "cmr") and law: kind, law,
    parameters, curves, aicc_judged, aicc_wins, held_out_judged, held_out_wins (numbers of curves), median_held_out
    (nats per token; for "cmr" in units of R; NaN where none is judged).
    """
    rows: list[dict[str, Any]] = []
    for kind, (laws, held_out, curves) in _kinds(analysis).items():
        tables = [compare(laws, x, y, weights, held_out=held_out).set_index("law") for x, y, weights in curves]
        by_aicc = [table["aicc"] for table in tables if np.all(table["aicc"] < np.inf)]
        by_error = [table["held_out"] for table in tables if table["held_out"].notna().all()]
        for law in laws:
            errors = [float(error[law.name]) for error in by_error]
            rows.append({
                "kind": kind, "law": law.name, "parameters": len(law.names), "curves": len(tables),
                "aicc_judged": len(by_aicc), "aicc_wins": _wins(by_aicc, law),
                "held_out_judged": len(by_error), "held_out_wins": _wins(by_error, law),
                "median_held_out": float(np.median(errors)) if errors else np.nan,
            })  # fmt: skip
    return pd.DataFrame(rows)


def _wins(columns: list[pd.Series], law: Law) -> int:
    return sum(column.idxmin() == law.name for column in columns)


def winners(rivals: pd.DataFrame, by: str) -> pd.Series:
    """Of `alternatives`, the law of each kind that wins most curves by "aicc" or "held_out": "law (won of judged)"."""
    best = rivals.sort_values(f"{by}_wins", ascending=False, kind="stable").drop_duplicates("kind").sort_index()
    text = [f"{law} ({won} of {of})" for law, won, of in best[["law", f"{by}_wins", f"{by}_judged"]].to_numpy()]
    return pd.Series(text, best["kind"].str.replace(" ", "_"))


_Curve = tuple[Array, Array, Array]


def _kinds(analysis: Analysis) -> dict[str, tuple[tuple[Law, ...], HeldOut, list[_Curve]]]:
    """Laws, way of judging and curves (x, y, weights) of each kind; T in hundredths of T_max."""
    scale = 100 * analysis.settings.unit / analysis.settings.t_max

    def curves(fits: Iterable[Fit | None], scale: float = 1) -> list[_Curve]:
        return [(scale * fit.x, fit.y, fit.weights) for fit in fits if fit is not None]

    groups, along = analysis.groups, [laws for group in analysis.groups for laws in group.token_laws]
    return {
        "ratio general": (RATIO_LAWS, "one", curves(group.ratio_law["general"] for group in groups)),
        "ratio domain": (RATIO_LAWS, "one", curves(group.ratio_law["domain"] for group in groups)),
        "token general": (GENERAL_TOKEN_LAWS, "tail", curves((laws.general for laws in along), scale)),
        "token domain": (DOMAIN_TOKEN_LAWS, "tail", curves((laws.domain for laws in along), scale)),
        "cmr": (CMR_LAWS, "one", curves((group.critical_ratio.turning_point.law for group in groups), scale)),
    }


class Surface(NamedTuple):
    """How well Equation 6 fits one general curve at every pair of exponents.

    label: of the curve, "92k on health, R = 1/2". fit: of Equation 6 to it. cells: s2, s3 (the middle of each cell, s2
    < s3), excess (residual sum of squares over the least), within (whether the pair is in the joint 95% region,
    residuals taken as independent). share: of the cells, how many are within it.
    """

    label: str
    fit: Fit
    cells: pd.DataFrame
    share: float


def surface(label: str, fit: Fit) -> Surface:
    """The sum of squares of one curve over both exponents, and the region of the F test of both together."""
    low, high = np.array([(part.low, part.high) for part in fit.law.nonlinear]).T
    step = (high[0] - low[0]) / CELLS
    middles = low[0] + step * (np.arange(CELLS) + 0.5)
    first, second = np.meshgrid(middles, middles, indexing="ij")
    pairs = np.column_stack([first[first < second], second[first < second]])
    sse = fit.design.problem.sse
    excess = sse(pairs) / float(sse(fit.design.theta[None])[0])
    limit = 1 + len(low) / fit.df_resid * stats.f.ppf(1 - LEVEL, len(low), fit.df_resid)
    cells = pd.DataFrame({"s2": pairs[:, 0], "s3": pairs[:, 1], "excess": excess, "within": excess <= limit})
    return Surface(label, fit, cells, float(cells["within"].mean()))


def surfaces(analysis: Analysis) -> list[Surface]:
    """The surfaces of the general curves with the best and the least determined exponents: two, one or none."""
    found = [
        surface(f"{group.size} on {group.domain}, R = {ratio_label(laws.ratio)}", laws.general)
        for group in analysis.groups
        for laws in group.token_laws
        if laws.general.df_resid
    ]
    ranked = sorted(found, key=lambda surface: surface.share)
    return [*ranked[:1], *ranked[1:][-1:]]
