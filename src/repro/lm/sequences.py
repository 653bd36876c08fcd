"""Text as tokens, sequences and batches, and the mixture D_R (section 3.1 of paper A).

Any sequence follows from its number alone. Instruction pairs are training sequences as well: only the answer has a
loss, and pairs are padded, not packed. Nothing here has state, so a run resumes anywhere by asking for the next step's
batch.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from jinja2 import TemplateError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import mark_control_tokens

from repro.output import shown

END_OF_TEXT = "<|endoftext|>"
T = TypeVar("T", covariant=True)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `vocabulary` entries, including the end-of-text token (id 0) and all 256 bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer saved in `folder`, so that it gives all of a text, after what begins a text, and nothing more: what
    else it was saved with (truncation, padding, an end after every text) is for other uses than training.

    Raises ValueError if there is none, or it has no end-of-text token or more tokens than the model in the folder.
    """
    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        else:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)  # by default it asks
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{folder}: no tokenizer that transformers can load: {shown(error)}") from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ValueError(f"{folder}: the tokenizer, {type(tokenizer).__name__}, must be one with a tokenizer.json")
    if tokenizer.eos_token_id is None:
        raise ValueError(f"{folder}: the tokenizer must have an end-of-text token, eos_token in tokenizer_config.json")
    config = folder / "config.json"
    embedded = json.loads(config.read_text()).get("vocab_size") if config.is_file() else None
    if embedded and (largest := max(tokenizer.get_vocab().values())) >= embedded:
        raise ValueError(f"{folder}: the tokenizer has a token {largest}, and the model embeds {embedded} from 0")
    _end_by_hand(tokenizer)
    return tokenizer


def _end_by_hand(tokenizer: PreTrainedTokenizerFast) -> None:
    """Let the tokenizer put nothing after a text by itself, and before it what it did."""
    alone, whole = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
    before = next(n for n in range(len(whole) + 1) if whole[n : n + len(alone)] == alone)
    if whole[before + len(alone) :]:
        begin = tokenizer.convert_ids_to_tokens(whole[:before])
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=[*begin, "$A"], special_tokens=list(zip(begin, whole[:before], strict=True))
        )


def encode(texts: list[str], tokenizer: PreTrainedTokenizerFast, dtype: np.dtype) -> np.ndarray:
    """Texts as one array of token ids, shape (n,), with the end-of-text token after each text, and only there: the name
    of a special token in a text is text.
    """
    rows = _ids(tokenizer, texts, add_special_tokens=False, split_special_tokens=True)
    flat = [token for row in rows for token in (*row, tokenizer.eos_token_id)]
    return np.array(flat, dtype=dtype)


def _ids(tokenizer: PreTrainedTokenizerFast, texts: list[str], **options: Any) -> list[list[int]]:
    return list(tokenizer(texts, return_attention_mask=False, verbose=False, **options)["input_ids"])


class Batch(NamedTuple):
    """Token ids of shape (n, L + 1), int64: inputs are [:, :-1], labels [:, 1:].

    counted: which labels count, shape (n, L); None for all.
    """

    tokens: torch.Tensor
    counted: torch.Tensor | None = None

    @property
    def labels(self) -> int:
        """How many labels count."""
        return self.tokens[:, 1:].numel() if self.counted is None else int(self.counted.sum())

    def rows(self, chosen: slice) -> "Batch":
        """Some of the rows."""
        return Batch(self.tokens[chosen], None if self.counted is None else self.counted[chosen])

    def parts(self, size: int) -> Iterator["Batch"]:
        """At most `size` rows at a time."""
        for first in range(0, len(self.tokens), size):
            yield self.rows(slice(first, first + size))


@dataclass(frozen=True)
class Permutation:
    """An endless, seeded order of `count` things: a new permutation of all of them in each epoch."""

    count: int
    seed: int
    _orders: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, number: int) -> int:
        """The index of the thing at place `number` (from 0)."""
        epoch, place = divmod(number, self.count)
        if epoch not in self._orders:
            self._orders.clear()  # only one epoch is kept: its order may be as large as the text
            self._orders[epoch] = np.random.default_rng((self.seed, epoch)).permutation(self.count)
        return int(self._orders[epoch][place])


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
        """Shape (L + 1,)."""
        start = self._permutation(number) * self.length
        return self.tokens[start : start + self.length + 1]

    @cached_property
    def _permutation(self) -> Permutation:
        return Permutation(self.windows, self.seed)


class Sequences(Protocol[T]):
    """A stream of tokens or of pairs, or a mixture of two."""

    def sequence(self, number: int) -> T:
        """Sequence `number` (from 0)."""
        ...


@dataclass(frozen=True)
class Mixture(Generic[T]):
    """D_R: sequences from `domain` and `general` in the proportion R : 1 - R, spread as evenly as possible.

    Of the first k sequences exactly floor(k R) are domain sequences, so over any window of w sequences the domain
    share is within 1/w of R. Where all sequences have the same length, a share of sequences is one of tokens.
    """

    general: Sequences[T]
    domain: Sequences[T]
    ratio: Fraction

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"the mixture ratio is a share between 0 and 1, not {self.ratio}")

    def domain_sequences(self, sequences: int) -> int:
        """How many of the first `sequences` sequences are domain text."""
        return int(sequences * self.ratio)

    def is_domain(self, number: int) -> bool:
        """Whether sequence `number` is a domain sequence."""
        return self.domain_sequences(number + 1) > self.domain_sequences(number)

    def sequence(self, number: int) -> T:
        before = self.domain_sequences(number)
        if self.is_domain(number):
            return self.domain.sequence(before)
        return self.general.sequence(number - before)


@dataclass(frozen=True)
class Batches:
    """Batches of a stream or mixture; batch `step` (from 0) depends on nothing but `step`."""

    source: Sequences[np.ndarray]
    size: int

    def __call__(self, step: int) -> Batch:
        """Token ids, shape (size, L + 1), all of whose labels count."""
        first = step * self.size
        rows = np.stack([self.source.sequence(first + i) for i in range(self.size)])
        return Batch(torch.from_numpy(rows.astype(np.int64)))


def fixed_sequences(tokens: np.ndarray, length: int, count: int) -> torch.Tensor:
    """`count` windows spread evenly over held-out text, always the same ones, shape (count, L + 1). Raises ValueError
    if the text holds fewer.
    """
    windows = (len(tokens) - 1) // length
    if windows < count:
        raise ValueError(f"held-out text of {len(tokens)} tokens holds {windows} sequences of {length}, not {count}")
    starts = (np.arange(count) * windows // count) * length
    return torch.from_numpy(np.stack([tokens[s : s + length + 1] for s in starts]).astype(np.int64))


@dataclass(frozen=True)
class EncodedPair:
    """A pair as token ids, shape (n,); its answer begins at index `answer`."""

    tokens: np.ndarray
    answer: int


def encode_pairs(
    pairs: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, *, chat: bool, longest: int
) -> list[EncodedPair]:
    """Every (prompt, answer) as prompt, answer and the end-of-text token, if it is not longer than `longest` tokens.

    chat: the prompt is the user's turn of the model's chat template, and the answer ends as the template ends it. The
    name of a special token in a pair is text. Raises ValueError if no pair is short enough, or there is no template.
    """
    contexts, answers = [prompt for prompt, _ in pairs], [answer for _, answer in pairs]
    end = [tokenizer.eos_token_id]
    # The tokenizer adds what begins a text (a Mistral begins with a token); a chat template has it in it.
    options: dict[str, Any] = {"split_special_tokens": True}
    if chat:
        contexts, answers, end = _in_chat(pairs, tokenizer)
        options = {"add_special_tokens": False, "sanitize_control_tokens": True}
    encode: Callable[..., list[list[int]]] = partial(_ids, tokenizer, **options)
    wholes = encode([context + answer for context, answer in zip(contexts, answers, strict=True)])
    # As in lm-eval, the space or line end before the answer counts as part of the answer.
    starts = encode([context.rstrip() for context in contexts])
    encoded = []
    for whole, start, context, answer in zip(wholes, starts, contexts, answers, strict=True):
        tokens, begin = whole, len(start)
        if whole[:begin] != start:  # rarely, so that the prompts as they are need no pass of their own
            prompt = encode([context])[0]
            begin = len(prompt)
            if whole[:begin] != prompt:  # a token has the end of the prompt and the beginning of the answer in it
                tokens = prompt + encode([answer], add_special_tokens=False)[0]
        if len(tokens) + len(end) <= longest:
            encoded.append(EncodedPair(np.array(tokens + end, dtype=np.int64), begin))
    if not encoded:
        raise ValueError(f"none of {len(pairs)} pairs has at most {longest} tokens (sft_longest)")
    return encoded


def _in_chat(
    pairs: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerFast
) -> tuple[list[str], list[str], list[int]]:
    """Prompts as the user's turn and the beginning of the answer's, and answers, with control tokens that stood in them
    marked, so that `sanitize_control_tokens` makes text of them; and the ids that end an answer: the template's token
    for that, if it has another than the end of text, and that.
    """

    def said(*turns: tuple[str, str], **options: Any) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))

    if tokenizer.chat_template is None:
        raise ValueError("the model's tokenizer has no chat template; chat_template must be false")
    control = _one_of(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    marked = mark_control_tokens(list(pairs), control)
    try:
        prompts = [said(("user", prompt), add_generation_prompt=True) for prompt, _ in marked]
        _, told, after = said(("user", "A question?"), ("assistant", "An answer.")).rpartition("An answer.")
    except TemplateError as error:
        raise ValueError(f"the model's chat template does not take a question and an answer: {error}") from None
    ends = _one_of(tokenizer.added_tokens_encoder).findall(after)[:1] if told else []
    end = dict.fromkeys([*map(tokenizer.convert_tokens_to_ids, ends), tokenizer.eos_token_id])
    return prompts, [answer.strip() for _, answer in marked], list(end)


def _one_of(names: Iterable[str]) -> re.Pattern[str]:
    """What finds the longest of some names, those aside that are white space."""
    longest_first = sorted(filter(str.strip, names), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


@dataclass(frozen=True)
class PairStream:
    """An endless, seeded sequence of pairs: each epoch has every pair once, in an order of its own."""

    pairs: Sequence[EncodedPair]
    seed: int

    def sequence(self, number: int) -> EncodedPair:
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
