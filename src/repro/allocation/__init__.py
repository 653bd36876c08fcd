"""Paper B, the split of a token budget between CPT and SFT: its published numbers, our study of it, and both drawn.

What this package names is imported when it is first used, so that the command line can check parameters at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.allocation import claims as claims, figures as figures, published as published, tables as tables
    from repro.allocation.published import paper as paper
    from repro.allocation.study import Study as Study, begin as begin, open_study as open_study
    from repro.lm import cka as cka
    from repro.show import display as display

_MEMBERS = {"Study": "study", "begin": "study", "open_study": "study", "paper": "published"}
_ELSEWHERE = {"cka": "repro.lm.cka", "display": "repro.show.display"}  # not of this paper, but called beside it
_MODULES = ("claims", "figures", "frames", "published", "results", "tables")


def __getattr__(name: str) -> Any:
    if name in _MEMBERS:
        return getattr(importlib.import_module(f"repro.allocation.{_MEMBERS[name]}"), name)
    if name in _ELSEWHERE:
        return importlib.import_module(_ELSEWHERE[name])
    if name in _MODULES:
        return importlib.import_module(f"repro.allocation.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
