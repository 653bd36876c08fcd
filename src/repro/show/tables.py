"""What every table has in common: escaped text, the same HTML every time, and gaps that say why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

DASH = "\u2014"
Format = str | Callable[[Any], str]


def styled(frame: pd.DataFrame, formats: Mapping[Any, Format] | Format, why: str, *, index: bool) -> Styler:
    """The frame as a Styler that gives the same HTML every time (no random ids).

    What is missing is a dash that gives ``why`` under the pointer.
    """
    styler = frame.style.format(formats, na_rep=DASH, escape="html")  # type: ignore[arg-type]
    styler = styler.format_index(escape="html", axis=0).format_index(escape="html", axis=1)
    missing = frame.isna()
    if missing.any(axis=None):
        reasons = missing.map(lambda gap: why if gap else "").astype(str)
        styler = styler.set_tooltips(reasons, as_title_attribute=True)
    styler = styler.set_table_attributes('class="dataframe"').set_uuid("t")
    return styler if index else styler.hide(axis="index")
