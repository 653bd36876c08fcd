"""Results as JSON that every reader takes: no NaN, no infinity, null where a thing does not exist."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repro.laws import Fit

Interval = list[float | None]


def finite(value: float | None) -> float | None:
    """The number as Python's own; None for NaN, an infinity or None."""
    return None if value is None or not math.isfinite(value) else float(value)


def pair(ends: Sequence[float | None] | None) -> Interval | None:
    """An interval; an end that is not finite, the interval being open there, is None."""
    return None if ends is None else [finite(end) for end in ends]


def fit_json(fit: Fit | None, *, intervals: bool) -> dict[str, Any] | None:
    """A fit's parameters, 95% intervals (null if not asked for), goodness and warnings; None for no fit."""
    if fit is None:
        return None
    ends = None
    if intervals:
        table = fit.conf_int()
        rows = zip(table.index, table["lower"], table["upper"], strict=True)
        ends = {str(name): pair((float(low), float(high))) for name, low, high in rows}
    open_ended = [name for name, pair_ in (ends or {}).items() if pair_ is None or None in pair_]
    undetermined = [f"{name}: the data set no finite limit to its interval" for name in open_ended]
    return {
        "params": {name: finite(value) for name, value in fit.params.items()},
        "ci": ends,
        "sse": finite(fit.sse),
        "rse": finite(fit.rse),
        "r2": finite(fit.r2),
        "n": fit.n,
        "warnings": [*fit.warnings, *undetermined],
    }


def write(path: Path, content: Any) -> None:
    """Write JSON that ends in a newline.

    Raises:
        ValueError: if a number in it is not finite.

    """
    path.write_text(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
