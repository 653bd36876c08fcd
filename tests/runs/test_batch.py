"""What a job asks of each batch system, and what happens to the study when jobs are refused or end."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal

import psutil
import pytest
from distributed import Client, wait

from helpers.toys import WITH_HELPERS, lives, tried, wait_until
from repro.runs import jobs
from repro.runs.batch import CERTIFICATE, KEY, Batch, Unavailable, credentials

System = Literal["slurm", "pbs", "lsf"]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GREETING": "it's here"}
HEADS = {
    "slurm": """
#SBATCH --job-name=repro
#SBATCH --output=/logs/%x-%j.log
#SBATCH --partition=gpu
#SBATCH --account=proj-7
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=4
#SBATCH --mem=12800M
#SBATCH --gres=gpu:2
#SBATCH --time=36:00:30
#SBATCH --constraint=h100
""",
    "pbs": """
#PBS -N repro
#PBS -j oe
#PBS -o /logs/
#PBS -q gpu
#PBS -A proj-7
#PBS -l select=1:ncpus=4:mem=12800mb:ngpus=2
#PBS -l walltime=36:00:30
#PBS --constraint=h100
""",
    "lsf": """
#BSUB -J repro
#BSUB -o /logs/repro-%J.log
#BSUB -q gpu
#BSUB -P proj-7
#BSUB -n 4 -R "span[hosts=1]"
#BSUB -M 12800MB
#BSUB -gpu "num=2"
#BSUB -W 36:01
#BSUB --constraint=h100
""",
}


def full(system: System) -> Batch:
    return Batch(
        system=system,
        workers=2,
        logs=Path("/logs"),
        queue="gpu",
        account="proj-7",
        walltime="36:00:30",
        cores=4,
        memory_gib=12.5,
        gpus=2,
        directives=("--constraint=h100",),
        setup=("module load cuda",),
    )


@pytest.mark.parametrize("system", ["slurm", "pbs", "lsf"])
def test_a_job_carries_exactly_the_directives_that_the_plan_shows(tmp_path: Path, system: System) -> None:
    batch, logs = full(system), tmp_path / "my logs"
    logs.mkdir()
    assert batch.script_words() == HEADS[system].strip().splitlines()
    given = {"devices": 2, "memory_gib": 12.5}
    with credentials(logs) as tls, closing(batch.open(given, ENVIRONMENT, tls)) as cluster:
        script = cluster.job_script()
    words = script.splitlines()
    assert [line for line in words if line.startswith("#")] == ["#!/usr/bin/env bash", *batch.script_words()]
    assert words[-5:-1] == [
        f"cd {Path.cwd()}",
        "module load cuda",
        "export OMP_NUM_THREADS=1",
        "export GREETING='it'\"'\"'s here'",
    ]
    worker = words[-1]
    assert worker.startswith(f"exec {sys.executable} -m distributed.cli.dask_worker tls://")
    told = shlex.split(worker)
    assert [told[told.index(option) + 1] for option in ("--tls-key", "--tls-cert", "--tls-ca-file")] == [
        str(tls / name) for name in (KEY, CERTIFICATE, CERTIFICATE)
    ]
    assert "--resources devices=2,memory_gib=12.5" in worker
    assert "--nthreads 1" in worker


def test_a_plain_job_asks_for_neither_queue_nor_gpu(tmp_path: Path) -> None:
    for system in ("slurm", "pbs", "lsf"):
        words = " ".join(Batch(system=system, workers=1, logs=tmp_path).script_words())
        assert "gpu" not in words
        assert "None" not in words
        assert "08:00" in words


def test_the_plan_needs_no_dask() -> None:
    code = "import sys, repro.runs.batch; sys.exit(any(name in sys.modules for name in ('dask', 'distributed')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"walltime": "8 hours"},
        {"walltime": "08:00"},
        {"walltime": "08:00:00\n"},
        {"queue": "gpu\nrm -rf /"},
        {"account": ""},
        {"interface": "ib0; echo"},
        {"directives": ("--a\n--b",)},
    ],
)
def test_what_no_batch_system_takes_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).rstrip("s")):
        Batch(system="slurm", workers=1, logs=tmp_path, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("system", "command"), [("slurm", "sbatch"), ("pbs", "qsub"), ("lsf", "bsub")])
def test_a_host_without_the_batch_system_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: System, command: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    batch = Batch(system=system, workers=1, logs=tmp_path / "logs")
    with pytest.raises(Unavailable, match=f"^{command} is not on PATH"), batch.cluster({}, {}, print):
        pytest.fail("a cluster")
    assert not (tmp_path / "logs").exists()


def test_a_network_that_this_host_is_not_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^no network interface ib9 here; there are .*lo"):
        Batch(system="slurm", workers=1, logs=tmp_path, interface="ib9").open({}, {}, tmp_path)


def test_without_the_extra_the_message_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(Unavailable, match=r"needs dask-jobqueue: pip install '\.\[cluster\]'"):
        Batch(system="slurm", workers=1, logs=tmp_path).check()


# A batch system of three commands: a job is a process in a session of its own, its number that of the process.
SUBMIT = """#!/bin/bash
[ -n "$REFUSE" ] && { echo "qsub: $REFUSE" >&2; exit 1; }
script=$(cat "${1:-/dev/stdin}")
exec 3> "$JOBS/repro.o$$.new"
setsid bash -c "$script" < /dev/null >&3 2>&1 3>&- &
mv "$JOBS/repro.o$$.new" "$JOBS/repro.o$!"
"""
COMMANDS: dict[System, dict[str, str]] = {
    "pbs": {
        "qsub": SUBMIT + 'echo "$!.server"',
        "qselect": """#!/bin/bash
cd "$JOBS"; for f in *.o*; do grep -qs "^State:.[^Z]" /proc/${f#*.o}/status && echo ${f#*.o}.server; done
exit 0""",
        "qdel": '#!/bin/bash\nkill "$1"',
    },
    "lsf": {
        "bsub": SUBMIT + 'echo "Job <$!> is submitted to queue <normal>."',
        "bjobs": """#!/bin/bash
cd "$JOBS"; for f in *.o*; do grep -qs "^State:.[^Z]" /proc/${f#*.o}/status && { echo ${f#*.o}; any=1; }; done
[ "$any" ] || { echo "No unfinished job found" >&2; exit 255; }""",
        "bkill": '#!/bin/bash\nkill "$1"',
    },
}


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[System], None]:
    def install(system: System) -> None:
        programs = tmp_path / "bin"
        programs.mkdir()
        for name, text in COMMANDS[system].items():
            (programs / name).write_text(text + "\n")
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        monkeypatch.setenv("JOBS", str(tmp_path))
        monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.1)

    return install


def test_a_refused_job_is_reported_in_the_words_of_the_batch_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretend: Callable[[System], None]
) -> None:
    pretend("pbs")
    monkeypatch.setenv("REFUSE", "Unknown queue")
    batch = Batch(system="pbs", workers=2, logs=tmp_path)
    with (
        pytest.raises(Unavailable, match=r"^qsub refuses the job: qsub: Unknown queue$"),
        batch.cluster({}, {}, print),
    ):
        pytest.fail("a cluster")
    assert list(tmp_path.glob(".tls-*")) == []


@pytest.mark.parametrize("system", ["pbs", "lsf"])
def test_jobs_that_never_become_workers_end_the_waiting_with_their_last_words(
    tmp_path: Path, pretend: Callable[[System], None], system: System
) -> None:
    pretend(system)
    batch = Batch(system=system, workers=1, logs=tmp_path, interface="lo", setup=("echo no such module; exit 3",))
    with (
        pytest.raises(Unavailable, match=r"^3 jobs in a row ended before their worker started: no such module"),
        batch.cluster({}, {}, print) as cluster,
        Client(cluster) as client,
    ):
        wait(client.submit(pow, 2, 3))
    assert len(list(tmp_path.glob("*.o*"))) == 3


def jobs_of(tmp_path: Path) -> int:
    return len(list(tmp_path.glob("*.o*")))


def settled(tmp_path: Path) -> int:
    """How many jobs there are once no more are submitted, although none of the last has become a worker."""
    before, since = jobs_of(tmp_path), time.monotonic()
    while time.monotonic() < since + 60:
        time.sleep(2)  # twenty looks
        if jobs_of(tmp_path) == before:
            return before
        before = jobs_of(tmp_path)
    raise AssertionError("more and more are submitted where none starts")


@pytest.mark.ci
def test_nodes_on_which_no_job_starts_leave_the_others_to_their_work(
    tmp_path: Path, pretend: Callable[[System], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend("pbs")
    one_place = ('mkdir "$JOBS/taken" 2> /dev/null || exit 3',)  # for the first job that comes
    batch = Batch(system="pbs", workers=3, logs=tmp_path, interface="lo", setup=one_place)
    with batch.cluster({}, {}, print) as cluster, Client(cluster) as client:
        first = client.submit(os.getpid, pure=False).result(timeout=60)
        wait_until(lambda: jobs_of(tmp_path) >= 7)
        before = settled(tmp_path)
        (tmp_path / "taken").rmdir()
        os.kill(first, signal.SIGKILL)
        assert client.submit(os.getpid, pure=False).result(timeout=60) != first, "it is replaced all the same"
        wait_until(lambda: jobs_of(tmp_path) > before + 3)
        before = settled(tmp_path)
        (tmp_path / "taken").rmdir()
        monkeypatch.setattr(jobs, "PAUSE_SECONDS", 0.0)
        client.wait_for_workers(2, timeout=30)
        assert jobs_of(tmp_path) > before, "after a while others are tried again"


def test_jobs_that_are_refused_when_all_have_ended_at_once_are_submitted_later(
    tmp_path: Path, pretend: Callable[[System], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where all reach their wall time together, and more than a few may not be submitted at a time."""
    pretend("pbs")
    told: list[str] = []
    batch = Batch(system="pbs", workers=2, logs=tmp_path, interface="lo")
    with batch.cluster({}, {}, told.append) as cluster, Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        workers = client.run(os.getpid).values()
        monkeypatch.setenv("REFUSE", "job submit limit reached")
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: any("job submit limit reached" in line for line in told))
        time.sleep(1)  # ten looks
        monkeypatch.delenv("REFUSE")
        assert client.submit(pow, 2, 3).result(timeout=60) == 8
    assert sum("refuses a job" in line for line in told) == 1


@pytest.mark.timeout(100)  # where it would be waited for
def test_a_batch_system_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, pretend: Callable[[System], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend("pbs")
    monkeypatch.setattr(jobs, "ANSWER_SECONDS", 1000.0)
    (tmp_path / "bin/qselect").write_text("#!/bin/bash\ntouch $JOBS/asked; sleep 1000; exit\n")
    batch = Batch(system="pbs", workers=1, logs=tmp_path, interface="lo", setup=("exec sleep 100",))
    with batch.cluster({}, {}, print):
        wait_until((tmp_path / "asked").exists)


INTERRUPTED = """
import sys
from pathlib import Path
from repro.runs import Machine, Store, run
from repro.runs.batch import Batch
from helpers.toys import Waits

folder = Path(sys.argv[1])
batch = Batch(system="pbs", workers=1, logs=folder, interface="lo")
try:
    run([Waits(value=1), Waits(value=2)], Store(folder / "runs"), Machine(), on=batch)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_is_an_interruption_and_no_success(
    tmp_path: Path, log: Path, pretend: Callable[[System], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """dask-jobqueue would make it end the process with status 0."""
    pretend("pbs")
    monkeypatch.setenv("PYTHONPATH", WITH_HELPERS["PYTHONPATH"])
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as study:
        wait_until(lambda: len(tried(log)) == 1, 60)
        study.send_signal(signal.SIGINT)
        assert study.stdout is not None
        assert study.stdout.read() == "interrupted\n"
    (worker,) = tried(log)
    wait_until(lambda: not lives(worker))


@pytest.mark.parametrize("system", ["pbs", "lsf"])
def test_a_job_that_is_killed_is_submitted_again_and_the_last_is_cancelled(
    tmp_path: Path, pretend: Callable[[System], None], system: System
) -> None:
    pretend(system)
    batch = Batch(system=system, workers=1, logs=tmp_path, interface="lo")
    told: list[str] = []
    with batch.cluster({"devices": 1}, ENVIRONMENT, told.append) as cluster, Client(cluster) as client:
        first = client.submit(os.getpid, pure=False, resources={"devices": 1}).result()
        assert client.submit(os.getenv, "GREETING").result() == ENVIRONMENT["GREETING"]
        os.kill(first, signal.SIGKILL)
        last = psutil.Process(client.submit(os.getpid, pure=False).result(timeout=60))
        assert last.pid != first
        assert {port.laddr.ip for port in last.net_connections() if port.status == "LISTEN"} == {"127.0.0.1"}
    assert told == [
        f"a job submitted to {system.upper()}; waiting for the first worker",
        f"job {first} ended; another is submitted",
    ]
    assert list(tmp_path.glob(".tls-*")) == []
    wait_until(lambda: not lives(last.pid))
