"""Doing what is missing, here or on workers: the same bytes, and a failure stops only what builds on it."""

from pathlib import Path

import pytest

from helpers.toys import RESULT, Fails, Number, Sum, digests
from repro.runs import Local, Machine, Store, run
from repro.runs.engine import StudyFailed, needed
from repro.runs.spec import closure

NUMBERS = [Number(value=value) for value in (1, 2, 3)]
TOTAL = Sum(parts=(Sum(parts=tuple(NUMBERS)), NUMBERS[0]))


def test_one_process_and_two_workers_give_the_same_bytes(tmp_path: Path) -> None:
    alone, together = Store(tmp_path / "alone"), Store(tmp_path / "together")
    run([TOTAL], alone, Machine())
    run([TOTAL], together, Machine(), on=Local(workers=2))
    assert (alone.finished(TOTAL) / RESULT).read_text() == "7"
    assert digests(alone, *closure([TOTAL])) == digests(together, *closure([TOTAL]))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_is_named_and_leaves_the_others_going(tmp_path: Path, workers: int) -> None:
    store, bad = Store(tmp_path), Fails(value=9)
    behind = Sum(parts=(bad, NUMBERS[0]))
    with pytest.raises(StudyFailed) as failed:
        run([bad, behind, TOTAL], store, Machine(), on=Local(workers=workers))
    lines = str(failed.value).splitlines()
    assert lines[0] == "1 of 7 runs failed, and 1 not run:"
    assert f"  number 9 ({bad.folder}): ArithmeticError: cannot make 9" in lines
    assert f"  Sum ({behind.folder}): not run: a stage it builds on failed" in lines
    assert any("in execute" in line for line in lines), "no traceback"
    assert [line for line in lines if not line.startswith("    ")] == lines[:2] + lines[-1:]
    assert store.status(TOTAL) == "done"
    assert store.status(bad) == "failed"
    assert store.status(behind) == "missing"


class PanicException(BaseException):
    """As bindings to Rust raise it."""


@pytest.mark.parametrize("error", [PanicException, KeyboardInterrupt])
def test_a_panic_is_a_failure_of_its_run_and_an_interrupt_is_none(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def panic(*_: object) -> None:
        tried.append(1)
        raise error("index out of bounds")

    monkeypatch.setattr(Fails, "execute", panic)
    store, bad = Store(tmp_path), Fails(value=9)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else StudyFailed) as failed:
        run([bad, TOTAL], store, Machine())
    if error is PanicException:
        assert f"number 9 ({bad.folder}): RuntimeError: PanicException: index out of bounds" in str(failed.value)
        assert store.status(TOTAL) == "done" and len(tried) == 3


def test_nothing_missing_is_no_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    run([TOTAL], store, Machine())
    capsys.readouterr()
    monkeypatch.setattr(Sum, "execute", lambda *_: pytest.fail("done again"))
    run([TOTAL, *NUMBERS], store, Machine(), on=Local(workers=2))
    assert capsys.readouterr().err == ""


def test_only_what_is_missing_runs_and_nothing_before_what_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert needed([TOTAL], store) == closure([TOTAL])
    run([TOTAL.parts[0]], store, Machine())
    assert needed([TOTAL], store) == [TOTAL]
    other = Sum(parts=(TOTAL, Number(value=4)))
    assert needed([other], store) == [TOTAL, Number(value=4), other]


def test_the_line_ends_at_all_runs_done_with_workers_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run([TOTAL], Store(tmp_path), Machine(), on=Local(workers=2), title="toy")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("toy 100%, ")
    assert "5 of 5 runs" in last


def test_progress_is_that_of_the_whole_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    run(NUMBERS, store, Machine())
    capsys.readouterr()
    run([TOTAL.parts[0]], store, Machine(), whole=[TOTAL])
    shown = capsys.readouterr().err.splitlines()
    assert "3 of 5 runs" in shown[0]
    assert "4 of 5 runs" in shown[-1]
    assert store.status(TOTAL) == "missing"
