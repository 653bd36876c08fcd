"""Laws compared on the same data: by AICc, and by how well they predict what they were not fitted to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from repro.laws.analysis import Analysis
from repro.laws.projection import Array
from repro.laws.rivals import CMR_LAWS, DOMAIN_TOKEN_LAWS, GENERAL_TOKEN_LAWS, RATIO_LAWS
from repro.laws.separable import Law

HeldOut = Literal["one", "tail"]

TAIL = 5  # the last fifth is held out


def compare(
    laws: Sequence[Law],
    x: ArrayLike,
    y: ArrayLike,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    *,
    held_out: HeldOut = "one",
) -> pd.DataFrame:
    """Laws fitted to the same data, best AICc first (ties and infinities in the order given).

    Args:
        laws: with different names.
        x: (n,) positive.
        y: (n,).
        weights: (n,) positive inverse variances; default: equal.
        groups: (n,) labels of points left out together, say the seed of a run; default: each its own.
        held_out: "one" predicts each group from all others; "tail" predicts the last fifth of the distinct x
            from those before, as fits to unfinished trajectories must.

    Returns:
        Columns law, parameters (how many), n, sse, rse, aicc, delta_aicc (over the best), weight (Akaike's),
        held_out (weighted RMS error of the predictions, units of y), warnings (tuple of str). AICc takes
        residuals as independent: along a trajectory they are not, and differences between laws come out too
        large. It is inf where n is too small for it (n - 2 <= parameters), which a warning says; such a law
        has weight 0, and where no law has an AICc delta_aicc and weight are NaN. held_out is NaN, with a
        warning, where the points left are fewer than the parameters.

    Raises:
        ValueError: laws share a name, groups or weights do not fit x, held_out is neither word, or a law
            refuses the data.

    """
    data = _Data.of(x, y, weights, groups)
    names = [law.name for law in laws]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"a comparison needs laws with different names, not {names}")
    splits = list(data.splits(held_out))
    frame = pd.DataFrame([_row(law, data, splits) for law in laws])
    return _weighed(frame).sort_values("aicc", kind="stable", ignore_index=True)


@dataclass(frozen=True)
class _Data:
    x: Array
    y: Array
    weights: Array
    groups: NDArray[Any]

    @classmethod
    def of(cls, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None, groups: ArrayLike | None) -> _Data:
        at, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        weight = np.ones_like(values) if weights is None else np.asarray(weights, dtype=float)
        label = np.arange(values.size) if groups is None else np.asarray(groups)
        if at.ndim != 1 or not at.shape == values.shape == weight.shape == label.shape:
            shapes = f"{at.shape}, {values.shape}, {weight.shape}, {label.shape}"
            raise ValueError(f"x, y, weights and groups must be one-dimensional and equally long, not {shapes}")
        return cls(at, values, weight, label)

    def splits(self, held_out: HeldOut) -> Iterator[NDArray[np.bool_]]:
        """Masks (n,) of the points to predict."""
        if held_out == "tail":
            distinct = np.unique(self.x)
            yield self.x >= distinct[-max(1, round(len(distinct) / TAIL))]
        elif held_out == "one":
            yield from (self.groups == label for label in np.unique(self.groups))
        else:
            raise ValueError(f"held_out is {held_out!r}; it must be 'one' or 'tail'")


def _row(law: Law, data: _Data, splits: Sequence[NDArray[np.bool_]]) -> dict[str, Any]:
    count, n = len(law.names), len(data.x)
    row: dict[str, Any] = {"law": law.name, "parameters": count, "n": n}
    missing = {"sse": np.nan, "rse": np.nan, "aicc": np.inf, "held_out": np.nan}
    if n < count:
        return row | missing | {"warnings": (f"{n} points cannot determine {count} parameters",)}
    fit = law.fit(data.x, data.y, data.weights)
    warnings = [*fit.warnings]
    if n - 2 <= count:
        warnings.append(f"{n} points are too few for the AICc of {count} parameters")
    error = np.nan
    if min(n - int(np.sum(out)) for out in splits) < count:
        warnings.append("no held-out error: too few points are left to fit")
    else:
        error = _held_out(law, data, splits)
    goodness = {"sse": fit.sse, "rse": fit.rse, "aicc": fit.aicc, "held_out": error}
    return row | goodness | {"warnings": tuple(warnings)}


def _held_out(law: Law, data: _Data, splits: Sequence[NDArray[np.bool_]]) -> float:
    squares = total = 0.0
    for out in splits:
        fit = law.fit(data.x[~out], data.y[~out], data.weights[~out])
        squares += float(data.weights[out] @ (data.y[out] - fit.predict(data.x[out])) ** 2)
        total += float(np.sum(data.weights[out]))
    return float(np.sqrt(squares / total))


def _weighed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with delta_aicc and Akaike weights after aicc; a law that fits exactly has AICc -inf."""
    aicc = frame["aicc"].to_numpy(float)
    best = aicc.min()
    delta = np.full(len(aicc), np.nan)
    if best < np.inf:
        delta = np.where(aicc == best, 0.0, aicc - (best if np.isfinite(best) else 0.0))
        delta = np.where((aicc != best) & np.isneginf(best), np.inf, delta)
    share = np.exp(-delta / 2)
    place = list(frame.columns).index("aicc") + 1
    frame.insert(place, "delta_aicc", delta)
    frame.insert(place + 1, "weight", share / share.sum())
    return frame


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
