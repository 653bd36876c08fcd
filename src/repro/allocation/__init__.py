"""Paper B, the split of a token budget between CPT and SFT: its published numbers, our study of it, and both drawn.

What this package names is imported when it is first used, so that the command line can check parameters at once.
"""

import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.allocation import claims as claims, figures as figures, published as published, tables as tables
    from repro.allocation.published import paper as paper
    from repro.allocation.study import Study as Study, begin as begin, open_study as open_study
    from repro.lm import cka as cka
    from repro.show import display as display

_MODULES = ("claims", "figures", "frames", "published", "results", "tables")
_PLACES = {name: f"allocation.{name}" for name in _MODULES} | {"paper": "allocation.published:paper"}
_PLACES |= {name: f"allocation.study:{name}" for name in ("Study", "begin", "open_study")}
_PLACES |= {"cka": "lm.cka", "display": "show.display"}  # not of this paper, but called beside it


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return pkgutil.resolve_name(f"repro.{_PLACES[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
