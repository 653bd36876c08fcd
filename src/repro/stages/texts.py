"""What training starts from, as stages: texts, tokenizers, tokens (section 3.2 of paper A), a pretrained model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow.parquet as pq

from repro.data import corpora
from repro.data.build import PAIRS, Division, Domain, build
from repro.data.corpora import REPLAY, TRAINING, VALIDATION, Split
from repro.data.sources import Source
from repro.lm.models import ModelSource, size_label
from repro.runs.spec import Stage, Work

if TYPE_CHECKING:
    from repro.lm.sequences import EncodedPair

IDS, PLACES = "ids.npy", "places.npy"


@dataclass(frozen=True, kw_only=True)
class Base(Stage):
    """A pretrained model that is adapted (section 3.1 of paper B), copied or converted once: safetensors and tokenizer.
    parameters: how many weights it has; only costs and plans use it, so it is no part of the identity.
    """

    weights: ClassVar[str] = "*.safetensors"
    effort: ClassVar[float] = 1e11  # seconds of reading and writing, whatever the size
    source: ModelSource
    parameters: int = field(metadata={"identity": False}, compare=False)

    @property
    def name(self) -> str:
        """What tables, figures and saved adapters call this model."""
        return self.source.label

    @property
    def size(self) -> str:
        """What tables and figures of paper A's study call this model."""
        return size_label(self.parameters)

    def flops_per_token(self, _length: int) -> float:
        """Operations of training all its weights on one token, about; without those of attention."""
        return 6.0 * self.parameters

    @property
    def vocabulary(self) -> int:
        """An upper bound: how large this tokenizer is, is not known before the model is here."""
        return 2**32

    @property
    def label(self) -> str:
        return f"base model {self.name}"

    def execute(self, work: Work) -> None:
        self.source.write(work.path)


@dataclass(frozen=True, kw_only=True)
class Text(Stage):
    """Documents of one corpus in training and held-out parts. name: what tables and figures call it, no part of the
    identity; general: a text that is trained on as well; neither's training part repeats what the other holds out.
    """

    name: str = field(metadata={"identity": False}, compare=False)
    sources: tuple[Source, ...]
    split: Split
    general: "Text | None" = None

    @property
    def label(self) -> str:
        return f"text of {self.name}"

    def execute(self, work: Work) -> None:
        seen = work.inputs(self.general) if self.general else None
        counts = corpora.split_text(self.sources, self.split, work.path, seen)
        corpora.write_statistics(work.path, counts)


@dataclass(frozen=True, kw_only=True)
class Material(Stage):
    """A domain's text, pairs and questions.

    name (what tables and figures call it) and benchmarks (what its models are scored on) are no part of the identity;
    seen: general material that is trained on as well, whose text held-out documents must not repeat.
    """

    version: ClassVar[int] = 2
    effort: ClassVar[float] = 1e11
    name: str = field(metadata={"identity": False}, compare=False)
    domain: Domain
    division: Division
    seen: "Material | None" = None
    benchmarks: tuple[str, ...] = field(default=(), metadata={"identity": False}, compare=False)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where its text comes from."""
        return self.domain.sources

    @property
    def label(self) -> str:
        return f"material of {self.name}"

    def execute(self, work: Work) -> None:
        build(work.path, self.domain, self.division, work.inputs(self.seen) if self.seen else None)


@dataclass(frozen=True, kw_only=True)
class Tokenizer(Stage):
    """A byte-level BPE trained on the training part of the general text, and on nothing else."""

    text: Text | Material
    vocabulary: int

    @property
    def label(self) -> str:
        return f"tokenizer of {self.vocabulary:,}"

    def execute(self, work: Work) -> None:
        # Imported here, like everything that imports torch or transformers: reading a finished study takes a second.
        from repro.lm.sequences import train_tokenizer

        texts = corpora.read_texts(work.inputs(self.text), TRAINING)
        train_tokenizer(texts, self.vocabulary).save_pretrained(work.path)


@dataclass(frozen=True, kw_only=True)
class Tokens(Stage):
    """Every part of a text as one file of token ids."""

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
        from repro.lm.sequences import encode, load_tokenizer

        tokenizer = load_tokenizer(work.inputs(self.tokenizer))
        folder, counts = work.inputs(self.text), {}
        for part in (TRAINING, REPLAY, VALIDATION):
            batches = (encode(texts, tokenizer, self.dtype) for texts in corpora.read_batches(folder, part))
            counts[f"{part} tokens"] = corpora.save_tokens(batches, work.path / f"{part}.bin")
        corpora.write_statistics(work.path, counts)


@dataclass(frozen=True, kw_only=True)
class PairTokens(Stage):
    """A domain's pairs as token ids. chat: whether by the chat template; longest: in tokens, longer ones left out."""

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
        from repro.lm.sequences import encode_pairs, load_tokenizer

        table = pq.read_table(work.inputs(self.material) / PAIRS, columns=["prompt", "answer"])
        pairs = list(zip(table["prompt"].to_pylist(), table["answer"].to_pylist(), strict=True))
        tokenizer = load_tokenizer(work.inputs(self.tokenizer))
        encoded = encode_pairs(pairs, tokenizer, chat=self.chat, longest=self.longest)
        ends = np.cumsum([len(pair.tokens) for pair in encoded])
        np.save(work.path / IDS, np.concatenate([pair.tokens for pair in encoded]).astype(np.int32))
        np.save(work.path / PLACES, np.stack([ends, [pair.answer for pair in encoded]], axis=1))


def tokens_of(folder: Path, part: str, dtype: np.dtype) -> np.ndarray:
    """One part of a finished `Tokens` stage, memory-mapped from its folder with its dtype: shape (n,)."""
    return np.memmap(folder / f"{part}.bin", dtype=dtype, mode="r")


def encoded_pairs(folder: Path) -> "Sequence[EncodedPair]":
    """The pairs of a finished `PairTokens` stage, in its order."""
    from repro.lm.sequences import EncodedPair

    ids, places = np.load(folder / IDS), np.load(folder / PLACES)
    parts = np.split(ids, places[:-1, 0])
    return [EncodedPair(tokens, int(answer)) for tokens, answer in zip(parts, places[:, 1], strict=True)]
