"""What a reader of a best allocation should know before acting on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from statsmodels.regression.linear_model import WLS

from repro.laws.allocation.flatness import Flatness, Trend
from repro.laws.allocation.optimum import EDGE, Optimum
from repro.laws.allocation.peak import Peak
from repro.laws.allocation.scores import Scores
from repro.laws.inference import LEVEL
from repro.laws.law import Fit

FEW = 7  # fewer allocations than this hardly test the fit
SHIFT = 0.1  # how far the highest point may lie from exp(mu), as a share of it
SHARE = 0.025  # of draws without a peak: from here on they can move the ends of a 95% interval
QUADRATIC = "quadratic in ln S"
CLEARLY = 0.9  # of Equation 1's error of allocations left out: a law below it predicts them better


def allocation_warnings(
    data: Scores, fit: Fit, best: Optimum, test: Flatness, slope: Trend, peak: Peak, table: pd.DataFrame
) -> tuple[str, ...]:
    """All that apply, the most serious first."""
    if data.equal:
        nothing = "there is no peak, no allocation is shown to be best, and there are no intervals"
        return (f"all scores are equal: {nothing}", *_rows(data))
    texts = [
        *(f"no peak is shown: {', and '.join(peak.missing)}" for _ in peak.missing[:1]),
        *_flat(test, slope),
        *_peak(data, fit, best),
        *_alternatives(fit, table),
        *_data(data, fit),
        *_rows(data),
        *_draws(data, fit, best),
    ]
    return tuple(dict.fromkeys([*texts, *fit.warnings]))


def _peak(data: Scores, fit: Fit, best: Optimum) -> Iterator[str]:
    if best.sft_tokens is None:
        yield "no peak: the amplitude is 0, so there is no best allocation inside the data"
        return
    logs = np.log(data.tokens)
    margin = EDGE * (logs[-1] - logs[0])
    means = data.rows.groupby("sft_tokens")["score"].mean()
    if not logs[0] + margin < fit.params["mu"] < logs[-1] - margin:
        yield f"the peak is at the edge of the data ({best.sft_tokens:,.0f} SFT tokens): it may lie beyond"
    if means.idxmax() in (means.index[0], means.index[-1]):
        yield f"the best score is at the edge of the data ({means.idxmax():,.0f} SFT tokens): no peak is seen inside"
    top = float(fit.predict(best.highest))
    if top > data.values.max() + float(np.ptp(data.values)):
        yield f"the fitted peak, {top:.3g}, stands far above every score: it lies between allocations"
    if abs(best.highest / best.sft_tokens - 1) > SHIFT:
        mu = f"exp(mu) = {best.sft_tokens:,.0f}"
        yield f"the fitted curve is highest at {best.highest:,.0f} SFT tokens, not at {mu}: the cliff shifts it"


def _flat(test: Flatness, slope: Trend) -> Iterator[str]:
    if slope.p_value <= LEVEL:
        chance = "below 0.001" if slope.p_value < 0.001 else f"= {slope.p_value:.2g}"
        yield f"the scores {'rise' if slope.slope > 0 else 'fall'} with ln S (p {chance})"
    elif test.p_value > LEVEL:
        yield f"the scores cannot be told from equal (p = {test.p_value:.2f}), so no allocation is shown to be best"


def _alternatives(fit: Fit, table: pd.DataFrame) -> Iterator[str]:
    rows, criterion = table.set_index("law"), table.attrs["criterion"]
    own, best = rows.loc[fit.law.name], str(table["law"].iloc[0])
    gap = float(rows["delta_aicc"][fit.law.name])
    if best != fit.law.name and np.isfinite(gap):
        vertex = f", and {_vertex(fit)}" if best == QUADRATIC else ""
        yield f"a {best} describes the scores better by {criterion}, by {gap:.1f}{vertex}"
    # By either measure alone an alternative is often ahead by chance where Equation 1 is true.
    ahead = rows[(rows["aicc"] < own["aicc"]) & (rows["loo"] < CLEARLY * own["loo"])]
    if len(ahead):
        errors = f"root mean squared error {ahead['loo'].min():.3g}, against {own['loo']:.3g} of Equation 1"
        yield f"a {ahead['loo'].idxmin()} predicts allocations left out better: {errors}"


def _vertex(fit: Fit) -> str:
    """Whether a quadratic has a peak: it rises at the fewest tokens and falls at the most, each clearly, so that the
    interval of its vertex (Fieller's) lies between them (Lind & Mehlum 2010).
    """
    logs = np.log(fit.x)
    quadratic = WLS(fit.y, np.vander(logs, 3, increasing=True), weights=fit.weights).fit()
    rises, falls = quadratic.t_test([[0, 1, 2 * end] for end in (logs.min(), logs.max())]).conf_int(LEVEL)
    inside = rises[0] > 0 > falls[1]
    return "its peak lies inside what was tried" if inside else "it is no peak, as its vertex may lie beyond the data"


def _data(data: Scores, fit: Fit) -> Iterator[str]:
    if data.errors == "items":
        yield (
            "scores are taken as independent samples of items, as answers to single items are not given: where all "
            "models answer the same items, a comparison item by item is sharper"
        )
    if data.allocations < FEW:
        yield f"{data.allocations} allocations for six parameters: the fit is hardly tested"
    excess = data.excess(fit)
    if excess > 1:
        source = "repeated runs show" if data.errors == "runs" else "the number of items allows"
        times = f"{excess:.1f} times the variance that {source}"
        yield f"the scores scatter about the law with {times}; the intervals are widened to match"


def _rows(data: Scores) -> Iterator[str]:
    if data.copies:
        yield (
            f"repeated runs are equal to one another, so they tell nothing of the noise and each allocation counts "
            f"once: {data.copies} rows are not used"
        )
    if len(data.without):
        listed = ", ".join(f"{score:.4g}" for score in data.without["score"])
        yield f"kept out of the law, having no SFT tokens: score {listed}"


def _draws(data: Scores, fit: Fit, best: Optimum) -> Iterator[str]:
    if fit.draws is None or best.interval is None:
        return
    missing = float((fit.draws["amplitude"] <= 0).mean())
    if missing > SHARE:
        yield f"{missing:.0%} of the bootstrap draws have no peak; they count as peaks at the edges of the data"
    draws, far = fit.draws, data.values.max() + np.ptp(data.values)  # above every score by more than they differ
    tops = draws["p_base"] + draws["amplitude"] - draws["penalty"] / (np.exp(draws["mu"]) - draws["s_min"])
    share = float((tops > far).mean())
    if share > SHARE:
        yield f"{share:.0%} of the bootstrap draws put a peak far above every score, where nothing was measured"
    if sides := best.open_sides(data.tokens):
        yield f"the interval of the best allocation is open {' and '.join(sides)}: it reaches the edge of the data"
