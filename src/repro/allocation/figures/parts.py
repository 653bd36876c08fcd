"""Pieces that the figures share: axes of scores and of SFT tokens, intervals, lines across a panel, empty panels."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import altair as alt
import numpy as np
import pandas as pd

from repro.show import style

PLACE = "place"  # the column that is drawn: SFT tokens, or where "none" stands
_LINE = 30  # letters, in a title along the height of a panel
_HEADROOM = 0.06  # of the span of the scores, above and below
_PLACES = (("sft_tokens", "SFT tokens", ",.0f"), ("cpt_fraction", "CPT fraction", ".7f"))
_SHARE = 0.16  # of the axis, between "none" and the fewest tokens
_MARGIN = 0.035  # of the axis, at both ends
_STEPS = ([1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8])


def limits(points: pd.DataFrame, *columns: str) -> list[float]:
    """Axis limits around all values of the columns (default: score, low, high); 0 to 1 where there is none."""
    every = points[list(columns or ("score", "low", "high"))].to_numpy(float)
    every = every[np.isfinite(every)]
    if not len(every):
        return [0.0, 1.0]
    low, high = float(every.min()), float(every.max())
    margin = _HEADROOM * (high - low) or 0.02 * abs(high) or 0.02
    return [low - margin, high + margin]


def shares(ends: list[float]) -> bool:
    """Whether an axis with these limits is one of shares, written in percent."""
    return ends[0] > -0.2 and ends[1] < 1.2


def score_axis(ends: list[float], title: str = "Score", ticks: int = 6) -> alt.Y:
    """The axis of scores, in percent where they are shares; a long title is in several lines."""
    axis = alt.Axis(format="%" if shares(ends) else "~g", tickCount=ticks)
    return alt.Y("score:Q", title=textwrap.wrap(title, _LINE), axis=axis, scale=alt.Scale(domain=ends, nice=False))


def band(rows: pd.DataFrame, x: alt.X, y: alt.Y, colour: Any = None) -> list[Any]:
    """The area between low and high, where both are known; grey without ``colour``."""
    return style.band(rows, y, x, grey(colour), opacity=0.2, clip=True)


def curve(rows: pd.DataFrame, x: alt.X, y: alt.Y, colour: Any, tips: Any, size: int = 40) -> list[Any]:
    """Lines with dots, in the band between low and high; dragging moves them."""
    base = alt.Chart(style.inline(rows))
    dots = base.mark_circle(size=size, opacity=1).encode(x, y, colour, tooltip=tips).add_params(style.zoom())
    return [*band(rows, x, y, colour), base.mark_line(strokeWidth=2).encode(x, y, colour), dots]


def bars(rows: pd.DataFrame, x: alt.X, y: alt.Y, colour: Any = None, **mark: Any) -> list[Any]:
    """Error bars between low and high, as :func:`band`."""
    return style.bars(rows, y, x, grey(colour), strokeWidth=1.3, **mark)


def grey(colour: Any) -> Any:
    return alt.ColorValue(style.GREY) if colour is None else colour


def rules(marks: pd.DataFrame, x: alt.X, colours: Mapping[str, str]) -> Any:
    """Upright lines across the panel, named in the legend by their column mark."""
    key = alt.Legend(title=None, orient="top", symbolType="stroke", symbolStrokeWidth=3)
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    dash = alt.StrokeDash("mark:N", scale=alt.Scale(domain=list(colours), range=[[1, 0], [5, 3]]), legend=key)
    lines = alt.Chart(style.inline(marks)).mark_rule(strokeWidth=1.8)
    tips = [style.word("mark", "Line"), *places(marks)]
    return lines.encode(x, alt.Color("mark:N", scale=scale, legend=key), dash, tooltip=tips)


def strip(best: pd.DataFrame, x: alt.X, colour: str) -> list[Any]:
    """The interval of a peak, columns low and high, as a strip over the height of the panel."""
    area = style.band(best[["low", "high"]], x)
    return [layer.mark_rect(color=colour, opacity=0.14, clip=True) for layer in area]


def places(frame: pd.DataFrame) -> list[alt.Tooltip]:
    """Where a row stands, as far as the frame says it."""
    return [style.number(field, title, form) for field, title, form in _PLACES if field in frame]


def legend(names: Mapping[str, str], field: str, there: pd.Series, **options: Any) -> alt.Color:
    """Colour by ``field``, the legend with those of ``names`` that are there, each in its own colour."""
    present = [name for name in names if name in set(there)]
    key = alt.Legend(title=None, orient="top", symbolOpacity=1, **options)
    scale = alt.Scale(domain=present, range=[names[name] for name in present])
    return alt.Color(f"{field}:N", sort=present, legend=key, scale=scale)


def nothing(text: str, width: int = style.PANEL, height: int = 60) -> Any:
    """A panel that says why it is empty."""
    data = alt.InlineData(values=cast(Any, [{"says": text}]))
    chart = alt.Chart(data).mark_text(color=style.GREY, fontSize=12, tooltip=None).encode(text="says:N")
    return chart.properties(width=width, height=height)


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
        scale = alt.Scale(type="log", domain=ends, nice=False)
        labels = "format(datum.value, '~s')"
        if self.none is not None:
            labels = f"datum.value < {math.sqrt(self.none * self.low):.9g} ? 'none' : {labels}"
        axis = alt.Axis(values=self._ticks(), labelExpr=labels, labelOverlap="greedy")
        title = "SFT tokens (logarithmic)" if titled else None
        return alt.X(f"{PLACE}:Q", title=title, axis=axis, scale=scale)

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
