"""Texts that repeat held-out ones, by the overlap of word 5-grams, exactly.

The held-out side is small enough for an index from each 5-gram to the texts that hold it, so no approximate index
(MinHash and the like misses two in five pairs right at its threshold) is needed.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

SHINGLE_WORDS = 5


class NearDuplicates:
    """Which of a fixed set of documents a text nearly repeats.

    Two texts are near-duplicates if the Jaccard similarity of their word 5-grams is at least `threshold`.
    """

    def __init__(self, documents: Iterable[str], threshold: float) -> None:
        self._threshold = threshold
        self._sizes: dict[str, int] = {}
        self._holders: defaultdict[str, list[str]] = defaultdict(list)
        for text in documents:
            if text not in self._sizes:
                shingles = ngrams(words(text), SHINGLE_WORDS)
                self._sizes[text] = len(shingles)
                for shingle in shingles:
                    self._holders[shingle].append(text)

    def __contains__(self, text: str) -> bool:
        return bool(self.matches(text))

    def matches(self, text: str) -> list[str]:
        """The documents that `text` nearly repeats."""
        shingles = ngrams(words(text), SHINGLE_WORDS)
        shared = Counter(holder for shingle in shingles for holder in self._holders.get(shingle, ()))
        return [
            document
            for document, count in shared.items()
            if count >= self._threshold * (len(shingles) + self._sizes[document] - count)
        ]


class Questions:
    """Whether a text holds nearly all of one of the questions of a benchmark.

    It does if it has at least `threshold` of the question's word 5-grams. That is so whenever the Jaccard similarity of
    the two is at least `threshold` (the union is no smaller than the question), and also where a long document, whose
    similarity to any short question is next to nothing, has the question in it. A question of fewer than five words has
    no 5-gram: a text holds it if the words stand in it one after the other.
    """

    def __init__(self, questions: Iterable[str], threshold: float) -> None:
        self._threshold = threshold
        self._sizes: list[int] = []
        self._holders: defaultdict[int, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for question in map(words, dict.fromkeys(questions)):
            if question:
                size = min(len(question), SHINGLE_WORDS)
                grams = ngrams(question, size)
                for gram in grams:
                    self._holders[size][gram].append(len(self._sizes))
                self._sizes.append(len(grams))

    def __contains__(self, text: str) -> bool:
        in_order = words(text)
        shared = Counter(
            number
            for size, holders in self._holders.items()
            for gram in holders.keys() & ngrams(in_order, size)
            for number in holders[gram]
        )
        return any(count >= self._threshold * self._sizes[number] for number, count in shared.items())


def words(text: str) -> list[str]:
    """The words of a text in order, case and punctuation aside."""
    return re.findall(r"\w+", text.lower())


def ngrams(in_order: list[str], size: int) -> frozenset[str]:
    """Every `size` words that follow each other, joined by spaces; fewer words are one n-gram."""
    last = max(len(in_order) - size, 0)
    return frozenset(" ".join(in_order[i : i + size]) for i in range(last + 1))
