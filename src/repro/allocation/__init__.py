"""Paper B, the split of a token budget between CPT and SFT: its published numbers, and Equations 1 and 2 on them.

What this package names is imported when it is first used, so that the command line can check parameters at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.allocation import facts, figures, frames, published, tables

__all__ = ["facts", "figures", "frames", "published", "tables"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"repro.allocation.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
