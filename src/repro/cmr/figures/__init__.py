"""Every figure of paper A as a function of `Results`: printed numbers and ours go through the same code.

Each function returns an Altair chart on a transparent ground, with tooltips, axes in named units, and legends
that highlight on a click. Their files: ``losses`` (Figures 1, 2, 4, 7 to 10, pretraining and corpora), ``ratio`` (3 and
forecasts), ``critical`` (5, 6, turning points, intervals).
"""

from repro.cmr.figures.critical import critical_ratio, critical_ratio_intervals, tolerances, turning_points
from repro.cmr.figures.losses import (
    all_loss_against_tokens,
    both_losses,
    corpus_distance,
    corpus_sizes,
    cross_sections,
    loss_against_tokens,
    loss_on_two_domains,
    pretraining_curves,
    trade_off,
)
from repro.cmr.figures.ratio import forecast_errors, loss_against_ratio, prediction_errors

__all__ = ["all_loss_against_tokens", "both_losses", "corpus_distance", "corpus_sizes", "critical_ratio",
           "critical_ratio_intervals", "cross_sections", "forecast_errors", "loss_against_ratio",
           "loss_against_tokens", "loss_on_two_domains", "prediction_errors", "pretraining_curves",
           "tolerances", "trade_off", "turning_points"]  # fmt: skip
