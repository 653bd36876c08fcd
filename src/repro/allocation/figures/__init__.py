"""Every figure of paper B: functions of `Results`, printed or ours, or of a frame, which return an Altair chart.

Charts have a transparent ground, tooltips and axes with units. The axis of SFT tokens is logarithmic and has no zero:
an allocation without SFT stands left of a dotted line, over the word "none".
"""

from repro.allocation.figures.drift import (
    bias_curve as bias_curve,
    drift_by_allocation as drift_by_allocation,
    drift_by_layer as drift_by_layer,
    inter_ratio_drift as inter_ratio_drift,
)
from repro.allocation.figures.law import budgets as budgets, gains as gains, law as law
from repro.allocation.figures.training import (
    each_domain as each_domain,
    training_curves as training_curves,
    tuning_curves as tuning_curves,
)
