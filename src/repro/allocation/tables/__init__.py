"""Every table of paper B, and those of our own study, as pandas Stylers: functions of `Results` or of a frame.

Every fraction here rounds to 1, so SFT tokens come first. What does not exist is a dash that says why under the
pointer; captions are left to the page.
"""

from repro.allocation.tables.fits import alternatives as alternatives, flatness as flatness, optima as optima
from repro.allocation.tables.printed import (
    other_models as other_models,
    printed_drift as printed_drift,
    printed_scores as printed_scores,
)
from repro.allocation.tables.setup import recipes as recipes, set_up as set_up
from repro.allocation.tables.study import (
    base_scores as base_scores,
    contents as contents,
    cpt_steps as cpt_steps,
    drifts as drifts,
    examples as examples,
    exposure as exposure,
    paired as paired,
    study_scores as study_scores,
    tokens as tokens,
)
