"""A model of a few thousand weights, stages that train one, and what it learns from in a few steps."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import LlamaForCausalLM

from helpers.texts import folder_source, prose
from repro.data.build import PAIRS
from repro.data.corpora import Split
from repro.lm.models import Shape, new_model
from repro.lm.sequences import Batches, Stream
from repro.lm.training import Optimiser
from repro.runs import Stage, Work
from repro.stages.texts import Text, Tokenizer, Tokens
from repro.stages.training import Pretrain, Training

VOCABULARY, LENGTH, STEPS = 64, 16, 12
CONSTANT = Optimiser(peak=1e-2, steps=STEPS, warmup=2)


def tokens(seed: int = 0) -> np.ndarray:
    """A text in which the next token is mostly the last one plus one, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    return (np.cumsum(rng.choice([1, 1, 1, 7], 5000)) % VOCABULARY).astype(np.uint16)


BATCHES = Batches(Stream(tokens(), LENGTH, 0), 8)


def tiny(seed: int = 0) -> LlamaForCausalLM:
    return new_model(Shape(hidden=16, intermediate=48, layers=2, heads=2), VOCABULARY, LENGTH, seed)


def small_pretrain(folder: Path, documents: int, *, layers: int = 2, sequences: int = 2, **training: Any) -> Pretrain:
    """Pretraining on so many documents of prose, which are written to `folder`; training: other than as here."""
    split = Split(validation=Fraction(1, 5), replay=Fraction(1, 5), near_duplicate=0.8)
    text = Text(name="prose", sources=(folder_source(folder, prose(documents)),), split=split)
    settings: dict[str, Any] = {
        "tokens": 512, "length": 16, "batch": 4, "peak": 1e-2, "warmup": 2, "floor": 0.1, "weight_decay": 0.1,
        "clip": 1.0, "precision": "fp32", "measures": 2,
    }  # fmt: skip
    return Pretrain(
        tokens=Tokens(text=text, tokenizer=Tokenizer(text=text, vocabulary=300)),
        shape=Shape(hidden=16, intermediate=32, layers=layers, heads=2),
        training=Training(**settings | training),
        sequences=sequences,
        seed=0,
    )


@dataclass(frozen=True, kw_only=True)
class MadePairs(Stage):
    """Pairs of a prompt and an answer, as a domain's material has them."""

    name: str
    pairs: tuple[tuple[str, str], ...]

    def execute(self, work: Work) -> None:
        rows = [{"item": str(n), "prompt": prompt, "answer": answer} for n, (prompt, answer) in enumerate(self.pairs)]
        pd.DataFrame(rows).to_parquet(work.path / PAIRS, index=False)
