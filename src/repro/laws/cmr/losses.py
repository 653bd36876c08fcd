"""A frame of validation losses, checked and turned into increments over the loss before training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from repro.laws.solver import Array

NUMBERS = ("tokens", "general_loss", "domain_loss")
DEFAULTS: dict[str, str | int] = {"size": "model", "domain": "domain", "seed": 0}
KEYS = ["size", "domain"]
ABOUT = 1 + 1e-9  # a point at T_max counts as up to it in spite of rounding
LOSSES = ("general", "domain")
SEQUENCES = {loss: f"{loss}_sequences" for loss in LOSSES}  # losses of each held-out sequence
SAME = 1e-9  # ratios that differ by no more are one ratio, written with different rounding


class Base(NamedTuple):
    """Losses before continual pre-training, nats per token, the mean over seeds."""

    general: float
    domain: float


@dataclass(frozen=True)
class Trajectories:
    """One model size on one domain: its base, and increments at every point with tokens > 0.

    points: columns ratio, tokens, seed, general, domain, row, ordered by ratio, tokens and seed; each seed's increments
    are over that seed's own base. Where losses by held-out sequence were given, general_sequences and domain_sequences
    hold their increments, an array (m,) at each point. disagreement: the largest difference of general losses of one
    seed at 0 tokens. counted: what ``row`` counts, a "line" of a file (column line) or a "row", its index.
    notes: what was left out or condensed.
    """

    size: str
    domain: str
    base: Base
    points: pd.DataFrame = field(repr=False, compare=False)
    disagreement: float = 0.0
    counted: str = "row"
    notes: tuple[str, ...] = ()

    def measured(self, t_max: float) -> pd.DataFrame:
        """Mean increments over seeds, in the columns of :meth:`repro.laws.Analysis.measured`."""
        mean = self.points.groupby(["ratio", "tokens"], as_index=False)[["general", "domain"]].mean()
        return pd.DataFrame({
            "size": self.size, "domain_name": self.domain,
            "ratio": mean["ratio"], "t": 100 * mean["tokens"] / t_max,
            "general": mean["general"], "domain": mean["domain"], "kind": "measured",
        })  # fmt: skip


def trajectories(losses: pd.DataFrame) -> list[Trajectories]:
    """One entry for each (size, domain), in order of appearance.

    losses: columns ratio, tokens, general_loss, domain_loss; optional size, domain, seed. Rows with tokens = 0 give the
    base: one for each seed, or one for all (the ratio of these rows is not read). general_sequences and
    domain_sequences, if there, hold arrays (m,): the loss of each held-out sequence, the same sequences in every row.
    Raises ValueError for a missing column, a value that is not finite or out of range, or a group without a row at 0
    tokens or without any row beyond; it names the row and what is allowed.
    """
    frame = _checked(losses)
    groups = frame.groupby(KEYS, sort=False)
    return [_group(str(rows["size"].iloc[0]), str(rows["domain"].iloc[0]), rows) for _, rows in groups]


def _checked(losses: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in ("ratio", *NUMBERS) if name not in losses]
    if missing:
        raise ValueError(f"the losses lack {', '.join(missing)}; columns are ratio, {', '.join(NUMBERS)}")
    frame = losses.copy()
    for name, value in DEFAULTS.items():
        if name not in frame:
            frame[name] = value
    frame[KEYS] = frame[KEYS].astype(str)
    for name in NUMBERS:
        _refuse(frame, ~frame[name].astype(float).abs().lt(np.inf), name, "a finite number")
    _refuse(frame, frame["tokens"] < 0, "tokens", "0 or more")
    trained = frame["tokens"] > 0
    _refuse(frame, trained & ~frame["ratio"].between(0, 1), "ratio", "between 0 and 1")
    return frame.assign(ratio=one_value_each(frame["ratio"]))


def one_value_each(ratios: pd.Series) -> pd.Series:
    """The ratios with those that differ by rounding (0.1 and 0.09999999999999998) made equal, to the most frequent."""
    counts = ratios.value_counts().sort_index()
    values = counts.index.to_numpy(float)
    cluster = np.cumsum(np.diff(values, prepend=values[:1]) > SAME)
    usual = counts.groupby(cluster).transform(lambda same: same.idxmax())
    return ratios.map(usual)


def _refuse(frame: pd.DataFrame, bad: pd.Series, name: str, allowed: str) -> None:
    if bad.any():
        row = bad[bad].index[0]
        raise ValueError(f"row {row}: {name} is {frame.loc[bad, name].iloc[0]}; it must be {allowed}")


def _group(size: str, domain: str, rows: pd.DataFrame) -> Trajectories:
    # Sorted, so that nothing random depends on the order of the rows given.
    rows = rows.sort_values(
        ["ratio", "tokens", "seed"], kind="stable", key=lambda c: c.astype(str) if c.name == "seed" else c
    )
    before, after = rows[rows["tokens"] == 0], rows[rows["tokens"] > 0]
    if before.empty:
        raise ValueError(f"{size}, {domain}: no row with tokens = 0, so the losses before training are not known")
    if after.empty:
        raise ValueError(f"{size}, {domain}: no row with tokens > 0")
    by_seed = before.groupby("seed")[["general_loss", "domain_loss"]].mean()
    mean = by_seed.mean()
    own = by_seed.reindex(after["seed"]).fillna(mean).to_numpy()
    points = pd.DataFrame({
        "ratio": after["ratio"].to_numpy(float), "tokens": after["tokens"].to_numpy(float),
        "seed": after["seed"].to_numpy(),
        "general": after["general_loss"].to_numpy(float) - own[:, 0],
        "domain": after["domain_loss"].to_numpy(float) - own[:, 1],
        "row": (after["line"] if "line" in after else after.index.to_series()).to_numpy(),
    })  # fmt: skip
    for name in SEQUENCES.values():
        if (changes := _by_sequence(name, before, after)) is not None:
            points[name] = pd.Series(changes, dtype=object)
    apart = before.groupby("seed")["general_loss"].agg(lambda losses: losses.max() - losses.min()).max()
    base = Base(float(mean["general_loss"]), float(mean["domain_loss"]))
    counted = "line" if "line" in rows else "row"
    return Trajectories(size, domain, base, points.reset_index(drop=True), float(apart), counted)


def _by_sequence(name: str, before: pd.DataFrame, after: pd.DataFrame) -> list[Array] | None:
    """Each point's increments by held-out sequence, over its own seed's base; None where the rows have not all of them.
    Raises ValueError if rows differ in their number of sequences, which cannot be the same ones then.
    """
    if name not in after or not all(isinstance(losses, np.ndarray) for losses in [*before[name], *after[name]]):
        return None
    if len(counts := {len(losses) for losses in [*before[name], *after[name]]}) > 1:
        raise ValueError(
            f"{name} has {min(counts)} to {max(counts)} losses; the same sequences are needed in every row"
        )
    bases = {seed: np.mean(list(rows), axis=0) for seed, rows in before.groupby("seed")[name]}
    every = np.mean(list(bases.values()), axis=0)
    pairs = zip(after[name], after["seed"], strict=True)
    return [losses - bases.get(seed, every) for losses, seed in pairs]
