"""Pairs as training batches, models from folders, and the tables of what a study is made of."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from lm_eval.api.model import TemplateLM
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from helpers import ROOT
from helpers.tables import cells, row
from helpers.texts import prose
from helpers.training import MadePairs
from repro import cli, params
from repro.allocation import published, tables
from repro.allocation.tables import MODES, recipes
from repro.lm.models import FolderModel, digest_model, load_pretrained, model_files
from repro.lm.sequences import EncodedPair, Mixture, PairBatches, PairStream, encode_pairs, train_tokenizer
from repro.params import AllocationParams
from repro.runs import Machine, Stage, Store, Work, run
from repro.show.tables import DASH
from repro.stages.texts import Base, PairTokens, encoded_pairs

CPU = Machine()
TEMPLATE = (
    "{% for message in messages %}[{{ message['role'] }}]\n{{ message['content'] }}<|endoftext|>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    made = train_tokenizer(prose(20), 300)
    made.chat_template = TEMPLATE
    return made


# Pairs as token ids


QUESTIONS = [
    ("What has always needed salt?\nAnswer:", " the river"),
    ("Why?\nAnswer:", " trade by sea"),
    ("Who?", " I"),
]


def text(pair: EncodedPair, tokenizer: PreTrainedTokenizerFast) -> tuple[str, str]:
    return tokenizer.decode(pair.tokens[: pair.answer]), tokenizer.decode(pair.tokens[pair.answer :])


def test_a_plain_pair_is_its_prompt_its_answer_and_the_end_of_text(tokenizer: PreTrainedTokenizerFast) -> None:
    found = encode_pairs(QUESTIONS, tokenizer, chat=False, longest=99)
    assert [text(pair, tokenizer) for pair in found] == [(q, f"{a}<|endoftext|>") for q, a in QUESTIONS]


def test_a_pair_in_a_chat_is_a_turn_of_the_user_and_one_of_the_assistant(tokenizer: PreTrainedTokenizerFast) -> None:
    found = encode_pairs(QUESTIONS, tokenizer, chat=True, longest=99)
    whole = ["".join(text(pair, tokenizer)) for pair in found]
    assert whole == [f"[user]\n{q}<|endoftext|>\n[assistant]\n{a.strip()}<|endoftext|>" for q, a in QUESTIONS]
    assert [text(pair, tokenizer)[1].strip() for pair in found] == [f"{a.strip()}<|endoftext|>" for _, a in QUESTIONS]


class Scorer(TemplateLM):
    """lm-eval's own way of dividing a question and its continuation into tokens."""

    backend = "causal"

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        super().__init__()
        self.tokenizer = tokenizer

    def tok_encode(self, string: str, **_: Any) -> list[int]:
        return list(self.tokenizer(string, add_special_tokens=False)["input_ids"])

    eot_token_id = _loglikelihood_tokens = loglikelihood_rolling = generate_until = None


@pytest.mark.parametrize("chat", [False, True])
def test_pairs_are_divided_where_lm_eval_divides_them(chat: bool, tokenizer: PreTrainedTokenizerFast) -> None:
    """What is trained is what is scored, prompts that end in a space or a line break among them."""
    pairs = [*QUESTIONS, ("Which? ", "the river"), ("Which?\n", "cold water"), ("Whose", " own"), ("Is it", "cold")]
    for (prompt, answer), found in zip(pairs, encode_pairs(pairs, tokenizer, chat=chat, longest=99), strict=True):
        turns = [{"role": "user", "content": prompt}]
        asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) if chat else prompt
        before, after = Scorer(tokenizer)._encode_pair(asked, answer.strip() if chat else answer)
        assert found.tokens.tolist() == [*before, *after, tokenizer.eos_token_id]
        assert found.answer == len(before), f"{prompt!r} and {answer!r}"


def test_pairs_longer_than_allowed_are_left_out_and_none_at_all_is_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    lengths = [len(pair.tokens) for pair in encode_pairs(QUESTIONS, tokenizer, chat=False, longest=99)]
    assert len(set(lengths)) == 3
    middle = sorted(lengths)[1]
    for longest, kept in ((middle, 2), (middle - 1, 1)):
        found = encode_pairs(QUESTIONS, tokenizer, chat=False, longest=longest)
        assert [len(pair.tokens) for pair in found] == [n for n in lengths if n <= longest]
        assert len(found) == kept
    with pytest.raises(ValueError, match=r"^none of 3 pairs has at most 2 tokens \(sft_longest\)$"):
        encode_pairs(QUESTIONS, tokenizer, chat=False, longest=2)


@dataclass(frozen=True, kw_only=True)
class Chatty(Stage):
    """A tokenizer that brings a chat template along, as those of tuned models do."""

    def execute(self, work: Work) -> None:
        made = train_tokenizer(prose(20), 300)
        made.chat_template = TEMPLATE
        made.save_pretrained(work.path)


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("longest", [99, 30])
def test_encoded_pairs_are_read_back_as_they_were(
    chat: bool, longest: int, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    store = Store(tmp_path)
    made = MadePairs(name="pairs", pairs=tuple(QUESTIONS))
    stage = PairTokens(material=made, tokenizer=Chatty(), chat=chat, longest=longest)  # type: ignore[arg-type]
    run([stage], store, CPU)
    expected = encode_pairs(QUESTIONS, tokenizer, chat=chat, longest=longest)
    found = encoded_pairs(store.finished(stage))
    assert [(pair.tokens.tolist(), pair.answer) for pair in found] == [
        (pair.tokens.tolist(), pair.answer) for pair in expected
    ]
    assert 0 < len(found) < 3 if longest == 30 else len(found) == 3


# Batches


def pair(tokens: list[int], answer: int) -> EncodedPair:
    return EncodedPair(np.array(tokens), answer)


def test_only_answers_and_ends_of_text_count() -> None:
    """The label at place i is token i + 1: the answer's first token is predicted from the prompt's last."""
    source = PairStream([pair([5, 6, 7, 8, 0], 3), pair([9, 4, 0], 1)], seed=0)
    rows = PairBatches(source, 2)(0)
    first = rows.tokens[:, 0].tolist().index(5)
    assert rows.tokens[first].tolist() == [5, 6, 7, 8, 0]
    assert rows.tokens[1 - first].tolist() == [9, 4, 0, 0, 0]
    assert rows.counted is not None
    assert rows.counted[first].tolist() == [False, False, True, True]
    assert rows.counted[1 - first].tolist() == [True, True, False, False], "padding looks like an end of text"
    assert rows.labels == 4
    assert rows.tokens.dtype == torch.int64


def test_padding_decides_nothing_of_a_loss() -> None:
    from repro.lm.models import Shape, new_model
    from repro.lm.training import token_losses

    model = new_model(Shape(hidden=16, intermediate=32, layers=1, heads=2), 300, 16, 0).eval()
    short, long = pair([9, 4, 11, 0], 2), pair([5, 6, 7, 8, 3, 2, 0], 3)

    def losses(*pairs: EncodedPair) -> list[float]:
        source = PairStream(pairs, seed=0)
        with torch.no_grad():
            return sorted(token_losses(model, PairBatches(source, len(pairs))(0), torch.float32).tolist())

    assert losses(short, long) == pytest.approx(sorted(losses(short) + losses(long)), abs=1e-5)


def test_batches_of_an_epoch_come_again() -> None:
    batches = PairBatches(PairStream([pair([n, n], 1) for n in range(9)], seed=3), 2)
    again = replace(batches, epoch=3)
    assert [again(step).tokens.tolist() for step in range(7)] == [
        batches(step % 3).tokens.tolist() for step in range(7)
    ]


def test_a_budget_is_spent_in_whole_steps_of_tokens_without_padding() -> None:
    lengths = (5, 3, 4, 6)
    batches = PairBatches(PairStream([pair([1] * n, 1) for n in lengths], seed=3), 2)
    taken = [batches.tokens(step) for step in range(4)]
    assert sum(taken[:2]) == sum(taken[2:]) == sum(lengths), "an epoch has every pair once"
    for step in range(4):
        assert int((batches(step).tokens > 0).sum()) == taken[step]
    for steps in range(5):
        total = sum((taken + taken)[:steps])
        assert batches.steps_within(total) == (steps, total)
        if steps:
            assert batches.steps_within(total - 1) == (steps - 1, total - (taken + taken)[steps - 1])
    assert batches.steps_within(taken[0] - 1) == (0, 0)


def test_replayed_pairs_come_in_their_share_and_a_batch_depends_on_its_step_only() -> None:
    ours = PairStream([pair([1] * n, 1) for n in (3, 4, 5, 6, 7)], seed=0)
    replay = PairStream([pair([2] * 3, 1)] * 2, seed=0)
    from fractions import Fraction

    batches = PairBatches(Mixture(general=replay, domain=ours, ratio=Fraction(3, 4)), 4)
    for step in (7, 0, 7):
        first = batches(step).tokens[:, 0]
        assert first.tolist().count(2) == 1
    assert torch.equal(batches(7).tokens, PairBatches(batches.source, 4)(7).tokens)
    seen = {tuple(row.tolist()) for step in range(4) for row in batches(step).tokens if row[0] == 1}
    assert len({sum(row) for row in seen}) == 5, "all of the domain's pairs have had their turn"


# Models in folders


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"):
        save_file({name: torch.ones(2)}, folder / name)
    for name in ("config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    for name in ("tokenizer.model", "merges.txt", "vocab.txt", "chat_template.jinja"):
        (folder / name).write_text(name)
    return folder


WEIGHTS = "model-00001-of-00002.safetensors"
UNWANTED = (
    "pytorch_model.bin", "model.pt", "weights.pickle", "modeling_mine.py", "README.md", "consolidated.safetensors",
    "flax_model.msgpack", "pytorch_model.bin.index.json", "model.gguf", "notes.txt",
)  # fmt: skip


def source(folder: Path) -> FolderModel:
    return FolderModel(digest=digest_model(folder), folder=folder)


def test_weights_configuration_and_tokenizer_are_copied_and_nothing_else(model: Path, tmp_path: Path) -> None:
    wanted = {file.name for file in model.iterdir()}
    for name in UNWANTED:
        (model / name).write_text("no")
    (model / "nested").mkdir()
    save_file({"a": torch.ones(1)}, model / "nested/model.safetensors")
    copy = tmp_path / "copy"
    copy.mkdir()
    source(model).write(copy)
    assert {file.name for file in copy.iterdir()} == wanted
    assert all((copy / name).read_bytes() == (model / name).read_bytes() for name in wanted)
    assert not any(file.is_symlink() for file in copy.iterdir())
    assert [file.name for file in model_files(model)] == sorted(wanted)


def lacking(weights: dict[str, torch.Tensor]) -> None:
    del weights["model.norm.weight"]


def renamed(weights: dict[str, torch.Tensor]) -> None:
    weights["model.gate.weight"] = weights.pop("model.norm.weight")


def more(weights: dict[str, torch.Tensor]) -> None:
    weights["model.extra.weight"] = torch.ones(2)


def empty(weights: dict[str, torch.Tensor]) -> None:
    weights["model.norm.weight"] = torch.zeros(0)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lacking, "lacks: weights model.norm.weight"),
        (renamed, "lacks: weights model.norm.weight"),
        (more, "also has: weights model.extra.weight"),
        (empty, "has in another shape: weights model.norm.weight"),
    ],
)
def test_a_model_whose_weights_are_not_all_its_own_is_refused(
    spoil: Callable[[dict[str, torch.Tensor]], None], says: str, tmp_path: Path
) -> None:
    model, shape = tmp_path / "mine", {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config = LlamaConfig(**shape, num_attention_heads=2, vocab_size=50, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(model)
    load_pretrained(model, torch.float32)  # the output layer's weights are those of the embedding: they stand once
    weights = load_file(model / "model.safetensors")
    spoil(weights)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=re.escape(f"{model}: the model {says}")):
        load_pretrained(model, torch.float32)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/model.safetensors", "other.safetensors", "x/m.bin"])
def test_weights_outside_a_models_folder_are_refused(name: str, model: Path) -> None:
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))
    with pytest.raises(ValueError, match=re.escape(f"names weights in {name!r}, which is no file of its folder")):
        digest_model(model)


@pytest.mark.parametrize("missing", ["*.safetensors", "config.json"])
def test_a_folder_that_holds_no_model_is_refused(missing: str, model: Path) -> None:
    for file in model.glob(missing):
        file.unlink()
    (model / "pytorch_model.bin").write_text("a pickle")
    with pytest.raises(ValueError, match=r"mine holds no model: it needs config\.json and weights as \.safetensors$"):
        digest_model(model)


CHANGES: dict[str, Callable[[Path], Any]] = {
    "another weight": lambda folder: save_file({"x": torch.zeros(2)}, folder / "model-00001-of-00002.safetensors"),
    "another tokenizer": lambda folder: (folder / "tokenizer.json").write_text("[]"),
    "another name": lambda folder: (folder / "vocab.txt").rename(folder / "other.json"),
    "a file more": lambda folder: (folder / "added_tokens.json").write_text("{}"),
    "a file less": lambda folder: (folder / "merges.txt").unlink(),
    "bytes that moved": lambda folder: [
        (folder / "merges.txt").write_text("merges.tx"), (folder / "tokenizer.model").write_text("ttokenizer.model")
    ],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_has_changed_is_another_one_and_is_not_copied(change: str, model: Path, tmp_path: Path) -> None:
    before = source(model)
    (model / "README.md").write_text("what is not used may change")
    assert digest_model(model) == before.digest
    CHANGES[change](model)
    assert digest_model(model) != before.digest
    copy = tmp_path / "copy"
    copy.mkdir()
    with pytest.raises(ValueError, match=r"mine has changed since the study was opened$"):
        before.write(copy)
    assert list(copy.iterdir()) == []


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_model_that_brings_code_along_is_refused(model: Path, tmp_path: Path, file: str) -> None:
    store = Store(tmp_path / "runs")
    plain = Base(source=source(model), parameters=4)
    run([plain], store, CPU)
    assert (store.finished(plain) / "config.json").read_text() == "{}"
    (model / file).write_text(json.dumps({"auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine"}}))
    (model / "modeling_mine.py").write_text("raise SystemExit('this was run')")
    with pytest.raises(ValueError, match=rf"{file}: brings code of its own, which is never run here; choose another"):
        source(model)


NESTED = '{"a": ' * 5000 + "1" + "}" * 5000
SPOILT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pickle in a list": (
        lambda model: (model / "config.json").write_text('{"a": {"b": ["x/y.pkl"]}}'),
        "config.json: names 'x/y.pkl', a pickle, which is never read here",
    ),
    "weights of another name": (
        lambda model: (model / "config.json").write_text('{"transformers_weights": "../w.safetensors"}'),
        "config.json names weights in '../w.safetensors', which is no file of its folder",
    ),
    "weights in a vocabulary": (
        lambda model: (model / "model.safetensors.index.json").write_text('{"weight_map": {"x": "tokenizer.model"}}'),
        "index.json names weights in 'tokenizer.model', which is no file of its folder",
    ),
    "weights in a list": (
        lambda model: (model / "model.safetensors.index.json").write_text('{"weight_map": ["/etc/w.safetensors"]}'),
        "index.json names weights in \"['/etc/w.safetensors']\", which is no file of its folder",
    ),
    "an adapter": (
        lambda model: (model / "adapter_config.json").write_text('{"base_model_name_or_path": "/etc"}'),
        "adapter_config.json: an adapter of another model; must be merged into it",
    ),
    "a million layers": (
        lambda model: (model / "config.json").write_text('{"text_config": {"num_hidden_layers": 1000000}}'),
        "config.json: num_hidden_layers must be at most 2, the tensors that the model's files hold",
    ),
    "settings in a list": (lambda model: (model / "config.json").write_text("[]"), "must be a JSON object"),
    "lists in lists": (lambda model: (model / "config.json").write_text(NESTED), "config.json: not JSON: maximum"),
    "no text": (lambda model: (model / "config.json").write_bytes(b"\xff"), "config.json: not JSON: 'utf-8' codec"),
    "a large file": (
        lambda model: os.truncate(model / "tokenizer.json", 2**40), "tokenizer.json: must be at most 64 MiB"
    ),
    "a pipe": (
        lambda model: [(model / "vocab.txt").unlink(), os.mkfifo(model / "vocab.txt")],
        "vocab.txt: must be a regular file",
    ),
    "a device": (
        lambda model: (model / "more.safetensors").symlink_to("/dev/zero"), "more.safetensors: must be a regular file"
    ),
    "a circle": (
        lambda model: (model / "more.json").symlink_to("more.json"), "more.json: must be a regular file"
    ),
    "no bytes": (lambda model: (model / WEIGHTS).write_bytes(b""), f"{WEIGHTS}: no safetensors: "),
    "any bytes": (lambda model: (model / WEIGHTS).write_bytes(b"garbage!" * 99), f"{WEIGHTS}: no safetensors: "),
    "half of it": (lambda model: os.truncate(model / WEIGHTS, 70), f"{WEIGHTS}: no safetensors: "),
    "a long header": (lambda model: (model / WEIGHTS).write_bytes(b"\xff" * 99), f"{WEIGHTS}: no safetensors: "),
    "no tensors": (
        lambda model: [save_file({}, file) for file in model.glob("*.safetensors")],
        "holds no model: its files hold no weights",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_model_is_refused_by_the_name_of_its_file(
    how: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, says = SPOILT[how]
    spoil(model)
    with pytest.raises(ValueError, match=re.escape(says)):
        digest_model(model)
    values = yaml.safe_load((ROOT / "params/quick.yaml").read_text()) | {"base_model": {"folder": str(model)}}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(values))
    assert cli.main(["plan", "--params", str(tmp_path / "p.yaml")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("repro: base_model.folder: ") and told.count("\n") == 1 and says in told


def test_settings_of_a_larger_model_than_the_weights_are_refused_before_it_is_made_up(tmp_path: Path) -> None:
    config = LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=50
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    state = torch.get_rng_state()
    load_pretrained(tmp_path, torch.float32)
    assert torch.equal(torch.get_rng_state(), state), "what is drawn later does not depend on loading"
    settings = json.loads((tmp_path / "config.json").read_text()) | {"vocab_size": 10**15}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"config\.json describes [\d,]+ weights, and its files hold [\d,]+$"):
        load_pretrained(tmp_path, torch.float32)


# Tables and recipes


CONTENTS = pd.DataFrame({
    "domain": ["health"] * 3, "part": ["CPT text", "SFT pairs", "questions, hpo_terms"],
    "items": [12_345, 900, 128], "characters": [2.5e6, np.nan, np.nan], "dropped": [1200, 0, 0],
    "why": ["gives a question away", "gives a question away", ""], "epochs": [0.25, 12, None],
})  # fmt: skip


def test_the_table_of_contents_tells_none_from_nothing_to_leave_out() -> None:
    found = tables.contents(CONTENTS)
    assert cells(found)[1:] == [
        ["health", "CPT text", "12,345", "2.50M", "0.25", "1,200", "gives a question away"],
        ["health", "SFT pairs", "900", DASH, "12.00", "0", "gives a question away"],
        ["health", "questions, hpo_terms", "128", DASH, DASH, DASH, DASH],
    ]


def test_examples_are_cut_and_escaped() -> None:
    rows = [
        {"domain": "health", "use": "SFT", "prompt": "a  <b>\n" + "word " * 99, "answer": " <i>", "others": ""},
        {"domain": "health", "use": "hpo_terms", "prompt": "Which?", "answer": "x", "others": "y; z"},
    ]
    found = tables.examples(pd.DataFrame(rows))
    first, second = cells(found)[1:]
    assert len(first[2]) == 220 and first[2].startswith("a <b> word word") and first[2].endswith("\u2026")
    assert (first[4], second[4]) == (DASH, "y; z")
    assert "<i>" not in found.to_html()


def base_scores(**changes: Any) -> pd.DataFrame:
    rows = [
        {"domain": "coding", "benchmark": benchmark, "metric": metric, "score": score, "se": se, "n_items": 164}
        for benchmark, metric, score, se in (
            ("python_docstrings", "accuracy", 0.4, 0.03), ("python_docstrings", "log-likelihood", -0.5, 0.02),
            ("humaneval", "accuracy", 0.04, 0.01), ("humaneval", "log-likelihood", -0.9, 0.02),
        )
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**changes)


def test_base_scores_stand_between_chance_and_ceiling() -> None:
    found = tables.base_scores(base_scores())
    four = "python_docstrings"
    assert row(found, "coding")[:2] in (["coding", four], ["coding", "humaneval"])
    listed = {line[1]: line[2:] for line in cells(found)[1:]}
    assert listed[four] == ["164", "40.0 \u00b1 3.0", "25", "100", "-0.500 \u00b1 0.020"]
    assert listed["humaneval"] == ["164", "4.0 \u00b1 1.0", "0", "100", "-0.900 \u00b1 0.020"]


def test_programs_that_were_not_run_are_a_dash_beside_their_likelihood() -> None:
    gone = base_scores()
    where = (gone["benchmark"] == "humaneval") & (gone["metric"] == "accuracy")
    gone.loc[where, ["score", "se"]], gone.loc[where, "n_items"] = np.nan, 0
    (line,) = (line for line in cells(tables.base_scores(gone)) if "humaneval" in line)
    assert (line[2], line[3], line[-1]) == ("164", DASH, "-0.900 \u00b1 0.020")


def test_tokens_end_with_what_sharing_saves() -> None:
    frame = pd.DataFrame({"phase": ["CPT", "SFT"], "trained": [1000, 0], "naive": [4500, 0], "seconds": [61.7, 0]})
    assert cells(tables.tokens(frame))[1:] == [
        ["CPT", "1,000", "4,500", "4.5", "62"], ["SFT", "0", "0", DASH, "0"], ["both", "1,000", "4,500", "4.5", "62"],
    ]  # fmt: skip


def test_a_peak_has_its_interval_and_its_test_beside_it() -> None:
    frame = pd.DataFrame([
        {"benchmark": "hpo_terms", "metric": "accuracy", "sft_tokens": 2048.0, "low": 1000.0, "high": 4000.0,
         "cpt_fraction": 0.875, "highest": 4096.0, "peak_shown": True,
         "p_value": 0.0004, "p_value_holm": 0.0008, "slope_p": 0.03, "slope_p_holm": 0.06},
        {"benchmark": "hpo_terms", "metric": "log-likelihood", "sft_tokens": np.nan, "low": np.nan, "high": np.nan,
         "cpt_fraction": np.nan, "highest": 256.0, "peak_shown": False,
         "p_value": np.nan, "p_value_holm": np.nan, "slope_p": np.nan, "slope_p_holm": np.nan},
    ])  # fmt: skip
    ours: Any = SimpleNamespace(optima=frame)
    first, second = cells(tables.optima(ours))[1:]
    assert first[2:] == [
        "yes", "2.05k", "1.00k to 4.00k", "4.10k", "below 0.001", "0.060",
    ]  # fmt: skip
    assert second[2:] == ["no", *[DASH] * 2, "256", *[DASH] * 2]
    ours.optima = frame.head(0)
    assert cells(tables.optima(ours))[1:] == []


def test_drift_as_printed_is_told_as_far_as_it_is() -> None:
    found = tables.printed_drift()
    lines = cells(found)[1:]
    assert len(lines) == len(published.drift())
    assert lines[0] == ["health", "CPT and SFT", "CPT new added", "0.99992 to 0.999925", "0.345", "Section 5.1"]
    assert lines[2][4] == "0.01 to 0.09"
    assert lines[-1][3:5] == [DASH, "0.16 to 0.28"]


def recipe(**values: Any) -> tuple[dict[str, str], dict[str, str]]:
    quick = yaml.safe_load((ROOT / "params/quick.yaml").read_text())
    return recipes(params.check(quick | values, AllocationParams))


def test_a_recipe_says_what_is_done_in_the_words_of_the_paper_s_tables() -> None:
    changed = {
        "budget": 10_000, "sft_tokens": [0, 100], "sft_only_tokens": [], "cpt_length": 100, "cpt_batch": 3,
        "cpt_lr": 2.0e-4, "cpt_warmup_steps": 7, "cpt_rank": 16, "cpt_alpha": 32, "sft_rank": 4, "sft_alpha": 5,
        "sft_batch": 6, "sft_longest": 1234, "sft_adapter": "merge", "chat_template": True, "seeds": [3, 4],
        "lora_replay_share": "1/4", "clip": 0.5, "weight_decay": 0.2,
    }  # fmt: skip
    cpt, sft = recipe(**changed)
    assert cpt["Sequence length"] == "100" and cpt["Global batch size"] == "3 sequences"
    assert cpt["Total training steps"] == "33 at most", "10,000 tokens in steps of 300"
    assert cpt["Learning rate"] == "0.0002 (constant)" and "first 7 steps" in cpt["Learning rate schedule"]
    assert (cpt["LoRA rank"], cpt["LoRA scaling factor"]) == ("16", "32")
    assert (sft["LoRA rank"], sft["LoRA scaling factor"], sft["Global batch size"]) == ("4", "5", "6 pairs")
    assert sft["Sequence length"] == "one pair, 1,234 at most" and sft["Adapter"] == MODES["merge"]
    assert sft["Prompt"] == "the model's chat template" and recipe()[1]["Prompt"] == "plain"
    for one in (cpt, sft):
        assert (one["Random seed"], one["Gradient clipping"], one["Weight decay"]) == ("3, 4", "0.5\nmax norm", "0.2")
        assert one["Replay"].startswith("25% of") and one["Replay"].endswith("general")
    assert (cpt["Dataset"], sft["Dataset"]) == ("health", "pairs of each domain")


def test_a_recipe_stands_in_the_rows_of_the_paper_s_own() -> None:
    cpt, sft = recipe()
    aspects = set(published.table("A.2")["aspect"]) | set(published.table("A.3")["aspect"])
    assert len(aspects & set(cpt)) >= 10 and len(aspects & set(sft)) >= 10
    found = tables.set_up(cpt, sft)
    assert row(found, "LoRA rank") == ["LoRA rank", "256", "8", "64", "8"]
    assert row(found, "Adapter")[-1] == "goes on with CPT's adapter"
    assert {"Replay", "Adapter", "Prompt"} >= set(cpt | sft) - aspects, "a row of their own, and no other"
