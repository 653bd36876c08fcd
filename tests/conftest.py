"""Fixtures of every room."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from helpers import browser
from helpers.fitting import without_held_out
from helpers.texts import folder_source
from repro.data.sources import FolderSource
from repro.laws.allocation import peak

# A shell's background jobs ignore Ctrl-C, and so would whatever tests start there.
signal.signal(signal.SIGINT, signal.default_int_handler)

ALL_SIMULATIONS = peak.FLAT_SIMULATIONS


@pytest.fixture(scope="session", autouse=True)
def few_simulations() -> Iterator[None]:
    """A tenth of the simulated data sets behind the p value of scores without items: seconds a fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peak, "FLAT_SIMULATIONS", 99)
        yield


@pytest.fixture
def all_simulations(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As many as users get, for tests of the p value itself."""
    monkeypatch.setattr(peak, "FLAT_SIMULATIONS", ALL_SIMULATIONS)
    peak._null.cache_clear()
    yield
    peak._null.cache_clear()


@pytest.fixture(name="without_held_out")
def _without_held_out() -> Iterator[None]:
    with without_held_out():
        yield


@pytest.fixture
def prose_folder(tmp_path: Path) -> Callable[[str, list[str]], FolderSource]:
    return lambda name, texts: folder_source(tmp_path / name, texts)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, running; whatever needs it is skipped where there is none."""
    if browser.chromium() is None:
        pytest.skip("Chromium is not installed (apt.txt lists it)")
    with browser.browser() as running:
        yield running
