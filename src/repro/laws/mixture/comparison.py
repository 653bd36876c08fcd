"""How paper A's laws and their rivals do over all curves of a study."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from repro.laws.comparison import HeldOut, compare
from repro.laws.mixture.analysis import Analysis
from repro.laws.mixture.rivals import CMR_LAWS, DOMAIN_TOKEN_LAWS, GENERAL_TOKEN_LAWS, RATIO_LAWS
from repro.laws.projection import Array
from repro.laws.separable import Law


def compare_analysis(analysis: Analysis) -> pd.DataFrame:
    """How paper A's laws and their rivals do over all curves of an analysis.

    L(R) and Equation 8 are judged by leaving out one point at a time, Equation 6 by the last fifth of each
    trajectory. A curve takes part in a judgement only where every law of its kind can be judged.

    Returns:
        One row for each kind ("ratio general", "ratio domain", "token general", "token domain", "cmr") and
        law: kind, law, parameters, curves, aicc_judged, aicc_wins, held_out_judged, held_out_wins (numbers of
        curves), median_held_out (nats per token; for "cmr" in units of R; NaN where none is judged).

    """
    rows: list[dict[str, Any]] = []
    for kind, (laws, held_out, curves) in _kinds(analysis).items():
        found = [compare(laws, x, y, weights, held_out=held_out).set_index("law") for x, y, weights in curves]
        by_aicc = [frame["aicc"] for frame in found if np.all(frame["aicc"] < np.inf)]
        by_error = [frame["held_out"] for frame in found if frame["held_out"].notna().all()]
        for law in laws:
            errors = [float(error[law.name]) for error in by_error]
            rows.append({
                "kind": kind, "law": law.name, "parameters": len(law.names), "curves": len(found),
                "aicc_judged": len(by_aicc), "aicc_wins": sum(one.idxmin() == law.name for one in by_aicc),
                "held_out_judged": len(by_error), "held_out_wins": sum(e.idxmin() == law.name for e in by_error),
                "median_held_out": float(np.median(errors)) if errors else np.nan,
            })  # fmt: skip
    return pd.DataFrame(rows)


_Curve = tuple[Array, Array, Array]


def _kinds(analysis: Analysis) -> dict[str, tuple[tuple[Law, ...], HeldOut, list[_Curve]]]:
    """Laws, way of judging and curves (x, y, weights) of each kind; T in hundredths of T_max."""
    scale = 100 * analysis.unit / analysis.t_max
    ratio: dict[str, list[_Curve]] = {"general": [], "domain": []}
    token: dict[str, list[_Curve]] = {"general": [], "domain": []}
    cmr: list[_Curve] = []
    for group in analysis.groups:
        for name in ("general", "domain"):
            fit = group.ratio_law[name]
            if fit is not None:
                ratio[name].append((fit.x, fit.y, fit.weights))
        for laws in group.token_laws:
            for name, fit in (("general", laws.general), ("domain", laws.domain)):
                token[name].append((scale * fit.x, fit.y, fit.weights))
        law = group.critical_ratio.turning_point.law
        if law is not None:
            cmr.append((scale * law.x, law.y, law.weights))
    return {
        "ratio general": (RATIO_LAWS, "one", ratio["general"]),
        "ratio domain": (RATIO_LAWS, "one", ratio["domain"]),
        "token general": (GENERAL_TOKEN_LAWS, "tail", token["general"]),
        "token domain": (DOMAIN_TOKEN_LAWS, "tail", token["domain"]),
        "cmr": (CMR_LAWS, "one", cmr),
    }
