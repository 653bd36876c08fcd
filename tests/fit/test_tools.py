"""Logs that the tools themselves have written, and the examples of the book."""

import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from helpers import ROOT
from helpers.fitting import fit, strict
from repro.fit import DRAWS
from repro.fit.cmr import fit as answer

EXAMPLES = ROOT / "book/_static/examples"
SIX = [1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4, 1]


@pytest.mark.ci
@pytest.mark.parametrize("counted", [True, False])
def test_what_a_trainer_saves_is_read(tmp_path: Path, counted: bool) -> None:
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    config = LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=32
    )
    texts = [
        [dict.fromkeys(("input_ids", "labels"), row) for row in rows.tolist()]
        for rows in np.arange(3 * 12 * 8).reshape(3, 12, 8) % 32
    ]
    for name in ("R-0.25", "R-0.5", "R-0.75"):
        arguments = TrainingArguments(
            output_dir=str(tmp_path / "study" / name), max_steps=6, per_device_train_batch_size=2,
            eval_strategy="steps", eval_steps=1, eval_on_start=True, save_steps=3, logging_steps=1, report_to="none",
            use_cpu=True, include_num_input_tokens_seen="all" if counted else "no", disable_tqdm=True,
        )  # fmt: skip
        sets = {"general": texts[1], "domain": texts[2]}
        Trainer(LlamaForCausalLM(config), arguments, train_dataset=texts[0], eval_dataset=sets).train()
    flags = [] if counted else ["--tokens-per-step", "16"]
    done = fit("cmr", "study", *flags, "--bootstrap", "0", "--table", "t.csv", "--json", "o.json", at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    group = strict((tmp_path / "o.json").read_text())["groups"][0]
    assert [laws["ratio"] for laws in group["token_laws"]] == [0.25, 0.5, 0.75]
    assert "96" in (tmp_path / "t.csv").read_text()  # tokens of 6 steps of 2 sequences of 8


@pytest.mark.parametrize("name", ["trainer", "tensorboard", "wandb.csv", "wandb.json"])
def test_the_examples_of_the_book_give_one_answer(tmp_path: Path, name: str) -> None:
    file = EXAMPLES / name
    if not file.exists():
        if name == "tensorboard":
            pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
        zipfile.ZipFile(EXAMPLES / f"{name}.zip").extractall(tmp_path)
        file = tmp_path / name
    done = fit(
        "cmr",
        str(file),
        *(["--tokens-per-step", "512"] if name == "wandb.csv" else []),
        "--bootstrap",
        "0",
        "--json",
        "o.json",
        at=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    group = strict((tmp_path / "o.json").read_text())["groups"][0]
    assert [laws["ratio"] for laws in group["token_laws"]] == pytest.approx(SIX)
    (same,) = answer(ROOT / "book/_static/example-losses.csv", None, None, bootstrap=0).analysis.groups
    found = group["critical_ratio"]["tolerance"]["value"]
    assert found == pytest.approx(same.critical_ratio.tolerance.value, rel=1e-3)


@pytest.mark.parametrize("name", ["trainer", "tensorboard", "wandb-csv", "wandb-json"])
def test_the_reports_of_the_examples_say_what_was_assumed(name: str) -> None:
    page = (EXAMPLES / f"{name}.html").read_text()
    for words in ("The critical mixture ratio of your losses", "ratio is told by names", "read by other names"):
        assert words in page


def test_the_draws_that_help_names_are_those_that_reports_call_the_default() -> None:
    flags = tomllib.loads((ROOT / "src/repro/fit/flags.toml").read_text())["flags"]
    assert flags["bootstrap"]["default"] == DRAWS
