"""What checks the claims of paper A: RECOMPUTED from its printed numbers, REPLICATED by the runs of a study."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from repro.cmr.study import Study
from repro.study import claims
from repro.study.claims import Recomputed, Replicated

RECOMPUTED: dict[str, Callable[[], Recomputed]] = {}
REPLICATED: dict[str, Callable[[Study], Replicated | None]] = {}
show = partial(claims.show, "cmr")
