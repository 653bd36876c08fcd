"""What is there is verified by whoever reads it, and only what is really spoilt is set aside."""

import errno
import os
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.toys import RESULT, Breaks, Diverges, Number, Sum, Weighty, note_try
from repro.runs import Local, Machine, Store, Work, run, store as store_module
from repro.runs.engine import StudyFailed
from repro.runs.folder import Corrupt

HEAVY = Weighty(value=3)
pytestmark = pytest.mark.usefixtures("log")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    run([HEAVY], store, Machine())
    return store


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_cannot_be_read_just_now_is_not_taken_for_spoilt(
    store: Store, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> str:
        raise OSError(number, os.strerror(number), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        with pytest.raises(OSError, match=os.strerror(number)):
            store.finished(HEAVY)
    assert store.finished(HEAVY)


def test_what_another_process_has_done_again_meanwhile_is_not_set_aside(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that hashed the old files, slowly, must not throw away the new ones."""
    looks = []
    real = store_module.verify

    def slow(folder: Path, names: list[str] | None = None) -> None:
        looks.append(folder)
        if len(looks) == 1:
            raise Corrupt("the old files")
        real(folder, names)

    monkeypatch.setattr(store_module, "verify", slow)
    assert store.finished(HEAVY) == store.path(HEAVY)
    assert len(looks) == 2
    assert not (store.root / store_module.QUARANTINE).exists()


@dataclass(frozen=True, kw_only=True)
class Elsewhere(Weighty):
    """Other weights and another result on another machine."""

    def execute(self, work: Work) -> None:
        super().execute(work)
        (work.path / RESULT).write_text(f"{self.value}{os.environ.get('REPRO_TEST_MACHINE', '')}")


def test_a_freed_run_that_comes_out_differently_is_reported(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, same = Elsewhere(value=5), Elsewhere(value=6)
    run([stage, same], store, Machine())
    store.free(stage)
    store.free(same)
    run([Sum(parts=(same,))], store, Machine())
    assert "redone" not in capsys.readouterr().err
    monkeypatch.setenv("REPRO_TEST_MACHINE", "00")
    run([Sum(parts=(stage,))], store, Machine())
    assert f"number 5 was redone and differs in {RESULT}: another machine?" in capsys.readouterr().err


def test_a_run_that_failed_for_good_is_not_tried_again_because_another_is_spoilt(store: Store, log: Path) -> None:
    (store.path(HEAVY) / RESULT).write_text("spoilt")
    on_it, broken, diverging = Sum(parts=(HEAVY,)), Breaks(value=1), Diverges(value=2)
    after = Sum(parts=(broken, HEAVY))
    with pytest.raises(StudyFailed, match=r"^2 of 5 runs failed, and 1 not run:") as failed:
        run([on_it, broken, diverging, after], store, Machine())
    assert f"({after.folder}): not run: a stage it builds on failed" in str(failed.value)
    assert (store.finished(on_it) / RESULT).read_text() == "3"
    assert len(log.with_name("log-Breaks").read_text().split()) == 3
    assert len(log.with_name("log-Diverges").read_text().split()) == 1


def test_any_number_of_spoilt_runs_is_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, parts = Store(tmp_path), tuple(Number(value=value) for value in range(6))
    run(parts, store, Machine())
    for part in parts:
        (store.path(part) / RESULT).write_text("spoilt")
    total = Sum(parts=parts)
    run([total], store, Machine())
    assert (store.finished(total) / RESULT).read_text() == "15"
    assert capsys.readouterr().err.count("it is done again") == 6


def test_the_summary_names_what_failed_last_and_not_what_was_mended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.path(HEAVY) / RESULT).write_text("spoilt")
    monkeypatch.setattr(Weighty, "execute", Diverges.execute)
    on_it = Sum(parts=(HEAVY,))
    with pytest.raises(StudyFailed, match=r"^1 of 2 runs failed, and 1 not run:") as failed:
        run([on_it], store, Machine())
    assert f"({HEAVY.folder}): FloatingPointError: the loss is nan" in str(failed.value)
    assert f"({on_it.folder}): not run: a stage it builds on failed" in str(failed.value)
    assert "Corrupt" not in str(failed.value)


def test_a_file_system_that_cannot_sync_folders_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    store = Store(tmp_path)
    run([HEAVY], store, Machine())
    assert store.whole(HEAVY)


@dataclass(frozen=True, kw_only=True)
class Sick(Number):
    """Breaks the device for its whole process at the first try of all."""

    def execute(self, work: Work) -> None:
        note_try(f"-{self.value}")
        with suppress(FileExistsError):
            Path(os.environ["REPRO_TEST_LOG"]).open("x").close()  # by one process alone
            os.environ["REPRO_TEST_SICK"] = "yes"
        if os.environ.get("REPRO_TEST_SICK"):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        super().execute(work)


def test_a_worker_whose_device_is_broken_is_replaced_before_it_spoils_other_runs(store: Store, log: Path) -> None:
    stages = [Sick(value=value) for value in range(8)]
    run(stages, store, Machine(), on=Local(workers=2))
    tries = [len(log.with_name(f"log-{stage.value}").read_text().split()) for stage in stages]
    assert sorted(tries) == [1] * 7 + [2]


def test_a_failed_run_does_not_keep_its_model(tmp_path: Path) -> None:
    """In this process a traceback would hold whatever the stage had loaded until the study is done."""
    import gc
    import weakref

    held: list[weakref.ref[object]] = []

    class Model:
        pass

    class Holds(Number):
        def execute(self, work: Work) -> None:
            model = Model()
            held.append(weakref.ref(model))
            gc.collect()
            assert sum(one() is not None for one in held) == 1, "that of another run is still there"
            raise FloatingPointError("nan")

    with pytest.raises(StudyFailed, match=r"^3 of 3 runs failed:"):
        run([Holds(value=value) for value in range(3)], Store(tmp_path), Machine())
    assert len(held) == 3


def test_a_user_who_waits_for_another_process_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("repro.runs.folder.QUIET_SECONDS", 0.1)
    store, stage = Store(tmp_path), Number(value=1)
    with store.locked(stage):
        waiting = threading.Thread(target=run, args=([stage], store, Machine()))
        waiting.start()
        waiting.join(1)
        assert waiting.is_alive()
    waiting.join(30)
    assert store.has(stage)
    assert "number 1 is being done by another process; waiting for it" in capsys.readouterr().err


def test_the_outcome_of_a_run_is_what_it_left_whenever_it_was_done(tmp_path: Path) -> None:
    stores = [Store(tmp_path / name) for name in "ab"]
    for store in stores:
        run([HEAVY], store, Machine())
        assert (store.path(HEAVY) / "record.json").is_file()
    (stores[0].path(HEAVY) / "manifest.json").touch()
    assert stores[0].outcome(HEAVY) == stores[1].outcome(HEAVY)
    run([Number(value=1)], stores[0], Machine())
    assert stores[0].outcome(Number(value=1)) != stores[0].outcome(HEAVY)
    (stores[0].path(HEAVY) / "manifest.json").write_text("{")
    assert stores[0].outcome(HEAVY) == ""
    assert stores[0].outcome(Number(value=2)) == ""
