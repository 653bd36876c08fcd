"""Sum up the large run of recovery studies, making those that the store lacks (over an hour on one core).

The summaries are kept in `src/repro/trust/recorded/`, because a book that is built in minutes cannot run them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repro import cmr, params
from repro.trust.peaks import KINDS, PEAKS
from repro.trust.recovered import BY_TOLERANCE, BY_TURNING, CELL, LEAST, coverage, together, wilson

RECORDED = Path(__file__).resolve().parents[1] / "src" / "repro" / "trust" / "recorded"


def cells(critical: pd.DataFrame) -> pd.DataFrame:
    """:func:`coverage` of both critical ratios and of all turning points, in each design of a study.

    times: how many times as wide the interval is, at the median, as the narrowest from one law alone that itself holds
    the truth in at least `LEAST` of the design's studies; NaN where none does.
    """
    named = _named(critical[critical["reach"] == "across"])
    table = coverage(named, [*CELL, "law"]).set_index(["quantity", *CELL])
    every, alone = table[table["law"] == "all"], table[(table["law"] != "all") & (table["covered"] >= LEAST)]
    times = every["width"] / alone.groupby(level=list(range(1 + len(CELL))))["width"].min()
    times = times.replace(np.inf, np.nan)  # of intervals that are mostly open
    return every.assign(times=times).reset_index()


def refused(critical: pd.DataFrame) -> pd.DataFrame:
    """How often no critical ratio is given, or only a bound, by whether a study can tell it.

    Columns quantity, reach (see :func:`repro.trust.recovery.coverage`), studies, refused (share), low, high (its 95%
    Wilson interval).
    """
    named = _named(critical[(critical["law"] == "all") & critical["ratio"].isna()])
    rows = []
    for (quantity, reach), studies in named.groupby(["quantity", "reach"], sort=False):
        share, low, high = wilson(studies["bound"].astype(bool) | studies["estimate"].isna())
        rows.append({
            "quantity": quantity, "reach": reach, "studies": len(studies), "refused": share, "low": low, "high": high,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _named(critical: pd.DataFrame) -> pd.DataFrame:
    names = {"by turning point": BY_TURNING, "by tolerance": BY_TOLERANCE, "turning point": "turning points"}
    return critical.assign(quantity=critical["quantity"].map(names))


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`repro.trust.peaks.claims` with shape and items: shape, items, sets, and for each kind of claim its
    share and the ends of the 95% interval (Wilson) of that: <kind>, <kind>_low, <kind>_high.
    """
    rows = []
    for (shape, items), part in found.groupby(["shape", "items"], sort=False):
        row: dict[str, Any] = {"shape": shape, "items": items, "sets": len(part)}
        for kind in KINDS:
            row |= zip((kind, f"{kind}_low", f"{kind}_high"), wilson(part[kind]), strict=True)
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Write each summary as CSV, with six digits."""
    study = cmr.open_study(params.from_notebook({"preset": "desk"}))
    critical, best = study.recovery("critical ratio"), study.recovery("best allocation")
    study.run(study.design.peaks)
    peaks = pd.concat([pd.read_csv(study.file(stage, PEAKS)) for stage in study.design.peaks], ignore_index=True)
    summaries = {
        "coverage": coverage(together(critical, best)),
        "cells": cells(critical),
        "refused": refused(critical),
        "claims": claims(peaks),
    }
    RECORDED.mkdir(exist_ok=True)
    for name, frame in summaries.items():
        frame.to_csv(RECORDED / f"{name}.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
