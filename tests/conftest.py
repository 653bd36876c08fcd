"""Fixtures of every room."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.texts import folder_source
from repro.data.sources import FolderSource

# A shell's background jobs ignore Ctrl-C, and so would whatever tests start there.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def prose_folder(tmp_path: Path) -> Callable[[str, list[str]], FolderSource]:
    return lambda name, texts: folder_source(tmp_path / name, texts)
