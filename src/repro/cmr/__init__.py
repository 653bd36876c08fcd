"""Paper A, the CMR scaling law: its published numbers, our study of it, and the figures and tables of both.

What this package names is imported when it is first used, so that the command line can check parameters at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.cmr import facts, figures, frames, published, rederived, tables
    from repro.cmr.study import Study, begin, open_study
    from repro.show import display

__all__ = [
    "Study",
    "begin",
    "display",
    "facts",
    "figures",
    "frames",
    "open_study",
    "published",
    "rederived",
    "tables",
]

_OF_STUDY = ("Study", "begin", "open_study")
_SHOWN = ("display",)  # not of this paper, but what notebooks call beside it


def __getattr__(name: str) -> Any:
    if name in _OF_STUDY:
        return getattr(importlib.import_module("repro.cmr.study"), name)
    if name in _SHOWN:
        return importlib.import_module(f"repro.show.{name}")
    if name in __all__:
        return importlib.import_module(f"repro.cmr.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
