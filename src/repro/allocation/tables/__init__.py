"""Every table of paper B, and those of our own study, as pandas Stylers: functions of `Results` or of a frame.

Every fraction here rounds to 1, so SFT tokens come first. What does not exist is a dash that says why under the
pointer; captions are left to the page.
"""

from repro.allocation.tables.fits import (
    alternatives as alternatives,
    budgets as budgets,
    flatness as flatness,
    optima as optima,
    printed_optima as printed_optima,
    warnings as warnings,
)
from repro.allocation.tables.printed import (
    UNPAIRED as UNPAIRED,
    cpt_data as cpt_data,
    cpt_steps as cpt_steps,
    other_models as other_models,
    printed_budgets as printed_budgets,
    printed_drift as printed_drift,
    printed_scores as printed_scores,
    set_up as set_up,
    sft_ablation as sft_ablation,
    sft_data as sft_data,
)
from repro.allocation.tables.study import (
    base_scores as base_scores,
    contents as contents,
    examples as examples,
    exposure as exposure,
    paired as paired,
    study_scores as study_scores,
    study_steps as study_steps,
    tokens as tokens,
)
