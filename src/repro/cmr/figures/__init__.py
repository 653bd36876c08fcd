"""Every figure of paper A as a function of `Results`: printed numbers and ours go through the same code.

Each function returns an Altair chart on a transparent ground, with tooltips, axes in named units, and legends
that highlight on a click. Their files: ``losses`` (Figures 1, 2, 4, 7 to 10, pretraining and corpora), ``ratio`` (3 and
forecasts), ``critical`` (5, 6, turning points, intervals).
"""

from repro.cmr.figures.critical import (
    critical_ratio as critical_ratio,
    critical_ratio_intervals as critical_ratio_intervals,
    tolerances as tolerances,
    turning_points as turning_points,
)
from repro.cmr.figures.losses import (
    all_loss_against_tokens as all_loss_against_tokens,
    both_losses as both_losses,
    corpus_distance as corpus_distance,
    corpus_sizes as corpus_sizes,
    cross_sections as cross_sections,
    loss_against_tokens as loss_against_tokens,
    loss_on_two_domains as loss_on_two_domains,
    pretraining_curves as pretraining_curves,
    trade_off as trade_off,
)
from repro.cmr.figures.ratio import (
    forecast_errors as forecast_errors,
    loss_against_ratio as loss_against_ratio,
    prediction_errors as prediction_errors,
)
