"""Texts split by document into training and held-out parts, as Parquet files; and files of tokens and of counts."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from repro.data.documents import Document, Documents, NearDuplicates

TRAINING, REPLAY, VALIDATION = "training", "replay", "validation"
STATISTICS = "statistics.json"  # counts of a finished text, of its tokens, or of a domain
ROWS = 1000  # documents read, deduplicated or encoded at a time


@dataclass(frozen=True, kw_only=True)
class Split:
    """How documents are divided, by a hash of their text, so that neither order nor other documents matter. validation:
    share held out; replay: share for continual pretraining, like the general text of the CMR paper (section 3.2);
    near_duplicate: Jaccard similarity of word 5-grams from which two texts count as the same.
    """

    validation: Fraction
    replay: Fraction
    near_duplicate: float

    def part(self, document: Document) -> str:
        position = document.position("split")
        if position < self.validation:
            return VALIDATION
        return REPLAY if position < self.validation + self.replay else TRAINING


class TextParts(AbstractContextManager["TextParts"]):
    """Writes documents to one Parquet file per part, with their source, and counts them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[str, list[tuple[str, str]]] = {}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._documents: Counter[tuple[str, str]] = Counter()
        self._characters: Counter[tuple[str, str]] = Counter()

    def __exit__(self, *_error: object) -> None:
        for part in self._rows:
            self._flush(part)
        for writer in self._writers.values():
            writer.close()

    def add(self, source: str, part: str, text: str) -> None:
        self._rows.setdefault(part, []).append((source, text))
        self._documents[source, part] += 1
        self._characters[source, part] += len(text)
        if len(self._rows[part]) == ROWS:
            self._flush(part)

    def counts(self) -> list[dict[str, Any]]:
        """One row per source and part: source, part, documents, characters."""
        return [
            {"source": source, "part": part, "documents": count, "characters": self._characters[source, part]}
            for (source, part), count in self._documents.items()
        ]

    def _flush(self, part: str) -> None:
        rows = self._rows[part]
        table = pa.table({"source": [source for source, _ in rows], "text": [text for _, text in rows]})
        if part not in self._writers:
            self._writers[part] = pq.ParquetWriter(self._folder / f"{part}.parquet", table.schema)
        self._writers[part].write_table(table)
        self._rows[part] = []


def split_text(sources: Sequence[Documents], split: Split, folder: Path, seen: Path | None = None) -> dict[str, Any]:
    """Divide the documents of `sources` into Parquet files in `folder`.

    A training document that nearly repeats a held-out one is dropped. `seen` is the folder of another text that is
    trained on as well (the general text, for a domain): a held-out document that nearly repeats one of its training
    documents is dropped, and so is a training document that nearly repeats one of its held-out documents. Exact repeats
    are dropped everywhere.

    Returns "kept", a list of rows (source, part, documents, characters), and the numbers of documents dropped:
    "repeated" exactly, "near_duplicates" from training, "seen_elsewhere" from the held-out part. Raises ValueError if a
    part that should hold text is empty.
    """
    held_out = _held_out(sources, split, seen)
    elsewhere = read_texts(seen, VALIDATION) if seen else ()
    known = NearDuplicates([*held_out, *elsewhere], split.near_duplicate)
    dropped, texts = Counter(repeated=0, near_duplicates=0, seen_elsewhere=0), set[bytes]()
    with TextParts(folder) as parts:
        for source, document in _documents(sources):
            part = split.part(document)
            if document.digest in texts:
                dropped["repeated"] += 1
            elif part == VALIDATION and document.text not in held_out:
                dropped["seen_elsewhere"] += 1
            elif part != VALIDATION and document.text in known:
                dropped["near_duplicates"] += 1
            else:
                parts.add(source.label, part, document.text)
            texts.add(document.digest)
    kept = parts.counts()
    for part in (TRAINING, VALIDATION, *([REPLAY] if split.replay else [])):
        if part not in {row["part"] for row in kept}:
            raise ValueError(f"the {part} part holds no document: give more text, or another share of it")
    return {"kept": kept, **dropped}


def _documents(sources: Sequence[Documents]) -> Iterator[tuple[Documents, Document]]:
    for source in sources:
        for document in source.documents():
            yield source, document


def _held_out(sources: Sequence[Documents], split: Split, seen: Path | None) -> dict[str, None]:
    texts = [document.text for _, document in _documents(sources) if split.part(document) == VALIDATION]
    if seen is None:
        return dict.fromkeys(texts)
    # The held-out side is the small one: index it, and look up in it every text that is trained on elsewhere.
    ours = NearDuplicates(texts, split.near_duplicate)
    trained = (text for part in (TRAINING, REPLAY) for text in read_texts(seen, part))
    repeated = {match for text in trained for match in ours.matches(text)}
    return dict.fromkeys(text for text in texts if text not in repeated)


def read_texts(folder: Path, part: str) -> Iterator[str]:
    """The texts of one part, if there is such a part."""
    for batch in read_batches(folder, part):
        yield from batch


def read_batches(folder: Path, part: str) -> Iterator[list[str]]:
    """The texts of one part, up to a thousand at a time."""
    file = folder / f"{part}.parquet"
    if file.is_file():
        for batch in pq.ParquetFile(file).iter_batches(ROWS, columns=["text"]):
            yield batch.column("text").to_pylist()


def token_dtype(vocabulary: int) -> np.dtype:
    """The smallest unsigned type that holds every token id of a vocabulary of this size."""
    return np.dtype(np.uint16 if vocabulary <= 2**16 else np.uint32)


def save_tokens(batches: Iterable[np.ndarray], file: Path) -> int:
    """Write token arrays one after the other as raw little-endian integers; returns how many tokens."""
    count = 0
    with file.open("wb") as out:
        for tokens in batches:
            out.write(tokens.tobytes())
            count += len(tokens)
    return count


def write_statistics(folder: Path, counts: dict[str, Any]) -> None:
    """Write the counts of what ``folder`` holds to its `STATISTICS`."""
    (folder / STATISTICS).write_text(json.dumps(counts, indent=1) + "\n")


def read_statistics(file: Path) -> dict[str, Any]:
    """The counts that :func:`write_statistics` wrote to ``file``."""
    counts: dict[str, Any] = json.loads(file.read_text())
    return counts
