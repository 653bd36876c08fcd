"""Near-duplicates of held-out documents, by the overlap of word 5-grams, exactly.

The held-out side is small enough for an index from each 5-gram to the documents that hold it, so no approximate
index (MinHash and the like misses two in five pairs right at its threshold) is needed.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

SHINGLE_WORDS = 5


def words(text: str) -> list[str]:
    """The words of a text in order, case and punctuation aside."""
    return re.findall(r"\w+", text.lower())


def ngrams(found: list[str], size: int) -> frozenset[str]:
    """Every `size` words that follow each other, joined by spaces; fewer words are one n-gram."""
    last = max(len(found) - size, 0)
    return frozenset(" ".join(found[i : i + size]) for i in range(last + 1))


def shingles(text: str) -> frozenset[str]:
    """The word 5-grams of a text, case and punctuation aside; a shorter text is one shingle."""
    return ngrams(words(text), SHINGLE_WORDS)


class NearDuplicates:
    """Tells whether a text nearly repeats one of a fixed set of documents.

    Two texts are near-duplicates if the Jaccard similarity of their word 5-grams is at least `threshold`.
    """

    def __init__(self, documents: Iterable[str], threshold: float) -> None:
        self._threshold = threshold
        self._sizes: dict[str, int] = {}
        self._holders: defaultdict[str, list[str]] = defaultdict(list)
        for text in documents:
            if text not in self._sizes:
                found = shingles(text)
                self._sizes[text] = len(found)
                for shingle in found:
                    self._holders[shingle].append(text)

    def __contains__(self, text: str) -> bool:
        return bool(self.matches(text))

    def matches(self, text: str) -> list[str]:
        """The documents that `text` nearly repeats."""
        found = shingles(text)
        shared = Counter(holder for shingle in found for holder in self._holders.get(shingle, ()))
        return [
            document
            for document, count in shared.items()
            if count >= self._threshold * (len(found) + self._sizes[document] - count)
        ]


class Questions:
    """Tells whether a text holds nearly all of one of the questions of a benchmark.

    It does if it has at least `threshold` of the question's word 5-grams. That is so whenever the Jaccard similarity of
    the two is at least `threshold` (the union is no smaller than the question), and also where a long document, whose
    similarity to any short question is next to nothing, has the question in it. A question of fewer than five words has
    no 5-gram: a text holds it if the words stand in it one after the other.
    """

    def __init__(self, questions: Iterable[str], threshold: float) -> None:
        self._threshold = threshold
        self._sizes: list[int] = []
        self._holders: defaultdict[int, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for found in map(words, dict.fromkeys(questions)):
            if found:
                size = min(len(found), SHINGLE_WORDS)
                grams = ngrams(found, size)
                for gram in grams:
                    self._holders[size][gram].append(len(self._sizes))
                self._sizes.append(len(grams))

    def __contains__(self, text: str) -> bool:
        """Whether `text` holds one of the questions."""
        found = words(text)
        shared = Counter(
            number
            for size, holders in self._holders.items()
            for gram in holders.keys() & ngrams(found, size)
            for number in holders[gram]
        )
        return any(count >= self._threshold * self._sizes[number] for number, count in shared.items())
