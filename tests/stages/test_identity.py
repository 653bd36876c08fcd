"""What makes a run another run, as parameter files say it: in both papers' studies, and nothing else."""

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import ROOT
from helpers.texts import prose
from repro import params
from repro.allocation.design import design as of_allocation
from repro.cmr.design import design as of_cmr
from repro.data.build import Division, Domain
from repro.data.corpora import Split
from repro.data.pairs import FolderPairs
from repro.data.sources import FolderSource
from repro.lm.models import Shape
from repro.params import AllocationParams, Params
from repro.runs import Stage
from repro.runs.spec import closure
from repro.stages.lora import Cpt, LoraTraining, Sft
from repro.stages.texts import Material, PairTokens, Text, Tokenizer, Tokens
from repro.stages.training import Pretrain, Training

SMOKE: dict[str, Any] = yaml.safe_load((ROOT / "params/smoke.yaml").read_text())
FOLDERS = ("general", "far", "near", "health")
VALUES: dict[str, Any] = SMOKE | {
    "general": [{"folder": "general"}],
    "domain": {"name": "far", "sources": [{"folder": "far"}]},
    "second_domain": {"name": "near", "sources": [{"folder": "near"}]},
    "domains": [{"name": "health", "builtin": "health", "cpt": [{"folder": "health"}], "benchmarks": ["hpo_terms"]}],
    "replay": {"name": "general", "builtin": "general", "cpt": [{"folder": "general"}]},
}
Keys = dict[str, frozenset[str]]


SOURCE = FolderSource(digest="5" * 64, folder=Path("anywhere"))


def pretrain() -> Pretrain:
    """A run of paper A with everything it builds on: a tokenizer and token ids of the text of a folder."""
    split = Split(validation=Fraction(1, 20), replay=Fraction(1, 5), near_duplicate=0.5)
    text = Text(name="general", sources=(SOURCE,), split=split)
    training = Training(
        tokens=4096, length=32, batch=4, peak=1e-3, warmup=1, floor=0.1, weight_decay=0.1, clip=1.0, precision="fp32",
        measures=4,
    )  # fmt: skip
    tokens = Tokens(text=text, tokenizer=Tokenizer(text=text, vocabulary=300))
    shape = Shape(hidden=16, intermediate=48, layers=1, heads=2)
    return Pretrain(tokens=tokens, shape=shape, training=training, sequences=8, seed=0)


def fine_tuned() -> Sft:
    """A run of paper B: the same model, continued on a folder's text and fine-tuned on a folder's pairs."""
    base = pretrain()
    tokenizer = base.tokens.tokenizer
    pairs = FolderPairs(digest="6" * 64, folder=Path("anywhere"))
    division = Division(benchmark=Fraction(1, 5), questions=8, validation=Fraction(1, 10), near_duplicate=0.5)
    material = Material(name="far", domain=Domain(sources=(SOURCE,), pairs=(pairs,)), division=division)
    replay = replace(material, name="general", seen=material)
    training = LoraTraining(
        rank=4, alpha=8, peak=1e-3, warmup=2, batch=2, weight_decay=0.1, clip=1.0, precision="bf16"
    )  # fmt: skip
    tokens, replayed = (Tokens(text=one, tokenizer=tokenizer) for one in (material, replay))
    cpt = Cpt(
        base=base, domain=tokens, replay=replayed, replay_share=Fraction(1, 10), training=training, length=32,
        tokens=2048, seed=0,
    )  # fmt: skip
    asked, kept = (PairTokens(material=m, tokenizer=tokenizer, chat=False, longest=64) for m in (material, replay))
    return Sft(
        start=cpt, pairs=asked, replay=kept, replay_share=Fraction(1, 10), training=training, mode="continue",
        tokens=1024, seed=0,
    )  # fmt: skip


def test_the_keys_of_runs_are_what_they_were() -> None:
    """They change only with what the stages compute: with a `version` raised, or with a field that decides the result.

    Every store there is, and every recorded result, is found by keys like these. Whoever changes a line here says in
    the commit why all of them are to be done again.
    """
    assert pretrain().folder == "pretrain-2515a6f14eb2a8f9"
    assert fine_tuned().folder == "sft-bbf6301381ee045b"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_home(tmp_path / "home", monkeypatch)


def make_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number, name in enumerate(FOLDERS):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.txt").write_text("\n".join(prose(1, seed=number)))
    monkeypatch.setenv("REPRO_HOME", str(folder))
    return folder


def keys(home: Path, text: str) -> tuple[Keys, Keys]:
    """Kind of stage -> keys, of paper A's study and of paper B's, from the text of a parameter file."""
    (home / "p.yaml").write_text(text)
    values = params.read(home / "p.yaml")
    return (
        by_kind(of_cmr(params.check(values, Params)).stages),
        by_kind(of_allocation(params.check(values, AllocationParams)).stages),
    )


def by_kind(stages: tuple[Stage, ...]) -> Keys:
    every = closure(list(stages))
    return {kind.__name__: frozenset(s.key for s in every if type(s) is kind) for kind in {type(s) for s in every}}


def changed(before: Keys, after: Keys) -> set[str]:
    """The kinds of stage of which not one is as it was."""
    assert before.keys() == after.keys()
    return {kind for kind in before if not before[kind] & after[kind]}


def spelt(**changes: Any) -> str:
    return yaml.safe_dump(VALUES | changes)


DATA, TRAINED = {"Text", "Tokenizer", "Tokens"}, {"Pretrain", "Continue"}
ADAPTED = {"Cpt", "Sft", "Evaluate", "HeldOut", "Drift", "RatioDrift"}
OWN_MODEL = SMOKE["base_model"]["own"]


@pytest.mark.parametrize(
    ("changes", "of_a", "of_b"),
    [
        ({"seeds": [2]}, TRAINED, ADAPTED | {"Pretrain"}),
        ({"precision": "bf16"}, TRAINED, set()),
        ({"lora_precision": "bf16"}, set(), ADAPTED),
        ({"vocabulary": 301}, TRAINED | {"Tokenizer", "Tokens"}, set()),
        (
            {"base_model": {"own": OWN_MODEL | {"vocabulary": 301}}},
            set(), ADAPTED | {"Tokenizer", "Tokens", "PairTokens", "Pretrain"},
        ),
        ({"batch": 4, "cpt_batch": 1, "sft_batch": 1}, TRAINED, ADAPTED | {"Pretrain"}),
    ],
    ids=["seed", "precision", "precision of adapters", "tokenizer", "tokenizer of the base model", "global batch"],
)  # fmt: skip
def test_what_decides_a_result_changes_the_keys_of_what_it_decides(
    home: Path, changes: dict[str, Any], of_a: set[str], of_b: set[str]
) -> None:
    before, after = keys(home, spelt()), keys(home, spelt(**changes))
    assert [changed(*pair) for pair in zip(before, after, strict=True)] == [of_a, of_b]


def test_one_byte_of_a_corpus_changes_every_key_behind_it(home: Path) -> None:
    before = keys(home, spelt())
    file = home / "general/a.txt"
    given = file.read_bytes()
    file.write_bytes(given[:100] + bytes([given[100] ^ 1]) + given[101:])
    after = keys(home, spelt())
    of_a, of_b = (changed(*pair) for pair in zip(before, after, strict=True))
    assert of_a == DATA | TRAINED  # the domains' as well: they keep apart from the general text
    assert of_b == ADAPTED | {"Tokenizer", "Tokens", "PairTokens", "Pretrain", "Material"}
    file.write_bytes(given)
    assert keys(home, spelt()) == before


@pytest.mark.parametrize(
    ("kind", "of_a", "of_b"),
    [
        (Text, DATA | TRAINED, set()),
        (Tokenizer, TRAINED | {"Tokenizer", "Tokens"}, ADAPTED | {"Tokenizer", "Tokens", "PairTokens", "Pretrain"}),
        (Pretrain, TRAINED, ADAPTED | {"Pretrain"}),
        (Sft, set(), {"Sft", "RatioDrift"}),
    ],
)
def test_a_version_changes_the_keys_of_what_is_behind_it(
    kind: type[Stage], of_a: set[str], of_b: set[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(home, spelt())
    monkeypatch.setattr(kind, "version", kind.version + 1)
    after = keys(home, spelt())
    assert [changed(*pair) for pair in zip(before, after, strict=True)] == [of_a, of_b]


def respelt() -> str:
    """The same parameters as `spelt()`, written by another hand."""
    turned = dict(reversed(VALUES.items())) | {"benchmark_share": "2/10", "validation_share": "0.0500", "clip": 1}
    turned["domain"] = dict(reversed(VALUES["domain"].items()))
    turned["general"] = [{"folder": "./general/", "part": ["0", "1/1"], "licence": "mine"}]
    text = yaml.safe_dump(turned, indent=7, sort_keys=False, default_flow_style=False, width=40)
    text = re.sub("^continual_lr: .*$", "continual_lr:      1.0e-3   # as before", text, flags=re.MULTILINE)
    return "# by another hand\r\n\n" + re.sub("^batch: 8$", "batch: 0x8\n\n  # eight", text, flags=re.MULTILINE)


ELSEWHERE = {
    "preset": "mine", "device": "cpu", "workers": 7, "micro_batch": 3, "checkpoint_seconds": 1.5,
    "cluster": {"scheduler": "tcp://10.0.0.1:8786"}, "resources": {"pretrain": {"devices": 2}},
    "unsafe_no_sandbox": True,
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        respelt,
        lambda: spelt(**ELSEWHERE),
        lambda: spelt(
            ratios=["0", "0.125", 0.25, "2/6", 0.5, 0.75, 1.0], second_ratios=["2/16", 0.25, "1/3", 0.5, 0.75]
        ),
        lambda: spelt().replace("\n", "\r\n"),
    ],
    ids=["another hand", "where and how fast", "fractions", "line ends"],
)
def test_spelling_and_place_are_no_part_of_a_key(home: Path, text: Callable[[], str]) -> None:
    assert text() != spelt()
    assert keys(home, text()) == keys(home, spelt())


def test_where_the_project_lies_is_no_part_of_a_key(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = keys(home, spelt())
    there = make_home(tmp_path / "another place", monkeypatch)
    assert keys(there, spelt()) == here
