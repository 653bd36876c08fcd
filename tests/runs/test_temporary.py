"""Folders for a while: gone with their work, and if that was killed, when the next begins."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from repro.runs import temporary as module
from repro.runs.batch import CERTIFICATE, KEY, credentials
from repro.runs.temporary import ALIVE, abandoned, temporary

HOLD = """import sys
from pathlib import Path
from repro.runs.batch import credentials
with credentials(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def holding(inside: Path) -> tuple["subprocess.Popen[str]", Path]:
    """A process with credentials in a folder of its own, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(inside)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_key_that_a_killed_process_left_is_gone_when_the_next_begins(tmp_path: Path) -> None:
    killed, left = holding(tmp_path)
    working, used = holding(tmp_path)
    with killed, working:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert (left / KEY).is_file() and abandoned(".tls-", tmp_path) == [left]
        with credentials(tmp_path) as own:
            assert sorted(tmp_path.iterdir()) == sorted([own, used])
            assert {file.name for file in used.iterdir()} == {KEY, CERTIFICATE, ALIVE}
        working.communicate()
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_else_put_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, file = tmp_path / "x-other", tmp_path / "precious"
    other.mkdir()
    file.write_text("kept")
    (other / ALIVE).symlink_to(file)
    monkeypatch.setattr(module.os, "getuid", lambda: os.geteuid() + 1)
    with temporary("x-", tmp_path):
        pass
    assert other.is_dir() and file.read_text() == "kept"


def test_what_is_not_held_yet_is_nobodys_to_remove(tmp_path: Path) -> None:
    (tmp_path / "x-new").mkdir()
    with temporary("x-", tmp_path) as first, temporary("x-", tmp_path) as second:
        assert {first, second, tmp_path / "x-new"} == set(tmp_path.iterdir())
