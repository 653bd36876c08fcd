"""Pieces that the figures share: axes of scores and of SFT tokens, and lines across a panel."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from repro.show import charts, style

SCORE = ("score", "low", "high")  # the columns of a score and of the ends of its interval
PLACE = "place"  # the column that is drawn: SFT tokens, or where "none" stands
_LINE = 30  # letters, in a title along the height of a panel
_PLACES = {"sft_tokens": ("SFT tokens", ",.0f"), "cpt_fraction": ("CPT fraction", ".7f")}
_SHARE = 0.16  # of the axis, between "none" and the fewest tokens
_MARGIN = 0.035  # of the axis, at both ends
_STEPS = ([1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8])


def shares(ends: list[float]) -> bool:
    """Whether an axis with these limits is one of shares, written in percent."""
    return ends[0] > -0.2 and ends[1] < 1.2


def score_axis(ends: list[float], title: str = "Score", ticks: int = 6) -> alt.Y:
    """The axis of scores, in percent where they are shares; a long title is in several lines."""
    form = "%" if shares(ends) else "~g"
    return charts.y("score:Q", textwrap.wrap(title, _LINE), ends, format=form, tickCount=ticks)


def rules(marks: pd.DataFrame, x: alt.X, colours: Mapping[str, str]) -> Any:
    """Upright lines across the panel, named in the legend by their column mark."""
    look: dict[str, Any] = {"symbolType": "stroke", "symbolStrokeWidth": 3}
    dashes = dict(zip(colours, ([1, 0], [5, 3]), strict=False))
    colour = charts.by(alt.Color, "mark", colours, **look)
    lines = alt.Chart(style.inline(marks)).mark_rule(strokeWidth=1.8)
    tips = [*style.tips(mark="Line"), *places(marks)]
    return lines.encode(x, colour, charts.by(alt.StrokeDash, "mark", dashes, **look), tooltip=tips)


def strip(best: pd.DataFrame, x: alt.X, colour: str) -> list[Any]:
    """The interval of a peak, columns low and high, as a strip over the height of the panel."""
    area = style.intervals(best[["low", "high"]], x)
    return [layer.mark_rect(color=colour, opacity=0.14, clip=True) for layer in area]


def places(frame: pd.DataFrame) -> list[alt.Tooltip]:
    """Where a row stands, as far as the frame says it."""
    return style.tips(**{field: how for field, how in _PLACES.items() if field in frame})


@dataclass(frozen=True)
class TokenAxis:
    """SFT tokens from ``low`` to ``high``; ``none`` is where zero stands, left of ``low``, if any allocation has it."""

    low: float
    high: float
    none: float | None = None

    @classmethod
    def of(cls, *tokens: Iterable[float]) -> TokenAxis:
        """The axis that holds all of these numbers of tokens; those that are NaN are not drawn."""
        every = np.concatenate([np.asarray(list(values), dtype=float) for values in tokens])
        positive = every[every > 0]
        low, high = (float(positive.min()), float(positive.max())) if len(positive) else (1.0, 1.0)
        none = low / max(high / low, 4.0) ** (_SHARE / (1 - _SHARE)) if (every == 0).any() else None
        return cls(low, high, none)

    def place(self, tokens: pd.Series) -> pd.Series:
        """Where numbers of tokens stand on the axis."""
        return tokens.astype(float).mask(tokens == 0, np.nan if self.none is None else self.none)

    def placed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with the column `PLACE`, by its sft_tokens."""
        return frame.assign(**{PLACE: self.place(frame["sft_tokens"])})

    def x(self, *, titled: bool = True) -> alt.X:
        """The encoding, with the title only where ``titled``."""
        margin, least = self._margin(), self.none or self.low
        ends = [least / margin, self.high * margin]
        labels = "format(datum.value, '~s')"
        if self.none is not None:
            labels = f"datum.value < {math.sqrt(self.none * self.low):.9g} ? 'none' : {labels}"
        look: dict[str, Any] = {"values": self._ticks(), "labelExpr": labels, "labelOverlap": "greedy"}
        title = "SFT tokens (logarithmic)" if titled else None
        return charts.x(f"{PLACE}:Q", title, ends, scale={"type": "log"}, **look)

    def broken(self) -> list[Any]:
        """The dotted line between "none" and the tokens; nothing where there is no such place."""
        return [] if self.none is None else [style.rule("x", math.sqrt(self.none * self.low), dash=(1, 4))]

    def _margin(self) -> float:
        """What the ends are divided and multiplied by; an axis with a single place on it goes on to half and twice."""
        span = self.high / (self.none or self.low)
        return max(span**_MARGIN, 1.04) if span > 1 else 2.0

    def _ticks(self) -> list[float]:
        few, many = (_round_numbers(self.low / 1.001, self.high * 1.001, steps) for steps in _STEPS)
        ticks = few if len(few) >= 3 else many
        if not ticks and self.low * self._margin() > 2:
            ticks = [self.low]
        return ticks if self.none is None else [self.none, *ticks]


def _round_numbers(low: float, high: float, steps: Sequence[float]) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
