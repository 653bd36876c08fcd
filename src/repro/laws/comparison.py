"""Laws compared on the same data: by Akaike's criterion, and by cross-validation on points held out of the fit."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from repro.laws.inference import LEVEL
from repro.laws.law import Law
from repro.laws.solver import Array

TAIL = 5  # the last fifth is held out

HeldOut = Literal["one", "tail"]


class _Data(NamedTuple):
    x: Array
    y: Array
    weights: Array
    groups: NDArray[Any]


def compare(
    laws: Sequence[Law],
    x: ArrayLike,
    y: ArrayLike,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    *,
    held_out: HeldOut = "one",
    known: bool = False,
) -> pd.DataFrame:
    """Laws fitted to the same data, best AICc first (ties and infinities in the order given).

    laws: with different names. x: (n,) positive. y: (n,). weights: (n,) positive inverse variances; default: equal.
    groups: (n,) labels of points left out together, say the seed of a run; default: each its own. held_out: "one"
    predicts each group from all others; "tail" predicts the last fifth of the distinct x from those before, as fits to
    unfinished trajectories must. known: whether weights are the inverse variances themselves, as with scores of known
    numbers of items. The criterion is then Akaike's, sse + 2 parameters, without the small-sample term, which is for a
    variance estimated from the same points. Where even the law with most parameters leaves significantly more
    than the variances allow (5%, chi-square), they are inflated by that ratio, which counts as a parameter, and the
    term is used (QAICc: Burnham & Anderson 2002, Section 2.5).

    Columns law, parameters (how many), n, sse, rse, aicc, delta_aicc (over the best), weight (Akaike's), held_out
    (weighted RMS error of the predictions, units of y), warnings (tuple of str). AICc takes residuals as independent:
    along a trajectory they are not, and differences between laws come out too large. It is inf where n is too small for
    it (n - 2 <= parameters), which a warning says; such a law has weight 0, and where no law has an AICc delta_aicc and
    weight are NaN. held_out is NaN, with a warning, where the points left are fewer than the parameters.
    attrs["criterion"] says what aicc holds: AICc, or with known errors AIC or QAICc. Raises ValueError if laws share a
    name, groups or weights do not fit x, held_out is neither word, or a law cannot be fitted to the data.
    """
    names = [law.name for law in laws]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"a comparison needs laws with different names, not {names}")
    data = _checked(np.asarray(x, dtype=float), y, weights, groups)
    splits = list(_splits(data, held_out))
    frame = pd.DataFrame([_row(law, data, splits) for law in laws])
    criterion = "AICc"
    if known:
        frame["aicc"], criterion = _of_known(frame)
    frame["warnings"] = [_with_reason(row, criterion) for _, row in frame.iterrows()]
    table = _weighed(frame).sort_values("aicc", kind="stable", ignore_index=True)
    table.attrs["criterion"] = criterion
    return table


def _checked(at: Array, y: ArrayLike, weights: ArrayLike | None, groups: ArrayLike | None) -> _Data:
    values = np.asarray(y, dtype=float)
    weight = np.ones_like(values) if weights is None else np.asarray(weights, dtype=float)
    label = np.arange(values.size) if groups is None else np.asarray(groups)
    if at.ndim != 1 or not at.shape == values.shape == weight.shape == label.shape:
        shapes = f"{at.shape}, {values.shape}, {weight.shape}, {label.shape}"
        raise ValueError(f"x, y, weights and groups must be one-dimensional and equally long, not {shapes}")
    return _Data(at, values, weight, label)


def _splits(data: _Data, held_out: HeldOut) -> Iterator[NDArray[np.bool_]]:
    """Masks (n,) of the points to predict."""
    if held_out == "tail":
        distinct = np.unique(data.x)
        yield data.x >= distinct[-max(1, round(len(distinct) / TAIL))]
    elif held_out == "one":
        yield from (data.groups == label for label in np.unique(data.groups))
    else:
        raise ValueError(f"held_out is {held_out!r}; it must be 'one' or 'tail'")


def _row(law: Law, data: _Data, splits: Sequence[NDArray[np.bool_]]) -> dict[str, Any]:
    count, n = len(law.names), len(data.x)
    row: dict[str, Any] = {"law": law.name, "parameters": count, "n": n}
    row |= {"sse": np.nan, "rse": np.nan, "aicc": np.inf, "held_out": np.nan}
    if n < count:
        return row | {"warnings": (f"{n} points cannot determine {count} parameters",)}
    fit = law.fit(data.x, data.y, data.weights)
    row |= {"sse": fit.sse, "rse": fit.rse, "aicc": fit.aicc}
    if min(n - int(np.sum(out)) for out in splits) < count:
        return row | {"warnings": (*fit.warnings, "no held-out error: too few points are left to fit")}
    return row | {"held_out": _held_out(law, data, splits), "warnings": fit.warnings}


def _with_reason(row: pd.Series, criterion: str) -> tuple[str, ...]:
    """The warnings of a row, and why it has no criterion although the law could be fitted."""
    warnings: tuple[str, ...] = row["warnings"]
    if np.isnan(row["sse"]) or not np.isposinf(row["aicc"]):
        return warnings
    return (*warnings, f"{row['n']} points are too few for the {criterion} of {row['parameters']} parameters")


def _of_known(frame: pd.DataFrame) -> tuple[Array, str]:
    """AIC of Gaussian errors whose inverse variances are the weights, or QAICc where they are clearly too small."""
    sse, count, n = (frame[name].to_numpy(float) for name in ("sse", "parameters", "n"))
    fullest = int(np.argmax(np.where(np.isnan(sse), -1, count)))
    df_resid = n[fullest] - count[fullest]
    if not (df_resid > 0 and stats.chi2.sf(sse[fullest], df_resid) < LEVEL):
        return np.where(np.isnan(sse), np.inf, sse + 2 * count), "AIC"
    k = count + 1
    enough = n > k + 1
    correction = 2 * k * (k + 1) / np.where(enough, n - k - 1, 1)
    return np.where(enough, sse * df_resid / sse[fullest] + 2 * k + correction, np.inf), "QAICc"


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
    with np.errstate(invalid="ignore"):  # inf - inf is NaN: where no law has an AICc, no law is the best
        delta = np.where((aicc == best) & (best < np.inf), 0.0, aicc - best)
    share = np.exp(-delta / 2)
    place = list(frame.columns).index("aicc") + 1
    frame.insert(place, "delta_aicc", delta)
    frame.insert(place + 1, "weight", share / share.sum())
    return frame
