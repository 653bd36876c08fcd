"""What a study reads is said before anything trains, and what cannot be trained on is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from helpers import ROOT
from helpers.command import repro
from helpers.texts import folder_source, prose
from repro import params as parameters
from repro.lm.models import Shape, new_model
from repro.lm.sequences import train_tokenizer

A = {
    "vocabulary": 300, "sequence_length": 16, "batch": 2, "continual_tokens": 320, "continual_warmup_steps": 1,
    "validation_points": 5, "validation_sequences": 4, "validation_share": 0.2, "domain_validation_share": 0.2,
    "ratios": ["1/4", 1], "learning_rates": [], "bootstrap": 20, "workers": 1, "device": "cpu",
    "second_domain": None, "second_ratios": [], "pretrain_tokens": 320,
}  # fmt: skip
B = {
    "budget": 2000, "sft_tokens": [0, 1000], "sft_only_tokens": [], "other_budgets": [], "cpt_ablation": [],
    "cpt_length": 16, "cpt_batch": 2, "sft_batch": 2, "sft_longest": 40, "held_out_sequences": 4, "seeds": [0],
    "domain_validation_share": 0.2, "lora_replay_share": "1/4", "drift_floor_seed": None, "workers": 1,
    "snapshots": [], "sft_steps": None,
}  # fmt: skip
Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A project with a model, texts and pairs of a user's own."""
    tokenizer = train_tokenizer(prose(40, seed=7), 280)
    tokenizer.save_pretrained(tmp_path / "model")
    shape = Shape(hidden=16, intermediate=32, layers=1, heads=2)
    new_model(shape, len(tokenizer), 32, seed=3).save_pretrained(tmp_path / "model")
    for name, seed in (("general", 1), ("mine", 2)):
        folder_source(tmp_path / name, prose(60, seed=seed))
        pairs = [{"prompt": f"{name} {n}?", "answer": " yes" if n < 50 else " yes" * 99} for n in range(60)]
        pairs += [pairs[0], {"prompt": f"{name} 1?", "answer": " no"}]
        (tmp_path / f"{name}-pairs").mkdir()
        (tmp_path / f"{name}-pairs/all.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (tmp_path / "mine/notes.docx").write_text("a format that is not read")
    (tmp_path / "params").symlink_to(ROOT / "params")
    return tmp_path


@pytest.fixture
def run(home: Path) -> Run:
    """A command with parameters of paper "A" or "B", and changes to them."""

    def command(name: str, paper: str, *more: str, **changes: Any) -> CompletedProcess[str]:
        texts = {text: [{"folder": str(home / text)}] for text in ("general", "mine")}
        model = {"folder": str(home / "model")}

        def material(name: str) -> dict[str, Any]:
            return {"name": name, "cpt": texts[name], "sft": {"folder": str(home / f"{name}-pairs")}}

        sets = {
            "A": A | {"general": texts["general"], "domain": {"name": "mine", "sources": texts["mine"]},
                      "models": [model]},
            "B": B | {"base_model": model, "domains": [material("mine") | {"benchmarks": ["arc_easy"]}],
                      "replay": material("general")},
        }  # fmt: skip
        schema: Any = {"A": parameters.Params, "B": parameters.AllocationParams}[paper]
        smoke = parameters.read(parameters.preset_file("smoke"))
        values = {n: v for n, v in smoke.items() if n in schema.model_fields} | sets[paper] | changes
        (home / "mine.yaml").write_text(yaml.safe_dump(values))
        return repro(name, "--params", str(home / "mine.yaml"), *more, environment={"REPRO_HOME": str(home)})

    return command


def kinds(home: Path) -> set[str]:
    return {folder.name.partition("-")[0] for folder in (home / "_runs").glob("*-*")}


def test_what_a_study_of_paper_a_reads_is_said_and_nothing_trains(home: Path, run: Run) -> None:
    done = run("data", "A", "--json", str(home / "out.json"))
    assert done.returncode == 0, done.stderr
    assert kinds(home) == {"base", "text", "tokens"}
    told = json.loads((home / "out.json").read_text())["cmr"]
    skipped = "folder mine: 60 files; skipped: notes.docx (another kind of file)"
    assert skipped in [row["file"] for row in told["files"]]
    (model,) = told["models"]
    assert (model["name"], model["context"], model["vocabulary"], model["dtype"]) == ("model", 32, 280, "float32")
    assert model["eos_token"] == "<|endoftext|> (0)"
    texts = {(row["name"], row["part"]): row for row in told["texts"]}
    mine, general = texts["mine", "training"], texts["general", "training"]
    assert mine["documents"] + texts["mine", "validation"]["documents"] == 60
    assert mine["epochs"] == pytest.approx(320 / mine["tokens"])
    assert general["epochs"] == pytest.approx(0.75 * 320 / general["tokens"])
    general, mine = told["samples"]  # the first document of each
    assert (general["before"], mine["before"]) == ("", "")
    shown, files = mine["with_loss"].replace("│", ""), (home / "mine").glob("*.txt")
    assert any(text.read_text().startswith(shown) for text in files)
    for word in (skipped, "epochs", "<|endoftext|> (0)", "with_loss"):
        assert word in done.stdout


def test_what_a_study_of_paper_b_reads_has_pairs_and_their_loss_mask(home: Path, run: Run) -> None:
    done = run("data", "B", "--json", str(home / "out.json"))
    assert done.returncode == 0, done.stderr
    assert kinds(home) == {"base", "material", "tokens", "pairtokens"}
    told = json.loads((home / "out.json").read_text())["allocation"]
    pairs = {row["name"]: row for row in told["pairs"]}
    mine, general = pairs["mine"], pairs["general"]
    counted = [mine[name] for name in ("kept", "too_long", "ambiguous", "duplicate", "given_away")]
    assert counted == [49, 10, 2, 1, 0]
    mean = 0.75 * mine["tokens"] / mine["kept"] + 0.25 * general["tokens"] / general["kept"]
    assert mine["epochs"] == pytest.approx(0.75 * 1000 / mean / 49)
    texts = {(row["name"], row["part"]): row for row in told["texts"]}
    assert texts["mine", "training"]["epochs"] == pytest.approx(0.75 * 1984 / texts["mine", "training"]["tokens"])
    (sample,) = [row for row in told["samples"] if row["sample"] == "pairs of mine"]
    assert sample["with_loss"].replace("│", "") == " yes<|endoftext|>"
    assert sample["before"].replace("│", "").startswith("mine ")


@pytest.mark.ci
def test_a_study_for_a_cluster_is_got_ready_here_and_says_what_it_reads(home: Path, run: Run) -> None:
    jobs = {"batch": "slurm", "walltime": "01:00:00", "cores": 1, "memory_gib": 4}
    done = run("train", "A", "--prepare", cluster=jobs, workers=2)
    assert done.returncode == 0, done.stderr
    assert kinds(home) == {"base", "text", "tokens"}
    assert "epochs" in done.stdout and done.stdout.endswith("\ntext and models are ready\n")


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "held-out A": ("A", {"validation_sequences": 9000}, "validation_sequences: the validation part of the text of "),
    "length B": ("B", {"held_out_sequences": 9000}, "held_out_sequences: the validation part of the material of "),
    "context B": ("B", {"cpt_length": 64}, "cpt_length: must be at most 32, the context of model, not 64"),
    "template": ("B", {"chat_template": True}, "chat_template: must be false: "),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["data", "train"])
def test_what_cannot_be_trained_on_is_refused_by_name_before_anything_trains(
    home: Path, run: Run, command: str, wrong: str
) -> None:
    paper, changes, says = WRONG[wrong]
    done = run(command, paper, **changes)
    assert done.returncode == 2, done.stderr
    assert f"repro: {says}" in done.stderr and "Traceback" not in done.stderr
    assert not kinds(home) & {"continue", "cpt", "sft", "heldout"}


@pytest.mark.parametrize("paper", ["A", "B"])
def test_a_tokenizer_larger_than_the_model_is_refused_in_one_line(home: Path, run: Run, paper: str) -> None:
    train_tokenizer(prose(40, seed=7), 290).save_pretrained(home / "model")
    done = run("train", paper)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the tokenizer has a token 289, and the model embeds 280 from 0" in done.stderr
    assert not kinds(home)


@pytest.mark.ci
def test_a_study_begins_by_saying_what_it_reads(home: Path, run: Run) -> None:
    done = run("train", "A", recovery_sets=6, recovery_draws=10)
    assert done.returncode == 0, done.stderr
    models, texts = done.stderr.index("context"), done.stderr.index("epochs")
    assert models < texts < done.stderr.rindex("22 of 22 runs")
    assert "context" not in run("train", "A", recovery_sets=6, recovery_draws=10).stderr, (
        "what is done is not told again"
    )
