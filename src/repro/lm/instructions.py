"""Instruction pairs as training sequences: only the answer has a loss, and pairs are padded, not packed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from repro.lm.mixing import Permutation, Sequences
from repro.lm.scoring import Batch


@dataclass(frozen=True)
class EncodedPair:
    """A pair as token ids, shape (n,); its answer begins at index `answer`."""

    tokens: np.ndarray
    answer: int


def encode_pairs(
    pairs: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, *, chat: bool, longest: int
) -> list[EncodedPair]:
    """Every (prompt, answer) as prompt, answer and the end-of-text token, if it is not longer than `longest` tokens.

    chat: the prompt is the user's turn of the model's chat template. A pair is split where lm-eval splits a question's
    context from its continuation.

    Raises:
        ValueError: if no pair is short enough.

    """

    def context(prompt: str) -> str:
        if not chat:
            return prompt
        turns = [{"role": "user", "content": prompt}]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    contexts = [context(prompt) for prompt, _ in pairs]
    answers = [answer.strip() if chat else answer for _, answer in pairs]
    # A chat template has the special tokens in it; elsewhere the tokenizer adds its own (a Mistral begins with one).
    options = {"add_special_tokens": not chat, "return_attention_mask": False}
    # As in lm-eval, the space or line end before the answer counts as part of the answer.
    starts = tokenizer([text.rstrip() for text in contexts], **options)["input_ids"]
    wholes = tokenizer([text + answer for text, answer in zip(contexts, answers, strict=True)], **options)["input_ids"]
    encoded = [
        EncodedPair(np.array([*whole, tokenizer.eos_token_id], dtype=np.int64), len(start))
        for whole, start in zip(wholes, starts, strict=True)
        if len(whole) < longest
    ]
    if not encoded:
        raise ValueError(f"none of {len(pairs)} pairs has at most {longest} tokens")
    return encoded


@dataclass(frozen=True)
class PairStream:
    """An endless, seeded sequence of pairs: each epoch has every pair once, in an order of its own."""

    pairs: Sequence[EncodedPair]
    seed: int

    def sequence(self, number: int) -> EncodedPair:
        """Pair `number` (from 0)."""
        return self.pairs[self._permutation(number)]

    @cached_property
    def _permutation(self) -> Permutation:
        return Permutation(len(self.pairs), self.seed)


@dataclass(frozen=True)
class PairBatches:
    """Batches of `size` pairs; batch `step` (from 0) depends on nothing but `step`.

    epoch: the steps after which the same batches come again, in the same order; None: they never do.
    """

    source: Sequences[EncodedPair]
    size: int
    epoch: int | None = None

    def __call__(self, step: int) -> Batch:
        """Pairs padded on the right to the longest; only tokens of answers and ends of text count.

        Attention needs no mask: no token sees what comes after it, and predictions in the padding do not count.
        """
        pairs = self._of(step)
        width = max(len(pair.tokens) for pair in pairs)
        tokens = np.zeros((len(pairs), width), dtype=np.int64)
        counted = np.zeros((len(pairs), width - 1), dtype=bool)
        for row, pair in enumerate(pairs):
            tokens[row, : len(pair.tokens)] = pair.tokens
            counted[row, pair.answer - 1 : len(pair.tokens) - 1] = True
        return Batch(torch.from_numpy(tokens), torch.from_numpy(counted))

    def tokens(self, step: int) -> int:
        """Tokens of batch `step` without padding: what it takes from a budget."""
        return sum(len(pair.tokens) for pair in self._of(step))

    def steps_within(self, budget: int) -> tuple[int, int]:
        """How many whole steps fit into a budget of tokens, and the tokens they take."""
        steps = taken = 0
        while (following := taken + self.tokens(steps)) <= budget:
            steps, taken = steps + 1, following
        return steps, taken

    def _of(self, step: int) -> list[EncodedPair]:
        first = (step if self.epoch is None else step % self.epoch) * self.size
        return [self.source.sequence(first + i) for i in range(self.size)]
