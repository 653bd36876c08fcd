"""Held-out text stays held out; the tokenizer sees nothing but general training text."""

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.texts import prose
from repro.data.corpora import (
    REPLAY,
    TRAINING,
    VALIDATION,
    Split,
    read_texts,
    save_tokens,
    split_text,
    token_dtype,
)
from repro.data.documents import NearDuplicates
from repro.data.sources import FolderSource
from repro.lm.sequences import END_OF_TEXT, encode, load_tokenizer, train_tokenizer

SPLIT = Split(validation=Fraction(1, 10), replay=Fraction(1, 5), near_duplicate=0.5)
PARTS = (TRAINING, REPLAY, VALIDATION)
MakeFolder = Callable[[str, list[str]], FolderSource]


def divided(tmp_path: Path, sources: tuple[FolderSource, ...], name: str = "out", **options: Any) -> Any:
    folder = tmp_path / name
    folder.mkdir()
    counts = split_text(sources, options.pop("split", SPLIT), folder, **options)
    return counts, {part: list(read_texts(folder, part)) for part in PARTS}


def nearly(text: str) -> str:
    """`text` with its last sentence replaced: about nine tenths of its word 5-grams stay."""
    return text.rsplit(". ", 1)[0] + ". Another end."


def test_every_document_is_in_exactly_one_part_and_the_shares_are_about_right(
    tmp_path: Path, prose_folder: MakeFolder
) -> None:
    texts = prose(1000, sentences=6)
    counts, parts = divided(tmp_path, (prose_folder("a", texts[:600]), prose_folder("b", texts[600:])))
    assert sorted(text for part in PARTS for text in parts[part]) == sorted(texts)
    assert len(parts[VALIDATION]) == pytest.approx(100, abs=30)  # three standard deviations
    assert len(parts[REPLAY]) == pytest.approx(200, abs=38)
    rows = {(row["source"], row["part"]): row for row in counts["kept"]}
    assert sum(row["documents"] for row in rows.values()) == 1000
    assert sum(row["characters"] for row in rows.values()) == sum(map(len, texts))
    assert set(rows) == {(f"folder {name}", part) for name in "ab" for part in PARTS}


def test_the_split_depends_on_neither_order_nor_other_documents(tmp_path: Path, prose_folder: MakeFolder) -> None:
    texts = prose(200)
    _, first = divided(tmp_path, (prose_folder("a", texts),), "first")
    shuffled = random.Random(1).sample(texts, 200)
    _, second = divided(tmp_path, (prose_folder("b", shuffled[:150] + prose(50, seed=1)),), "second")
    for part in PARTS:
        assert set(second[part]) & set(texts) == set(first[part]) & set(shuffled[:150])


def test_repeats_and_near_repeats_of_held_out_documents_are_not_trained_on(
    tmp_path: Path, prose_folder: MakeFolder
) -> None:
    texts = prose(200)
    _, before = divided(tmp_path, (prose_folder("a", texts),), "before")
    near = [nearly(text) for text in before[VALIDATION]]
    counts, parts = divided(tmp_path, (prose_folder("b", texts + near), prose_folder("c", texts[:50])), "after")
    index = NearDuplicates(parts[VALIDATION], SPLIT.near_duplicate)
    assert not [text for part in (TRAINING, REPLAY) for text in parts[part] if text in index]
    landed_in_training = [text for text in near if text not in parts[VALIDATION]]
    assert len(landed_in_training) > 10
    assert counts["near_duplicates"] == len(landed_in_training)
    assert counts["repeated"] == 50
    assert set(texts) <= {text for part in PARTS for text in parts[part]}  # nothing else was lost


def test_a_domain_is_kept_apart_from_the_general_text(tmp_path: Path, prose_folder: MakeFolder) -> None:
    _, general = divided(tmp_path, (prose_folder("general", prose(200)),), "general-out")
    own = prose(200, seed=1)
    near_training = [nearly(text) for text in general[TRAINING]]
    near_held_out = [nearly(text) for text in general[VALIDATION]]
    texts = own + near_training + near_held_out + general[TRAINING][:20]
    split = Split(validation=Fraction(1, 4), replay=Fraction(0), near_duplicate=0.5)
    source = prose_folder("domain", texts)
    counts, domain = divided(tmp_path, (source,), "domain-out", split=split, seen=tmp_path / "general-out")
    trained = NearDuplicates(general[TRAINING] + general[REPLAY], 0.5)
    held_out = NearDuplicates(general[VALIDATION], 0.5)
    assert domain[REPLAY] == []
    assert not [text for text in domain[VALIDATION] if text in trained]
    assert not [text for text in domain[TRAINING] if text in held_out]
    kept = set(domain[TRAINING] + domain[VALIDATION])
    assert set(own) <= kept
    assert any(text in kept for text in near_training)  # a domain may share training text with the general text
    dropped = [counts[reason] for reason in ("near_duplicates", "seen_elsewhere", "repeated")]
    assert len(texts) - len(kept) == sum(dropped)
    assert min(dropped[:2]) > 0


def test_a_part_without_documents_is_told(tmp_path: Path, prose_folder: MakeFolder) -> None:
    with pytest.raises(ValueError, match="the training part holds no document"):
        divided(tmp_path, (prose_folder("a", prose(1)),))


@pytest.mark.parametrize(("share", "found"), [(0.9, True), (0.6, True), (0.3, False), (0.0, False)])
def test_near_duplicates_are_told_by_their_overlap(share: float, found: bool) -> None:
    words = [f"w{number}" for number in range(400)]
    kept = int(400 * 2 * share / (1 + share))  # so that the Jaccard similarity comes to `share`
    other = words[:kept] + [f"v{number}" for number in range(400 - kept)]
    index = NearDuplicates([" ".join(words)], 0.5)
    assert (" ".join(other) in index) is found
    assert " ".join(words).upper().replace(" ", ", ") in index  # case and punctuation aside


def test_the_tokenizer_is_a_function_of_its_texts(tmp_path: Path) -> None:
    texts = prose(50)
    first, second = train_tokenizer(texts, 400), train_tokenizer(iter(texts), 400)
    assert first.get_vocab() == second.get_vocab()
    assert len(first) == 400
    assert train_tokenizer([*prose(50, seed=2), "zebra " * 1000], 400).get_vocab() != first.get_vocab()
    first.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.get_vocab() == first.get_vocab()
    assert (loaded.eos_token, loaded.eos_token_id) == (END_OF_TEXT, 0)


@pytest.mark.parametrize("text", ["plain words", "  two  spaces\n\n\ttabs ", "½ Zürich 数学 🙂 \x00", "", END_OF_TEXT])
def test_any_text_survives_encoding(text: str) -> None:
    tokenizer = train_tokenizer(prose(50), 400)
    tokens = encode([text, text], tokenizer, token_dtype(400))
    assert tokens[-1] == 0
    half = tokens[: len(tokens) // 2]
    assert np.array_equal(tokens, np.concatenate([half, half]))
    assert tokenizer.decode(half[:-1].tolist(), clean_up_tokenization_spaces=False) == text


def test_tokens_are_read_as_they_were_written(tmp_path: Path) -> None:
    for vocabulary, size in ((65_536, 2), (65_537, 4)):
        dtype = token_dtype(vocabulary)
        assert dtype.itemsize == size
        parts = [np.array([0, vocabulary - 1], dtype), np.array([7], dtype)]
        assert save_tokens(parts, tmp_path / "tokens.bin") == 3
        assert np.fromfile(tmp_path / "tokens.bin", dtype).tolist() == [0, vocabulary - 1, 7]
