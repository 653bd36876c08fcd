"""Paper A, the CMR scaling law: its published numbers, our study of it, and the figures and tables of both.

What this package names is imported when it is first used, so that the command line can check parameters at once.
"""

import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.cmr import claims, facts, figures, forecasts, frames, published, recommend, rederived, tables
    from repro.cmr.published import paper
    from repro.cmr.study import Study, begin, open_study
    from repro.show import display

__all__ = ["Study", "begin", "claims", "display", "facts", "figures", "forecasts", "frames", "open_study", "paper",
           "published", "recommend", "rederived", "tables"]  # fmt: skip
# Where that is which is no module of this package.
_PLACES = {name: f"cmr.study:{name}" for name in ("Study", "begin", "open_study")}
_PLACES |= {"paper": "cmr.published:paper", "display": "show.display"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return pkgutil.resolve_name(f"repro.{_PLACES.get(name, f'cmr.{name}')}")
