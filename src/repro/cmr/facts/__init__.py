"""Numbers and phrases that the prose of the pages quotes, all of them taken from data: nothing is typed.

Each function returns names for ``display.glue``, every name for every study. Where a run decides what a sentence
has to say, or whether a number exists, the function returns the phrase, so that a page re-executed with other
parameters does not go on claiming the old result.
"""

from repro.cmr.facts.critical import (
    Bullets as Bullets,
    binding as binding,
    critical as critical,
    second as second,
    size_trend as size_trend,
    turning_order as turning_order,
    warnings as warnings,
)
from repro.cmr.facts.fits import (
    beyond_the_law as beyond_the_law,
    by_size as by_size,
    control as control,
    held_out_errors as held_out_errors,
    no_replay as no_replay,
    predicted as predicted,
    published_offsets as published_offsets,
    published_ratio as published_ratio,
    ratio as ratio,
    tokens as tokens,
    trade_off as trade_off,
)
from repro.cmr.facts.runs import corpora as corpora, pretraining as pretraining, shapes as shapes
from repro.show.words import Facts as Facts
