"""One line that says how far the whole study is, how long it still takes, and how far each running run is.

tqdm's plain text bar: it works in a terminal, in a notebook, and through papermill into the terminal it runs in.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager

from tqdm import tqdm

SHOWN = 2  # runs named on the line; a terminal has no room for more
LOG = logging.getLogger("repro")  # what a user should know, from wherever a run executes


class _Forwarder(logging.Handler):
    """Passes on every message as text."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())


@contextmanager
def heard(tell: Callable[[str], None]) -> Iterator[None]:
    """While the context lasts, every message to `LOG` goes to `tell`."""
    handler = _Forwarder(tell)
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)


class Progress(AbstractContextManager["Progress"]):
    """Progress over runs of different cost; `update` may be called from any thread."""

    def __init__(self, title: str, runs: dict[str, tuple[str, float]], finished: Container[str] = ()) -> None:
        """runs: for each key its label and its cost, in any unit common to all; finished: keys done before."""
        self._labels = {key: label for key, (label, _) in runs.items()}
        self._costs = {key: max(cost, 1.0) for key, (_, cost) in runs.items()}
        self._done = {key: float(key in finished) for key in runs}
        self._began: dict[str, tuple[float, float]] = {}  # when a run first reported, and how far it was then
        self._lock = threading.Lock()
        layout = "{desc} {percentage:3.0f}% |{bar:20}| {elapsed} gone, {remaining} to go{postfix}"
        before = sum(self._costs[key] for key, done in self._done.items() if done)
        self._total = sum(self._costs.values())
        self._bar = tqdm(total=self._total, initial=before, desc=title, bar_format=layout, mininterval=0.5)

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def note(self, text: str) -> None:
        """A line above the bar, for a terminal; the carriage return keeps it out of executed notebooks."""
        tqdm.write(f"\r{text}", file=sys.stderr)

    def update(self, key: str, done: float) -> None:
        """Note that the fraction `done` of the run `key` is done; fractions never go backwards."""
        with self._lock:
            if key not in self._done or done <= self._done[key]:
                return
            self._began.setdefault(key, (time.monotonic(), done))
            gained = (done - self._done[key]) * self._costs[key]
            self._done[key] = done
            self._bar.set_postfix_str(self._line(), refresh=False)
            self._bar.update(min(gained, self._total - self._bar.n))  # sums of floats may overshoot

    def _line(self) -> str:
        finished = sum(done >= 1 for done in self._done.values())
        running = [self._running(key) for key, done in self._done.items() if 0 < done < 1][:SHOWN]
        return "; ".join([f"{finished} of {len(self._done)} runs", *running])

    def _running(self, key: str) -> str:
        began, before = self._began[key]
        done = self._done[key]
        if done == before:
            return f"{self._labels[key]} {done:.0%}"
        left = (time.monotonic() - began) * (1 - done) / (done - before)
        return f"{self._labels[key]} {done:.0%}, {tqdm.format_interval(left)} to go"
