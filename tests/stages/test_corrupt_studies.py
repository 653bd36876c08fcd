"""Real stages spoilt: a checkpoint that an interrupted run left, and every file of both papers' smoke studies."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT
from helpers.spoiling import flip_at_random, spoil_every_file, ways
from helpers.training import small_pretrain
from repro import allocation, cmr, params as parameters
from repro.params import AllocationParams, Params
from repro.runs import Machine, Store, run
from repro.runs.progress import heard
from repro.runs.spec import closure
from repro.stages.training import LOSSES, Pretrain


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Pretrain]:
    """A store with an unfinished run, interrupted in the middle, and what it should come to."""
    folder = tmp_path_factory.mktemp("corruption")
    stage = small_pretrain(folder / "general", 40, sequences=4, tokens=10 * 128, length=32, warmup=3)
    store = Store(folder / "runs")
    run([stage.tokens, stage.tokens.tokenizer], store, Machine())

    def interrupt(done: float) -> None:
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build(stage, Machine(checkpoint_seconds=-1), interrupt)
    assert store.status(stage) == "begun"
    return store, stage


def spoil_checkpoint(pretraining: tuple[Store, Pretrain], tmp_path: Path, flips: int) -> tuple[int, int]:
    """How many ways to spoil a checkpoint were tried, and how many told; each run ends as if nothing had happened."""
    store, stage = pretraining
    outcomes, told = set(), 0
    kinds = [("untouched", lambda _file: None), *ways(random.Random(3), flips)]
    for number, (way, spoil) in enumerate(kinds):
        copy = Store(tmp_path / str(number))
        shutil.copytree(store.root, copy.root)
        spoil(copy.part(stage) / "checkpoint" / "state.safetensors")
        said: list[str] = []
        with heard(said.append):
            copy.build(stage, Machine(), lambda _done: None)
        damaged = any("is damaged" in line for line in said)
        assert damaged or way in ("untouched", "deleted", "a bit flipped")
        told += damaged
        outcomes.add(json.dumps({n: d for n, d in copy.published(stage).items() if n != "record.json"}))
        shutil.rmtree(copy.root)
    assert len(outcomes) == 1
    return len(kinds) - 1, told


def test_a_spoilt_checkpoint_is_reported_and_ignored(pretraining: tuple[Store, Pretrain], tmp_path: Path) -> None:
    tried, told = spoil_checkpoint(pretraining, tmp_path, 4)
    assert (tried, told) == (8, 7)  # one that is gone cannot be told


@pytest.mark.slow
def test_forty_flips_in_a_checkpoint(pretraining: tuple[Store, Pretrain], tmp_path: Path) -> None:
    tried, told = spoil_checkpoint(pretraining, tmp_path, 40)
    assert tried == 44
    assert told >= 42  # padding of its header may hide a flip that changes nothing


DO = """
from repro import allocation, cmr, params
from repro.runs import Local, run
if __name__ == "__main__":
    values = params.read(params.preset_file("smoke"))
    for schema, open_study in ((params.Params, cmr.open_study), (params.AllocationParams, allocation.open_study)):
        study = open_study(params.check(values, schema))
        run(study.stages, study.store, study.where.machine, on=Local(workers=2))
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_file_of_every_kind_of_stage_of_both_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("params", "_data"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    (tmp_path / "study.py").write_text(DO)
    subprocess.run([sys.executable, tmp_path / "study.py"], check=True, stderr=subprocess.DEVNULL)
    values = parameters.read(parameters.preset_file("smoke"))
    papers = [
        cmr.open_study(parameters.check(values, Params)),
        allocation.open_study(parameters.check(values, AllocationParams)),
    ]
    one_of_each = {stage.kind: stage for study in papers for stage in closure(list(study.stages))}
    assert len(one_of_each) >= 12
    store, rng = papers[0].store, random.Random(4)
    counts = {kind: spoil_every_file(store, stage, rng, 12, tmp_path / "copies") for kind, stage in one_of_each.items()}
    with capsys.disabled():
        print(f"\nfiles of {len(counts)} kinds of stage spoilt: {counts}, {sum(counts.values())} in all")
    assert sum(counts.values()) > 500
    study = cmr.open_study(parameters.check(values, Params))
    before = study.losses().to_csv()
    flip_at_random(rng)(store.path(study.design.pretraining[0]) / LOSSES)
    flip_at_random(rng)(store.path(study.design.continual[0]) / LOSSES)
    capsys.readouterr()
    assert cmr.open_study(parameters.check(values, Params)).losses().to_csv() == before
    assert "it is done again" in capsys.readouterr().err
