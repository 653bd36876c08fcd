"""The file that `repro fit cmr` reads: losses by mixture ratio and tokens, checked whole before anything is fitted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from repro.laws import DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, ratio_label
from repro.laws.mixture.losses import ABOUT
from repro.tabular import Column, Fault, WrongTable, read, repeated

COLUMNS = (
    Column("ratio", low=0, high=1, blank=True, share=True),  # not read before continual pretraining
    Column("tokens", low=0),
    Column("general_loss"),
    Column("domain_loss"),
    Column("size", kind="text", required=False),
    Column("domain", kind="text", required=False),
    Column("seed", kind="text", required=False),
)
GROUP = ("size", "domain")
RUN = (*GROUP, "ratio", "tokens", "seed")
POINTS = max(len(DOMAIN_TOKEN_LAW.names), len(GENERAL_TOKEN_LAW.names))


class Base(NamedTuple):
    """Losses before continual pretraining, for groups whose rows do not tell them."""

    general: float
    domain: float


def read_losses(path: Path, *, t_max: float | None = None, base: Base | None = None) -> tuple[pd.DataFrame, list[str]]:
    """The losses as `repro.laws.analyse` takes them, and what the reader should know of how they were read.

    Args:
        path: a CSV file with the columns `COLUMNS`.
        t_max: T_max in the unit of ``tokens``; default: the most tokens in the file.
        base: adds a row at 0 tokens to each group (size and domain) that has none.

    Raises:
        WrongTable: with every fault of the file.

    """
    frame, faults = read(path, COLUMNS)
    blank = frame[frame["ratio"].isna() & ~(frame["tokens"] == 0)]
    told = {fault.line for fault in faults if fault.column in ("ratio", "tokens")}
    empty = Fault(0, COLUMNS[0].fault(""), "ratio")
    faults += [empty._replace(line=int(line)) for line in blank["line"] if line not in told]
    hint = "" if "seed" in frame else " (runs that differ in their seed need a column seed)"
    sound = frame[~frame["line"].isin([fault.line for fault in faults])]
    faults += repeated(sound.assign(ratio=sound["ratio"].fillna(-1)), RUN, hint)
    if not faults:
        faults = _too_little(frame, float(frame["tokens"].max()) if t_max is None else t_max, base)
    if faults:
        raise WrongTable(path, faults)
    return _with_base(frame, base)


def _groups(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Each group under the name that messages give it: "" where there is only one without a name."""
    keys = [key for key in GROUP if key in frame]
    if not keys:
        return [("", frame)]
    return [(", ".join(map(str, key)), rows) for key, rows in frame.groupby(keys, sort=False)]


def _too_little(frame: pd.DataFrame, t_max: float, base: Base | None) -> list[Fault]:
    """What the file as a whole lacks, each told at the first line of the rows concerned."""
    faults = []
    for name, rows in _groups(frame):
        of = f"{name}: " if name else ""
        if base is None and not (rows["tokens"] == 0).any():
            text = "no row with tokens 0 tells the losses before continual pretraining; add one, or give them with"
            faults.append(Fault(_first(rows), f"{of}{text} --base-general and --base-domain"))
        trained = rows[rows["tokens"] > 0]
        if trained.empty:
            faults.append(Fault(_first(rows), f"{of}no row with tokens above 0"))
        for _, run in trained.groupby("ratio"):
            count = run.loc[run["tokens"] <= t_max * ABOUT, "tokens"].nunique()
            if count < POINTS:
                ratio = ratio_label(float(run["ratio"].iloc[0]))
                text = f"ratio {ratio} has {count} different tokens above 0 and up to T_max"
                faults.append(Fault(_first(run), f"{of}{text} ({t_max:g}); Equation 6 needs at least {POINTS}"))
    return faults


def _first(rows: pd.DataFrame) -> int:
    return int(rows["line"].iloc[0])


def _with_base(frame: pd.DataFrame, base: Base | None) -> tuple[pd.DataFrame, list[str]]:
    """The frame with numbered seeds and a base in each group, without the file's line numbers."""
    if "seed" in frame:
        frame = frame.assign(seed=pd.factorize(frame["seed"], sort=True)[0])
    frame = frame.assign(ratio=frame["ratio"].fillna(0.0))
    if base is None:
        return frame.drop(columns="line"), []
    lacking = [rows.head(1) for _, rows in _groups(frame) if not (rows["tokens"] == 0).any()]
    added = [row.assign(ratio=0.0, tokens=0.0, general_loss=base.general, domain_loss=base.domain) for row in lacking]
    notes = [] if added else ["--base-general and --base-domain were not needed: the file has rows with tokens 0"]
    return pd.concat([*added, frame], ignore_index=True).drop(columns="line"), notes
