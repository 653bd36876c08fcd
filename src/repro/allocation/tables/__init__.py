"""Every table of paper B, and those of our own study, as pandas Stylers: pure functions of frames.

Their files: ``fits`` (Equations 1 and 2 on scores), ``printed`` (Tables 1-6 and A.1-A.5), ``study`` (Table 6 for our
runs). Every fraction here rounds to 1, so SFT tokens come first. What does not exist is a dash that says why under the
pointer; captions are left to the page.
"""

from repro.allocation.tables.fits import budgets, flatness, optima, rivals
from repro.allocation.tables.printed import (
    UNPAIRED,
    cpt_data,
    cpt_steps,
    other_models,
    printed_budgets,
    printed_drift,
    printed_scores,
    set_up,
    sft_ablation,
    sft_data,
)
from repro.allocation.tables.study import (
    base_scores,
    contents,
    examples,
    exposure,
    paired,
    study_optima,
    study_scores,
    study_steps,
    tokens,
    warnings,
)

__all__ = [
    "UNPAIRED",
    "base_scores",
    "budgets",
    "contents",
    "cpt_data",
    "cpt_steps",
    "examples",
    "exposure",
    "flatness",
    "optima",
    "other_models",
    "paired",
    "printed_budgets",
    "printed_drift",
    "printed_scores",
    "rivals",
    "set_up",
    "sft_ablation",
    "sft_data",
    "study_optima",
    "study_scores",
    "study_steps",
    "tokens",
    "warnings",
]
