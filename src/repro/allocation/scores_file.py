"""The file that `repro fit allocation` reads: scores at several splits of one budget, checked whole before any fit."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from repro.laws.allocation import NAMES
from repro.laws.allocation.scores import MOST_ITEMS
from repro.tabular import Column, Fault, WrongTable, read, repeated

TOKENS, FRACTION = "sft_tokens", "cpt_fraction"
COLUMNS = (
    Column("score"),
    Column(TOKENS, low=0, required=False),
    Column(FRACTION, low=0, high=1, required=False, share=True),
    Column("n_items", kind="whole", low=1, high=MOST_ITEMS, required=False),
    Column("seed", kind="text", required=False),
)
PROPORTION = Column("score", low=0, high=1, share=True)


def read_scores(path: Path, budget: float) -> tuple[pd.DataFrame, list[str]]:
    """The scores as `repro.laws.allocation.analyse_allocation` takes them, and what to know of how they were read.

    Args:
        path: a CSV file with the columns `COLUMNS`; of sft_tokens and cpt_fraction one is enough.
        budget: tokens of CPT and SFT together.

    Raises:
        WrongTable: with every fault of the file.

    """
    frame, faults = read(path, COLUMNS)
    split = next((name for name in (TOKENS, FRACTION) if name in frame), None)
    if split is None:
        raise WrongTable(path, [*faults, Fault(1, f"no column {TOKENS!r} or {FRACTION!r}; one of them is needed")])
    if "n_items" in frame:
        outside = frame[(frame["score"] < 0) | (frame["score"] > 1)]
        faults += [
            Fault(int(line), f"{PROPORTION.fault(f'{score:g}')}, as it is a proportion of n_items", "score")
            for line, score in zip(outside["line"], outside["score"], strict=True)
        ]
    if split == TOKENS:
        beyond = frame[frame[TOKENS] > budget]
        faults += [
            Fault(int(line), f"{TOKENS} is {tokens:g}; it must be at most the budget, {budget:g}", TOKENS)
            for line, tokens in zip(beyond["line"], beyond[TOKENS], strict=True)
        ]
    hint = "" if "seed" in frame else " (runs that differ in their seed need a column seed)"
    sound = frame[~frame["line"].isin([fault.line for fault in faults])]
    faults += repeated(sound, (split, "seed"), hint)
    if not faults:
        faults = _too_few(frame, split)
    if faults:
        raise WrongTable(path, faults)
    return _plain(frame, split)


def _too_few(frame: pd.DataFrame, split: str) -> list[Fault]:
    with_sft = frame[frame[split] > 0] if split == TOKENS else frame[frame[split] < 1]
    count = with_sft[split].nunique()
    if count >= len(NAMES):
        return []
    return [Fault(0, f"{count} different allocations with SFT tokens; Equation 1 has {len(NAMES)} parameters")]


def _plain(frame: pd.DataFrame, split: str) -> tuple[pd.DataFrame, list[str]]:
    """The frame with numbered seeds, without the file's line numbers and with one column for the split."""
    if "seed" in frame:
        frame = frame.assign(seed=pd.factorize(frame["seed"], sort=True)[0])
    both = split == TOKENS and FRACTION in frame
    notes = [f"{FRACTION} was not read: the file has {TOKENS} as well"] if both else []
    return frame.drop(columns=["line", *([FRACTION] if both else [])]), notes
