"""Which failures are the disk's, and which are told as any other."""

import errno
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers.toys import Number
from repro.runs import Machine, Store, folder as attempts, run
from repro.runs.engine import StudyFailed
from repro.runs.folder import unwritable
from repro.runs.spec import Work

FULL = "no space left on device; what is done is kept: free space and run the same command to resume"
SHARED_MEMORY = RuntimeError("unable to write to file /dev/shm/nccl-Ab3 (size 9): No space left on device (28)")
NAMELESS = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


class Usage(NamedTuple):
    free: int


@pytest.fixture
def part(tmp_path: Path) -> Path:
    folder = tmp_path / "runs/number-1.part"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> int:
    """Room on every disk."""
    monkeypatch.setattr(attempts.shutil, "disk_usage", lambda _path: Usage(2**40))
    return 2**40


def test_a_file_of_the_store_is_named(part: Path, free: int) -> None:
    file = str(part / "model.safetensors")
    assert str(unwritable(OSError(errno.ENOSPC, "No space left on device", file), part)) == f"{file}: {FULL}"
    read_only = OSError(errno.EROFS, "Read-only file system", file)
    assert str(unwritable(read_only, part)) == f"{file}: cannot be written (read-only file system)"


@pytest.mark.parametrize(
    "error",
    [
        SHARED_MEMORY,
        RuntimeError("bwrap: Can't create file at /usr/x: Read-only file system"),
        OSError(errno.ENOSPC, "No space left on device", "/tmp/elsewhere"),
        OSError(errno.ENOENT, "No such file or directory", "/tmp/elsewhere"),
        ValueError("something else"),
    ],
)
def test_another_disk_is_a_failure_like_any_other(part: Path, error: Exception) -> None:
    assert unwritable(error, part) is None


@pytest.mark.parametrize("error", [NAMELESS, OSError(errno.ENOSPC, "No space left on device")])
def test_what_names_no_file_is_judged_by_the_room_there_is(
    part: Path, error: Exception, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unwritable(error, part) is None
    monkeypatch.setattr(attempts.shutil, "disk_usage", lambda _path: Usage(2**20))
    outer = RuntimeError("could not save")
    outer.__cause__ = error
    assert str(unwritable(outer, part)) == f"{part}: {FULL}"
    assert list(part.iterdir()) == []


def test_a_run_whose_checkpoints_do_not_fit_four_times_is_short_of_room(
    part: Path, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part / "state").write_bytes(b"")
    monkeypatch.setattr(attempts, "ROOM", 10)
    monkeypatch.setattr(attempts.shutil, "disk_usage", lambda _path: Usage(399))
    assert unwritable(NAMELESS, part) is None
    (part / "state").write_bytes(bytes(100))
    assert unwritable(NAMELESS, part) is not None


def test_a_small_shared_memory_leaves_other_runs_going(tmp_path: Path) -> None:
    class Shares(Number):
        def execute(self, _work: Work) -> None:
            raise SHARED_MEMORY

    store, bad, good = Store(tmp_path), Shares(value=1), Number(value=2)
    with pytest.raises(StudyFailed, match=r"^1 of 2 runs failed:\n.*RuntimeError: .*/dev/shm/nccl-Ab3") as failed:
        run([bad, good], store, Machine())
    assert not failed.value.stopped
    assert (store.status(bad), store.status(good)) == ("failed", "done")


def test_an_error_that_is_its_own_cause_ends_the_search() -> None:
    first, second = ValueError("first"), OSError(errno.EIO, "second")
    first.__cause__ = first
    assert list(attempts.chain(first)) == [first]
    first.__cause__, second.__context__ = second, first
    assert list(attempts.chain(first)) == [first, second]
