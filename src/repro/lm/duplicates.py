"""Near-duplicates of held-out documents, found by MinHash over word 5-grams and confirmed by their true overlap."""

import re
from collections.abc import Iterable

import numpy as np
from datasketch import MinHash, MinHashLSH

SHINGLE_WORDS = 5
PERMUTATIONS = 64


def shingles(text: str) -> frozenset[str]:
    """The word 5-grams of a text, case and punctuation aside; a shorter text is one shingle."""
    words = re.findall(r"\w+", text.lower())
    last = max(len(words) - SHINGLE_WORDS, 0)
    return frozenset(" ".join(words[i : i + SHINGLE_WORDS]) for i in range(last + 1))


class NearDuplicates:
    """Tells whether a text nearly repeats one of a fixed set of documents.

    Two texts are near-duplicates if the Jaccard similarity of their word 5-grams is at least `threshold`.
    """

    def __init__(self, documents: Iterable[str], threshold: float) -> None:
        self._threshold = threshold
        self._index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
        self._shingles: dict[str, frozenset[str]] = {}
        for text in documents:
            if text not in self._shingles:
                self._shingles[text] = shingles(text)
                self._index.insert(text, _minhash(self._shingles[text]))

    def __contains__(self, text: str) -> bool:
        return bool(self.matches(text))

    def matches(self, text: str) -> list[str]:
        """The documents that `text` nearly repeats."""
        found = shingles(text)
        candidates = self._index.query(_minhash(found))
        return [c for c in candidates if _jaccard(found, self._shingles[c]) >= self._threshold]


def _minhash(found: frozenset[str]) -> MinHash:
    sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
    sketch.update_batch([shingle.encode() for shingle in found])
    return sketch


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return float(np.divide(len(one & other), len(one | other)))
