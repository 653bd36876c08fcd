"""Every figure of paper B as a function of frames: printed numbers and ours go through the same code.

Each function returns an Altair chart on a transparent ground, with tooltips and axes in named units. Their files:
``law`` (Figure 1), ``budgets`` (Table 4 drawn), ``drift`` (Figures 2, 3 and the bias of CKA), ``training``. The axis of
SFT tokens is logarithmic and has no zero: an allocation without SFT stands left of a dotted line, over the word "none".
"""

from repro.allocation.figures.drift import (
    bias_curve as bias_curve,
    drift_by_allocation as drift_by_allocation,
    inter_ratio_drift as inter_ratio_drift,
)
from repro.allocation.figures.law import (
    FITTED as FITTED,
    PRINTED as PRINTED,
    budgets as budgets,
    scores_and_law as scores_and_law,
    study_scores as study_scores,
)
from repro.allocation.figures.training import (
    each_domain as each_domain,
    training_curves as training_curves,
    tuning_curves as tuning_curves,
)
