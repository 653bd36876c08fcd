"""Scaling laws: numbers in, numbers out. Knows nothing of training, files or figures."""

from repro.laws.mixture.analysis import Analysis, analyse
from repro.laws.mixture.groups import CriticalRatio, Group, TokenLaws
from repro.laws.mixture.laws import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, RATIO_LAW, increments
from repro.laws.mixture.spread import ratio_label
from repro.laws.mixture.turning import TurningPoint, turning_point, turning_points
from repro.laws.results import Fit
from repro.laws.separable import Law, Linear, Nonlinear

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
