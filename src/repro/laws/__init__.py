"""Scaling laws: numbers in, numbers out. Knows nothing of training, files or figures."""

from repro.laws.cmr.analysis import Analysis as Analysis, Group as Group, TokenLaws as TokenLaws, analyse as analyse
from repro.laws.cmr.critical import ratio_label as ratio_label
from repro.laws.cmr.laws import (
    CMR_LAW as CMR_LAW,
    DOMAIN_TOKEN_LAW as DOMAIN_TOKEN_LAW,
    GENERAL_TOKEN_LAW as GENERAL_TOKEN_LAW,
    RATIO_LAW as RATIO_LAW,
    TurningPoint as TurningPoint,
    increments as increments,
    turning_point as turning_point,
    turning_points as turning_points,
)
from repro.laws.law import Fit as Fit, Law as Law, Linear as Linear, Nonlinear as Nonlinear
