"""Runs over a real Slurm of two nodes on this machine, one of whose jobs is cancelled in the middle."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from repro import allocation, cmr, params
from repro.params import AllocationParams
from repro.runs import Machine, Store, jobs, run
from repro.runs.batch import Batch, Unavailable
from repro.runs.spec import closure
from repro.study.base import BaseStudy
from slurm import PATIENCE, Slurm, slurm, why_not
from toys import RESULT, Slow, Sum

ROOT = Path(__file__).parents[1]
CLUSTER = {"batch": "slurm", "queue": "debug", "walltime": "00:20:00", "memory_gib": 4.0, "interface": "lo"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.xdist_group("slurm")]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if reason := why_not():
        pytest.skip(reason)
    with slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture
def quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.5)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))  # sbatch hands the environment on: workers import the toys


def batch(logs: Path) -> Batch:
    return Batch(system="slurm", workers=2, logs=logs, queue="debug", walltime="00:20:00", interface="lo")


def cancel_once(running: Slurm, store: Store, done: int) -> Thread:
    """Cancels the job that has run longest once so many runs are done."""

    def cancel() -> None:
        while len(list(store.root.glob("*/manifest.json"))) < done:
            time.sleep(0.05)
        working = [job for job, (state, _) in running.jobs().items() if state == "RUNNING"]
        running.cancel(min(working, key=int))

    thread = Thread(target=cancel, daemon=True)
    thread.start()
    return thread


def wait_for_no_job(running: Slurm) -> None:
    deadline = time.monotonic() + PATIENCE
    while running.jobs():
        assert time.monotonic() < deadline, f"still there: {running.jobs()}"
        time.sleep(0.2)


def workers() -> list[str]:
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in listed if "distributed.cli.dask_worker" in line and "--name repro-" in line]


def test_a_cancelled_job_is_replaced_and_every_run_is_done(
    tmp_path: Path, running: Slurm, quick_look: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, store = tmp_path / "log", Store(tmp_path / "store")
    monkeypatch.setenv("REPRO_TEST_LOG", str(log))
    total = Sum(parts=tuple(Slow(value=value) for value in range(40)))
    cancelled = cancel_once(running, store, done=3)
    run([total], store, Machine(), on=batch(tmp_path / "logs"))
    cancelled.join()
    assert (store.finished(total) / RESULT).read_text() == str(sum(range(40)))
    assert len(list((tmp_path / "logs").glob("repro-*.log"))) == 3
    assert 40 <= len(log.read_text().splitlines()) <= 41  # only the run at hand was done again
    wait_for_no_job(running)
    assert workers() == []


def test_jobs_end_by_themselves_when_who_submitted_them_is_killed(
    tmp_path: Path, running: Slurm, quick_look: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_TEST_LOG", str(tmp_path / "log"))
    code = f"""
from pathlib import Path
from repro.runs import Machine, Store, run
from repro.runs.batch import Batch
from toys import Slow
here = Path({str(tmp_path)!r})
batch = Batch(system="slurm", workers=2, logs=here, queue="debug", interface="lo")
run([Slow(value=value) for value in range(1000)], Store(here / "store"), Machine(), on=batch)
"""
    submits = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        while len(list((tmp_path / "store").glob("*/manifest.json"))) < 4:
            assert submits.poll() is None
            time.sleep(0.1)
    finally:
        submits.kill()
        submits.wait()
    assert running.jobs()
    wait_for_no_job(running)
    assert workers() == []


def test_a_refused_job_is_told_in_the_words_of_slurm(tmp_path: Path, running: Slurm, quick_look: None) -> None:
    wrong = Batch(system="slurm", workers=1, logs=tmp_path, queue="nonsense", interface="lo")
    with pytest.raises(Unavailable, match=r"sbatch refuses the job: .*invalid partition"):
        run([Slow(value=1)], Store(tmp_path / "store"), Machine(), on=wrong)


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, Path]:
    folders = {name: tmp_path / name for name in ("serial", "slurm")}
    for folder in folders.values():
        folder.mkdir()
        for name in ("notebooks", "params", "book", "_config.yml", "_data"):
            (folder / name).symlink_to(ROOT / name)
    return folders


def smoke(**changes: object) -> list[BaseStudy]:
    """Both papers' studies of the smoke preset."""
    values = params.read(params.preset_file("smoke")) | changes
    both = [cmr.open_study(params.check(values)), allocation.open_study(params.check(values, AllocationParams))]
    for study in both:
        study.run(study.stages)
    return both


def tables(studies: list[BaseStudy]) -> dict[str, str]:
    first, second = studies
    assert isinstance(first, cmr.Study)
    assert isinstance(second, allocation.Study)
    found = {"losses": first.losses(), "distances": first.distances(), "held out": second.held_out()}
    found |= {"items": second.items(), "drift": second.drift(), "training": second.training()[0]}
    return {name: frame.to_csv() for name, frame in found.items()}


def test_the_smoke_study_has_the_same_tables_over_slurm_with_a_job_cancelled(
    homes: dict[str, Path], running: Slurm, quick_look: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_HOME", str(homes["serial"]))
    serial = tables(smoke(workers=1))
    monkeypatch.setenv("REPRO_HOME", str(homes["slurm"]))
    cancelled = cancel_once(running, Store(homes["slurm"] / "_runs"), done=20)
    studies = smoke(workers=2, cluster=CLUSTER)
    cancelled.join()
    assert tables(studies) == serial
    assert all(study.store.has(stage) for study in studies for stage in closure(list(study.stages)))
    assert len(list((homes["slurm"] / "_runs/logs").glob("repro-*.log"))) == 5  # two, one more, and two for paper B
    wait_for_no_job(running)
