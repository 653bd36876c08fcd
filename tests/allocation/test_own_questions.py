"""A study of paper B on everything of the user's own, questions included: nothing built in, nothing fetched."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import ROOT
from helpers.texts import OBJECTS, SUBJECTS, VERBS, folder_source, prose
from repro import params as parameters
from repro.allocation.design import Design, design
from repro.allocation.study import Study
from repro.cli import main
from repro.lm.models import Shape, new_model
from repro.lm.sequences import train_tokenizer
from repro.params import AllocationParams, ParamsError
from repro.runs import Store
from repro.stages.evaluate import ITEMS, Evaluate
from repro.stages.lora import Cpt, Sft

SMALL = {
    "sft_tokens": [0, 256], "sft_only_tokens": [256], "snapshots": [], "sft_steps": None, "other_budgets": [],
    "cpt_ablation": [], "budget": 512, "cpt_length": 16, "cpt_batch": 4, "workers": 1, "device": "cpu",
    "preset": "mine",
}  # fmt: skip


def lines(listed: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in listed)


def pairs(count: int) -> list[dict[str, Any]]:
    return [
        {"prompt": f"In year {n}, what did {SUBJECTS[n % 7]} need?", "answer": f" {OBJECTS[n % 6]} of {n}"}
        for n in range(count)
    ]


def exam(count: int) -> list[dict[str, Any]]:
    return [
        {
            "question": f"Case {n}: what {VERBS[n % 7]} {OBJECTS[n % 6]}?",
            "choices": [f"{subject} {n}" for subject in SUBJECTS[:4]],
            "answer": "ABCD"[n % 4],
        }
        for n in range(count)
    ]


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Parameters of a study in a project's folder of its own, with ten questions of each kind."""
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    for name, seed in (("general", 1), ("mine", 2)):
        folder_source(tmp_path / name, prose(60, seed=seed))
    asked = exam(10)
    (tmp_path / "general.jsonl").write_text(lines([*pairs(40), {"prompt": asked[3]["question"], "answer": " no idea"}]))
    (tmp_path / "mine.jsonl").write_text(lines([*pairs(60), {"prompt": asked[4]["question"], "answer": " no idea"}]))
    (tmp_path / "exam.jsonl").write_text(lines(asked))
    refs = [f"Who was number {n}?,the {n}th king" for n in range(10)]
    (tmp_path / "refs.csv").write_text("\n".join(["prompt,answer", *refs]))
    tokenizer = train_tokenizer(prose(40, seed=7), 280)
    tokenizer.save_pretrained(tmp_path / "model")
    shape = Shape(hidden=16, intermediate=32, layers=1, heads=2)
    new_model(shape, len(tokenizer), 256, seed=3).save_pretrained(tmp_path / "model")
    domain = {
        "name": "mine", "cpt": [{"folder": "mine"}], "sft": {"folder": "mine.jsonl"}, "benchmarks": ["exam", "refs"],
        "questions": {"exam": "exam.jsonl", "refs": "refs.csv"},
    }  # fmt: skip
    replay = {"name": "general", "cpt": [{"folder": "general"}], "sft": {"folder": "general.jsonl"}}
    smoke = yaml.safe_load((ROOT / "params/smoke.yaml").read_text())
    smoke = {name: value for name, value in smoke.items() if name in AllocationParams.model_fields}
    return smoke | SMALL | {"base_model": {"folder": "model"}, "domains": [domain], "replay": replay}


def designed(values: dict[str, Any], **domain: Any) -> Design:
    changed = {"domains": [values["domains"][0] | domain]}
    return design(parameters.check(values | changed, AllocationParams))


def keys(found: Design, kind: type) -> set[str]:
    return {
        stage.key
        for trial in found.trials
        for stage in (trial.before, trial.model, trial.evaluation)
        if type(stage) is kind
    }


def test_the_questions_are_part_of_what_decides_a_score(values: dict[str, Any], tmp_path: Path) -> None:
    """And of what is trained on, as training must not give them away."""
    before = designed(values)
    assert keys(before, Evaluate) == keys(designed(values), Evaluate)
    asked = exam(10)
    (tmp_path / "exam.jsonl").write_text(lines([*asked[:9], asked[9] | {"answer": "A"}]))
    after = designed(values)
    for kind in (Evaluate, Cpt, Sft):
        assert keys(before, kind) and not keys(before, kind) & keys(after, kind)


@pytest.mark.parametrize(
    ("domain", "says"),
    [
        ({"questions": {"exam": "none"}}, r"domains\[0\]\.questions\.exam: \S+/none: no such folder or file"),
        ({"questions": {"other": "exam.jsonl"}}, r"domains\[0\]: questions: other must be one of benchmarks"),
        (
            {"questions": {"../exam": "exam.jsonl"}},
            r"domains\[0\]\.questions\.\.\./exam: must be letters, digits, _ and -",
        ),
        ({"questions": ["exam.jsonl"]}, r"domains\[0\]\.questions: must be names with values"),
        (
            {"benchmarks": ["MMLU"], "questions": {"MMLU": "exam.jsonl"}},
            r"domains\[0\]\.questions\.MMLU: MMLU is another benchmark's name; must be one of their own",
        ),
        ({"benchmarks": ["exam", "exam"]}, r"domains\[0\]: benchmarks must not repeat a value"),
    ],
)
def test_wrong_parameters_are_told_in_one_line(values: dict[str, Any], domain: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=f"^{says}") as error:
        designed(values, **domain)
    assert "\n" not in str(error.value)


def test_a_plan_lists_the_questions_and_tells_the_line_of_a_wrong_one(
    values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    plan = ["plan", "--params", str(tmp_path / "mine.yaml")]
    assert main(plan) == 0
    told = capsys.readouterr().out.splitlines()
    assert {"exam, 10 questions: file exam.jsonl: 1 file", "refs, 10 questions: file refs.csv: 1 file"} <= set(told)
    asked = exam(10)
    asked[6]["answer"] = "E"
    (tmp_path / "exam.jsonl").write_text(lines(asked))
    says = f"{tmp_path}/exam.jsonl, line 7: the answer 'E' must be the text, letter or index from 0 of one choice"
    for command in (plan, ["train", *plan[1:]]):
        assert main(command) == 2
        captured = capsys.readouterr()
        assert captured.err.splitlines() == [f"repro: {says}"] and not captured.out
    assert not (tmp_path / "_runs").exists()


@pytest.mark.ci
def test_from_questions_to_paired_comparisons(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    params = parameters.check(values, AllocationParams)
    study = Study(store=Store(tmp_path / "runs"), params=params, design=design(params))
    materials = study.materials().set_index(["domain", "part"])
    assert (
        materials.loc[("mine", "questions, exam"), "items"] == materials.loc[("mine", "questions, refs"), "items"] == 10
    )
    assert materials.loc[("mine", "SFT pairs"), "dropped"] == 1, "the pair that gives a question away"
    assert materials.loc[("general", "SFT pairs"), "dropped"] == 1, "of the replayed ones too"
    items = study.items()
    assert items.groupby(["kind", "sft_tokens", "benchmark"])["item"].nunique().eq(10).all()
    assert items["right"].notna().all() and (items["logprob"] < 0).all() and set(items["status"]) == {"scored"}
    compared = study.results().ablation
    assert set(compared["benchmark"]) == {"exam", "refs"} and (compared["items"] == 10).all()
    accuracy = compared[compared["metric"] == "accuracy"]
    assert accuracy["p_value"].between(0, 1).all(), "McNemar's test, as every answer is kept"
    shown = study.examples().set_index("use")
    assert shown.loc["exam", "prompt"] == exam(10)[0]["question"] and shown.loc["refs", "answer"] == "the 0th king"
    assert (study.file(study.design.trials[0].evaluation, ITEMS)).is_file()
