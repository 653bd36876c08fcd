"""What paper A's printed tables say when its own method is applied to them again; T as there, a run ends at 100."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repro.cmr import published
from repro.cmr.frames import FIGURE_5, RUN, T_MAX, held_out, ratio_curves
from repro.cmr.published import paper
from repro.laws import CMR_LAW, Fit
from repro.show.words import Facts

AMONG = (1 / 8, 1 / 4, 1 / 3, 1 / 2)  # the ratios that the paper's trade-off figures show
STEPS = 25  # of the Lagrange multiplier, from the smallest to the largest that the paper used
READ_AS = {1 / 3: 0.33}  # "33%", if it were meant to two digits
UNIT = 0.2e9  # tokens in one T
PRINTED, REFIT = "as printed (Table 5)", "refitted to Table 4's turning points"


def turns(lagrange: float | None = None) -> pd.DataFrame:
    """Turning points from both tables, a row for each size and ratio.

    Columns size, ratio, t (of Table 4's curve, NaN where there is none within ten runs), inverted (the T at which
    Table 5's curve makes the ratio critical, NaN if it never does), difference (relative). lagrange: the multiplier of
    Equation 27; by default the largest the paper used.
    """
    rows = paper.turning_points(lagrange)[["size", "ratio", "t"]]
    inverted = [_inverted(size, ratio) for size, ratio in zip(rows["size"], rows["ratio"], strict=True)]
    return rows.assign(inverted=inverted, difference=rows["t"] / inverted - 1)


def _inverted(size: str, ratio: float) -> float:
    law = paper.equation_8()[size]
    base = (ratio - law["beta3"]) / law["alpha4"]
    return base ** (1 / law["s4"]) if base > 0 else float("nan")


def multipliers() -> pd.DataFrame:
    """Turning points for each Lagrange multiplier: lagrange, size, ratio, t, inverted, difference."""
    ends = published.value("lagrange_low"), published.value("lagrange_high")
    grid = [float(f"{value:.3g}") for value in np.geomspace(*ends, STEPS)]
    every = pd.concat([turns(value).assign(lagrange=value) for value in grid], ignore_index=True)
    return every.loc[fitted(every["ratio"])].reset_index(drop=True)


def deviation(multipliers: pd.DataFrame) -> pd.DataFrame:
    """How far Table 4 is from Table 5, by multiplier: lagrange, mean and largest of |difference| where ratios turn."""
    away = multipliers.assign(away=multipliers["difference"].abs()).groupby("lagrange")["away"]
    return pd.DataFrame({"mean": away.mean(), "largest": away.max()}).reset_index()


def fitted(ratios: pd.Series) -> NDArray[np.bool_]:
    """Which ratios are among those that Equation 8 is fitted to."""
    return np.asarray(np.isclose(ratios.to_numpy()[:, None], np.array(AMONG)).any(axis=1))


def refits(lagrange: float | None = None) -> dict[str, Fit]:
    """Equation 8 fitted to the turning points of Table 4, for each size; ``lagrange`` as in :func:`turns`."""
    points = paper.turning_points(lagrange)
    points = points[fitted(points["ratio"])].dropna(subset="t")
    return {str(size): CMR_LAW.fit(rows["t"], rows["ratio"]) for size, rows in points.groupby("size", sort=False)}


def critical_ratios() -> pd.DataFrame:
    """Critical ratios at T = 100: size, printed (in the text), table5 (its curve), table4 (refitted), pairs (used)."""
    frame = paper.critical_ratios().rename(columns={"critical_ratio": "table5"})
    pairs = [fit.n for fit in refits().values()]
    return frame[["size", "printed", "table5"]].assign(table4=chain(), pairs=pairs)


def chain(lagrange: float | None = None) -> NDArray[np.float64]:
    """Critical ratios at T = 100 from Table 4, by size; ``lagrange`` as in :func:`turns`."""
    return np.array([float(fit.predict(T_MAX)) for fit in refits(lagrange).values()])


def curves() -> pd.DataFrame:
    """Figure 5 twice: size, t, ratio, source ("as printed (Table 5)" | "refitted to Table 4's turning points")."""
    refitted = ratio_curves([(size, fit.params) for size, fit in refits().items()], FIGURE_5)
    both = [paper.ratio_curves(FIGURE_5).assign(source=PRINTED), refitted.assign(source=REFIT)]
    return pd.concat(both, ignore_index=True)[["size", "t", "ratio", "source"]]


def prediction(third: float = 1 / 3, largest: float = 1.0) -> pd.DataFrame:
    """Table 2's quarter predicted again from its other ratios: size, measured, printed, refitted (losses).

    third: what the ratio printed as "33%" is taken for; largest: the largest ratio that is fitted to.
    """
    ends = paper.end_losses()
    ends["ratio"] = np.where(np.isclose(ends["ratio"], 1 / 3), third, ends["ratio"])
    points = held_out(ends, among=[ratio for ratio in ends["ratio"].unique() if ratio <= largest]).points
    wide = points.pivot_table("value", "size", "kind").assign(printed=_predictions().set_index("size")["loss"])
    names = {"held out, measured": "measured", "printed": "printed", "held out, predicted": "refitted"}
    return wide.loc[list(paper.sizes), list(names)].rename(columns=names).rename_axis(columns=None).reset_index()


def _predictions() -> pd.DataFrame:
    return published.table("2").query("kind == 'predicted'")


def relative_error(predictions: pd.DataFrame, of: str) -> float:
    """Mean absolute relative error of the column ``of`` of :func:`prediction`."""
    return float((predictions[of] / predictions["measured"] - 1).abs().mean())


_READINGS = (
    "as the paper predicts it",
    "the ratio law refitted between the ends, as section 5.1 has it",
    "refitted with R = 1 as well",
    "refitted with R = 1, and 33% read as 0.33",
)


def _errors() -> tuple[float, ...]:
    """Mean errors of predicting Table 2's quarter, by each of the readings."""
    close, coarse, interior = prediction(), prediction(READ_AS[1 / 3]), prediction(largest=3 / 4)
    ways = ((close, "printed"), (interior, "refitted"), (close, "refitted"), (coarse, "refitted"))
    return tuple(relative_error(predictions, of) for predictions, of in ways)


def comparison() -> pd.DataFrame:
    """Printed beside recomputed numbers: where, what, printed, recomputed (shares or tokens), unit ("%" | "tokens")."""
    mean_printed = float(_predictions()["printed_difference"].mean()) / 100
    what = "mean error of predicting the domain loss at R = 1/4"
    rows: list[dict[str, Any]] = [
        {"where": "Table 2", "what": f"{what}, {how}", "printed": mean_printed, "recomputed": error, "unit": "error"}
        for how, error in zip(_READINGS, _errors(), strict=True)
    ]
    for row in critical_ratios().to_dict("records"):
        where = {"where": "Section 5.3", "printed": row["printed"], "unit": "share"}
        what = f"critical ratio of {row['size']} at T = 100"
        rows.append(where | {"what": f"{what}, from Table 5", "recomputed": row["table5"]})
        rows.append(where | {"what": f"{what}, from Table 4", "recomputed": row["table4"]})
    rows.append({
        "where": "Figure 5", "what": "tokens at T = 250", "printed": published.value("figure_5_tokens"),
        "recomputed": 250 * UNIT, "unit": "tokens",
    })  # fmt: skip
    return pd.DataFrame(rows)


def mse_factors(loss: str) -> pd.Series:
    """By how much each printed error of Equation 6 is too small for the printed R2, by size and ratio (Table 3)."""
    printed = paper.fit_quality()
    wide = printed[printed["loss"] == loss].pivot(index=["size", "ratio"], columns="metric", values="value")
    variance = paper.curves(RUN).groupby(["size", "ratio"])[loss].var(ddof=0)
    return (1 - wide["R2"]) * variance / wide["MSE"]


def multiplier_facts() -> Facts:
    """Critical ratios at T = 100 from Table 4, in points: how far the multipliers printed move them (least_moved,
    most_moved, over sizes), and how far neighbouring sizes are apart with the largest (least_apart, most_apart).
    """
    low, high = (100 * chain(published.value(f"lagrange_{end}")) for end in ("low", "high"))
    moved, apart = np.abs(high - low), np.abs(np.diff(high))
    return {
        "least_moved": float(moved.min()), "most_moved": float(moved.max()),
        "least_apart": float(apart.min()), "most_apart": float(apart.max()),
    }  # fmt: skip


def prediction_facts() -> Facts:
    """Table 2: mean errors in percent, of the printed predictions, refitted, without R = 1, and reading 33% as 0.33.

    times_better: like for like, the printed one over that without R = 1, as section 5.1 fits.
    """
    printed, interior, refit, coarse = _errors()
    errors = {"printed": printed, "refit": refit, "interior": interior, "coarse": coarse}
    return {**{f"{name}_error": 100 * error for name, error in errors.items()}, "times_better": printed / interior}


def agreement_facts(turns: pd.DataFrame, deviation: pd.DataFrame) -> Facts:
    """From `turns` and `deviation`, how well Tables 4 and 5 and the text agree.

    turns_mean, turns_largest: distances of turning points in percent, at the ratios fitted; low_mean: the mean at the
    smallest multiplier; enough: the smallest whose mean is within a tenth of the best; largest, first: distances of
    critical ratios from the printed ones in points, the largest and that of the smallest size.
    """
    away = 100 * turns.loc[fitted(turns["ratio"]), "difference"].abs()
    rows = critical_ratios()
    ratios = 100 * (rows["table4"] - rows["printed"]).abs()
    return {
        "turns_mean": float(away.mean()),
        "turns_largest": float(away.max()),
        "low_mean": 100 * float(deviation["mean"].iloc[0]),
        "enough": float(deviation.loc[deviation["mean"] <= 1.1 * deviation["mean"].min(), "lagrange"].min()),
        "largest": float(ratios.max()),
        "first": float(ratios.iloc[0]),
    }
