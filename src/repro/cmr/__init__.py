"""Paper A, the CMR scaling law: its published numbers, our study of it, and the figures and tables of both.

What this package names is imported when it is first used, so that the command line can check parameters at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.cmr import claims, facts, figures, forecasts, frames, published, rederived, tables
    from repro.cmr.published import paper
    from repro.cmr.study import Study, begin, open_study
    from repro.show import display

__all__ = ["Study", "begin", "claims", "display", "facts", "figures", "forecasts", "frames", "open_study", "paper",
           "published", "rederived", "tables"]  # fmt: skip
_INSIDE = {"Study": "cmr.study", "begin": "cmr.study", "open_study": "cmr.study", "paper": "cmr.published"}
_ELSEWHERE = {"display": "show.display"}  # not of this paper, but what notebooks call beside it


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _INSIDE:
        return getattr(importlib.import_module(f"repro.{_INSIDE[name]}"), name)
    return importlib.import_module(f"repro.{_ELSEWHERE.get(name, f'cmr.{name}')}")
