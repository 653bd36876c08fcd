"""Small texts of made-up prose."""

from pathlib import Path

import numpy as np

from repro.data.sources import FolderSource

SUBJECTS = [
    "the river",
    "a small engine",
    "an old theory",
    "the nervous system",
    "every market",
    "some crystal",
    "the third king",
]
VERBS = [
    "carries",
    "was named after",
    "slowly changes",
    "depends on",
    "is made of",
    "cannot explain",
    "has always needed",
]
OBJECTS = [
    "cold water",
    "the northern hills",
    "two kinds of proof",
    "a thin layer of salt",
    "its own weight",
    "trade by sea",
]


def prose(documents: int, sentences: int = 12, seed: int = 0) -> list[str]:
    """Documents of grammatical nonsense, all different, with something for a model to learn."""
    rng = np.random.default_rng(seed)

    def sentence() -> str:
        words = [str(rng.choice(part)) for part in (SUBJECTS, VERBS, OBJECTS)]
        return f"{' '.join(words)} in {rng.integers(1000, 2000)}.".capitalize()

    return [" ".join(sentence() for _ in range(sentences)) for _ in range(documents)]


def folder_source(folder: Path, texts: list[str]) -> FolderSource:
    """A source of one .txt file a text."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number:05}.txt").write_text(text)
    return FolderSource.of(folder)
