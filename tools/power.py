"""How often the rule of this book would show the paper's own peaks: studies simulated about its fitted laws.

The summary is kept in `src/repro/trust/recorded/power.csv`, because it takes some five minutes on one core.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from repro.allocation import paper, published
from repro.laws.allocation import Allocation
from repro.laws.allocation.scores import checked
from repro.trust.peaks import shown
from repro.trust.recovered import wilson

RECORDED = Path(__file__).resolve().parents[1] / "src" / "repro" / "trust" / "recorded" / "power.csv"
STUDIES = 100
DRAWS = 200  # behind each interval


def simulated(law: Allocation, items: int, studies: int, seed: int = 0) -> list[bool]:
    """Whether each of the studies shows a peak: binomial scores of so many items about a law, at its allocations."""
    rng, tokens = np.random.default_rng(seed), law.fit.x
    right = rng.binomial(items, law.fit.predict(tokens).clip(0, 1), size=(studies, len(tokens)))
    frames = (pd.DataFrame({"sft_tokens": tokens, "score": each / items, "n_items": items}) for each in right)
    return shown([checked(frame, law.budget) for frame in frames], DRAWS, seed)


def power(studies: int = STUDIES) -> pd.DataFrame:
    """The laws fitted to the paper's Table 6: benchmark, items, studies, shown (share), low, high (95%, Wilson)."""
    rows = []
    for (name, _), law in paper.fits.items():
        items = published.BENCHMARKS[name].items
        share, low, high = wilson(pd.Series(simulated(law, items, studies)))
        rows.append({"benchmark": name, "items": items, "studies": studies, "shown": share, "low": low, "high": high})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    power().to_csv(RECORDED, index=False, float_format="%.6g")
