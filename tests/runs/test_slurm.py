"""Runs over a real Slurm of two nodes on this machine, one of whose jobs is cancelled in the middle."""

import hashlib
import inspect
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pandas as pd
import psutil
import pytest
from distributed import Client

from helpers import ROOT
from helpers.slurm import PATIENCE, Slurm, slurm, why_not
from helpers.toys import RESULT, WITH_HELPERS, Slow, Sum, tried
from repro import allocation, cmr, params
from repro.params import AllocationParams
from repro.runs import Machine, Store, jobs, run
from repro.runs.batch import Batch, Unavailable, security
from repro.runs.folder import MANIFEST
from repro.runs.spec import closure
from repro.runs.store import RECORD
from repro.study.base import BaseStudy

CLUSTER = {"batch": "slurm", "queue": "debug", "walltime": "00:20:00", "memory_gib": 4.0, "interface": "lo"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if reason := why_not():
        pytest.skip(reason)
    with slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture
def quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.5)
    monkeypatch.setenv("PYTHONPATH", WITH_HELPERS["PYTHONPATH"])  # sbatch passes the environment on to workers


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


def workers() -> list[list[str]]:
    """The command lines of the workers that jobs have started."""
    running = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [words for words in running if "distributed.cli.dask_worker" in words and "repro.runs.jobs" in words]


def test_a_cancelled_job_is_reported_and_replaced_and_every_run_is_done(
    tmp_path: Path, log: Path, running: Slurm, quick_look: None, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    total = Sum(parts=tuple(Slow(value=value) for value in range(40)))
    cancelled = cancel_once(running, store, done=3)
    run([total], store, Machine(), on=batch(tmp_path / "logs"))
    cancelled.join()
    assert (store.finished(total) / RESULT).read_text() == str(sum(range(40)))
    assert len(list((tmp_path / "logs").iterdir())) == 3  # no credentials are left among what the jobs printed
    told = capsys.readouterr().err
    assert "2 jobs submitted to Slurm; waiting for the first worker\n" in told
    assert len(re.findall(r"job \d+ ended; another is submitted\n", told)) == 1
    assert 40 <= len(tried(log)) <= 41  # only the run at hand was done again
    wait_for_no_job(running)
    assert workers() == []


def let_in(logs: Path) -> dict[str, bool]:
    """Whether the scheduler of the workers takes who has the credentials, and who has none."""
    (tls,) = logs.glob(".tls-*")
    address = next(word for word in workers()[0] if word.startswith("tls://"))
    answers = {}
    for protocol in ("tls", "tcp"):
        try:
            given = security(tls) if protocol == "tls" else None
            Client(address.replace("tls", protocol), timeout=5, security=given).close()
            answers[protocol] = True
        except OSError:
            answers[protocol] = False
    return answers


def test_jobs_end_by_themselves_when_the_process_that_submitted_them_is_killed(
    tmp_path: Path, log: Path, running: Slurm, quick_look: None
) -> None:
    code = f"""
from pathlib import Path
from repro.runs import Machine, Store, run
from repro.runs.batch import Batch
from helpers.toys import Slow
here = Path({str(tmp_path)!r})
batch = Batch(system="slurm", workers=2, logs=here, queue="debug", interface="lo")
run([Slow(value=value) for value in range(1000)], Store(here / "store"), Machine(), on=batch)
"""
    submits = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        while len(list((tmp_path / "store").glob("*/manifest.json"))) < 4:
            assert submits.poll() is None
            time.sleep(0.1)
        assert let_in(tmp_path) == {"tls": True, "tcp": False}
    finally:
        submits.kill()
        submits.wait()
    assert [path.stat().st_mode & 0o777 for path in tmp_path.glob(".tls-*")] == [0o700]
    assert running.jobs()
    wait_for_no_job(running)
    assert workers() == []


def test_a_refused_job_is_reported_in_the_words_of_slurm(tmp_path: Path, running: Slurm, quick_look: None) -> None:
    wrong = Batch(system="slurm", workers=1, logs=tmp_path, queue="nonsense", interface="lo")
    with pytest.raises(Unavailable, match=r"sbatch refuses the job: .*invalid partition"):
        run([Slow(value=1)], Store(tmp_path / "store"), Machine(), on=wrong)


Left = tuple[dict[str, str], dict[str, str]]  # tables as text, and a digest of each file of the runs, by their names
FRAMES = (pd.DataFrame, tuple[pd.DataFrame, pd.DataFrame])


def smoke(folder: Path, **changes: object) -> Left:
    """What both papers' studies of the smoke preset leave in a project folder of their own."""
    for name in ("notebooks", "params", "book", "results", "_config.yml", "_data"):
        (folder / name).symlink_to(ROOT / name)
    values = params.read(params.preset_file("smoke")) | changes
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_HOME", str(folder))
        first = cmr.open_study(params.check(values))
        second = allocation.open_study(params.check(values, AllocationParams))
        for study in (first, second):
            study.run(study.stages)
        runs = [first.store.finished(stage) for stage in closure([*first.stages, *second.stages])]
        return tables(first, second), files(runs)


def tables(first: cmr.Study, second: allocation.Study) -> dict[str, str]:
    found = frames("cmr", first) | frames("allocation", second)
    found |= {law: first.recovery(law) for law in ("critical ratio", "best allocation")}
    for domain in (first.params.domain.name, first.params.second_domain.name):
        results = first.results(domain)
        for table in ("turning_points", "coefficients", "fit_quality", "critical_ratios", "end_losses"):
            found[f"{domain} {table}"] = getattr(results, table)()
    ours = second.results()
    for name in ("scores", "ablation", "splits", "cpt_steps", "score_line", "points", "baselines"):
        found[f"allocation {name}"] = getattr(ours, name)
    for key, fit in ours.fits.items():
        found |= {f"{key} curve": fit.curve(), f"{key} rivals": fit.alternatives}
    return {name: frame.drop(columns="seconds", errors="ignore").to_csv() for name, frame in found.items()}


def frames(name: str, study: BaseStudy) -> dict[str, pd.DataFrame]:
    """Every frame that a study hands out without being asked for a particular one."""
    found: dict[str, pd.DataFrame] = {}
    for method, function in inspect.getmembers(type(study), inspect.isfunction):
        signature = inspect.signature(function)
        if signature.return_annotation in FRAMES and len(signature.parameters) == 1 and not method.startswith("_"):
            given = function(study)
            several = given if isinstance(given, tuple) else (given,)
            found |= {f"{name}.{method} {number}": frame for number, frame in enumerate(several)}
    return found


def files(runs: list[Path]) -> dict[str, str]:
    """All that was published but what tells when, and on what machine, it was done."""
    inside = [(run, path) for run in runs for path in run.rglob("*") if path.is_file()]
    return {
        f"{run.name}/{path.relative_to(run)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for run, path in inside
        if path.name not in (RECORD, MANIFEST)
    }


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Left:
    left = smoke(tmp_path_factory.mktemp("serial"), workers=1)
    assert len(left[0]) > 30 and len(left[1]) > 200
    return left


@pytest.mark.parametrize("workers", [2, 4])
def test_the_smoke_study_leaves_the_same_bytes_with_several_workers(tmp_path: Path, serial: Left, workers: int) -> None:
    assert smoke(tmp_path, workers=workers) == serial


def test_the_smoke_study_leaves_the_same_bytes_over_slurm_with_a_job_cancelled(
    tmp_path: Path, serial: Left, running: Slurm, quick_look: None, capsys: pytest.CaptureFixture[str]
) -> None:
    cancelled = cancel_once(running, Store(tmp_path / "_runs"), done=8)
    assert smoke(tmp_path, workers=2, cluster=CLUSTER) == serial
    cancelled.join()
    told = capsys.readouterr().err
    assert told.count("2 jobs submitted to Slurm") == 2, "for each paper"
    assert len(re.findall(r"job \d+ ended; another is submitted", told)) == 1
    wait_for_no_job(running)
