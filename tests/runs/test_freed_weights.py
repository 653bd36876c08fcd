"""Freeing disk space: only weights that nothing needs, and what broken runs left; tables stay."""

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from helpers.toys import RESULT, Number, Sum, Weighty
from repro.runs import Machine, Stage, Store, run
from repro.runs.engine import freeable

HEAVY = [Weighty(value=value) for value in (1, 2, 3)]
TOTALS = [Sum(parts=(HEAVY[0], HEAVY[1])), Sum(parts=(HEAVY[1], HEAVY[2]))]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    run(TOTALS, store, Machine())
    return store


def weights(store: Store) -> list[int]:
    return [stage.value for stage in HEAVY if store.weights(stage)]


def test_weights_that_nothing_needs_are_announced_and_then_freed(store: Store) -> None:
    found = freeable(store, TOTALS)
    assert found
    assert str(found) == "0.0 MiB can be freed: the weights of 3 finished runs; these runs took 0.0 hours"
    assert weights(store) == [1, 2, 3], "saying it frees nothing"
    found.free()
    assert found.size == (1 + 2 + 3) * 256
    assert weights(store) == []
    assert [store.status(stage) for stage in (*HEAVY, *TOTALS)] == ["done"] * 5
    assert [store.file(stage, RESULT).read_text() for stage in HEAVY] == ["1", "2", "3"]
    again = freeable(store, TOTALS)
    assert not again
    assert str(again) == "nothing to free: all weights are still needed, or have been freed"
    run(TOTALS, store, Machine())
    assert weights(store) == [], "nothing was missing, so nothing was done again"


def test_weights_that_a_missing_run_builds_on_are_kept(store: Store) -> None:
    shutil.rmtree(store.path(TOTALS[1]))
    freeable(store, TOTALS).free()
    assert weights(store) == [2, 3]


def test_weights_that_another_study_still_needs_are_kept(store: Store) -> None:
    other = Sum(parts=(HEAVY[2], Number(value=9)))
    found = freeable(store, TOTALS, [other])
    found.free()
    assert weights(store) == [3]
    run([other], store, Machine())
    freeable(store, TOTALS, [other]).free()
    assert weights(store) == []


def test_freed_weights_are_made_again_for_a_new_run(store: Store) -> None:
    before = store.published(HEAVY[0])
    freeable(store, TOTALS).free()
    new = Sum(parts=(HEAVY[0], TOTALS[1]))
    run([new], store, Machine())
    assert store.file(new, RESULT).read_text() == "6"
    assert weights(store) == [1]
    after = store.published(HEAVY[0])
    assert {name for name in before if before[name] != after[name]} <= {"record.json"}


def test_what_spoilt_and_overtaken_runs_left_is_removed(store: Store) -> None:
    (store.path(HEAVY[0]) / RESULT).write_text("7")
    run([Sum(parts=(HEAVY[0],))], store, Machine())
    assert (store.root / "quarantine" / f"{HEAVY[0].folder}-1").is_dir()
    store.part(HEAVY[1]).mkdir()
    begun = store.part(Number(value=9))
    begun.mkdir()
    found = freeable(store, [*TOTALS, Number(value=9)])
    assert "the weights of 3 finished runs, and 2 folders of spoilt or overtaken runs" in str(found)
    found.free()
    assert list((store.root / "quarantine").iterdir()) == []
    assert not store.part(HEAVY[1]).exists()
    assert begun.is_dir(), "what can be resumed is kept"


def test_a_freed_run_that_is_at_work_again_keeps_its_checkpoint(store: Store) -> None:
    freeable(store, TOTALS).free()
    checkpoint = store.part(HEAVY[0]) / "checkpoint"
    checkpoint.mkdir(parents=True)
    freeable(store, TOTALS).free()
    assert checkpoint.is_dir()


def test_freeing_that_was_cut_short_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_path: Path) -> None:
        raise KeyboardInterrupt

    def stages() -> list[Stage]:
        return [*HEAVY, *TOTALS]

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", interrupt)
        with pytest.raises(KeyboardInterrupt):
            freeable(store, TOTALS).free()
    assert [store.status(stage) for stage in stages()] == ["done"] * 5
    for stage in stages():
        store.published(stage)
    freeable(store, TOTALS).free()
    assert weights(store) == []


def test_what_a_killed_verification_left_is_removed_and_one_at_work_is_not(store: Store) -> None:
    dead, alive = store.root / ".verify-dead", store.root / ".verify-alive"
    for folder in (dead, alive):
        (folder / "runs").mkdir(parents=True)
        (folder / "alive.lock").touch()
    with FileLock(alive / "alive.lock"):
        assert freeable(store, []).folders == (dead,)
    assert set(freeable(store, []).folders) == {dead, alive}
