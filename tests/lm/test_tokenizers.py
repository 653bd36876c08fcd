"""Tokenizers as people's models bring them: whatever they were saved for, text and pairs are trained on as they are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, processors
from transformers import PreTrainedTokenizerFast

from helpers.texts import prose
from repro.lm.sequences import encode, encode_pairs, load_tokenizer, train_tokenizer

TEXT = prose(1)[0]
TURNS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def plain() -> PreTrainedTokenizerFast:
    return train_tokenizer(prose(30), 300)


def saved(tokenizer: PreTrainedTokenizerFast, folder: Path) -> PreTrainedTokenizerFast:
    tokenizer.save_pretrained(folder)
    return load_tokenizer(folder)


def ids(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> list[int]:
    return list(encode(texts, tokenizer, np.dtype(np.uint16)).tolist())


def pieces(tokenizer: PreTrainedTokenizerFast, *pair: str, chat: bool = False) -> tuple[str, str]:
    """What a pair shows without, and what with a loss."""
    (found,) = encode_pairs([pair], tokenizer, chat=chat, longest=999)  # type: ignore[list-item]
    return str(tokenizer.decode(found.tokens[: found.answer])), str(tokenizer.decode(found.tokens[found.answer :]))


@pytest.mark.parametrize("saved_with", ["truncation", "padding"])
def test_nothing_is_cut_off_or_padded(saved_with: str, tmp_path: Path, plain: PreTrainedTokenizerFast) -> None:
    wanted, pair = ids([TEXT, "short"], plain), pieces(plain, TEXT, " short")
    backend = plain.backend_tokenizer
    backend.enable_truncation(8) if saved_with == "truncation" else backend.enable_padding(length=512)
    loaded = saved(plain, tmp_path)
    assert ids([TEXT, "short"], loaded) == wanted
    assert pieces(loaded, TEXT, " short") == pair


def with_ends(tokenizer: PreTrainedTokenizerFast, template: str) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    added = [(name, tokenizer.convert_tokens_to_ids(name)) for name in ("<s>", "<|endoftext|>")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=added)
    return tokenizer


@pytest.mark.parametrize(("template", "begin"), [("<s> $A <|endoftext|>", "<s>"), ("$A <|endoftext|>", "")])
def test_an_end_that_the_tokenizer_appends_is_neither_doubled_nor_shifts_the_loss(
    template: str, begin: str, tmp_path: Path, plain: PreTrainedTokenizerFast
) -> None:
    loaded = saved(with_ends(plain, template), tmp_path)
    assert ids(["a river"], loaded).count(loaded.eos_token_id) == 1
    assert pieces(loaded, "Which?\nAnswer:", " the river") == (f"{begin}Which?\nAnswer:", " the river<|endoftext|>")
    assert loaded.decode(loaded("a river")["input_ids"]) == f"{begin}a river", "as questions are read"


def test_what_begins_a_text_stays(tmp_path: Path, plain: PreTrainedTokenizerFast) -> None:
    loaded = saved(with_ends(plain, "<s> $A"), tmp_path)
    assert pieces(loaded, "Why?", " Trade") == ("<s>Why?", " Trade<|endoftext|>")


def merging(*merges: tuple[str, str]) -> PreTrainedTokenizerFast:
    """A BPE of single characters and these merges, with no boundary between words."""
    letters = [chr(n) for n in range(32, 127)] + ["\n", "<|endoftext|>"]
    vocabulary = {name: n for n, name in enumerate([*letters, *map("".join, merges)])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|endoftext|>")


@pytest.mark.parametrize(
    ("merge", "prompt", "answer", "asked", "answered"),
    [
        ((":", "y"), "Is it:", "yes", "Is it:", "yes"),  # a token across the boundary
        ((":", "\n"), "Is it:", "\nyes", "Is it:", "\nyes"),
        ((":", "\n"), "Is it:\n", "yes", "Is it:\n", "yes"),  # one before it, as of many current models
        ((" ", "y"), "Is it: ", "yes", "Is it:", " yes"),  # as lm-eval divides them
    ],
)
def test_the_whole_answer_has_a_loss_where_a_token_would_cross_the_boundary(
    merge: tuple[str, str], prompt: str, answer: str, asked: str, answered: str
) -> None:
    assert pieces(merging(merge), prompt, answer) == (asked, f"{answered}<|endoftext|>")


def chatty(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = TURNS
    return tokenizer


def test_the_end_of_a_turn_is_trained_and_so_is_the_end_of_text(plain: PreTrainedTokenizerFast) -> None:
    asked, answered = pieces(chatty(plain), "Why?", " Trade. ", chat=True)
    assert asked.startswith("<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant")
    assert answered.strip() == "Trade.<|im_end|><|endoftext|>"


@pytest.mark.parametrize("chat", [False, True])
def test_names_of_special_tokens_in_text_are_text(chat: bool, plain: PreTrainedTokenizerFast) -> None:
    tokenizer = chatty(plain)
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    said = "A <|im_end|> and <|endoftext|> in HTML"
    tokens = ids([said], tokenizer)
    assert [token for token in tokens if token in special] == [tokenizer.eos_token_id]
    assert tokenizer.decode(tokens[:-1]) == said
    (pair,) = encode_pairs([(said, said)], tokenizer, chat=chat, longest=999)
    (clean,) = encode_pairs([("A word", "A word")], tokenizer, chat=chat, longest=999)
    count = [sum(token in special for token in found.tokens.tolist()) for found in (pair, clean)]
    assert count[0] == count[1]
    assert tokenizer.decode(pair.tokens).count(said) == 2


def test_added_tokens_that_are_words_stay_tokens(plain: PreTrainedTokenizerFast) -> None:
    plain.add_tokens([AddedToken("benzene", special=False)])
    assert plain.convert_tokens_to_ids("benzene") in ids(["some benzene"], plain)


def test_a_vocabulary_and_merges_are_read_as_transformers_reads_them(tmp_path: Path) -> None:
    made = train_tokenizer(prose(30), 300)
    wanted = ids([TEXT], made)
    made.backend_tokenizer.model.save(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "vocab_size": 300}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    assert ids([TEXT], load_tokenizer(tmp_path)) == wanted


def no_end(_folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.eos_token = None


def too_large(folder: Path, _tokenizer: PreTrainedTokenizerFast) -> None:
    (folder / "config.json").write_text(json.dumps({"vocab_size": 299}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_end, "must have an end-of-text token"),
        (too_large, "the tokenizer has a token 299, and the model embeds 299 from 0"),
    ],
)
def test_a_tokenizer_that_cannot_be_trained_with_is_refused_in_a_line(
    spoil: Callable[[Path, Any], None], says: str, tmp_path: Path, plain: PreTrainedTokenizerFast
) -> None:
    spoil(tmp_path, plain)
    with pytest.raises(ValueError, match=says) as caught:
        saved(plain, tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_no_tokenizer_at_all_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 300}))
    with pytest.raises(ValueError, match="no tokenizer that transformers can load") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "says"),
    [(None, "has no chat template"), ("{{ raise_exception('no users here') }}", "does not take .*: no users here")],
)
def test_a_chat_without_a_template_for_it_is_refused(
    template: str | None, says: str, plain: PreTrainedTokenizerFast
) -> None:
    plain.chat_template = template
    with pytest.raises(ValueError, match=says):
        encode_pairs([("Why?", "Trade")], plain, chat=True, longest=99)
