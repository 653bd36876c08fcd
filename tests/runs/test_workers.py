"""Workers that are killed, and stages that kill them: the sweep goes on, tries end, and nobody is left behind."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from distributed import Client, LocalCluster, Scheduler as DaskScheduler, SpecCluster, Worker, default_client

from helpers.toys import (
    RESULT,
    WITH_HELPERS,
    Breaks,
    Diverges,
    Falters,
    Held,
    Kills,
    Leaves,
    Number,
    Placed,
    Poisons,
    Refuses,
    Says,
    Slow,
    Sum,
    digests,
    tried,
    wait_until,
)
from repro.runs import Local, Machine, Store, run, workers
from repro.runs.batch import Unavailable
from repro.runs.engine import StudyFailed
from repro.runs.progress import Progress
from repro.runs.spec import Needs, closure
from repro.runs.workers import SETTINGS, Scheduler, connect

pytestmark = pytest.mark.usefixtures("log")


def test_a_worker_killed_in_a_sweep_leaves_its_results_as_they_would_be(tmp_path: Path, log: Path) -> None:
    total = Sum(parts=tuple(Held(value=value) for value in range(4)))
    alone, store, go = Store(tmp_path / "alone"), Store(tmp_path / "runs"), tmp_path / "go"
    go.touch()
    run([total], alone, Machine())
    log.unlink()
    go.unlink()

    def kill() -> None:
        wait_until(lambda: len(tried(log)) >= 2)
        os.kill(tried(log)[0], signal.SIGKILL)
        go.touch()

    killer = threading.Thread(target=kill)
    killer.start()
    run([total], store, Machine(), on=Local(workers=2))
    killer.join()
    assert len(tried(log)) == 5, "one was begun twice"
    assert digests(store, *closure([total])) == digests(alone, *closure([total]))


def test_a_worker_that_dies_before_its_last_run_is_noted_ends_nothing(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stages = Store(tmp_path / "runs"), [Slow(value=1), Slow(value=2)]
    update, killed = Progress.update, []

    def look_late(progress: Progress, key: str, done: float) -> None:
        if threading.current_thread() is threading.main_thread() and not killed:
            wait_until(lambda: all(map(store.has, stages)))
            wait_until(lambda: all(known.status == "finished" for known in default_client().futures.values()))
            killed.extend(tried(log))
            for worker in set(killed):
                os.kill(worker, signal.SIGKILL)
            wait_until(lambda: any(known.status == "lost" for known in default_client().futures.values()))
        update(progress, key, done)

    monkeypatch.setattr(Progress, "update", look_late)
    run(stages, store, Machine(), on=Local(workers=2))
    assert len(killed) == len(tried(log)) == 2, "done again, although it was in the store"


def test_workers_whose_nannies_gave_up_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when every worker dies before dask has heard that it is up."""

    @contextmanager
    def without_workers(*arguments: Any) -> Iterator[Client]:
        with connect(*arguments) as client:

            async def close() -> None:
                await asyncio.gather(*(nanny.close() for nanny in client.cluster.workers.values()))

            client.cluster.sync(close)
            yield client

    monkeypatch.setattr(workers, "connect", without_workers)
    monkeypatch.setattr(workers, "LOOK_SECONDS", 0.5)
    monkeypatch.setitem(SETTINGS, "distributed.deploy.lost-worker-timeout", "0.5 s")
    store = Store(tmp_path / "runs")
    run([Number(value=1), Number(value=2)], store, Machine(), on=Local(workers=2))
    assert (store.finished(Number(value=2)) / RESULT).read_text() == "2"


@pytest.mark.ci
def test_what_always_fails_ends_after_three_tries_and_leaves_the_others_going(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With workers; the dashboard answers meanwhile."""
    store, links = Store(tmp_path / "runs"), []

    def look(progress: Progress, text: str) -> None:
        if text.startswith("dashboard: "):
            links.append(text.removeprefix("dashboard: "))
            assert urlopen(links[-1]).status == 200

    monkeypatch.setattr(Progress, "note", look)
    bad = [Breaks(value=1), Kills(value=1), Diverges(value=1), Leaves(value=1)]
    good = Sum(parts=(Number(value=1), Falters(value=6)))  # which loses its worker five times, each time further on
    behind = Sum(parts=(bad[1], Number(value=1)))
    with pytest.raises(StudyFailed) as failed:
        run([*bad, good, behind], store, Machine(), on=Local(workers=2))
    assert links
    assert (store.finished(good) / RESULT).read_text() == "7"
    told = [line for line in str(failed.value).splitlines() if not line.startswith("    ")]
    reasons = [
        "ArithmeticError: broken",
        "GaveUp: its worker died 3 times at the same place: ",
        "FloatingPointError: the loss is nan",
        "RuntimeError: it ended itself with exit status 0",
        "not run: a stage it builds on failed",
    ]
    assert told[0] == "4 of 8 runs failed, and 1 not run:"
    for stage, line, reason in zip([*bad, behind], told[1:], reasons, strict=True):
        assert line.startswith(f"  {stage.label} ({stage.folder}): {reason}")
    assert "in execute" in str(failed.value), "no traceback"
    assert [store.status(stage) for stage in bad] == ["failed", "failed", "diverged", "failed"]
    tries = [len(tried(tmp_path / f"log-{type(stage).__name__}")) for stage in bad]
    assert tries == [3, 3, 1, 3]


@pytest.mark.parametrize(("kind", "tries"), [(Breaks, 3), (Diverges, 1), (Refuses, 1), (Leaves, 3)])
def test_without_workers_tries_end_as_well(tmp_path: Path, kind: type[Number], tries: int) -> None:
    store, bad = Store(tmp_path / "runs"), kind(value=1)
    with pytest.raises(StudyFailed, match="1 of 2 runs failed"):
        run([bad, Number(value=2)], store, Machine())
    assert len(tried(tmp_path / f"log-{kind.__name__}")) == tries
    with pytest.raises(StudyFailed):
        run([bad], store, Machine())
    assert len(tried(tmp_path / f"log-{kind.__name__}")) == 2 * tries, "another call of run tries again"


def test_the_scheduler_waits_for_workers_that_do_not_answer(tmp_path: Path) -> None:
    def settings(dask_scheduler: DaskScheduler) -> dict[str, Any]:
        return {"ttl": dask_scheduler.worker_ttl, "failures": dask_scheduler.allowed_failures}

    with connect(Local(workers=1), Machine(), print) as client:
        assert client.run_on_scheduler(settings) == {
            "ttl": 3600,
            "failures": SETTINGS["distributed.scheduler.allowed-failures"],
        }


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, *(pytest.param(s, marks=pytest.mark.slow) for s in (signal.SIGINT, signal.SIGTERM))]
)
def test_workers_end_with_whoever_started_them(tmp_path: Path, log: Path, how: signal.Signals) -> None:
    code = f"""
from pathlib import Path
from repro.runs import Local, Machine, Store, run
from helpers.toys import Waits
if __name__ == "__main__":
    run([Waits(value=1), Waits(value=2)], Store(Path({str(tmp_path / "runs")!r})), Machine(), on=Local(workers=2))
"""
    (tmp_path / "study.py").write_text(code)
    environment = os.environ | WITH_HELPERS
    study = subprocess.Popen(
        [sys.executable, tmp_path / "study.py"], env=environment, start_new_session=True, stderr=subprocess.PIPE
    )
    wait_until(lambda: len(tried(log)) == 2)
    processes = [psutil.Process(study.pid), *psutil.Process(study.pid).children(recursive=True)]
    assert {process.pid for process in processes} > set(tried(log)) | {study.pid}
    if how == signal.SIGINT:
        os.killpg(study.pid, how)  # as a terminal does
    else:
        study.send_signal(how)
    assert study.wait(30) != 0
    _, left = psutil.wait_procs([process for process in processes if process.pid != study.pid], timeout=10)
    assert left == []
    store = Store(tmp_path / "runs")
    assert {path.suffix for path in store.root.iterdir() if path.name != ".locks"} == {".part"}


@pytest.mark.parametrize("after", [0.8, *(pytest.param(n / 10, marks=pytest.mark.slow) for n in range(1, 20, 2))])
def test_ctrl_c_while_workers_start_ends_them_without_a_traceback(tmp_path: Path, after: float) -> None:
    code = f"""
from pathlib import Path
from repro.runs import Local, Machine, Store, run
from helpers.toys import Waits
if __name__ == "__main__":
    print("begin", flush=True)
    try:
        run([Waits(value=1), Waits(value=2)], Store(Path({str(tmp_path / "runs")!r})), Machine(), on=Local(workers=2))
    except KeyboardInterrupt:
        print("interrupted")
"""
    (tmp_path / "study.py").write_text(code)
    study = subprocess.Popen(
        [sys.executable, tmp_path / "study.py"], env=os.environ | WITH_HELPERS, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert study.stdout and study.stdout.readline() == "begin\n"
    time.sleep(after)
    family = psutil.Process(study.pid).children(recursive=True)
    os.killpg(study.pid, signal.SIGINT)
    said, complaint = study.communicate(timeout=60)
    assert (study.returncode, said) == (0, "interrupted\n")
    assert "Traceback" not in complaint
    assert psutil.wait_procs(family, timeout=10)[1] == []


@pytest.fixture(scope="module")
def cluster() -> Iterator[SpecCluster]:
    """A scheduler with two workers, of which one has two devices."""
    both = {
        name: {"cls": Worker, "options": {"nthreads": 1, "name": name, "resources": resources, "dashboard": False}}
        for name, resources in (("small", {}), ("large", {"devices": 2}))
    }
    scheduler = {"cls": DaskScheduler, "options": {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}}
    with SpecCluster(both, scheduler, silence_logs="critical") as running:
        yield running


def test_a_stage_goes_to_a_worker_that_has_what_it_takes(tmp_path: Path, cluster: SpecCluster) -> None:
    store, machine = Store(tmp_path), Machine(slots=(("cpu", "cpu"),), needs={"placed": Needs(devices=2)})
    stages = [Placed(value=value) for value in range(6)]
    run([*stages, Number(value=1)], store, machine, on=Scheduler(address=cluster.scheduler_address))
    assert {(store.finished(stage) / RESULT).read_text() for stage in stages} == {"large cpu cpu"}


@pytest.mark.timeout(100)  # dask would wait for ever
@pytest.mark.parametrize("where", ["this process", "local workers", "a scheduler"])
def test_a_stage_that_no_worker_can_do_is_refused_and_not_waited_for(
    tmp_path: Path, cluster: SpecCluster, where: str
) -> None:
    on = {"this process": Local(), "local workers": Local(workers=2)}.get(where)
    machine = Machine(slots=(("cpu", "cpu"),), needs={"number": Needs(devices=3)})
    with pytest.raises(Unavailable, match=r"^no worker has the devices=3 that number needs$"):
        run(
            [Number(value=1), Number(value=2)],
            Store(tmp_path),
            machine,
            on=on or Scheduler(address=cluster.scheduler_address),
        )


@pytest.mark.slow
def test_a_broken_device_of_somebody_else_s_scheduler_does_not_fail_other_runs(tmp_path: Path) -> None:
    store, bad = Store(tmp_path / "runs"), Poisons(value=0)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as cluster,
        pytest.raises(StudyFailed, match=r"^1 of 13 runs failed:"),
    ):
        run(
            [bad, *(Poisons(value=value) for value in range(1, 13))],
            store,
            Machine(),
            on=Scheduler(address=cluster.scheduler_address),
        )
    assert store.status(bad) == "failed"


def test_what_a_run_logs_on_a_worker_is_shown_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run([Says(value=1), Says(value=2)], Store(tmp_path), Machine(), on=Local(workers=2))
    said = capsys.readouterr().err
    assert [said.count(f"1 + {value} is odd\n") for value in (1, 2)] == [1, 1]


def test_what_workers_did_where_nobody_here_sees_it_is_not_taken_for_done(
    tmp_path: Path, cluster: SpecCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Number(value=1)
    monkeypatch.setattr(Store, "build", lambda *_: None)  # as on a machine with other disks
    monkeypatch.setattr(workers, "STALE_SECONDS", 0.1)
    with pytest.raises(StudyFailed, match=r"number 1 was done but is not in .*: it was set aside, or workers see"):
        run([stage], Store(tmp_path), Machine(), on=Scheduler(address=cluster.scheduler_address))


@pytest.mark.slow
def test_a_scheduler_that_is_lost_is_reported(tmp_path: Path) -> None:
    code = """
import time
from distributed import Client, LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    print(cluster.scheduler_address, flush=True)
    time.sleep(100)
"""
    (tmp_path / "scheduler.py").write_text(code)
    environment = os.environ | WITH_HELPERS
    command = [sys.executable, tmp_path / "scheduler.py"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as scheduler:
        assert scheduler.stdout is not None
        address = scheduler.stdout.readline().strip()
        killer = threading.Timer(1, scheduler.kill)
        killer.start()
        with pytest.raises(Unavailable, match=f"^the scheduler at {address} was lost; what is done is kept$"):
            run(
                [Slow(value=value) for value in range(20)],
                Store(tmp_path / "runs"),
                Machine(),
                on=Scheduler(address=address),
            )
        killer.join()
