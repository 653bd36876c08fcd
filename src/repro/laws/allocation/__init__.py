"""Paper B's law: score against SFT tokens, the best allocation of a budget, and how sure it is."""

from repro.laws.allocation.law import (
    NAME as NAME,
    NAMES as NAMES,
    Allocation as Allocation,
    allocation_law as allocation_law,
    analyse_allocation as analyse_allocation,
)
from repro.laws.allocation.peak import best_fraction as best_fraction
