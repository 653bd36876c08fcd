"""What the corpora of a study hold and how far they lie apart, read from the finished stages of the store."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon

from repro.cmr.design import Design
from repro.lm.corpora import REPLAY, TRAINING, VALIDATION
from repro.lm.sources import WHOLE
from repro.runs import Stage
from repro.stages.corpus import STATISTICS, Tokens, statistics, tokens_of

File = Callable[[Stage, str], Path]  # one file of a finished stage, verified


def contents(design: Design, file: File) -> pd.DataFrame:
    """One row per corpus and part: corpus, part, documents, characters, tokens, epochs, and per corpus its sources,
    licences and how many near-duplicates of held-out documents were dropped.

    epochs: how often the most demanding run goes through the part; NaN for held-out text.
    """
    return pd.DataFrame([row for stage in (design.general, *design.domains) for row in _rows(design, file, stage)])


def _rows(design: Design, file: File, stage: Tokens) -> list[dict[str, Any]]:
    counts = statistics(file(stage.text, STATISTICS))
    lengths = statistics(file(stage, STATISTICS))
    kept = pd.DataFrame(counts["kept"])
    return [
        {
            "corpus": stage.text.name,
            "part": str(part),
            "documents": int(rows["documents"].sum()),
            "characters": int(rows["characters"].sum()),
            "tokens": lengths[f"{part} tokens"],
            "epochs": _epochs(design, stage, str(part), lengths[f"{part} tokens"]),
            "sources": "; ".join(source.label for source in stage.text.sources),
            "licences": "; ".join(dict.fromkeys(source.licence for source in stage.text.sources)),
            "near_duplicates": counts["near_duplicates"],
        }
        for part, rows in kept.groupby("part", sort=False)
    ]


def _epochs(design: Design, stage: Tokens, part: str, tokens: int) -> float:
    if part == VALIDATION:
        return math.nan
    runs = [run for run in design.continual if stage in (run.domain, run.base.tokens)]
    if stage == design.general and part == TRAINING:
        used = [float(run.training.tokens) for run in design.pretraining]
    elif part == REPLAY:
        used = [float(run.training.tokens * (1 - run.ratio)) for run in runs]
    else:
        used = [float(run.training.tokens * run.ratio) for run in runs]
    return max(used, default=0.0) / tokens


def distances(design: Design, file: File) -> pd.DataFrame:
    """How far each corpus lies from the general pretraining text: columns corpus, distance, share.

    distance: Jensen-Shannon's (base 2, so between 0 and 1) between the frequencies of tokens. The first row, general
    text kept from pretraining, is what two samples of the same text give. share: of the characters of the general text,
    how many come from other documents of the very sources of the corpus (NaN in that row).
    """
    reference = _frequencies(file, design.general, TRAINING)
    others = {"general, kept from pretraining": _frequencies(file, design.general, REPLAY)}
    others |= {stage.text.name: _frequencies(file, stage, TRAINING) for stage in design.domains}
    rows = [{"corpus": n, "distance": float(jensenshannon(reference, f, base=2))} for n, f in others.items()]
    shares = [_share(design.general, domain, file) for domain in design.domains]
    return pd.DataFrame(rows).assign(share=[math.nan, *shares])


def _share(general: Tokens, domain: Tokens, file: File) -> float:
    """The share of the general text that comes from the sources of a domain."""
    whole = [replace(source, part=WHOLE) for source in domain.text.sources]
    shared = [source.label for source in general.text.sources if replace(source, part=WHOLE) in whole]
    kept = pd.DataFrame(statistics(file(general.text, STATISTICS))["kept"])
    return float(kept.loc[kept["source"].isin(shared), "characters"].sum() / kept["characters"].sum())


def _frequencies(file: File, stage: Tokens, part: str) -> np.ndarray:
    folder = file(stage, f"{part}.bin").parent
    return np.bincount(tokens_of(folder, part, stage.dtype), minlength=stage.tokenizer.vocabulary)
