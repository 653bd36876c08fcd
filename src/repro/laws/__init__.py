"""Scaling laws: numbers in, numbers out. Knows nothing of training, files or figures."""

from repro.laws.analysis import Analysis, analyse
from repro.laws.critical import CriticalRatio, ratio_label
from repro.laws.groups import Group, TokenLaws
from repro.laws.mixture import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, RATIO_LAW, increments
from repro.laws.results import Fit
from repro.laws.separable import Law, Linear, Nonlinear
from repro.laws.turning import TurningPoint, turning_point, turning_points

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
