"""One line of tqdm's plain text, also in notebooks and papermill: how far study and runs are, and the time left."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager

from tqdm import tqdm

SHOWN = 2  # runs named on the line; a terminal has no room for more
MINUTE = 60.0  # seconds between two lines of a log
TELLING = 1 / 50  # of the work; after that much of it the time still to go can be told
PLAIN = "REPRO_PLAIN"  # set for a notebook's kernel: what it writes to standard error is shown in no terminal
LOG = logging.getLogger("repro")  # what a user should know, from wherever a run executes


@contextmanager
def heard(tell: Callable[[str], None]) -> Iterator[None]:
    """While the context lasts, every message to `LOG` goes to `tell`."""
    handler = logging.Handler()
    handler.emit = lambda record: tell(record.getMessage())  # type: ignore[method-assign]
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)


def _in_notebook() -> bool:
    return type(sys.stderr).__module__.startswith("ipykernel")


def _overwrites() -> bool:
    """Whether a line can be written over: in a terminal, and in a notebook unless `PLAIN` says where it is shown."""
    return PLAIN not in os.environ if _in_notebook() else sys.stderr.isatty()


class Progress(AbstractContextManager["Progress"]):
    """Progress over runs of different cost; `update` may be called from any thread. Where no line can be written over
    (a log, a file) there is one for every run that is done, or for every minute.
    """

    def __init__(self, title: str, runs: dict[str, tuple[str, float]], finished: Container[str] = ()) -> None:
        """runs: for each key its label and its cost, in any unit common to all; finished: keys done before."""
        self._title = title
        self._labels = {key: label for key, (label, _) in runs.items()}
        self._costs = {key: max(cost, 1.0) for key, (_, cost) in runs.items()}
        self._done = {key: float(key in finished) for key in runs}
        self._began: dict[str, tuple[float, float]] = {}  # when a run first reported, and how far it was then
        self._first: tuple[float, float] | None = None  # when the study first reported, and how far it was then
        self._lock = threading.Lock()
        self._total = sum(self._costs.values())
        self._now = before = sum(self._costs[key] for key, done in self._done.items() if done)
        self._start = self._shown = time.monotonic()
        layout = "{desc} {percentage:3.0f}% |{bar:20}| {elapsed} gone{postfix}"
        off = not _overwrites()
        self._bar = tqdm(
            total=self._total, initial=before, desc=title, bar_format=layout, mininterval=0.5, miniters=0, disable=off
        )
        self._show(min_seconds=0)

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def note(self, text: str) -> None:
        """A line above the bar, or of a log; the carriage return keeps it out of a notebook's executed copy."""
        if self._bar.disable and not _in_notebook():
            print(text, file=sys.stderr, flush=True)
        else:
            tqdm.write(f"\r{text}", file=sys.stderr)

    def update(self, key: str, done: float) -> None:
        """Note that the fraction `done` of the run `key` is done; fractions never go backwards."""
        with self._lock:
            if key not in self._done or done <= self._done[key]:
                return
            self._began.setdefault(key, (time.monotonic(), done))
            self._now += (done - self._done[key]) * self._costs[key]
            self._done[key] = done
            self._now = min(self._now, self._total)  # sums of floats may overshoot
            self._first = self._first or (time.monotonic(), self._now)
            self._show(min_seconds=MINUTE if done < 1 else 0)

    def _show(self, min_seconds: float) -> None:
        """Redraw the line, or write the next one of a log if it is time."""
        text, now = f"{self._left()} to go, {self._line()}", time.monotonic()
        if not self._bar.disable:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(self._now - self._bar.n)
        elif not min_seconds or now - self._shown >= min_seconds:
            self._shown = now
            gone = tqdm.format_interval(now - self._start)
            self.note(f"{self._title} {self._now / self._total:.0%}, {gone} gone, {text}")

    def _left(self) -> str:
        """The time still to go, by that of all work so far, as kinds of runs take turns; "?" if that is too little."""
        began, before = self._first or (0.0, self._now)
        done = self._now - before
        if self._now < self._total and done <= TELLING * (self._total - before):
            return "?"
        return tqdm.format_interval((time.monotonic() - began) * (self._total - self._now) / (done or 1.0))

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
