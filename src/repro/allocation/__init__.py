"""Paper B, the split of a token budget between CPT and SFT: its published numbers, our study of it, and both drawn.

What this package names is imported when it is first used, so that the command line can check parameters at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.allocation import facts, figures, fitted, frames, published, results, tables
    from repro.allocation.study import Study, begin, open_study
    from repro.lm import cka
    from repro.show import display

__all__ = [
    "Study",
    "begin",
    "cka",
    "display",
    "facts",
    "figures",
    "findings",
    "fitted",
    "frames",
    "open_study",
    "published",
    "results",
    "tables",
]

_OF_STUDY = ("Study", "begin", "open_study")
_ELSEWHERE = {"cka": "repro.lm.cka", "display": "repro.show.display"}  # not of this paper, but called beside it


def __getattr__(name: str) -> Any:
    if name in _OF_STUDY:
        return getattr(importlib.import_module("repro.allocation.study"), name)
    if name in _ELSEWHERE:
        return importlib.import_module(_ELSEWHERE[name])
    if name in __all__:
        return importlib.import_module(f"repro.allocation.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
