"""Scaling laws: numbers in, numbers out. Knows nothing of training, files or figures."""

from repro.laws.cmr.analysis import Analysis, CriticalRatio, Group, TokenLaws, analyse
from repro.laws.cmr.critical import ratio_label
from repro.laws.cmr.laws import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, RATIO_LAW, increments
from repro.laws.cmr.turning import TurningPoint, turning_point, turning_points
from repro.laws.law import Fit, Law, Linear, Nonlinear

__all__ = [
    "CMR_LAW",
    "DOMAIN_TOKEN_LAW",
    "GENERAL_TOKEN_LAW",
    "RATIO_LAW",
    "Analysis",
    "CriticalRatio",
    "Fit",
    "Group",
    "Law",
    "Linear",
    "Nonlinear",
    "TokenLaws",
    "TurningPoint",
    "analyse",
    "increments",
    "ratio_label",
    "turning_point",
    "turning_points",
]
