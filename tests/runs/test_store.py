"""Finished folders: published by one rename, checked by their manifest, made once by many processes."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import TESTS
from helpers.toys import RESULT, Counts, Fails, Number, Slow, Sum, Waits, Weighty, tried, wait_until
from repro.runs import Machine, Store, folder as attempts, run, store as stores
from repro.runs.engine import StudyFailed
from repro.runs.folder import Corrupt, Freed, Linked, Unwritable
from repro.runs.spec import Stage

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
    assert record["seconds"] >= 0


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
def test_a_folder_that_is_not_as_published_is_found_on_use_and_set_aside(tmp_path: Path, spoil: str) -> None:
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


def test_an_interrupted_attempt_is_resumed(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Counts(upto=5, breaks_at=3)
    with pytest.raises(KeyboardInterrupt):
        build(store, stage)
    assert store.status(stage) == "begun"
    # What only serves resumption is not part of the result, nor is what the interrupted attempt left beside it.
    assert names(build(store, stage)) == {"number-3-from-3", "number-4-from-3", "record.json", "manifest.json"}


def test_eight_processes_that_want_one_stage_do_it_once(tmp_path: Path, log: Path) -> None:
    code = f"""
from pathlib import Path
from repro.runs import Machine, Store
from helpers.toys import Slow
path = Store(Path({str(tmp_path / "runs")!r})).build(Slow(value=1), Machine(), lambda _done: None)
print((path / "result.txt").read_text())
"""
    started = [subprocess.Popen([sys.executable, "-c", code], cwd=TESTS, stdout=subprocess.PIPE) for _ in range(8)]
    assert [process.communicate(timeout=60)[0] for process in started] == [b"1\n"] * 8
    assert len(tried(log)) == 1
    assert names(tmp_path / "runs") == {Slow(value=1).folder, ".locks"}


def test_when_the_holder_of_the_lock_is_killed_another_resumes_from_the_checkpoint(tmp_path: Path, log: Path) -> None:
    store, stage = Store(tmp_path / "runs"), Waits(value=1)
    code = f"""
from pathlib import Path
from repro.runs import Machine, Store
from helpers.toys import Waits
Store(Path({str(store.root)!r})).build(Waits(value=1), Machine(), lambda _done: None)
"""
    started = [subprocess.Popen([sys.executable, "-c", code], cwd=TESTS) for _ in range(3)]
    wait_until(lambda: len(tried(log)) == 1)
    holder = next(process for process in started if process.pid == tried(log)[0])
    holder.kill()
    wait_until(lambda: len(tried(log)) == 2)
    (tmp_path / "go").touch()
    assert sorted(process.wait(60) for process in started) == [-signal.SIGKILL, 0, 0]
    assert len(tried(log)) == 2
    assert (store.finished(stage) / "tries.txt").read_text() == "2"  # the first one's checkpoint was there
    assert names(store.root) == {stage.folder, ".locks"}
    store.free(stage)
    build(store, stage)  # and no lock is left that blocks


@pytest.mark.parametrize("which", ["path", "part"])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_where_a_run_should_be_is_refused_before_anything_starts(
    tmp_path: Path, which: str, dangling: bool
) -> None:
    store, stage, elsewhere = Store(tmp_path / "runs"), Sum(parts=(Number(value=1),)), tmp_path / "elsewhere"
    store.root.mkdir()
    if not dangling:
        elsewhere.mkdir()
        (elsewhere / "manifest.json").write_text("{}")
    link = getattr(store, which)(stage)
    link.symlink_to(elsewhere)
    for use in (store.has, store.status, store.finished, lambda stage: run([stage], store, MACHINE)):
        with pytest.raises(Linked, match=f"^{link} is a symbolic link.*remove the link$"):
            use(stage)
    assert names(store.root) == {link.name}


def test_a_checkpoint_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    store, stage = Store(tmp_path / "runs"), Weighty(value=3)
    (tmp_path / "mine").mkdir()
    store.part(stage).mkdir(parents=True)
    (store.part(stage) / "checkpoint").symlink_to(tmp_path / "mine")
    assert names(build(store, stage)) == {RESULT, "deep", "model.bin", "record.json", "manifest.json"}
    assert names(tmp_path / "mine") == set()


def test_what_cannot_be_written_ends_at_once(tmp_path: Path) -> None:
    """Not even why it failed can be noted then, so tries cannot be counted."""
    store, stage = Store(tmp_path), Number(value=1)
    store.part(stage).write_text("in the way")
    with pytest.raises(StudyFailed, match=f"Unwritable: {store.part(stage)}: cannot be written .file exists."):
        run([stage], store, MACHINE)
    with pytest.raises(StudyFailed, match=r"Unwritable: .*cannot be written .not a directory."):
        run([stage], Store(store.part(stage) / "runs"), MACHINE)


def test_two_sessions_that_take_turns_both_come_to_an_end(tmp_path: Path) -> None:
    tries = [attempts.count(tmp_path, session) for session in "ababab"]
    assert tries == [1, 1, 2, 2, 3, 3]
    for session in "ab":
        with pytest.raises(attempts.GaveUp, match="its worker died 3 times at the same place"):
            attempts.count(tmp_path, session)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "state").touch()
    assert attempts.count(tmp_path, "a") == 1, "the checkpoint has got further"


def test_a_run_that_was_given_up_counts_as_failed(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Number(value=1)
    store.part(stage).mkdir()
    for _ in range(3):
        attempts.count(store.part(stage), "a")
    with pytest.raises(attempts.GaveUp):
        store.build(stage, MACHINE, lambda _done: None, "a")
    assert store.status(stage) == "failed"
    store.build(stage, MACHINE, lambda _done: None, "another session")
    assert store.status(stage) == "done"


def test_freed_weights_come_back_only_for_a_run_that_builds_on_them(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Weighty(value=3)
    build(store, stage)
    before = store.published(stage)
    assert store.free(stage) == 768
    assert store.free(stage) == 0
    assert (store.has(stage), store.whole(stage), store.status(stage)) == (True, False, "done")
    assert store.published(stage) == before
    assert store.file(stage, RESULT).read_text() == "3"
    with pytest.raises(Freed, match="the weights of number 3 have been freed"):
        store.finished(stage)
    run([stage], store, MACHINE)
    assert not store.whole(stage)
    run([Sum(parts=(stage,))], store, MACHINE)
    assert store.whole(stage)
    assert names(store.root) == {stage.folder, Sum(parts=(stage,)).folder, ".locks"}


def test_a_file_that_is_gone_without_having_been_freed_is_found(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Weighty(value=3)
    build(store, stage)
    store.free(stage)
    (store.path(stage) / "deep" / "text.txt").unlink()
    with pytest.raises(Corrupt, match=r"text\.txt is missing"):
        store.published(stage)


def test_a_graphics_card_is_named_by_its_own_number_and_one_that_cannot_be_named_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    stores.hardware.cache_clear()
    assert stores.hardware("cuda:1") == "cuda:1; nvidia-smi does not say which"
    (tmp_path / "nvidia-smi").write_text('#!/bin/sh\necho "a card, $1"\n')
    (tmp_path / "nvidia-smi").chmod(0o755)
    for visible, number in (("", 1), ("3,5", 5), ("GPU-a,GPU-b", "GPU-b")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        stores.hardware.cache_clear()
        assert stores.hardware("cuda:1") == f"a card, --id={number}"
    stores.hardware.cache_clear()


def loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("put", [Path.touch, loop])
def test_a_store_is_a_folder(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "runs")
    with pytest.raises(Unwritable, match="runs: must be a folder, not a file or a link to nothing"):
        Store(tmp_path / "runs")


@pytest.mark.parametrize("put", [Path.touch, loop])
@pytest.mark.parametrize("place", ["runs/.locks", "runs/{}.part"])
def test_what_stands_where_runs_should_be_is_told_in_one_line(
    tmp_path: Path, place: str, put: Callable[[Path], None]
) -> None:
    stages = [Number(value=7), Number(value=8)]
    path = tmp_path / place.format(stages[0].folder)
    path.parent.mkdir(exist_ok=True)
    put(path)
    before = path.lstat()
    if put is loop and ".part" in place:
        with pytest.raises(Linked, match=f"^{path} is a symbolic link"):
            run(stages, Store(tmp_path / "runs"), MACHINE)
        return
    with pytest.raises(StudyFailed) as failed:
        run(stages, Store(tmp_path / "runs"), MACHINE)
    told = str(failed.value).splitlines()
    assert [line for line in told if "Unwritable" in line] == told[1:-1], "no traceback"
    assert re.search(
        rf"Unwritable: {path}\S*: cannot be written \((file exists|not a directory|too many .*)\)$", told[1]
    )
    assert path.lstat() == before
