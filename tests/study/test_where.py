"""Where runs are done, from parameters: workers and devices of this machine, or of a cluster, and what it is told."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from helpers import ROOT
from repro import params
from repro.cli import main
from repro.cmr.design import design
from repro.params import Params, ParamsError
from repro.params.values import KINDS, TRAINING
from repro.runs import Local, Stage, Store
from repro.runs.batch import Batch
from repro.runs.spec import Needs
from repro.runs.workers import Scheduler
from repro.study import base as module
from repro.study.base import where

SMOKE = params.read(params.preset_file("smoke"))
SLURM: dict[str, Any] = {"batch": "slurm", "queue": "gpu", "gpus": 2}


def of(**changes: Any) -> Params:
    return params.check(SMOKE | changes)


def here(monkeypatch: pytest.MonkeyPatch, *, gpus: int = 0, cores: int = 8, memory_gib: float = 64) -> None:
    memory = type("Memory", (), {"total": memory_gib * 2**30})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(module.psutil, "cpu_count", lambda **_: cores)
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(cores)))


@pytest.mark.parametrize(
    ("machine", "changes", "slots", "workers"),
    [
        ({}, {}, (("cpu",),), 8),
        ({}, {"workers": 3}, (("cpu",),), 3),
        ({"gpus": 4}, {}, (("cuda:0",), ("cuda:1",), ("cuda:2",), ("cuda:3",)), 4),
        ({"gpus": 4}, {"device": "cpu"}, (("cpu",),), 8),
        ({"gpus": 1}, {"workers": 6}, (("cuda:0",),), 6),
        ({"gpus": 4}, {"resources": {"pretrain": {"devices": 2}}}, (("cuda:0", "cuda:1"), ("cuda:2", "cuda:3")), 2),
        ({"gpus": 3}, {"resources": {"pretrain": {"devices": 2}}}, (("cuda:0", "cuda:1"),), 1),
        ({}, {"resources": {"cpt": {"devices": 2}}}, (("cpu", "cpu"),), 4),
        ({}, {"resources": {"cpt": {"memory_gib": 20}}}, (("cpu",),), 3),
    ],
)
def test_this_machines_devices_are_shared_out_among_as_many_workers_as_there_is_room_for(
    machine: dict[str, Any], changes: dict[str, Any], slots: tuple[tuple[str, ...], ...], workers: int,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    here(monkeypatch, **machine)
    found = where(of(**changes), Store(tmp_path))
    assert found.machine.slots == slots
    assert found.cluster == Local(workers=workers)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"device": "cuda"}, "device: cuda is not available here"),
        (
            {"workers": 4, "resources": {"cpt": {"memory_gib": 20}}},
            r"resources.cpt.memory_gib: 20 GiB a worker are more than there are \(64 GiB here, for 4 workers\)",
        ),
    ],
)
def test_what_this_machine_has_not_got_is_refused(
    changes: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here(monkeypatch)
    with pytest.raises(ParamsError, match=says):
        where(of(**changes), Store(tmp_path))


def test_more_devices_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here(monkeypatch, gpus=2)
    with pytest.raises(ParamsError, match=r"resources.sft.devices: must be at most 2, the GPUs here, not 4"):
        where(of(resources={"sft": {"devices": 4}, "cpt": {"devices": 2}}), Store(tmp_path))


def test_a_batch_system_is_told_what_the_parameters_say(tmp_path: Path) -> None:
    given = SLURM | {"walltime": "02:00:00", "cores": 4, "memory_gib": 32, "directives": ["--qos=low"], "setup": ["x"]}
    needs = {"pretrain": {"devices": 2, "memory_gib": 20}}
    found = where(of(workers=5, cluster=given, resources=needs), Store(tmp_path))
    assert found.machine.slots == (("cuda:0", "cuda:1"),)
    assert found.machine.needs == {"pretrain": Needs(devices=2, memory_gib=20)}
    assert isinstance(found.cluster, Batch)
    head = "\n".join(found.cluster.script_words())
    for words in (
        "--partition=gpu",
        "--gres=gpu:2",
        "--cpus-per-task=4",
        "--mem=32768M",
        "--time=02:00:00",
        "--qos=low",
    ):
        assert words in head
    assert (found.cluster.workers, found.cluster.setup) == (5, ("x",))


def test_a_scheduler_is_an_address_and_the_devices_of_its_workers(tmp_path: Path) -> None:
    found = where(of(cluster={"scheduler": "tcp://10.0.0.1:8786", "gpus": 1}), Store(tmp_path))
    assert found.cluster == Scheduler(address="tcp://10.0.0.1:8786")
    assert found.machine.slots == (("cuda:0",),)
    on_cpus = where(of(cluster={"scheduler": "tcp://[fe80::1]:1"}, resources={"cpt": {"devices": 2}}), Store(tmp_path))
    assert on_cpus.machine.slots == (("cpu", "cpu"),)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cluster": {}}, "cluster: must have exactly one of batch and scheduler"),
        ({"cluster": SLURM | {"scheduler": "tcp://a:1"}}, "cluster: must have exactly one of batch and scheduler"),
        ({"cluster": {"scheduler": "tcp://a:1", "queue": "gpu"}}, "cluster: queue is an option of batch"),
        ({"cluster": {"scheduler": "a:1"}}, r"cluster.scheduler: .*got 'a:1'"),
        ({"cluster": {"scheduler": "tcp://a;rm:1"}}, r"cluster.scheduler: "),
        ({"cluster": SLURM}, r"workers must be a number with cluster.batch"),
        ({"cluster": SLURM | {"batch": "sge"}}, r"cluster.batch: .*'slurm', 'pbs' or 'lsf'"),
        ({"cluster": SLURM | {"queue": "gpu; rm -rf ~"}}, r"cluster.queue: "),
        ({"cluster": SLURM | {"walltime": "8h"}}, r"cluster.walltime: must be hours:minutes:seconds"),
        ({"cluster": SLURM | {"directives": ["--a\nrm -rf ~"]}}, r"cluster.directives\[0\]: "),
        ({"cluster": SLURM, "workers": 2, "device": "cpu"}, "cluster.gpus must be 0 with device: cpu"),
        ({"cluster": {"batch": "pbs"}, "workers": 2, "device": "cuda"}, "cluster.gpus must be 1 or more"),
        (
            {"cluster": SLURM | {"walltime": "01:29:59"}, "workers": 2, "checkpoint_seconds": 1800.0},
            "cluster.walltime must be at least three times checkpoint_seconds, 1800: a job that ends before it saves",
        ),
        (
            {"cluster": SLURM, "workers": 2, "resources": {"pretrain": {"devices": 3}}},
            "resources.pretrain.devices must be at most cluster.gpus, 2",
        ),
        (
            {"cluster": SLURM, "workers": 2, "resources": {"text": {"memory_gib": 9}}},
            "resources.text.memory_gib must be at most cluster.memory_gib, 8",
        ),
        ({"resources": {"evaluate": {"devices": 2}}}, "evaluate.devices must be 1: only pretrain, continue, cpt, sft"),
        ({"resources": {"pretrian": {"devices": 2}}}, r"resources.pretrian: no kind of run; did you mean pretrain\?"),
        (
            {"resources": {"pretrain": {"devices": 99}}},
            r"resources.pretrain.devices must be at most the \d+ rows of one",
        ),
        ({"cluster": SLURM | {"partition": "gpu"}}, "cluster: unknown name 'partition'; allowed are batch, .*queue"),
        ({"cluster": "slurm"}, "cluster: must be names with values, got 'slurm'"),
        ({"cluster": SLURM | {"directives": "--qos=low"}}, "cluster.directives: must be a list, got '--qos=low'"),
        (
            {"cluster": SLURM | {"directives": ["#SBATCH --qos=low"]}},
            r"cluster.directives\[0\]: must be without #SBATCH",
        ),
        ({"cluster": SLURM | {"gpus": 10**12}}, "cluster.gpus: must be at most 1,024"),
        ({"cluster": SLURM | {"memory_gib": 1e308}}, "cluster.memory_gib: must be at most"),
        ({"cluster": SLURM | {"cores": 10**9}}, "cluster.cores: must be at most"),
        ({"cluster": SLURM | {"setup": ["a\u2028b"]}}, r"cluster.setup\[0\]: must be one line of printable text"),
        ({"resources": {"cpt": {"devices": 10**12}}}, "resources.cpt.devices: must be at most 1,024"),
        ({"cluster": SLURM | {"walltime": 8}}, "cluster.walltime: must be text, in quotes .*, got 8"),
        ({"resources": {"pretrain": {"devices": 0}}}, r"resources.pretrain.devices: "),
    ],
)
def test_a_wrong_cluster_is_named_in_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=says) as refused:
        of(**changes)
    assert "\n" not in str(refused.value)


def test_every_kind_of_stage_can_be_named_and_those_that_train_can_be_shared() -> None:
    import repro.stages.evaluate
    import repro.stages.texts
    import repro.trust.peaks
    import repro.trust.recovery  # noqa: F401

    def below(stage: type[Stage]) -> set[type[Stage]]:
        own = {one for one in stage.__subclasses__() if one.__module__.startswith("repro.")}  # not the tests' own
        return {found for one in own for found in (below(one) or {one})}

    assert {stage.__name__.lower() for stage in below(Stage)} == set(KINDS)


def test_where_and_how_fast_is_no_identity() -> None:
    changed = of(
        workers=9, cluster=SLURM, resources={"cpt": {"devices": 2, "memory_gib": 1}}, micro_batch=2,
        checkpoint_seconds=1.0,
    )  # fmt: skip
    assert design(changed).identity == design(of()).identity


def test_plan_says_what_it_would_submit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["plan", "--preset", "paper-cmr", "--json", str(tmp_path / "plan.json")]) == 0
    said = capsys.readouterr().out
    assert "4 jobs go to Slurm, queue gpu, each one worker for 48:00:00 at a time: 8 GPUs, 8 cores and 400 GiB" in said
    assert "   29 continue, each on 8 devices\n" in said
    for line in ("#SBATCH --partition=gpu", "#SBATCH --gres=gpu:8", "#SBATCH --mem=409600M", "#SBATCH --time=48:00:00"):
        assert f"  {line}\n" in said + "\n"
    told = json.loads((tmp_path / "plan.json").read_text())["submission"]
    assert set(told) == {"where", "kinds", "header"}
    # Not so soon as perfect sharing would have it: continual runs wait for the pretraining of their model.
    at_least, on_one = hours(said)
    assert on_one / 32 < at_least < on_one / 8
    assert "the longest chain of runs that wait for each other, however many jobs." in said
    assert "Text: up to 629B characters in one run, about 49.9 hours of one core to tokenize," in said


def hours(said: str) -> tuple[float, float]:
    """What a plan says that jobs take at least, and one GPU."""
    found = re.search(r"At least ([\d,.]+) hours", said), re.search(r"one H100, .*: ([\d,.]+) hours", said)
    assert all(found)
    at_least, on_one = (float(match[1].replace(",", "")) for match in found if match)
    return at_least, on_one


@pytest.mark.parametrize(
    ("workers", "says"),
    [
        (1, "with every job at work all the time, and no loss where GPUs share a run."),
        (4, "however many jobs.\n  Text"),
        (16, "however many jobs.\n  4 jobs could be as fast; 16 would be idle 81% of the time.\n"),
        (5000, "88 jobs go to Slurm"),  # no more than there are runs
    ],
)
def test_plan_says_how_many_jobs_are_of_use(
    workers: int, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    values = params.read(params.preset_file("paper-cmr")) | {"workers": workers}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    assert main(["plan", "--params", str(tmp_path / "mine.yaml")]) == 0
    said = capsys.readouterr().out
    assert says in said
    at_least, on_one = hours(said)
    assert at_least == pytest.approx(on_one / 8 if workers == 1 else 449.4, abs=0.1)


def test_the_workers_of_a_scheduler_are_not_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    values = params.read(params.preset_file("paper-cmr"))
    values |= {"cluster": {"scheduler": "tcp://10.0.0.1:8786", "gpus": 8}, "workers": 16}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    assert main(["plan", "--params", str(tmp_path / "mine.yaml")]) == 0
    said = capsys.readouterr().out
    assert "On the workers of the scheduler at tcp://10.0.0.1:8786.\n  Text" in said


def test_plan_tells_of_gpus_that_no_run_takes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    values = params.read(params.preset_file("paper-cmr"))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({n: v for n, v in values.items() if n != "resources"}))
    assert main(["plan", "--params", str(tmp_path / "mine.yaml")]) == 0
    said = capsys.readouterr().out
    at_least, on_one = hours(said)
    assert at_least > on_one / 4
    assert "Idle: 7 of the 8 GPUs of each worker, since no run takes more (resources)." in said


def test_plan_of_this_machine_submits_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--preset", "smoke"]) == 0
    said = capsys.readouterr().out
    assert "On this machine: a worker for every GPU, or for every core where there is none." in said
    assert "#SBATCH" not in said


def test_planning_for_a_cluster_starts_neither_torch_nor_dask() -> None:
    code = "import sys; from repro.cli import main; main(['plan', '--preset', 'paper-cmr'])\n"
    code += "print([m for m in ('torch', 'distributed', 'dask', 'dask_jobqueue', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_cluster_that_is_not_there_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing listens at port 9, and there is no PBS here."""
    from repro.runs import workers

    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    root = ROOT
    for name in ("notebooks", "params", "_data", "book", "results", "_config.yml"):
        (tmp_path / name).symlink_to(root / name)
    for given, says in (
        ({"scheduler": "tcp://127.0.0.1:9"}, "cluster: no scheduler answers at tcp://127.0.0.1:9"),
        ({"batch": "pbs"}, "cluster: qsub is not on PATH"),
    ):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SMOKE | {"workers": 2, "cluster": given}))
        assert main(["book", "--params", str(tmp_path / "mine.yaml")]) == 2
        said = [line for line in capsys.readouterr().err.split("\n") if "repro: " in line]
        assert len(said) == 1 and says in said[0]
        assert not list((tmp_path / "_runs").glob("*-*")) if (tmp_path / "_runs").exists() else True


def test_the_lines_of_the_book_are_accepted_over_every_preset_that_they_fit() -> None:
    page = (ROOT / "book/cluster.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert [sorted(block) for block in blocks] == [["cluster", "workers"], ["cluster"], ["resources"]]
    for name in ("smoke", "quick", "desk", "h100"):
        values = params.read(params.preset_file(name))
        for block in blocks:
            for schema in params.SCHEMAS:
                params.check(values | block, schema)
    assert set(blocks[2]["resources"]) <= set(TRAINING)
