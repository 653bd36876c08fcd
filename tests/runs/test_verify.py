"""Finished stages done once more by themselves: the same bits, or the names of the files that differ."""

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from helpers import ROOT
from helpers.texts import prose
from helpers.toys import RESULT, Fails, Number, Sum
from repro.cli import main
from repro.lm.models import Shape, new_model
from repro.params import AllocationParams, check
from repro.runs import Machine, Stage, Store, Work, run
from repro.runs.engine import StudyFailed, alone, verify_again
from repro.runs.folder import Corrupt

CPU = Machine()


@dataclass(frozen=True, kw_only=True)
class Random(Number):
    """Leaves its value, and another file that is never the same."""

    def execute(self, work: Work) -> None:
        super().execute(work)
        (work.path / "deep").mkdir()
        (work.path / "deep/chance.txt").write_text(uuid.uuid4().hex)


@dataclass(frozen=True, kw_only=True)
class Once(Number):
    """Leaves a file more where it is done for the first time."""

    log: str = field(metadata={"identity": False}, compare=False)

    def execute(self, work: Work) -> None:
        super().execute(work)
        if not Path(self.log).exists():
            Path(self.log).touch()
            (work.path / "first.txt").touch()


@dataclass(frozen=True, kw_only=True)
class Climb(Stage):
    """Counts up to `top`, from where the shorter climb `after` ended where there is one."""

    top: int
    after: "Climb | None" = field(default=None, metadata={"identity": False}, compare=False)

    def execute(self, work: Work) -> None:
        start = int((work.inputs(self.after) / RESULT).read_text()) if self.after else 0
        (work.path / RESULT).write_text(str(start + sum(1 for _ in range(start, self.top))))


@dataclass(frozen=True, kw_only=True)
class Cheat(Climb):
    """A climb that ends elsewhere if it went on from another."""

    def execute(self, work: Work) -> None:
        (work.path / RESULT).write_text(str(self.top + bool(self.after)))


@dataclass(frozen=True, kw_only=True)
class Over(Stage):
    """Doubles what another stage found."""

    of: Stage
    beside: Stage | None = None

    def execute(self, work: Work) -> None:
        (work.path / RESULT).write_text(str(2 * int((work.inputs(self.of) / RESULT).read_text())))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def done(store: Store) -> Callable[..., Any]:
    def do(stage: Stage) -> Any:
        run([stage], store, CPU)
        return stage

    return do


def test_the_same_bits_again_are_no_difference(store: Store, done: Callable[..., Any]) -> None:
    stage = done(Sum(parts=(Number(value=2), Sum(parts=(Number(value=3),)))))
    before = {file: file.read_bytes() for file in store.root.rglob("*") if file.is_file()}
    found = verify_again(stage, store, CPU)
    assert (found.stage, found.files, found.different) == (stage, 1, ()), "the record of the run is not compared"
    assert {file: file.read_bytes() for file in store.root.rglob("*") if file.is_file()} == before


def test_what_differs_is_named(store: Store, done: Callable[..., Any]) -> None:
    found = verify_again(done(Random(value=4)), store, CPU)
    assert (found.files, found.different) == (2, ("deep/chance.txt",))


@pytest.mark.parametrize("first", [True, False])
def test_a_file_that_only_one_of_them_left_differs(
    first: bool, store: Store, done: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    if not first:
        log.touch()
    stage = done(Once(value=1, log=str(log)))
    if not first:
        log.unlink()
    assert verify_again(stage, store, CPU).different == ("first.txt",)


def test_everything_it_builds_on_is_done_again_too(store: Store, done: Callable[..., Any]) -> None:
    """A finished upstream stage is no witness: here it is wrong, and what was built on it with it."""
    below = Climb(top=5)
    store.build(below, CPU, lambda _: None)
    done(Over(of=below))
    wrong = Cheat(top=5, after=done(Cheat(top=1)))
    stage = done(Over(of=done(wrong)))
    assert (store.path(stage) / RESULT).read_text() == "12"
    assert verify_again(stage, store, CPU).different == (RESULT,)
    assert verify_again(Over(of=below), store, CPU).different == ()


def test_a_run_that_went_on_from_another_is_done_again_from_its_beginning(
    store: Store, done: Callable[..., Any]
) -> None:
    short = Climb(top=3)
    branch = done(Climb(top=9, after=Climb(top=5, after=short)))
    assert store.has(short)
    assert verify_again(branch, store, CPU).different == ()
    assert verify_again(done(Cheat(top=9, after=Cheat(top=3))), store, CPU).different == (RESULT,)


def test_alone_is_the_same_stage_without_what_only_saves_work() -> None:
    branch = Climb(top=9, after=Climb(top=5))
    stage = Over(of=Over(of=branch), beside=None)
    found = alone(stage)
    assert found.key == stage.key
    assert found.of.of == branch and found.of.of.after is None  # type: ignore[attr-defined]
    assert branch.after is not None and alone(Number(value=1)) == Number(value=1)


def test_alone_reaches_stages_among_several() -> None:
    """Upstream stages may be in a tuple: see `Stage.upstream`."""
    found = alone(Sum(parts=(Number(value=1), Climb(top=9, after=Climb(top=5)))))
    assert found.parts[1].after is None  # type: ignore[attr-defined]


def test_what_is_not_done_cannot_be_verified(store: Store) -> None:
    with pytest.raises(FileNotFoundError, match="number 7 has not been run"):
        verify_again(Number(value=7), store, CPU)
    assert not store.root.exists()


def test_a_run_that_was_altered_is_reported_and_not_compared(store: Store, done: Callable[..., Any]) -> None:
    stage = done(Number(value=8))
    (store.path(stage) / RESULT).write_text("9")
    with pytest.raises(Corrupt, match=f"{RESULT} was altered"):
        verify_again(stage, store, CPU)


def test_failing_again_is_an_error(store: Store, done: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Fails, "execute", Number.execute)
        stage = done(Over(of=Fails(value=6)))
    with pytest.raises(StudyFailed, match="cannot make 6"):
        verify_again(stage, store, CPU)


# The command


def study(home: Path) -> Path:
    """A parameter file of a study whose texts, pairs and base model are small folders."""
    for name, seed in (("health", 1), ("general", 2)):
        (home / f"{name}-text").mkdir()
        (home / f"{name}-pairs").mkdir()
        for number, text in enumerate(prose(12, seed=seed)):
            (home / f"{name}-text/{number}.txt").write_text(text)
        rows = [{"prompt": f"{text[:30]}\nAnswer:", "answer": f" {text[30:40]}"} for text in prose(9, 1, seed=seed + 2)]
        pd.DataFrame(rows).to_json(home / f"{name}-pairs/pairs.jsonl", orient="records", lines=True)
    new_model(Shape(hidden=8, intermediate=8, layers=1, heads=1), 32, 256, seed=0).save_pretrained(home / "model")

    def domain(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "cpt": [{"folder": f"{name}-text"}], "sft": {"folder": f"{name}-pairs"}, **more}

    own = yaml.safe_load((ROOT / "params/quick.yaml").read_text())
    values = {name: value for name, value in own.items() if name in AllocationParams.model_fields}
    values |= {
        "base_model": {"folder": "model", "parameters": 1}, "domains": [domain("health", benchmarks=["hellaswag"])],
        "replay": domain("general"), "device": "cpu", "workers": 1,
    }  # fmt: skip
    file = home / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_the_command_reports_each_run_and_how_many_gave_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    file = study(tmp_path)
    verify = ["verify", "--params", str(file), "--sample", "9"]
    assert main(verify) == 1
    assert "no run of these parameters is done" in capsys.readouterr().err
    from repro.allocation.study import open_study

    found = open_study(check(yaml.safe_load(file.read_text()), AllocationParams))
    replay, domain = found.design.replays[0], found.design.materials[0]
    found.run([domain])
    capsys.readouterr()
    assert main(verify) == 0
    told = capsys.readouterr().out.splitlines()
    files = {stage: len(list(found.store.path(stage).iterdir())) - 2 for stage in (replay, domain)}
    assert sorted(told[:-1]) == sorted(f"{stage.label} ({stage.folder}): the same bits" for stage in files)
    assert told[-1] == "2 of 2 runs gave the same bits again"
    # A run whose record is of other bytes than it gives now: as if it had been done by other code.
    folder = found.store.path(domain)
    (folder / "statistics.json").write_text("{}")
    digests = json.loads((folder / "manifest.json").read_text())
    digests["statistics.json"] = hashlib.sha256(b"{}").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(digests))
    assert main(verify) == 1
    told = capsys.readouterr().out.splitlines()
    assert f"{domain.label} ({domain.folder}): differs in statistics.json" in told
    assert told[-1] == "1 of 2 runs gave the same bits again"
