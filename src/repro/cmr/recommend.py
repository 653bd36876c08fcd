"""The mix that runs recommend, and the cheapest pilot that finds one: `repro recommend`."""

import json
from collections.abc import Collection
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from repro.cmr.frames import DomainResults
from repro.cmr.study import Study, open_study
from repro.cmr.tables import critical_shares
from repro.laws import Fit, ratio_label
from repro.laws.cmr.critical import Critical
from repro.params import Params, ParamsError
from repro.show.tables import styled, two_lines
from repro.show.words import short_tokens

FIRST = tuple(Fraction(n, 4) for n in (1, 2, 3))  # L(R) has three parameters
GRID = tuple(Fraction(n, 64) for n in range(1, 65))  # shares that a pilot may try
BOUNDS = {"at least": "no share tried is too large", "at most": "every share tried is too large"}
NARROW, SPENT, TRIED = "the interval is narrow enough", "all runs are spent", "the shares left lie too close to others"
LOSSES = ("general", "domain")


def recommended(results: DomainResults) -> pd.DataFrame:
    """The share of domain text to mix in, a row for each size: the critical ratio (Definition 3), and what to expect.

    Columns of `DomainResults.critical_ratios`, and share (NaN where none can be recommended), decided_by (the condition
    that gives the smaller ratio, or why there is none), and, in nats per token, general_loss and domain_loss at that
    share, by L(R) or as measured where it was run, with general_change and domain_change, since the beginning.
    """
    found, ends, groups = results.critical_ratios(), results.end_losses(), results.analysis.groups
    binds = pd.Series("turning point", found.index).mask(found["tolerance_ratio"] == found["both"], "tolerance")
    binds = binds.mask(found["both"].isna(), "not decided")
    found["decided_by"] = binds.mask(found["both_bound"].notna(), found["both_bound"].map(BOUNDS))
    found["share"] = found["both"].where(found["both_bound"] != "at most")
    for loss in LOSSES:
        measured = [ends[(ends["size"] == group.size) & (ends["loss"] == loss)] for group in groups]
        found[f"{loss}_loss"] = list(map(_at, found["share"], measured, (group.ratio_law[loss] for group in groups)))
        found[f"{loss}_change"] = found[f"{loss}_loss"] - [getattr(group.base, loss) for group in groups]
    return found


def _at(share: float, measured: pd.DataFrame, law: Fit | None) -> float:
    here = measured.loc[np.isclose(measured["ratio"], share), "value"].tolist()
    return float(here[0] if here else np.nan if law is None or np.isnan(share) else law.predict(share))


def table(results: DomainResults) -> Styler:
    """What :func:`recommended` says, for readers: shares above their intervals, losses above their changes."""
    frame = recommended(results)
    mix = critical_shares(frame)["both"].where(frame["share"].notna(), None)
    columns = {"model size": frame["size"], "decided by": frame["decided_by"], "recommended share": mix}
    for loss in LOSSES:
        rows = zip(frame[f"{loss}_loss"], frame[f"{loss}_change"], strict=True)
        texts = [f"{at:.3f}\n({change:+.3f})" if at == at else None for at, change in rows]
        columns[f"{loss} loss there"] = pd.Series(texts, dtype=object)
    return styled(pd.DataFrame(columns), dict.fromkeys([*columns][2:], two_lines), "not known", index=False)


class Pilot(NamedTuple):
    """A study of the ratios that a pilot tried, and why it tried no more."""

    study: Study
    stopped: str

    def as_json(self) -> dict[str, Any]:
        """The row of `recommended`, those of `DomainResults.tolerances`, the pilot, and what the analysis warns of."""
        results, runs = self.study.results(), self.study.design.continual
        (found,), tolerances = (
            json.loads(frame.to_json(orient="records")) for frame in (recommended(results), results.tolerances())
        )
        tried = [float(ratio) for ratio in sorted({run.ratio for run in runs})]
        tokens = self.study.params.continual_tokens
        pilot = {"ratios": tried, "runs": len(runs), "tokens": tokens, "stopped": self.stopped}
        return {**found, "tolerances": tolerances, "pilot": pilot, "warnings": results.analysis.warnings}

    def __str__(self) -> str:
        results, pilot = self.study.results(), self.as_json()["pilot"]
        lines = {"shares tried": ", ".join(map(ratio_label, pilot["ratios"])), "stopped": self.stopped}
        lines["runs"] = f"{pilot['runs']} of {short_tokens(pilot['tokens'])} tokens"
        lines |= cast(Any, table(results)).data.iloc[0]
        others, by = results.tolerances(), critical_shares(results.critical_ratios())
        at = zip(others["epsilon"], critical_shares(others)["by tolerance"], strict=True)
        lines |= {f"by tolerance {epsilon:g} alone": text for epsilon, text in at}
        lines["by turning point alone"] = by["by turning point"].iloc[0]
        texts = [f"{f'{title}:':28}{text or 'none'}".replace("\n", " ") for title, text in lines.items()]
        return "\n".join([*texts, *(f"warning: {text}" for text in results.analysis.warnings)])


def pilot(params: Params, width: float, runs: int) -> Pilot:
    """Try few shares with the first model and domain, each next one where it tells most, until the interval is at most
    `width` (a share) wide or `runs` are spent. The runs are those of a study with these ratios. ParamsError if the
    budget is too small for any answer, or as `open_study` raises it.
    """
    if runs < (least := len(FIRST) * len(params.seeds)):
        raise ParamsError(f"--runs: must be at least {least}: {len(FIRST)} shares for each of the seeds")
    every = sorted({*GRID, *params.ratios})
    own = {"models": params.models[:1], "second_domain": None, "learning_rates": (), "ratios": every}
    study = open_study(params.model_copy(update=own))
    study.design.require_data()
    tried, whole = {*FIRST}, study.design.continual
    while True:
        done = tuple(run for run in whole if run.ratio in tried)
        study = replace(study, design=replace(study.design, continual=done, recovery=(), peaks=()))
        both = study.results().analysis.groups[0].critical_ratio.both
        if both.interval and both.interval[1] - both.interval[0] <= width:
            return Pilot(study, NARROW)
        if len(done) + len(params.seeds) > runs:
            return Pilot(study, SPENT)
        if (following := _following(both, tried, params.ratios)) is None:
            return Pilot(study, TRIED)
        tried.add(following)


def _following(both: Critical, tried: Collection[Fraction], own: Collection[Fraction]) -> Fraction | None:
    """The middle of the widest gap between ratios tried where the critical ratio may lie, or the nearest to it of one's
    own, if one is there; None if the gap holds no other.
    """
    low, high = np.clip(both.interval or both.within, 0, 1)
    places = [low, *sorted(float(ratio) for ratio in tried if low < ratio < high), high]
    low, high = max(pairwise(places), key=lambda gap: (gap[1] - gap[0], gap[0]))
    inside = [ratio for ratio in {*own, *GRID} - {*tried} if low < ratio < high]
    mine = [ratio for ratio in inside if ratio in own]
    return min(mine or inside, key=lambda ratio: (abs(ratio - (low + high) / 2), ratio), default=None)
