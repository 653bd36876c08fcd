"""What the laws of both losses say on one domain: pages 3 to 5."""

import numpy as np
import pandas as pd

from repro.cmr import published
from repro.cmr.facts.critical import turning_order
from repro.cmr.frames import HELD_OUT, RUN, T_MAX, DomainResults
from repro.cmr.published import paper
from repro.laws import GENERAL_TOKEN_LAW, ratio_label
from repro.show.words import Facts, ratios, span

NOT_RUN = "is not known here, because there are no such runs"
NO_FITS = "not known, because there are no fits"
_EXPONENT = GENERAL_TOKEN_LAW.nonlinear[0]
LEAST = 0.01  # nats: a smaller increment is not one to divide by
OFFSET_SIZE = "3.1B"  # the size whose fitted general loss begins above the others


def trade_off(results: DomainResults) -> Facts:
    """How far trajectories rise. One that falls from the start has not risen and turned."""
    points, ends = results.turning_points(), results.analysis.curves([T_MAX])
    inside = points[(points["status"] == "inside") & (points["t"] > 0)]
    return {
        "curves": len(points),
        "turned": len(inside),
        "still_rising": _still_rising(results.sizes, points),
        "order": turning_order(points),
        "control": control(ends),
        "no_replay": no_replay(ends),
        "published_no_replay": no_replay(paper.curves([T_MAX])),
        "by_size": by_size(ends),
        "published_by_size": by_size(paper.curves([T_MAX])),
    }


def _still_rising(sizes: tuple[str, ...], points: pd.DataFrame) -> str:
    parts = []
    for size in sizes:
        mine = points[points["size"] == size]
        late = ratios(mine.loc[mine["status"] != "inside", "ratio"])
        parts.append(f"{size}: {late or 'none' if len(mine) else 'no fits'}")
    return "; ".join(parts)


def by_size(ends: pd.DataFrame) -> str:
    """At which ratios a larger model's general loss ends lower, against its start, in words.

    ends: increments at the end of training, as `Results.curves` gives them, smallest model first.
    """
    sizes, ratios_of = list(ends["size"].unique()), dict[str, list[float]]()
    if len(sizes) < 2:
        return "there is only one size"
    for ratio, rows in ends.groupby("ratio"):
        rises = rows.set_index("size")["general"].reindex(sizes).to_numpy(float)
        if np.isfinite(rises).all():
            ratios_of.setdefault(_falls(rises), []).append(float(ratio))  # type: ignore[arg-type]
    if not ratios_of:
        return "no ratio was run at every size"
    if len(next(iter(ratios_of.values()))) == ends["ratio"].nunique():
        return f"{next(iter(ratios_of))}, at every ratio"
    return "; ".join(f"{words}, at R = {ratios(alike)}" for words, alike in ratios_of.items())


def _falls(rises: np.ndarray) -> str:
    if (np.diff(rises) < 0).all():
        return "the larger the model, the lower"
    if rises[-1] < rises[0]:
        return "lower for the largest model than for the smallest, but not from each size to the next"
    return "not lower for the largest model than for the smallest"


def control(ends: pd.DataFrame) -> str:
    """How the general loss ends with general text only (R = 0) and at the smallest ratio above, in words.

    ends: increments at the end of training, as `Results.curves` gives them.
    """
    wide = ends.pivot(index="size", columns="ratio", values="general")
    above = [ratio for ratio in wide.columns.astype(float) if ratio > 0]
    if 0.0 not in wide.columns or not above:
        return NOT_RUN
    pair = wide[[0.0, min(above)]].dropna()
    if pair.empty:
        return NOT_RUN
    alone, mixed = (span(pair[ratio], "+.3f") for ratio in (0.0, min(above)))
    return f"ends {alone} nats from its start, against {mixed} at R = {ratio_label(min(above))}"


def no_replay(ends: pd.DataFrame) -> str:
    """How much higher the general loss ends at R = 1 than at the largest ratio below, in words.

    ends: increments at the end of training, as `Results.curves` gives them.
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


def ratio(results: DomainResults) -> Facts:
    """How well L(R) predicts what it was not fitted to."""
    points, law, *_ = results.held_out()
    phrases = {f"our_{loss}": predicted(rows) for loss, rows in points.groupby("loss", sort=False)}
    return {**phrases, "end_of_law": beyond_the_law(points, law)}


def predicted(points: pd.DataFrame) -> str:
    """How well the ratio held out is predicted, in words that go on from "The domain loss at R = 1/4 ...".

    points: those of one loss, as `Results.held_out` gives them.
    """
    seen = points.loc[points["kind"] == "held out, measured", "size"]
    if seen.empty:
        return f"cannot be predicted here: R = {ratio_label(HELD_OUT)} was not run"
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


def tokens(results: DomainResults) -> Facts:
    """How well Equation 6 fits: medians and extremes over sizes and ratios, as text.

    known: how little its coefficients are known against its curves; bounds: what exponents of the general loss keep to.
    """
    ours, theirs = (_r2(side.fit_quality()) for side in (results, paper))
    return {
        "general_r2": _text(ours["general"].median(), ".3f"),
        "general_r2_least": _text(ours["general"].min(), ".3f"),
        "domain_r2": _text(ours["domain"].median(), ".4f"),
        "domain_r2_least": _text(ours["domain"].min(), ".4f"),
        "printed_general_r2": float(theirs["general"].median()),
        "printed_domain_r2": float(theirs["domain"].median()),
        "mse_factor": _mse_factor(paper.fit_quality()),
        "known": _known(results),
        "bounds": f"{_EXPONENT.low:g} and {_EXPONENT.high:g}",
    }


def _known(results: DomainResults) -> str:
    """The interval of one exponent against that of the curve at the end of training: medians, in words."""
    analysis = results.analysis
    fits = [laws.general for group in analysis.groups for laws in group.token_laws if laws.general.draws is not None]
    if not fits:
        return "here no bootstrap was made that could show it"
    bound, end = _EXPONENT, analysis.settings.end
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
    variance = paper.curves(RUN).groupby(["size", "ratio"])["domain"].var(ddof=0)
    return float(((1 - wide["R2"]) * variance / wide["MSE"]).median())


def published_ratio() -> Facts:
    """Mean absolute error of R = 1/4 predicted from Table 2, in percent.

    refit: fitted to its four other ratios; refit_interior: to those below 1; printed_error: of the printed predictions.
    """
    every, below = paper.held_out(), paper.held_out(among=(1 / 3, 1 / 2, 3 / 4))
    seen = every.points.query("kind == 'held out, measured'").set_index("size")["value"]
    printed = published.table("2").query("kind == 'predicted'").set_index("size")["loss"]
    refit, refit_interior = (float(held_out_errors(held.points).abs().mean()) for held in (every, below))
    error = float((printed / seen - 1).abs().mean() * 100)
    return {"refit": refit, "refit_interior": refit_interior, "printed_error": error}


def published_offsets() -> Facts:
    """How Table 4 begins and how far its coefficients go.

    offset_31b and offset_others: the fitted general increment at T = 1, nats per token, mean over ratios up to
    1/2 (and, of the others, over sizes); largest_alpha1 and its_s1: the factor of the domain law that is largest
    in size, and the exponent beside it.
    """
    begins = paper.curves([1.0]).query("ratio <= 0.5")
    ours = begins["size"] == OFFSET_SIZE
    table = paper.coefficients()
    largest = table.iloc[int(table["alpha1"].abs().argmax())]
    return {
        "offset_31b": float(begins.loc[ours, "general"].mean()),
        "offset_others": float(begins.loc[~ours, "general"].mean()),
        "largest_alpha1": float(largest["alpha1"]),
        "its_s1": float(largest["s1"]),
    }
