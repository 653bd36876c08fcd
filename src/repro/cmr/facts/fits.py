"""What the laws of both losses say on one domain: pages 3 to 5."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from repro.cmr import frames, published
from repro.cmr.facts.critical import turning_order
from repro.laws import GENERAL_TOKEN_LAW, Analysis, ratio_label
from repro.show.words import Facts, ratios, span

NOT_RUN = "is not known here, for want of such runs"
NO_FITS = "not known, for want of fits"
_EXPONENT = GENERAL_TOKEN_LAW.nonlinear[0]
LEAST = 0.01  # nats: a smaller increment is not one to divide by

OFFSET_SIZE = "3.1B"  # the size whose fitted general loss begins above the others


def trade_off(analysis: Analysis) -> Facts:
    """From the analysis of one domain. A trajectory that falls from the start has not risen and turned."""
    points = frames.turning_points(analysis)
    inside = points[(points["status"] == "inside") & (points["t"] > 0)]
    return {
        "curves": len(points),
        "turned": len(inside),
        "still_rising": _still_rising(analysis, points),
        "order": turning_order(points),
        "no_replay": no_replay(analysis.curves([100.0])),
        "published_no_replay": no_replay(published.curves([100.0])),
        "by_size": by_size(analysis.curves([100.0])),
        "published_by_size": by_size(published.curves([100.0])),
    }


def _still_rising(analysis: Analysis, points: pd.DataFrame) -> str:
    parts = []
    for size in dict.fromkeys(group.size for group in analysis.groups):
        mine = points[points["size"] == size]
        late = ratios(mine.loc[mine["status"] != "inside", "ratio"])
        parts.append(f"{size}: {late or 'none' if len(mine) else 'no fits'}")
    return "; ".join(parts)


def by_size(ends: pd.DataFrame) -> str:
    """At which ratios a larger model's general loss ends lower, against its start, in words.

    ends: increments at the end of training as `Analysis.curves` or `published.curves` gives them, smallest model first.
    """
    sizes, found = list(ends["size"].unique()), dict[str, list[float]]()
    if len(sizes) < 2:
        return "there is only one size"
    for ratio, rows in ends.groupby("ratio"):
        rises = rows.set_index("size")["general"].reindex(sizes).to_numpy(float)
        if np.isfinite(rises).all():
            found.setdefault(_falls(rises), []).append(float(ratio))  # type: ignore[arg-type]
    if not found:
        return "no ratio was run at every size"
    if len(next(iter(found.values()))) == ends["ratio"].nunique():
        return f"{next(iter(found))}, at every ratio"
    return "; ".join(f"{words}, at R = {ratios(alike)}" for words, alike in found.items())


def _falls(rises: np.ndarray) -> str:
    if (np.diff(rises) < 0).all():
        return "the larger the model, the lower"
    if rises[-1] < rises[0]:
        return "lower for the largest model than for the smallest, but not from each size to the next"
    return "not lower for the largest model than for the smallest"


def no_replay(ends: pd.DataFrame) -> str:
    """How much higher the general loss ends at R = 1 than at the largest ratio below, in words.

    ends: increments at the end of training, as `Analysis.curves` or `published.curves` gives them.
    """
    below = [float(ratio) for ratio in ends["ratio"].unique() if ratio < 1]
    wide = ends.pivot(index="size", columns="ratio", values="general")
    if 1.0 not in wide.columns or not below:
        return NOT_RUN
    pair = wide[[1.0, max(below)]].dropna()
    if pair.empty:
        return NOT_RUN
    alone, mixed, label = pair[1.0], pair[max(below)], ratio_label(max(below))
    if mixed.min() < LEAST or alone.min() < 0:
        return f"ends {span(alone, '+.3f')} nats from its start, against {span(mixed, '+.3f')} at R = {label}"
    return f"ends {span(alone / mixed, '.1f')} times as far above its start as at R = {label}"


def ratio(points: pd.DataFrame, name: str, held_out: float = frames.HELD_OUT) -> Facts:
    """How well a ratio left out is predicted, in words: ``<name>_domain`` and ``<name>_general``.

    points: as `frames.held_out` gives them. The phrase goes on from "The domain loss at R = 1/4 ...".
    """
    return {f"{name}_{loss}": _predicted(rows, held_out) for loss, rows in points.groupby("loss", sort=False)}


def _predicted(points: pd.DataFrame, held_out: float) -> str:
    seen = points.loc[points["kind"] == "held out, measured", "size"]
    if seen.empty:
        return f"cannot be predicted here: R = {ratio_label(held_out)} was not run"
    errors = held_out_errors(points)
    if errors.empty:
        return "cannot be predicted here: there are too few other ratios"
    fitted = points[(points["kind"] == "measured") & points["size"].isin(errors.index.get_level_values("size"))]
    others = span(fitted.groupby("size").size(), "d")
    among = f"{len(errors)} size{'' if len(errors) == 1 else 's'}"
    if len(errors) < seen.nunique():
        among = f"{len(errors)} of {seen.nunique()} sizes"
    error = errors.abs().mean()
    percent = format(error, ".2g" if error < 10 else ".0f")
    return f"is predicted to {percent}% on average over {among} (from {others} other ratios){_one_sided(errors)}"


def _one_sided(errors: pd.Series) -> str:
    """That all predictions err in one direction, where they do."""
    way = "low" if (errors < 0).all() else "high" if (errors > 0).all() else ""
    return f", every time too {way}" if way and len(errors) > 1 else ""


def held_out_errors(points: pd.DataFrame) -> pd.Series:
    """Relative error of the predicted ratio in percent, by size and loss."""
    keyed = points.set_index(["size", "loss"])
    guess = keyed.loc[keyed["kind"] == "held out, predicted", "value"]
    seen = keyed.loc[keyed["kind"] == "held out, measured", "value"]
    return ((guess / seen - 1) * 100).dropna()


def beyond_the_law(points: pd.DataFrame, law: pd.DataFrame) -> str:
    """Where the general loss at R = 1 lies against the law fitted below it, in words."""
    at_end = [
        frame[(frame["loss"] == "general") & np.isclose(frame["ratio"].astype(float), 1)] for frame in (points, law)
    ]
    seen, fitted = (frame.drop_duplicates("size").set_index("size")["value"] for frame in at_end)
    gaps = (seen - fitted).dropna().astype(float)
    if seen.empty:
        return NOT_RUN
    if gaps.empty:
        return "cannot be compared with the law: there are too few other ratios to fit it"
    return f"lies {span(gaps, '+.2f')} nats from the law's continuation"


def tokens(analysis: Analysis) -> Facts:
    """How well Equation 6 fits: medians and extremes over sizes and ratios, as text.

    known: how little its coefficients are known against its curves; bounds: what exponents of the general loss keep to.
    """
    quality, printed = frames.fit_quality(analysis), published.table3()
    ours, theirs = (_r2(frame) for frame in (quality, printed))
    return {
        "general_r2": _text(ours["general"].median(), ".3f"),
        "general_r2_least": _text(ours["general"].min(), ".3f"),
        "domain_r2": _text(ours["domain"].median(), ".4f"),
        "domain_r2_least": _text(ours["domain"].min(), ".4f"),
        "printed_general_r2": float(theirs["general"].median()),
        "printed_domain_r2": float(theirs["domain"].median()),
        "mse_factor": _mse_factor(printed),
        "known": _known(analysis),
        "bounds": f"{_EXPONENT.low:g} and {_EXPONENT.high:g}",
    }


def _known(analysis: Analysis) -> str:
    """The interval of one exponent against that of the curve at the end of training: medians, in words."""
    fits = [laws.general for group in analysis.groups for laws in group.token_laws if laws.general.draws is not None]
    if not fits:
        return "here no bootstrap was made that could show it"
    bound, end = _EXPONENT, analysis.t_max / analysis.unit
    exponent = np.median([np.diff(fit.conf_int().loc[bound.name, ["lower", "upper"]])[0] for fit in fits])
    curve = np.median([np.diff(fit.interval(end)[["lower", "upper"]])[0, 0] for fit in fits])
    return (
        f"the interval of {bound.name} takes up {exponent / (bound.high - bound.low):.0%} of the range it may lie in, "
        f"while the curve at the end of training is known to within {curve / 2:.3f} nats "
        "(medians over sizes and ratios)"
    )


def _r2(quality: pd.DataFrame) -> dict[str, pd.Series]:
    kept = quality[quality["metric"] == "R2"]
    return {loss: kept.loc[kept["loss"] == loss, "value"].astype(float) for loss in ("general", "domain")}


def _text(value: float, form: str) -> str:
    return NO_FITS if np.isnan(value) else format(value, form)


def _mse_factor(printed: pd.DataFrame) -> float:
    """By how much the printed errors of the domain loss are too small for the printed R2: the median over Table 3."""
    wide = printed[printed["loss"] == "domain"].pivot(index=["size", "ratio"], columns="metric", values="value")
    variance = published.curves(np.arange(1, 101)).groupby(["size", "ratio"])["domain"].var(ddof=0)
    return float(((1 - wide["R2"]) * variance / wide["MSE"]).median())


def printed_error() -> Facts:
    """Mean absolute error of the predictions that Table 2 prints, recomputed from the losses it prints, in percent."""
    seen = published.held_out_points().query("kind == 'held out, measured'").set_index("size")["value"]
    guess = published.held_out_predictions().set_index("size")["loss"]
    return {"printed_error": float((guess / seen - 1).abs().mean() * 100)}


def published_ratio() -> Facts:
    """Mean absolute error of R = 1/4 predicted from Table 2, in percent.

    refit: fitted to its four other ratios; refit_interior: to those below 1; printed_error: of the printed ones.
    """
    every = published.fitted_ratios()
    below = tuple(ratio for ratio in every if ratio < 1)
    return {"refit": _refit(every), "refit_interior": _refit(below), **printed_error()}


def _refit(among: Iterable[float]) -> float:
    points, _ = frames.held_out(published.held_out_points().drop(columns="kind"), among=tuple(among))
    return float(held_out_errors(points).abs().mean())


def published_offsets() -> Facts:
    """How Table 4 begins and how far its coefficients go.

    offset_31b and offset_others: the fitted general increment at T = 1, nats per token, mean over ratios up to
    1/2 (and, of the others, over sizes); largest_alpha1 and its_s1: the factor of the domain law that is largest
    in size, and the exponent beside it.
    """
    begins = published.curves([1.0]).query("ratio <= 0.5")
    ours = begins["size"] == OFFSET_SIZE
    table = published.table4()
    largest = table.iloc[int(table["alpha1"].abs().argmax())]
    return {
        "offset_31b": float(begins.loc[ours, "general"].mean()),
        "offset_others": float(begins.loc[~ours, "general"].mean()),
        "largest_alpha1": float(largest["alpha1"]),
        "its_s1": float(largest["s1"]),
    }


def published_order() -> str:
    """Whether T0 grows with R in the paper's curves, in words that go on a sentence."""
    told = turning_order(published.turning_points())
    return told[0].lower() + told[1:]
