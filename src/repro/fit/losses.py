"""A reader's file of losses: its columns, what it lacks, and in words whether they hold what their names say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from repro.fit.table import Column, Fault, WrongTable, numbered, read, repeated
from repro.laws import DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, ratio_label
from repro.laws.cmr.losses import ABOUT, Base, named, one_value_each

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
LOSSES = ("general_loss", "domain_loss")
HIGH = 8.0  # nats per token: no pretrained model is so bad (a uniform guess among 3,000 words)
RISES = 0.8  # rank correlation with the ratio from which a loss is said to rise with it


def read_losses(path: Path, t_max: float | None, base: Base | None) -> tuple[pd.DataFrame, list[str]]:
    """The losses as `repro.laws.analyse` takes them, and what the reader should know of how they were read; raises
    WrongTable with every fault of the file.
    """
    frame, faults = read(path, COLUMNS)
    frame = frame.assign(ratio=one_value_each(frame["ratio"]))
    blank = frame[frame["ratio"].isna() & ~(frame["tokens"] == 0)]
    reported = {fault.line for fault in faults if fault.column in ("ratio", "tokens")}
    faults += [Fault(int(line), COLUMNS[0].fault(""), "ratio") for line in blank["line"] if line not in reported]
    faults += repeated(frame.assign(ratio=frame["ratio"].fillna(-1)), faults, RUN)
    frame, impossible = _possible(frame)
    if not faults:
        faults = _too_little(frame, float(frame["tokens"].max()) if t_max is None else t_max, base)
    if faults:
        raise WrongTable(path, faults)
    read_as, notes = _with_base(frame, base)
    end = float(frame["tokens"].max()) if t_max is None else t_max
    doubts = [f"{name}: {text}" if name else text for name, rows in _groups(read_as) for text in _doubts(rows, end)]
    return read_as, [*impossible, *doubts, *notes]


def _groups(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Each group under the name that messages give it: "" where there is only one without a name."""
    keys = [key for key in GROUP if key in frame]
    if not keys:
        return [("", frame)]
    return [(", ".join(map(str, key)), rows) for key, rows in frame.groupby(keys, sort=False)]


def _too_little(frame: pd.DataFrame, t_max: float, base: Base | None) -> list[Fault]:
    """What the file as a whole lacks, each fault at the first line of the rows concerned."""
    faults = []
    for name, rows in _groups(frame):
        of = f"{name}: " if name else ""
        if base is None and not (rows["tokens"] == 0).any():
            what = "no row with tokens 0 tells the losses before continual pretraining; add one, or give them with"
            faults.append(Fault(_first(rows), f"{of}{what} --base-general and --base-domain"))
        trained = rows[rows["tokens"] > 0]
        if trained.empty:
            faults.append(Fault(_first(rows), f"{of}no row with tokens above 0"))
        for _, run in trained.groupby("ratio"):
            count = run.loc[run["tokens"] <= t_max * ABOUT, "tokens"].nunique()
            if count < POINTS:
                ratio = ratio_label(float(run["ratio"].iloc[0]))
                what = f"ratio {ratio} has {count} different tokens above 0 and up to T_max"
                faults.append(Fault(_first(run), f"{of}{what} ({t_max:g}); the token law needs at least {POINTS}"))
    return faults


def _first(rows: pd.DataFrame) -> int:
    return int(rows["line"].iloc[0])


def _with_base(frame: pd.DataFrame, base: Base | None) -> tuple[pd.DataFrame, list[str]]:
    """The frame with numbered seeds and a base in each group."""
    frame = numbered(frame).assign(ratio=frame["ratio"].fillna(0.0))
    if base is None:
        return frame, []
    lacking = [rows.head(1) for _, rows in _groups(frame) if not (rows["tokens"] == 0).any()]
    added = [row.assign(ratio=0.0, tokens=0.0, general_loss=base.general, domain_loss=base.domain) for row in lacking]
    notes = [] if added else ["--base-general and --base-domain were not needed: the file has rows with tokens 0"]
    return pd.concat([*added, frame], ignore_index=True), notes


def _possible(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows whose losses can be cross-entropies (above 0); a note names the lines of the others."""
    notes = []
    kept = np.ones(len(frame), dtype=bool)
    for loss in LOSSES:
        wrong = (frame[loss] <= 0).to_numpy()
        if wrong.any():
            kept &= ~wrong
            text = f"{loss} is 0 or less, which no cross-entropy can be"
            notes.append(f"{text}: taken as not measured, rows left out ({named(frame.loc[wrong, 'line'], 'line')})")
    return frame[kept], notes


def _doubts(frame: pd.DataFrame, t_max: float) -> Iterator[str]:
    """What makes one group's losses (the columns of the file) look like something else."""
    before = frame.loc[frame["tokens"] == 0, list(LOSSES)].median()
    for loss in LOSSES:
        if before[loss] > HIGH:
            text = f"{loss} is {before[loss]:.4g} before training, too high for nats per token"
            yield f"{text}: if it is a perplexity, take its natural logarithm"
    trained = frame[(frame["tokens"] > 0) & (frame["tokens"] <= t_max)].sort_values("tokens", kind="stable")
    ends = trained.groupby("ratio").tail(3).groupby("ratio")[list(LOSSES)].median()
    noise = trained.groupby("ratio").tail(5).groupby("ratio")["domain_loss"].std().median()
    span = np.ptp(ends["domain_loss"]) if len(ends) >= 3 else 0.0
    if span == 0 or span < 4 * noise or stats.spearmanr(ends.index, ends["domain_loss"]).statistic < RISES:
        return
    apart = ends - before
    if (apart["domain_loss"] > 0).mean() > 0.5 and (apart["general_loss"] < 0).mean() > 0.5:
        yield "the domain loss rises with the domain's share while the general loss falls: are the two losses swapped?"
    else:
        yield "the domain loss rises with the domain's share: does the column ratio hold the share of general text?"
