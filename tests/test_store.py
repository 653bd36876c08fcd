"""Finished folders: published by one rename, checked by their manifest, made once by many processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from repro.runs import Machine, Store
from repro.runs.spec import Stage
from repro.runs.integrity import Corrupt
from toys import RESULT, Counts, Fails, Number, Slow, Sum

MACHINE = Machine()


def build(store: Store, stage: Stage) -> Path:
    return store.build(stage, MACHINE, lambda _done: None)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_finished_folder_holds_the_result_and_says_what_made_it(tmp_path: Path) -> None:
    store, stage = Store(tmp_path / "runs"), Number(value=7)
    assert store.status(stage) == "missing"
    done: list[float] = []
    path = store.build(stage, MACHINE, done.append)
    assert done[-1] == 1.0
    assert store.status(stage) == "done"
    assert names(store.root) == {path.name, ".locks"}  # no .part
    assert path.name == f"number-{stage.key}"
    assert names(path) == {RESULT, "record.json", "manifest.json"}
    assert set(json.loads((path / "manifest.json").read_text())) == {RESULT, "record.json"}
    record = store.record(stage)
    assert record["key"] == stage.key
    assert record["stage"] == {"type": "Number", "version": 1, "value": 7}
    assert record["packages"]["torch"]
    assert record["hardware"]
    assert record["commit"]
    assert 0 <= record["seconds"] < 60


def test_nothing_is_visible_under_the_final_name_before_it_is_complete(tmp_path: Path) -> None:
    store = Store(tmp_path)
    seen: list[str] = []

    class Looks(Number):
        def execute(self, work: object) -> None:
            seen.append(store.status(self))
            seen.append(str(store.path(self).exists()))

    build(store, Looks(value=1))
    assert seen == ["begun", "False"]


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Number(value=7)
    before = (build(store, stage) / RESULT).stat().st_mtime_ns
    assert (build(store, stage) / RESULT).stat().st_mtime_ns == before


@pytest.mark.parametrize("spoil", ["altered", "missing"])
def test_what_is_not_as_published_is_found_by_whoever_builds_on_it_and_set_aside(tmp_path: Path, spoil: str) -> None:
    store, stage = Store(tmp_path), Number(value=7)
    path = build(store, stage)
    assert store.finished(stage) == path
    if spoil == "altered":
        (path / RESULT).write_text("8")
    else:
        (path / RESULT).unlink()
    with pytest.raises(Corrupt, match=rf"{RESULT} (was|is) {spoil} .* set aside as .*quarantine/{stage.folder}-1"):
        build(store, Sum(parts=(stage,)))
    assert store.status(stage) == "missing"
    with pytest.raises(FileNotFoundError):
        store.finished(stage)
    assert (build(store, stage) / RESULT).read_text() == "7"


def test_building_on_what_is_not_there_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="number 7 has not been run"):
        build(Store(tmp_path), Sum(parts=(Number(value=7),)))


def test_a_failed_attempt_leaves_its_traceback_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stage = Store(tmp_path), Fails(value=3)
    with pytest.raises(ArithmeticError):
        build(store, stage)
    assert store.status(stage) == "failed"
    assert not store.path(stage).exists()
    part = store.root / f"{stage.folder}.part"
    assert "ArithmeticError: cannot make 3" in (part / "failure.txt").read_text()
    monkeypatch.setattr(Fails, "execute", Number.execute)
    assert "failure.txt" not in names(build(store, stage))
    assert store.status(stage) == "done"


def test_an_interrupted_attempt_is_gone_on_with(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Counts(upto=5, breaks_at=3)
    with pytest.raises(KeyboardInterrupt):
        build(store, stage)
    assert store.status(stage) == "begun"
    # What only serves resumption is not part of the result, nor is what the interrupted attempt left beside it.
    assert names(build(store, stage)) == {"number-3-from-3", "number-4-from-3", "record.json", "manifest.json"}


def test_two_processes_that_want_one_stage_do_it_once(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from repro.runs import Machine, Store
from toys import Slow
path = Store(Path({str(tmp_path / "runs")!r})).build(Slow(value=1), Machine(), lambda _done: None)
print((path / "result.txt").read_text())
"""
    environment = os.environ | {"REPRO_TEST_LOG": str(tmp_path / "log")}
    here = Path(__file__).parent
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=here, env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [process.communicate(timeout=60)[0] for process in started] == [b"1\n"] * 3
    assert len((tmp_path / "log").read_text().splitlines()) == 1
    assert names(tmp_path / "runs") == {Slow(value=1).folder, ".locks"}
