"""Numbers and phrases that the prose of the pages quotes, all of them taken from data: nothing is typed.

Each function returns names for ``display.glue``, every name for every study. Where a run decides what a sentence
has to say, or whether a number exists, the function returns the phrase, so that a page re-executed with other
parameters does not go on claiming the old result.
"""

from repro.cmr.facts.critical import Bullets, binding, critical, second, size_trend, turning_order, warnings
from repro.cmr.facts.fits import (
    beyond_the_law,
    by_size,
    held_out_errors,
    no_replay,
    printed_error,
    published_offsets,
    published_order,
    published_ratio,
    ratio,
    tokens,
    trade_off,
)
from repro.cmr.facts.runs import corpora, pretraining, shapes
from repro.show.words import Facts

__all__ = [
    "Bullets",
    "Facts",
    "beyond_the_law",
    "binding",
    "by_size",
    "corpora",
    "critical",
    "held_out_errors",
    "no_replay",
    "pretraining",
    "printed_error",
    "published_offsets",
    "published_order",
    "published_ratio",
    "ratio",
    "second",
    "shapes",
    "size_trend",
    "tokens",
    "trade_off",
    "turning_order",
    "warnings",
]
