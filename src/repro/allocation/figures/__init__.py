"""Every figure of paper B: functions of `Results`, printed or ours, or of a frame, which return an Altair chart.

Charts have a transparent ground, tooltips and axes with units. The axis of SFT tokens is logarithmic and has no zero:
an allocation without SFT stands left of a dotted line, over the word "none".
"""

from repro.allocation.figures.drift import bias_curve, drift_by_allocation, drift_by_layer, inter_ratio_drift
from repro.allocation.figures.law import budgets, gains, law
from repro.allocation.figures.training import each_domain, training_curves, tuning_curves

__all__ = ["bias_curve", "budgets", "drift_by_allocation", "drift_by_layer", "each_domain", "gains",
           "inter_ratio_drift", "law", "training_curves", "tuning_curves"]  # fmt: skip
