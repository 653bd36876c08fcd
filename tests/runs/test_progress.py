"""How far a study is: one line in a terminal, few lines in a log, and a time to go that does not jump."""

import io
import itertools
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr

import pytest

from repro.publish.kernel import Log
from repro.runs import progress
from repro.runs.progress import Progress

PAIRS = 20
CHEAP, DEAR = (1e9, 2.0), (1e12, 50.0)  # cost, and seconds, which are not in proportion


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Time as a test has it pass."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    monkeypatch.setattr("tqdm.std.time", clock)
    return clock


def seconds(shown: str) -> int:
    total = 0
    for part in shown.split(":"):
        total = 60 * total + int(part)
    return total


def study(out: io.StringIO, clock: Clock, reports: int, pairs: int = PAIRS) -> list[tuple[float, str]]:
    """Runs that are cheap and dear in turn, one after another; when each line was shown, and its text."""
    runs = {f"{kind} {n}": (f"{kind} {n}", cost) for n in range(pairs) for kind, (cost, _) in KINDS.items()}
    shown: list[tuple[float, str]] = []
    begun = clock.now
    with redirect_stderr(out), Progress("quick", runs) as bar:
        for key in runs:
            took = KINDS[key.split()[0]][1]
            for report in range(1, reports + 1):
                clock.now += took / reports
                before = out.tell()
                bar.update(key, report / reports)
                out.seek(before)
                shown += [(clock.now - begun, line) for line in re.split(r"[\r\n]", out.read()) if line.strip()]
    return shown


KINDS = {"cheap": CHEAP, "dear": DEAR}


@pytest.mark.parametrize("where", [Terminal, io.StringIO])
def test_the_time_to_go_is_steady_where_runs_of_very_different_cost_take_turns(
    clock: Clock, where: Callable[[], io.StringIO]
) -> None:
    whole = PAIRS * (CHEAP[1] + DEAR[1])
    lines = study(where(), clock, reports=10)
    told = [(whole - at, re.search(r"gone, (\S+) to go", line)) for at, line in lines if "gone" in line]
    assert told and all(found for _, found in told)
    left = [(true, seconds(found[1])) for true, found in told if found and found[1] != "?"]
    assert len(left) > PAIRS
    for true, shown in left:
        assert abs(shown - true) < 0.1 * whole, (true, shown)
    jumps = [abs((true - shown) - (before - earlier)) for (before, earlier), (true, shown) in itertools.pairwise(left)]
    assert max(jumps) < 0.05 * whole


def test_no_time_to_go_is_told_of_the_first_cheap_run(clock: Clock) -> None:
    first = next(line for _, line in study(io.StringIO(), clock, reports=1) if "1 of" in line)
    assert ", ? to go, 1 of 40 runs" in first


def test_waiting_for_the_first_worker_is_not_taken_for_work(clock: Clock) -> None:
    out = io.StringIO()
    with redirect_stderr(out), Progress("quick", {key: (key, 1.0) for key in "abcd"}) as bar:
        clock.now += 36_000
        bar.update("a", 0.5)
        clock.now += 10
        bar.update("a", 1.0)
    assert "10:00:10 gone, 01:00 to go, 1 of 4 runs" in out.getvalue()


def test_a_log_has_a_line_for_each_run_that_is_done(clock: Clock) -> None:
    out = io.StringIO()
    lines = [line for _, line in study(out, clock, reports=40)]
    assert "\r" not in out.getvalue()
    assert len(lines) == 2 * PAIRS
    assert re.fullmatch(r"quick 50%, 08:[34]\d gone, 08:\d\d to go, 20 of 40 runs", lines[19]), lines[19]
    assert re.fullmatch(r"quick 100%, 17:[12]\d gone, 00:00 to go, 40 of 40 runs", lines[-1]), lines[-1]


def test_a_log_has_a_line_a_minute_while_a_run_lasts(clock: Clock) -> None:
    out = io.StringIO()
    with redirect_stderr(out), Progress("quick", {"a": ("long", 1.0)}) as bar:
        for step in range(1, 1000):
            clock.now += 1
            bar.update("a", step / 1000)
        bar.note("a word")
    lines = out.getvalue().splitlines()
    assert "\r" not in out.getvalue()
    assert len(lines) == 1 + 999 // 60 + 1 and lines[-1] == "a word"


def test_a_terminal_has_one_line_that_is_written_over(clock: Clock) -> None:
    out = Terminal()
    study(out, clock, reports=4)
    assert out.getvalue().count("\n") == 1 and out.getvalue().count("\r") > PAIRS


def test_of_lines_written_over_a_log_has_the_last_state(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log()
    for text in ("\r 1 of 3", "\r 2 of 3\r 3 ", "of 3\n", "\ra word\n\rand", " another\r\nthe end"):
        log.write(text)
    log.flush()
    assert capsys.readouterr() == ("", " 3 of 3\na word\nand another\n")
    assert sys.stderr.writable()


def test_the_progress_line_tells_of_the_study_and_the_run_at_hand() -> None:
    out = Terminal()
    with redirect_stderr(out), Progress("quick", {"a": ("pretrain 92k", 300.0), "b": ("tokens", 100.0)}) as progress:
        progress.update("b", 1.0)
        progress.update("a", 0.25)
        progress.update("a", 0.5)
        progress.update("a", 0.4)  # a late report does not take anything back
        progress.update("unknown", 0.5)
        progress._bar.refresh()
        last = out.getvalue().rsplit("\r", 1)[1]
        assert re.match(r"quick  62% \|.{20}\| 00:0\d gone, \S+ to go, 1 of 2 runs; pretrain 92k 50%, 0", last), last
        assert last.endswith("to go")
        progress.update("a", 1.0)
    assert "100%" in out.getvalue().rsplit("\r", 1)[1]
    assert "2 of 2 runs" in out.getvalue().rsplit("\r", 1)[1]
