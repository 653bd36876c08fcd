"""Synthetic studies of many designs: general loss that rises, and falls again sooner for small ratios."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from repro.cmr.frames import DomainResults
from repro.laws import Analysis, analyse

DISTANCES = pd.DataFrame(
    {"corpus": ["general, kept", "far", "near"], "distance": [0.05, 0.5, 0.2], "share": [float("nan"), 0.0, 0.1]}
)


def losses(
    ratios: Iterable[float], sizes: int = 2, seeds: int = 1, domain: str = "far", points: int = 13
) -> pd.DataFrame:
    """A losses frame of so many sizes and seeds, with a little noise."""
    rng = np.random.default_rng(0)
    share = np.linspace(0, 1, points)
    rows: list[dict[str, Any]] = []
    for size in range(sizes):
        for seed in range(seeds):
            for ratio in ratios:
                noise = rng.normal(0, 5e-4, (2, points)) * (share > 0)
                general = (1 - 0.2 * size) * (0.25 * ratio**1.3 * share**0.5 - 0.06 * (1 - ratio) * share) + noise[0]
                fall = (0.4 + 0.6 * ratio) * share**0.3 + noise[1]
                frame = {"tokens": np.round(1e6 * share), "general_loss": 4.2 + general, "domain_loss": 5.1 - fall}
                key = {"size": f"0.{size + 1}M", "domain": domain, "ratio": ratio, "seed": seed}
                rows += pd.DataFrame(key | frame).to_dict("records")
    return pd.DataFrame(rows)


STUDIES: dict[str, dict[str, Any]] = {
    "full": {"ratios": [1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4, 1.0]},
    "only the domain": {"ratios": [1.0]},
    "only a quarter": {"ratios": [1 / 4], "sizes": 1},
    "two ratios": {"ratios": [1 / 8, 1 / 2]},
    "large ratios": {"ratios": [3 / 4, 1.0]},
    "small ratios": {"ratios": [1 / 8, 1 / 4, 1 / 2]},
    "one size": {"ratios": [1 / 8, 1 / 4, 1 / 3, 1 / 2, 1.0], "sizes": 1},
    "with the control": {"ratios": [0.0, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0]},
    "three seeds": {"ratios": [1 / 8, 1 / 4, 1 / 2, 1.0], "seeds": 3},
    "few points": {"ratios": [1 / 4, 1 / 2], "points": 4},
}


@cache
def study(name: str, domain: str = "far", bootstrap: int = 0) -> Analysis:
    return analyse(losses(**STUDIES[name], domain=domain), bootstrap=bootstrap)


def results(name: str, domain: str = "far", bootstrap: int = 0) -> DomainResults:
    return DomainResults(study(name, domain, bootstrap))


class Given:
    """Results that are frames given by name, whatever is asked of them: ``Given(curves=...)``."""

    epsilon, t_title, last_t = None, "T", 150

    def __init__(self, **frames: Any) -> None:
        points = pd.DataFrame(columns=["size", "ratio", "t", "general", "domain", "status", "lower", "upper"])
        for name, frame in {"turning_points": points, **frames}.items():
            setattr(self, name, lambda *_, frame=frame, **__: frame.copy())
