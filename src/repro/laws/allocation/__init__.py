"""Paper B's law: score against SFT tokens, the best allocation of a budget, and how sure it is."""

from repro.laws.allocation.law import (
    NAME,
    NAMES,
    Allocation,
    allocation_law,
    analyse_allocation,
)
from repro.laws.allocation.optimum import best_fraction

__all__ = ["NAME", "NAMES", "Allocation", "allocation_law", "analyse_allocation", "best_fraction"]
