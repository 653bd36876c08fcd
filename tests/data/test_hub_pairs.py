"""Instruction data and text in the schemas their publishers use, read from local files by the same path."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from helpers.texts import prose
from repro.data.domains.items import Item
from repro.data.pairs import FolderPairs, HubPairs
from repro.data.sources import HubFolderSource

QUESTION = "A 23-year-old pregnant woman presents with burning upon urination. What is the best treatment?"
OPTIONS = ["Ampicillin", "Ceftriaxone", "Doxycycline", "Nitrofurantoin"]


def hub(where: Path, **options: Any) -> list[Item]:
    return list(HubPairs(dataset=str(where), revision="main", **options).items())


def medqa_prompt() -> str:
    choices = "".join(f"{letter}. {option}\n" for letter, option in zip("ABCD", OPTIONS, strict=True))
    return f"Question: {QUESTION}\n{choices}Answer:"


def test_medqa_in_its_own_schema(tmp_path: Path) -> None:
    row = {
        "meta_info": "step2&3",
        "question": QUESTION,
        "answer_idx": "D",
        "answer": "Nitrofurantoin",
        "options": [{"key": key, "value": value} for key, value in zip("ABCD", OPTIONS, strict=True)],
    }
    for config, rows in (("med_qa_en_4options_source", [row]), ("med_qa_zh_source", [row | {"question": "?"}])):
        for split in ("train", "test"):
            (tmp_path / config / split).mkdir(parents=True)
            pd.DataFrame(rows).to_parquet(tmp_path / config / split / "0000.parquet")
    items = hub(tmp_path, folder="med_qa_en_4options_source", form="medqa")
    assert [(item.prompt, item.answer) for item in items] == [(medqa_prompt(), " D")]
    assert len(hub(tmp_path, folder="med_qa_en_4options_source", form="medqa", split="test")) == 1


def test_medqa_in_the_schema_of_bigbio(tmp_path: Path) -> None:
    row = {"id": "0", "question_id": "0", "document_id": "0", "question": QUESTION, "type": "multiple_choice"}
    row |= {"choices": OPTIONS, "context": "", "answer": ["Nitrofurantoin"]}
    pd.DataFrame([row]).to_parquet(tmp_path / "train.parquet")
    items = hub(tmp_path, form="medqa")
    assert [(item.prompt, item.answer) for item in items] == [(medqa_prompt(), " D")]


def test_opencodeinstruct(tmp_path: Path) -> None:
    rows = [
        {
            "id": str(n),
            "input": f"Write task {n}.",
            "output": f"```python\nreturn {n}\n```",
            "average_test_score": "0.9",
        }
        for n in range(10)
    ]
    (tmp_path / "data").mkdir()
    for shard, part in enumerate((rows[:6], rows[6:])):
        pd.DataFrame(part).to_parquet(tmp_path / f"data/train-{shard:05}-of-00002.parquet")
    items = hub(tmp_path, form="opencodeinstruct")
    assert [i.prompt + i.answer for i in items] == [f"Write task {n}.\n```python\nreturn {n}\n```" for n in range(10)]
    assert [i.answer for i in items] == [row["output"] for row in rows]
    assert len(hub(tmp_path, form="opencodeinstruct", limit=7)) == 7
    assert len({item.name for item in items}) == 10


def test_chemdata(tmp_path: Path) -> None:
    rows = [
        {"input": "CCO", "history": [], "instruction": "Name this molecule.", "output": "ethanol"},
        {"input": "", "history": [["Hello.", "Hello!"]], "instruction": "What is water?", "output": "H2O"},
        {"input": "", "history": [], "instruction": "Nothing to say?", "output": " "},
        {"input": "", "history": [], "instruction": "", "output": "nothing asked"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pairs = [(item.prompt, item.answer) for item in hub(tmp_path, form="chemdata")]
    assert pairs == [
        ("Name this molecule.\nCCO\nAnswer:", " ethanol"),
        ("Hello.\nHello!\nWhat is water?\nAnswer:", " H2O"),
    ]
    assert "".join(pairs[0]) == "Name this molecule.\nCCO\nAnswer: ethanol"


def test_own_pairs_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"q": "one?", "a": "1"}\n{"q": "", "a": "2"}\n')
    pd.DataFrame({"q": ["three?"], "a": ["3"]}).to_parquet(tmp_path / "b.parquet")
    (tmp_path / "notes.txt").write_text("not pairs")
    own = FolderPairs.of(tmp_path, prompt_field="q", answer_field="a")
    assert [(item.prompt, item.answer) for item in own.items()] == [("one?", "1"), ("three?", "3")]
    assert own == FolderPairs(digest=own.digest, folder=Path("/elsewhere"), prompt_field="q", answer_field="a")
    (tmp_path / "a.jsonl").write_text('{"q": "one?", "a": "2"}\n')
    with pytest.raises(ValueError, match="has changed since the study was opened"):
        list(own.items())


def test_rows_of_another_form_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "one?", "answer": "1"}\n')
    with pytest.raises(
        ValueError, match=r"row 1 has no field 'prompt' \(prompt_field names it\); it has 'question', 'answer'"
    ):
        hub(tmp_path)
    with pytest.raises(ValueError, match=r"no form 'vicuna' of pairs; there are prompt-answer, alpaca, "):
        hub(tmp_path, form="vicuna")


def gpt2_like(folder: Path, texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of GPT-2's kind."""
    coder = Tokenizer(models.BPE())
    coder.pre_tokenizer, coder.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    coder.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=coder, eos_token="<|endoftext|>")
    fast.save_pretrained(folder)
    return fast


def test_clusters_of_token_ids_are_decoded(tmp_path: Path) -> None:
    texts = [*prose(4), "  Odd   spaces , kept ; it 's\n\ttext: naïve ½ 漢字"]
    coder = gpt2_like(tmp_path / "coder", texts)
    data = tmp_path / "data"
    for cluster, part in ((7, texts), (11, ["other"])):
        (data / f"cluster_{cluster}").mkdir(parents=True)
        ids = [coder.encode(text) for text in part]
        rows = pd.DataFrame({"tokens": ids, "token_count": [len(i) for i in ids]})
        rows.to_parquet(data / f"cluster_{cluster}/cluster_{cluster}_000.tokenized.parquet")
    common = {"dataset": str(data), "revision": "main", "tokenizer": str(tmp_path / "coder"), "text_field": "tokens"}
    source = HubFolderSource(folder="cluster_7", **common)
    assert [document.text for document in source.documents()] == texts
    limited = HubFolderSource(folder="cluster_7", characters_limit=len(texts[0]) + 1, **common)
    assert [document.text for document in limited.documents()] == texts[:2]
    assert source.label.endswith("data: cluster_7")


def test_clusters_that_hold_text(tmp_path: Path) -> None:
    (tmp_path / "cluster_17").mkdir()
    pd.DataFrame({"token_count": [3], "text": ["plain text"]}).to_parquet(
        tmp_path / "cluster_17/cluster_17_000.parquet"
    )
    source = HubFolderSource(dataset=str(tmp_path), revision="main", folder="cluster_17")
    assert [document.text for document in source.documents()] == ["plain text"]
