"""Tokenizers and token ids as stages, made of texts: of a corpus (section 3.2 of paper A) and of a domain's pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow.parquet as pq

from repro.data import corpora
from repro.data.build import PAIRS
from repro.data.corpora import REPLAY, TRAINING, VALIDATION
from repro.runs.spec import Stage, Work
from repro.stages.base import Base
from repro.stages.texts import Material, Text

if TYPE_CHECKING:
    from repro.lm.instructions import EncodedPair

IDS, PLACES = "ids.npy", "places.npy"


@dataclass(frozen=True, kw_only=True)
class Tokenizer(Stage):
    """A byte-level BPE trained on the training part of the general text, and on nothing else."""

    version: ClassVar[int] = 1
    text: Text | Material
    vocabulary: int

    @property
    def label(self) -> str:
        return f"tokenizer of {self.vocabulary:,}"

    def execute(self, work: Work) -> None:
        # Imported here, like everything that imports torch or transformers: reading a finished study takes a second.
        from repro.lm.tokenizer import train_tokenizer

        texts = corpora.read_texts(work.inputs(self.text), TRAINING)
        train_tokenizer(texts, self.vocabulary).save_pretrained(work.path)


@dataclass(frozen=True, kw_only=True)
class Tokens(Stage):
    """Every part of a text as one file of token ids."""

    version: ClassVar[int] = 1
    text: Text | Material
    tokenizer: Tokenizer | Base

    @property
    def label(self) -> str:
        return f"tokens of {self.text.name}"

    @property
    def dtype(self) -> np.dtype:
        """The type of the token ids on disk."""
        # By the vocabulary asked for, which a small text may not fill: it is all that a reader of the tokens knows.
        return corpora.token_dtype(self.tokenizer.vocabulary)

    def execute(self, work: Work) -> None:
        from repro.lm.tokenizer import encode, load_tokenizer

        tokenizer = load_tokenizer(work.inputs(self.tokenizer))
        folder, counts = work.inputs(self.text), {}
        for part in (TRAINING, REPLAY, VALIDATION):
            batches = (encode(texts, tokenizer, self.dtype) for texts in corpora.read_batches(folder, part))
            counts[f"{part} tokens"] = corpora.save_tokens(batches, work.path / f"{part}.bin")
        corpora.write_statistics(work.path, counts)


@dataclass(frozen=True, kw_only=True)
class PairTokens(Stage):
    """A domain's pairs as token ids.

    chat: whether prompts go through the model's chat template; longest: tokens; longer pairs are left out.
    """

    version: ClassVar[int] = 1
    effort: ClassVar[float] = 1e11
    material: Material
    tokenizer: Tokenizer | Base
    chat: bool
    longest: int

    @property
    def name(self) -> str:
        return self.material.name

    @property
    def label(self) -> str:
        return f"pairs of {self.name}"

    def execute(self, work: Work) -> None:
        from repro.lm.instructions import encode_pairs
        from repro.lm.tokenizer import load_tokenizer

        table = pq.read_table(work.inputs(self.material) / PAIRS, columns=["prompt", "answer"])
        pairs = list(zip(table["prompt"].to_pylist(), table["answer"].to_pylist(), strict=True))
        tokenizer = load_tokenizer(work.inputs(self.tokenizer))
        encoded = encode_pairs(pairs, tokenizer, chat=self.chat, longest=self.longest)
        ends = np.cumsum([len(pair.tokens) for pair in encoded])
        np.save(work.path / IDS, np.concatenate([pair.tokens for pair in encoded]).astype(np.int32))
        np.save(work.path / PLACES, np.stack([ends, [pair.answer for pair in encoded]], axis=1))


def tokens_of(folder: Path, part: str, dtype: np.dtype) -> np.ndarray:
    """One part of a finished `Tokens` stage, memory-mapped, shape (n,).

    folder: where the part's ``.bin`` file lies; dtype: the stage's.
    """
    return np.memmap(folder / f"{part}.bin", dtype=dtype, mode="r")


def encoded_pairs(folder: Path) -> "Sequence[EncodedPair]":
    """The pairs of a finished `PairTokens` stage, in its order."""
    from repro.lm.instructions import EncodedPair

    ids, places = np.load(folder / IDS), np.load(folder / PLACES)
    parts = np.split(ids, places[:-1, 0])
    return [EncodedPair(tokens, int(answer)) for tokens, answer in zip(parts, places[:, 1], strict=True)]
