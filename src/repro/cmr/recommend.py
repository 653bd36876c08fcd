"""The mix that runs recommend, and the cheapest pilot that finds one: `repro recommend`."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from repro.cmr.frames import DomainResults
from repro.cmr.study import Study, open_study
from repro.cmr.tables import critical_shares
from repro.laws import Fit, Group, ratio_label
from repro.laws.cmr.critical import Critical
from repro.params import Params, ParamsError
from repro.show.tables import Columns, listed, two_lines, with_intervals
from repro.show.words import join, short_tokens

FIRST = tuple(Fraction(n, 4) for n in (1, 2, 3))  # L(R) has three parameters
GRID = tuple(Fraction(n, 64) for n in range(1, 65))  # shares that a pilot may try
LATER = 200  # hundredths of the run
UNDECIDED = "not decided"
BOUNDS = {"at least": "no share tried is too large", "at most": "every share tried is too large"}
NARROW, SPENT, NO_RATIO = "the interval is narrow enough", "all runs are spent", "shares lie too close to tell apart"
_LOSSES = {"general": "general_loss", "domain": "domain_loss"}
_COLUMNS: Columns = {
    "size": "model size", "domain": "", "mix": ("recommended share", two_lines), "decided_by": "",
    "general": ("general loss there", two_lines), "general_loss_change": ("its change", "{:+.3f}"),
    "own": ("domain loss there", two_lines), "domain_loss_change": ("its change ", "{:+.3f}"),
}  # fmt: skip


def recommended(results: DomainResults) -> pd.DataFrame:
    """The share of domain text to mix in, a row for each size: the critical ratio (Definition 3), and what to expect.

    Columns of `DomainResults.critical_ratios`, and share (NaN where none can be recommended), decided_by (the condition
    that gives the smaller ratio, or why there is none), and at that share, in nats per token, general_loss and
    domain_loss by L(R), as measured where it was run, with <loss>_lower, <loss>_upper (95%) and <loss>_change, since
    the beginning.
    """
    rows = [_row(group, results.end_losses()) for group in results.analysis.groups]
    return results.critical_ratios().join(pd.DataFrame(rows))


def _row(group: Group, ends: pd.DataFrame) -> dict[str, Any]:
    both, binds = group.critical_ratio.both, UNDECIDED
    if both.value is not None:
        by_tolerance = group.critical_ratio.tolerance.value == both.value
        binds = BOUNDS.get(str(both.bound), "tolerance" if by_tolerance else "turning point")
    share = np.nan if both.value is None or both.bound == "at most" else both.value
    row: dict[str, Any] = {"share": share, "decided_by": binds}
    for loss, name in _LOSSES.items():
        there = ends[(ends["size"] == group.size) & (ends["loss"] == loss) & np.isclose(ends["ratio"], share)]
        expected = _expected(group.ratio_law[loss], share, there["value"].tolist())
        row |= dict(zip((name, f"{name}_lower", f"{name}_upper"), expected, strict=True))
        row[f"{name}_change"] = expected[0] - getattr(group.base, loss)
    return row


def _expected(law: Fit | None, share: float, measured: list[float]) -> list[float]:
    """A loss at a share, and the ends of its interval."""
    if law is None or measured or not 0 < share < 1:
        return [*measured, *[np.nan] * 3][:3]
    value: list[float] = law.interval(share).iloc[0].tolist()
    return value


def table(results: DomainResults) -> Styler:
    """What is recommended, and why; of :func:`recommended`."""
    return listed(_texts(recommended(results)), _COLUMNS, "no share can be recommended, or there is no L(R)")


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns mix, general and own: the share and the losses with their intervals."""
    losses = {
        short: with_intervals(frame[name], frame, name, "{:.3f}", "{:.3f}")
        for short, name in (("general", "general_loss"), ("own", "domain_loss"))
    }
    return frame.assign(mix=critical_shares(frame)["both"].where(frame["share"].notna(), None), **losses)


@dataclass(frozen=True)
class Pilot:
    """What a pilot found: `recommended` of one model; at other tolerances (`DomainResults.tolerances`); and by turning
    point after twice the tokens (NaN where Equation 8 does not say).
    """

    found: pd.DataFrame
    tolerances: pd.DataFrame
    later: float
    ratios: tuple[Fraction, ...]
    runs: int
    tokens: int
    stopped: str
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything that the text says; None for what does not exist."""
        (found,), others = (json.loads(frame.to_json(orient="records")) for frame in (self.found, self.tolerances))
        tried = {"ratios": list(map(float, self.ratios)), "runs": self.runs, "tokens": self.tokens}
        later = None if np.isnan(self.later) else self.later
        told = {"stopped": self.stopped, "warnings": self.warnings}
        return {**found, "tolerances": others, "later": later, "pilot": tried, **told}

    def __str__(self) -> str:
        shares = critical_shares(self.found)["by turning point"].fillna("none")
        (row,) = _texts(self.found).fillna({"mix": "none", "general": "none", "own": "none"}).to_dict("records")
        tried = join(map(ratio_label, map(float, self.ratios)))
        lines = [
            f"pilot: {self.runs} runs of {short_tokens(self.tokens)} tokens at R = {tried}; {self.stopped}",
            f"model {row['size']}, domain {row['domain']}",
            f"  recommended share of domain text  {row['mix']}",
            f"  decided by                        {row['decided_by']}",
            f"  general loss there                {row['general']}  (change {row['general_loss_change']:+.3f})",
            f"  domain loss there                 {row['own']}  (change {row['domain_loss_change']:+.3f})",
            "what would change it",
        ]
        at = critical_shares(self.tolerances)["by tolerance"].fillna("none")
        lines += [f"  tolerance {e:g} nats: {text}" for e, text in zip(self.tolerances["epsilon"], at, strict=True)]
        lines += [f"  no tolerance, by turning point: {shares.iloc[0]}"]
        lines += [f"  by turning point after twice the tokens: {self.later:.1%}"] if self.later == self.later else []
        return "\n".join([*(line.replace("\n", " ") for line in lines), *(f"warning: {w}" for w in self.warnings)])


def pilot(params: Params, width: float, runs: int) -> Pilot:
    """Try few shares with the first model and domain, each next one where it tells most, until the interval is at most
    `width` (a share) wide or `runs` are spent. The runs are those of a study with these ratios. ParamsError if the
    budget is too small for any answer, or as `open_study` raises it.
    """
    if runs < (least := len(FIRST) * len(params.seeds)):
        raise ParamsError(f"--runs: must be at least {least}: {len(FIRST)} shares for each of the seeds")
    first, own = _first(params.ratios), {"second_domain": None, "second_ratios": (), "learning_rates": ()}
    every = tuple(dict.fromkeys((*params.ratios, *first, *GRID)))
    whole = open_study(params.model_copy(update={"ratios": every, "models": params.models[:1], **own}))
    whole.design.require_data()
    tried = first
    while True:
        study = _with(whole, tried)
        results = study.results()
        both, done = results.analysis.groups[0].critical_ratio.both, len(study.design.continual)
        low, high = both.interval or (-np.inf, np.inf)
        following = None if high - low <= width else _following(both, tried, params.ratios)
        if following is None or done + len(params.seeds) > runs:
            break
        tried = sorted([*tried, following])
    stopped = NARROW if high - low <= width else NO_RATIO if following is None else SPENT
    later = results.ratio_curves([LATER])["ratio"]
    return Pilot(
        recommended(results), results.tolerances(), float(later.iloc[-1]) if len(later) else np.nan,
        tuple(tried), done, params.continual_tokens, stopped, results.analysis.warnings,
    )  # fmt: skip


def _first(ratios: Sequence[Fraction]) -> list[Fraction]:
    """The least, the middle and the largest of the ratios between 0 and 1, or, of fewer than three, `FIRST` as well."""
    inside = sorted(ratio for ratio in ratios if 0 < ratio < 1)
    inside = inside if len(inside) >= len(FIRST) else sorted({*inside, *FIRST})
    return [inside[0], inside[len(inside) // 2], inside[-1]]


def _with(study: Study, ratios: Collection[Fraction]) -> Study:
    runs = tuple(run for run in study.design.continual if run.ratio in ratios)
    return replace(study, design=replace(study.design, continual=runs, recovery=(), peaks=()))


def _following(both: Critical, tried: Sequence[Fraction], listed_: Collection[Fraction]) -> Fraction | None:
    """The middle of the widest gap between ratios tried where the critical ratio may lie, or the nearest to it of those
    in the parameters, if one is there; None if it was tried.
    """
    low, high = both.interval or both.within
    ends = max(low, 0.0), min(high, 1.0)
    places = [ends[0], *(float(ratio) for ratio in tried if ends[0] < ratio < ends[1]), ends[1]]
    low, high = max(pairwise(places), key=lambda gap: (gap[1] - gap[0], gap[0]))
    own = [ratio for ratio in listed_ if low < ratio < high]
    nearest = min(own or GRID, key=lambda ratio: abs(ratio - (low + high) / 2))
    return None if nearest in tried else nearest
