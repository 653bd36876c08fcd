"""Whether the columns of a reader's losses hold what their names say; each doubt is a warning in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from repro.laws import Fit, Group, ratio_label
from repro.laws.cmr.quality import NOTHING, named

LOSSES = ("general_loss", "domain_loss")
HIGH = 8.0  # nats per token: no pretrained model is so bad (a uniform guess among 3,000 words)
RISES = 0.8  # rank correlation with the ratio from which a loss is said to rise with it
ODDS = 1e-3  # of a pattern in residuals by chance, over all ratios


def possible(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
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


def doubts(frame: pd.DataFrame, t_max: float) -> Iterator[str]:
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


def patterns(group: Group) -> Iterator[str]:
    """Where residuals of Equation 6 keep their sign for longer than independent noise does (by sign changes)."""
    for loss in ("general", "domain"):
        found = []
        for laws in group.token_laws:
            fit: Fit = getattr(laws, loss)
            if np.ptp(fit.y) < NOTHING:
                continue
            means = pd.Series(fit.y - fit.predict(fit.x)).groupby(fit.x).mean().to_numpy()
            changes = int(np.sum(np.diff(np.sign(means)) != 0))
            if stats.binom.cdf(changes, len(means) - 1, 0.5) < ODDS / len(group.token_laws):
                found.append(f"{ratio_label(laws.ratio)} ({changes} changes of sign in {len(means)} points)")
        if found:
            text = f"residuals of Equation 6 for the {loss} loss follow a pattern at R = {', '.join(found)}"
            yield f"{text}: the noise has a memory, or the law does not follow the loss"
