"""Sum up the large run of recovery studies, making those that the store lacks (over an hour on one core).

The summaries are kept in `src/repro/trust/recorded/`, because a book that is built in minutes cannot run them.
"""

from pathlib import Path

from repro import cmr, params
from repro.trust import peaks, recovered

RECORDED = Path(__file__).resolve().parents[1] / "src" / "repro" / "trust" / "recorded"


def main() -> None:
    """Write each summary as CSV, with six digits."""
    study = cmr.open_study(params.from_notebook({"preset": "desk"}))
    critical, best = study.recovery("critical ratio"), study.recovery("best allocation")
    summaries = {
        "coverage": recovered.coverage(recovered.together(critical, best)),
        "cells": recovered.cells(critical),
        "refused": recovered.refused(critical),
        "claims": peaks.rates(study.claims()),
    }
    RECORDED.mkdir(exist_ok=True)
    for name, frame in summaries.items():
        frame.to_csv(RECORDED / f"{name}.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
