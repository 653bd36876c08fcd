"""A stage's key: the same for the same meaning, another for any change of it."""

import dataclasses
import math
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from helpers import ROOT
from helpers.texts import folder_source, prose
from helpers.toys import Number, Sum
from repro import params
from repro.cmr.design import design
from repro.data.corpora import Split
from repro.data.sources import FolderSource, HubSource, PackageSource
from repro.lm.models import Shape
from repro.runs import Local, Machine, Stage, Store, run
from repro.runs.spec import canonical, closure
from repro.stages.texts import Text, Tokenizer, Tokens
from repro.stages.training import Continue, Pretrain, Training


def continual(
    source: PackageSource | FolderSource | HubSource | None = None,
    vocabulary: int = 300,
    seed: int = 0,
    **training: Any,
) -> Continue:
    split = Split(validation=Fraction(1, 20), replay=Fraction(1, 5), near_duplicate=0.5)
    text = Text(name="general", sources=(source or PackageSource(package="hpo", sha256="a" * 64),), split=split)
    tokenizer = Tokenizer(text=text, vocabulary=vocabulary)
    values: dict[str, Any] = {"tokens": 4096, "length": 32, "batch": 4, "peak": 1e-3, "warmup": 1, "floor": 0.1}
    values |= {"weight_decay": 0.1, "clip": 1.0, "precision": "fp32", "measures": 4} | training
    tokens = Tokens(text=text, tokenizer=tokenizer)
    shape = Shape(hidden=16, intermediate=48, layers=1, heads=2)
    base = Pretrain(tokens=tokens, shape=shape, training=Training(**values), sequences=8, seed=seed)
    domain = Tokens(text=dataclasses.replace(text, name="domain", general=text), tokenizer=tokenizer)
    return Continue(
        base=base, domain=domain, ratio=Fraction(1, 3), training=Training(**values), sequences=8, seed=seed
    )  # fmt: skip


def test_keys_are_what_they_were() -> None:
    """If this fails, results in every store are orphaned: be sure that they should be."""
    assert Number(value=3).key == "6630a8ee66f01978"
    assert continual().key == "c713372339c51481"


def test_keys_do_not_depend_on_the_process() -> None:
    code = "from helpers.toys import *; print(Sum(parts=(Number(value=3), Number(value=4))).key)"
    keys = {
        subprocess.check_output([sys.executable, "-c", code], cwd=ROOT / "tests", env={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    }
    assert keys == {f"{Sum(parts=(Number(value=3), Number(value=4))).key}\n".encode()}


@pytest.mark.parametrize(
    "other",
    [
        continual(seed=1),
        continual(vocabulary=301),
        continual(precision="bf16"),
        continual(tokens=8192),
        continual(batch=8),
        continual(source=PackageSource(package="hpo", sha256="b" * 64)),
        continual(source=PackageSource(package="hpo", sha256="a" * 64, part=(Fraction(0), Fraction(1, 2)))),
        continual(source=HubSource(dataset="a/b", revision="1")),
        dataclasses.replace(continual(), ratio=Fraction(333, 1000)),
        dataclasses.replace(continual(), sequences=9),
    ],
)
def test_whatever_decides_the_result_changes_the_key(other: Continue) -> None:
    assert other.key != continual().key


def test_the_digest_of_a_folder_is_identity_and_its_place_is_not(tmp_path: Path) -> None:
    here = continual(folder_source(tmp_path / "here", prose(2)))
    there = continual(folder_source(tmp_path / "there/deep", prose(2)))
    assert here.key == there.key
    (tmp_path / "here/00001.txt").write_text("another text")
    other = folder_source(tmp_path / "here", [])
    assert continual(other).key != here.key


def test_a_change_of_an_upstream_stage_changes_every_key_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {type(stage): stage.key for stage in closure([continual()])}
    monkeypatch.setattr(Tokenizer, "version", Tokenizer.version + 1)
    after = {type(stage): stage.key for stage in closure([continual()])}
    changed = {kind for kind in before if before[kind] != after[kind]}
    assert changed == {Tokenizer, Tokens, Pretrain, Continue}


def test_where_and_how_fast_it_runs_is_not_part_of_the_key(tmp_path: Path) -> None:
    stages = [Number(value=1), Number(value=2)]
    for name, machine, workers in (("a", Machine(), 1), ("b", Machine(micro_batch=2, checkpoint_seconds=5), 2)):
        run(stages, Store(tmp_path / name), machine, on=Local(workers=workers))
    assert {p.name for p in (tmp_path / "a").iterdir()} == {p.name for p in (tmp_path / "b").iterdir()}


def test_the_spelling_of_a_parameter_file_is_not_part_of_the_key() -> None:
    text = (ROOT / "params/smoke.yaml").read_text()
    values = yaml.safe_load(text)
    turned = dict(reversed(values.items())) | {"ratios": ["0", "0.125", 0.25, "2/6", 0.5, 0.75, 1.0]}
    turned |= {"workers": 7, "micro_batch": 3, "checkpoint_seconds": 1, "device": "cpu", "preset": "mine"}
    spaced = yaml.safe_load(yaml.safe_dump(turned, indent=7, default_flow_style=False))
    keys, others = ([s.key for s in design(params.check(given)).stages] for given in (values, spaced))
    assert keys == others


@dataclass(frozen=True, kw_only=True)
class Anything(Stage):
    value: Any


@pytest.mark.parametrize(
    "value", [Path("x"), {1}, [1], {"a": 1}, len, b"x", object(), np.ones(2), np.int64(1), (1, [2]), Stage, 1j]
)
def test_what_has_no_stable_serialisation_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no stable serialisation"):
        _ = Anything(value=value).key


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_json_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be part of a stage's identity"):
        _ = Anything(value=(1, value)).key


def test_values_of_different_meaning_stay_apart() -> None:
    values = (None, 0, 0.0, False, "0", "", (), (0,), Fraction(0), ((),), Number(value=0), Anything(value=0))
    assert len({Anything(value=value).key for value in values}) == len(values)
    assert canonical(Fraction(2, 6)) == "1/3"


def test_upstream_comes_first_and_once() -> None:
    shared = Number(value=1)
    first, second = Sum(parts=(shared, Number(value=2))), Sum(parts=(shared, shared))
    ordered = closure([first, second])
    assert len(ordered) == 4
    assert ordered.index(shared) < ordered.index(first)
    assert ordered.index(shared) < ordered.index(second)


def test_a_stage_that_does_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Anything does not define execute"):
        Store(tmp_path).build(Anything(value=1), Machine(), lambda _done: None)
