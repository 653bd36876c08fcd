"""Token streams and their mixture D_R (section 3.1): any position can be computed from its number alone.

Nothing here has state, so a run resumes anywhere by asking for the next step's batch.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch


@dataclass(frozen=True)
class Stream:
    """An endless, seeded sequence of training sequences over one array of tokens.

    tokens: shape (n,), any integer type, may be memory-mapped; length: L, labels per sequence. The array is cut
    into windows of L + 1 tokens that overlap by one; each epoch visits every window once in an order of its own.
    """

    tokens: np.ndarray
    length: int
    seed: int

    def __post_init__(self) -> None:
        if self.windows < 1:
            raise ValueError(f"{len(self.tokens)} tokens do not fill one sequence of {self.length}")

    @property
    def windows(self) -> int:
        """Sequences in one epoch."""
        return (len(self.tokens) - 1) // self.length

    def sequence(self, number: int) -> np.ndarray:
        """Sequence `number` (from 0), shape (L + 1,)."""
        epoch, place = divmod(number, self.windows)
        start = int(self._order(epoch)[place]) * self.length
        return self.tokens[start : start + self.length + 1]

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            self._orders.clear()  # one epoch's order at a time: it may be as large as the text
            self._orders[epoch] = np.random.default_rng((self.seed, epoch)).permutation(self.windows)
        return self._orders[epoch]

    @cached_property
    def _orders(self) -> dict[int, np.ndarray]:
        return {}


@dataclass(frozen=True)
class Mixture:
    """D_R: sequences from `domain` and `general` in the proportion R : 1 - R, spread as evenly as can be.

    Of the first k sequences exactly floor(k R) are domain sequences, so over any window of w sequences the domain
    share of tokens is within 1/w of R. All sequences have the same length, so a share of sequences is one of tokens.
    """

    general: Stream
    domain: Stream
    ratio: Fraction

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"the mixture ratio is a share between 0 and 1, not {self.ratio}")

    def domain_sequences(self, sequences: int) -> int:
        """How many of the first `sequences` sequences are domain text."""
        return int(sequences * self.ratio)

    def sequence(self, number: int) -> np.ndarray:
        """Sequence `number` (from 0), shape (L + 1,)."""
        before = self.domain_sequences(number)
        if self.domain_sequences(number + 1) > before:
            return self.domain.sequence(before)
        return self.general.sequence(number - before)


@dataclass(frozen=True)
class Batches:
    """Batches of a stream or mixture; batch `step` (from 0) depends on nothing but `step`."""

    source: Stream | Mixture
    size: int

    def __call__(self, step: int) -> torch.Tensor:
        """Token ids, shape (size, L + 1), int64: inputs are [:, :-1], labels [:, 1:]."""
        first = step * self.size
        rows = np.stack([self.source.sequence(first + i) for i in range(self.size)])
        return torch.from_numpy(rows.astype(np.int64))


def fixed_sequences(tokens: np.ndarray, length: int, count: int) -> torch.Tensor:
    """The first `count` windows of held-out text, spread evenly over it: always the same ones, (count, L + 1).

    Raises:
        ValueError: if the text holds fewer than `count`.

    """
    windows = (len(tokens) - 1) // length
    if windows < count:
        raise ValueError(f"held-out text of {len(tokens)} tokens holds {windows} sequences of {length}, not {count}")
    starts = (np.arange(count) * windows // count) * length
    return torch.from_numpy(np.stack([tokens[s : s + length + 1] for s in starts]).astype(np.int64))
