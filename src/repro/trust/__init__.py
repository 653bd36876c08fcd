"""How far the fits can be trusted: studies of known truth, certified problems, alternative laws. What this package
names is imported when it is first used, so that the command line can check parameters at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.trust import figures, frames, peaks, recovered, tables

__all__ = ["figures", "frames", "peaks", "recovered", "tables"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"repro.trust.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
