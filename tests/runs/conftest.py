"""Fixtures of the tests of `repro.runs`."""

from pathlib import Path

import pytest


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file where toys note their tries, one line each with the process's id; ``go`` beside it lets them end."""
    monkeypatch.setenv("REPRO_TEST_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("REPRO_TEST_GO", str(tmp_path / "go"))
    return tmp_path / "log"
