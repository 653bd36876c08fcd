"""A reader's file of losses: its columns, what it lacks, and in words whether they hold what their names say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from repro.fit.logs import NOTHING_SAID, Logs, read
from repro.fit.numbers import SHARE, TOKENS
from repro.fit.table import Column, Fault, WrongTable, numbered, repeated
from repro.laws import DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, ratio_label
from repro.laws.cmr.losses import ABOUT, Base, named, one_value_each
from repro.output import shown

COLUMNS = (
    Column("ratio", low=0, high=1, blank=True, units=SHARE),  # not read before continual pretraining
    Column("tokens", low=0, units=TOKENS),
    Column("general_loss", blank=True),  # each where it was measured
    Column("domain_loss", blank=True),
    Column("size", kind="text", required=False),
    Column("domain", kind="text", required=False),
    Column("seed", kind="text", required=False, blank=True),  # the base may be that of all seeds
)
GROUP = ("size", "domain")
RUN = (*GROUP, "ratio", "tokens", "seed")
POINTS = max(len(DOMAIN_TOKEN_LAW.names), len(GENERAL_TOKEN_LAW.names))
LOSSES = ("general_loss", "domain_loss")
APART = 0.05  # nats: losses of one model differ by less, however they are computed
HIGH = 8.0  # nats per token: no pretrained model is so bad (a uniform guess among 3,000 words)
RISES = 0.8  # rank correlation with the ratio from which a loss is said to rise with it


def read_losses(
    path: Path, t_max: float | None, base: Base | None, logs: Logs = NOTHING_SAID
) -> tuple[pd.DataFrame, list[str]]:
    """The losses for `repro.laws.analyse`, notes on how they were read; raises WrongTable with all its faults."""
    frame, faults, notes = read(path, COLUMNS, logs)
    frame = frame.assign(ratio=one_value_each(frame["ratio"]))
    for column in (COLUMNS[0], COLUMNS[-1]):
        if column.name in frame:
            reported = [fault.line for fault in faults if fault.column in (column.name, "tokens")]
            blank = frame[column.name].isna() & (frame["tokens"] != 0) & ~frame["line"].isin(reported)
            faults += [column.fault(int(line), "") for line in frame.loc[blank, "line"]]
    known = frame.fillna({"ratio": -1, "seed": ""})
    faults += dict.fromkeys(fault for loss in LOSSES for fault in repeated(known.dropna(subset=loss), faults, RUN))
    frame, impossible = _possible(frame)
    if not faults:
        frame, holes = _paired(frame)
        notes += holes
        faults = _restarted(frame)
    if not faults:
        faults = _too_little(frame, float(frame["tokens"].max()) if t_max is None else t_max, base)
    if faults:
        raise WrongTable(path, faults)
    read_as, unneeded = _with_base(frame, base)
    end = float(frame["tokens"].max()) if t_max is None else t_max
    doubts = [f"{name}: {text}" if name else text for name, rows in _groups(read_as) for text in _doubts(rows, end)]
    return read_as, [*notes, *impossible, *doubts, *unneeded]


def _paired(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows with both losses, which may come from two rows of one run at the same tokens; notes on the others."""
    keys = [key for key in RUN if key in frame]
    pairs = frame.groupby(keys, dropna=False, sort=False, as_index=False).first()
    number = pairs[list(LOSSES)].notna().sum(axis=1)
    texts = {0: "no loss", 1: "one loss, and none at the same tokens has the other"}
    left = {text: pairs.loc[number == count, "line"] for count, text in texts.items()}
    notes = [f"rows with {text}, are left out ({named(lines, 'line')})" for text, lines in left.items() if len(lines)]
    return pairs[number == 2].sort_values("line").reset_index(drop=True), notes


def _restarted(frame: pd.DataFrame) -> list[Fault]:
    """A fault for each row at 0 tokens that contradicts an earlier one of its group and seed."""
    base = frame[frame["tokens"] == 0]
    keys = [key for key in ("tokens", *GROUP, "seed") if key in frame]
    first = base.groupby(keys, dropna=False)[["line", *LOSSES]].transform("first")
    far = (base[list(LOSSES)] - first[list(LOSSES)]).abs().gt(APART).any(axis=1)
    pairs = zip(base.loc[far, "line"], first.loc[far, "line"], strict=True)
    text = "is at 0 tokens, as line {} is, but with other losses: leave it out if a run was restarted there"
    return [Fault(int(line), text.format(earlier), kind="restarted") for line, earlier in pairs]


def _groups(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Each group under the name that messages give it: "" where there is only one without a name."""
    keys = [key for key in GROUP if key in frame]
    if not keys:
        return [("", frame)]
    return [(", ".join(map(shown, key)), rows) for key, rows in frame.groupby(keys, sort=False)]


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
