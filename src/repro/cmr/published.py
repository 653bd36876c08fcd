"""What paper A prints: its Tables 1-5, the numbers in its text, and the curves these define.

The tables are in ``published/*.csv``, one tidy file each, digit for digit; mixture ratios are written there
as the exact fractions meant (the paper's "33%" and "33.3%" are 1/3). Model sizes are named as in Table 2.

Names. Table 4 heads its columns alpha1 s1 alpha2 s2 beta1 (general) and alpha3 s3 beta2 (domain),
which is not the naming of its Equation 6. ``table4.csv`` and everything here use the names of Equation 6:

* domain: alpha1 T^s1 + beta1 (printed as alpha3, s3, beta2);
* general: alpha2 T^s2 + alpha3 T^s3 + beta2 (printed as alpha1, s1, alpha2, s2, beta1).

T counts units of 0.2B tokens, so a run of 20B tokens ends at T = 100. Losses are in nats per token.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from importlib import resources

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from repro.cmr import frames
from repro.laws import increments, turning_point
from repro.lm.size import parameter_count

DOMAIN_NAMES = ("alpha1", "s1", "beta1")
GENERAL_NAMES = ("alpha2", "s2", "alpha3", "s3", "beta2")
CMR_NAMES = ("alpha4", "s4", "beta3")


@cache
def _read(name: str) -> pd.DataFrame:
    with (resources.files("repro.cmr") / "published" / f"{name}.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(file, dtype={"size": str, "ratio": str})
    if "ratio" in frame:
        frame["ratio"] = [float(Fraction(text)) for text in frame["ratio"]]
    return frame


def table1() -> pd.DataFrame:
    """Table 1: size, hidden_size, intermediate_size, attention_heads, layers, vocabulary_size, parameters.

    ``parameters`` is computed from the shape (:func:`repro.lm.size.parameter_count`), not printed there.
    """
    frame = _read("table1").copy()
    shapes = zip(
        frame["hidden_size"],
        frame["intermediate_size"],
        frame["layers"],
        frame["vocabulary_size"],
        strict=True,
    )
    frame["parameters"] = [parameter_count(int(h), int(i), int(n), int(v)) for h, i, n, v in shapes]
    return frame


def table2() -> pd.DataFrame:
    """Table 2: domain loss at the end of the run. Columns size, ratio, kind ("measured" | "predicted"), loss,
    printed_difference (percent, where printed).
    """
    frame = _read("table2").copy()
    frame["printed_difference"] = frame["printed_difference"].str.rstrip("%").astype(float)
    return frame


def held_out_points() -> pd.DataFrame:
    """Table 2 as `figures.loss_against_ratio` and `tables.held_out` take it: the measured losses.

    Columns size, ratio, loss ("domain"), value, kind ("measured", and "held out, measured" for R = 1/4).
    The paper's own predictions are left out, so that the law can be fitted again.
    """
    frame = table2()
    held = set(frame.loc[frame["kind"] == "predicted", "ratio"])
    seen = frame[frame["kind"] == "measured"]
    kind = np.where(seen["ratio"].isin(held), "held out, measured", "measured")
    points = seen.assign(value=seen["loss"], loss="domain", kind=kind)
    return points[["size", "ratio", "loss", "value", "kind"]].reset_index(drop=True)


def fitted_ratios() -> tuple[float, ...]:
    """The ratios of Table 2 that its predictions are fitted to: all but the one held out."""
    points = held_out_points()
    return tuple(points.loc[points["kind"] == "measured", "ratio"].unique())


def held_out_predictions() -> pd.DataFrame:
    """The predictions printed in Table 2. Columns size, ratio, loss, printed_difference (percent)."""
    frame = table2()
    columns = ["size", "ratio", "loss", "printed_difference"]
    return frame.loc[frame["kind"] == "predicted", columns].reset_index(drop=True)


def table3() -> pd.DataFrame:
    """Table 3: how well Equation 6 fits. Columns metric ("MSE" | "R2"), ratio, loss, size, value."""
    return _read("table3").copy()


def table4() -> pd.DataFrame:
    """Table 4: coefficients of Equation 6 by size and ratio, in the equation's own names (see the module)."""
    return _read("table4").copy()


def table5() -> pd.DataFrame:
    """Table 5: coefficients of Equation 8 on Finance. Columns size, alpha4, s4, beta3."""
    return _read("table5").copy()


def sizes() -> list[str]:
    """The paper's model sizes, ascending."""
    return list(_read("table1")["size"])


def value(name: str) -> float:
    """One number that the prose prints, by its ``name`` in ``text.csv``.

    Raises:
        KeyError: if there is no such name.

    """
    frame = _read("text")
    found = frame.loc[frame["name"] == name, "value"]
    if found.empty:
        raise KeyError(f"no number {name!r} in text.csv; there are {', '.join(frame['name'])}")
    return float(found.iloc[0])


def critical_ratio(size: str, domain: str = "finance") -> float:
    """The critical mixture ratio printed in Section 5.3, as a share between 0 and 1."""
    return value(f"cmr_{size}" if domain == "finance" else f"cmr_{domain}_{size}") / 100


def critical_ratios() -> dict[str, float]:
    """The critical mixture ratios printed in Section 5.3 for Finance, by size, as shares."""
    return {size: critical_ratio(size) for size in sizes()}


def coefficients(size: str, ratio: float) -> tuple[dict[str, float], dict[str, float]]:
    """(domain, general) coefficients of Equation 6 from Table 4.

    Raises:
        KeyError: if the paper has no such size and ratio.

    """
    frame = _read("table4")
    row = frame[(frame["size"] == size) & np.isclose(frame["ratio"], ratio)]
    if row.empty:
        raise KeyError(f"Table 4 has no size {size!r} with ratio {ratio}")
    return _pick(row.iloc[0], DOMAIN_NAMES), _pick(row.iloc[0], GENERAL_NAMES)


def _pick(row: pd.Series, names: tuple[str, ...]) -> dict[str, float]:
    return {name: float(row[name]) for name in names}


def curves(t: ArrayLike) -> pd.DataFrame:
    """The curves of Equation 6 with the printed coefficients, at every ``t`` (>= 0, units of 0.2B tokens).

    Columns size, ratio, t, general, domain (increments of the two losses), kind: "fitted" up to T = 100,
    "extrapolated" beyond. Sizes ascending, ratios ascending within a size.
    """
    at = np.atleast_1d(np.asarray(t, dtype=float))
    parts = [
        pd.DataFrame(
            {"size": size, "ratio": ratio, "t": at, **increments(domain, general, at), "kind": frames.kind_at(at)}
        )
        for size, ratio, domain, general in _trajectories()
    ]
    return pd.concat(parts, ignore_index=True)


def _trajectories() -> list[tuple[str, float, dict[str, float], dict[str, float]]]:
    """Size, ratio, domain and general coefficients, sizes and ratios ascending."""
    table = _read("table4")
    return [
        (size, ratio, *coefficients(size, ratio))
        for size in sizes()
        for ratio in sorted(table.loc[table["size"] == size, "ratio"])
    ]


def end_increments() -> pd.DataFrame:
    """Increment of the general loss at T = 100 from Table 4: all that is printed of Figure 3, bottom.

    Columns size, ratio, loss ("general"), value (nats per token over the loss before continual pretraining).
    """
    end = curves([frames.T_MAX])
    return end.assign(loss="general", value=end["general"])[["size", "ratio", "loss", "value"]]


def turning_points(lagrange: float | None = None) -> pd.DataFrame:
    """Turning points T0 (root of Equation 27) of the printed curves, one row for each size and ratio.

    Columns size, ratio, t (NaN where there is none within ten runs), general, domain (increments at T0), status
    ("inside" | "extrapolated" | "none"). lagrange: the multiplier; by default the largest the paper used.
    """
    weight = value("lagrange_high") if lagrange is None else lagrange
    found = (
        frames.Trajectory(
            size, ratio, domain, general, turning_point(domain, general, lagrange=weight, t_max=frames.T_MAX)
        )
        for size, ratio, domain, general in _trajectories()
    )
    return frames.trajectory_points(found)


def ratio_curves(t: ArrayLike) -> pd.DataFrame:
    """The critical mixture ratio against tokens, Equation 8 with the coefficients of Table 5 (Figure 5).

    Columns size, t, ratio (below 0 for small T), kind ("fitted" | "extrapolated").
    """
    laws = [(str(row["size"]), _pick(row, CMR_NAMES)) for _, row in _read("table5").iterrows()]
    return frames.law_curves(laws, t)
