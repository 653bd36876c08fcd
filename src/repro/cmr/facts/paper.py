"""What follows from the paper's printed numbers alone."""

from collections.abc import Iterable

from repro.cmr import frames, published
from repro.cmr.facts.critical import turning_order
from repro.cmr.facts.fits import held_out_errors
from repro.cmr.facts.words import Facts

OFFSET_SIZE = "3.1B"  # the size whose fitted general loss begins above the others


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
