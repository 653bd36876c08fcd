"""Runs shared among processes: the losses of one process, and nothing left behind whatever happens to them."""

import contextlib
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import TESTS
from helpers.training import BATCHES, CONSTANT, small_pretrain, tiny
from repro.lm.sequences import Batch, Batches
from repro.lm.training import Checkpoint, Diverged, Share, this_process, train
from repro.runs import Machine, Store, Work, run
from repro.stages.lora import PROGRESS, STATE, Cpt, LoraTraining, read_progress
from repro.stages.parallel import CODE, ProcessLost, Shared
from repro.stages.training import LOSSES, Continue, Pretrain, read_losses

PAIR = Machine(slots=(("cpu", "cpu"),))
LORA = LoraTraining(rank=4, alpha=8, peak=3e-3, warmup=2, batch=3, weight_decay=0.1, clip=1.0, precision="fp32")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Pretrain:
    return small_pretrain(tmp_path_factory.mktemp("prose"), 60, tokens=960, batch=3, measures=4)


def cpt_on(base: Pretrain, steps: int = 9) -> Cpt:
    return Cpt(
        base=base, domain=base.tokens, replay=base.tokens, replay_share=Fraction(1, 4), training=LORA,
        length=16, tokens=steps * 48, seed=0,
    )  # fmt: skip


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """What every process started by this test has in its environment; their temporary files go to ``tmp_path/tmp``."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("REPRO_TEST_MARK", marked := uuid.uuid4().hex)
    return marked


def started(mark: str) -> list[psutil.Process]:
    """The processes that live and have `mark` in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("REPRO_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def nothing_left(mark: str, tmp_path: Path, seconds: float = 0.0) -> bool:
    deadline = time.monotonic() + seconds
    while (alive := started(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive and list((tmp_path / "tmp").iterdir()) == []


def in_a_thread(work: Callable[[], Any]) -> None:
    """As a dask worker does its work: not in the main thread."""
    raised: list[BaseException] = []

    def catching() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=catching)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def same_losses(one: Store, two: Store, stage: Pretrain | Continue) -> None:
    every = [read_losses(store.path(stage) / LOSSES) for store in (one, two)]
    expected, found = (frame.drop(columns=frame.filter(like="sequences").columns).astype(float) for frame in every)
    assert list(found["step"]) == list(expected["step"])
    assert (found - expected).abs().max().max() < 1e-5
    assert found["general"].iloc[-1] < found["general"].iloc[0] - 0.1  # and it learns


@pytest.mark.ci
def test_two_processes_give_the_losses_of_one(base: Pretrain, tmp_path: Path, mark: str) -> None:
    one, two, told = Store(tmp_path / "one"), Store(tmp_path / "two"), list[float]()
    run([base], one, Machine())
    run([base.tokens], two, Machine())
    in_a_thread(lambda: two.build(base, PAIR, told.append))
    same_losses(one, two, base)
    assert [round(done * 20) for done in told] == [*range(1, 21), 20]
    assert {file.name for file in two.path(base).iterdir()} == {file.name for file in one.path(base).iterdir()}
    weights = (load_file(store.path(base) / "model.safetensors") for store in (one, two))
    expected, found = weights
    assert all(torch.allclose(found[name], expected[name], atol=1e-4) for name in expected)
    assert nothing_left(mark, tmp_path)


@dataclass(frozen=True, kw_only=True)
class Failing(Shared):
    """A stage whose second process fails, is killed or sleeps, while the first one waits for it."""

    how: str

    def train(self, work: Work) -> None:
        print("about to begin", file=sys.stderr)
        share = this_process()
        if not share.leads and self.how == "raise":
            raise Diverged("the training loss is nan at step 3 of 4")
        if not share.leads and self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if not share.leads:
            (work.path / "asleep").touch()
            time.sleep(100)
        share.wait()


@pytest.mark.ci
def test_what_a_process_raises_arrives_as_itself(tmp_path: Path, mark: str, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path / "runs")
    with pytest.raises(Diverged, match=r"^the training loss is nan at step 3 of 4\n") as raised:
        in_a_thread(lambda: store.build(Failing(how="raise"), PAIR, lambda _done: None))
    (note,) = raised.value.__notes__
    assert "In process 2 of a shared run" in note
    assert 'raise Diverged("the training loss is nan at step 3 of 4")' in note
    assert [text for text in caplog.messages if text == "about to begin"] == ["about to begin"] * 2
    assert store.status(Failing(how="raise")) == "diverged"
    assert nothing_left(mark, tmp_path)


@pytest.mark.slow
def test_a_process_that_is_killed_is_reported(tmp_path: Path, mark: str) -> None:
    store = Store(tmp_path / "runs")
    with pytest.raises(ProcessLost, match=r"^a run shared by 2 processes was lost: process 2 was killed by SIGKILL$"):
        in_a_thread(lambda: store.build(Failing(how="kill"), PAIR, lambda _done: None))
    assert nothing_left(mark, tmp_path)


@pytest.mark.slow
def test_processes_that_do_not_start_are_reported(tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = "import sys; assert sys.argv[2] != '0', 'no such device'"
    monkeypatch.setattr("repro.stages.parallel.CODE", f"{fails}; {CODE}")
    store = Store(tmp_path / "runs")
    with pytest.raises(ProcessLost, match=r"was lost: process 1 ended with status 1\n(.*\n)*.*no such device$"):
        store.build(Failing(how="raise"), PAIR, lambda _done: None)
    assert nothing_left(mark, tmp_path)


@pytest.mark.slow
def test_an_interrupt_of_the_worker_ends_its_processes(base: Pretrain, tmp_path: Path, mark: str) -> None:
    store = Store(tmp_path / "runs")
    run([base.tokens], store, Machine())

    def interrupt(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build(base, PAIR, interrupt)
    assert nothing_left(mark, tmp_path)


@pytest.mark.slow
def test_continuing_and_adapting_in_two_processes_give_the_losses_of_one(base: Pretrain, tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    mixed = Continue(base=base, domain=base.tokens, ratio=Fraction(1, 3), training=base.training, sequences=2, seed=0)
    adapted = cpt_on(base)
    run([base], two, Machine())
    run([mixed, adapted], one, Machine())
    in_a_thread(lambda: [two.build(stage, PAIR, lambda _done: None) for stage in (mixed, adapted)])
    same_losses(one, two, mixed)
    expected, found = (read_progress(store.path(adapted) / PROGRESS) for store in (one, two))
    assert found["losses"] == pytest.approx(expected["losses"], abs=1e-5)
    assert found | {"losses": []} == expected | {"losses": []}
    adapters = [load_file(store.path(adapted) / "adapter_model.safetensors") for store in (one, two)]
    assert all(torch.allclose(adapters[1][name], value, atol=1e-4) for name, value in adapters[0].items())


@dataclass(frozen=True, kw_only=True)
class EachKeeps(Shared):
    """A tiny model trained on two sequences a step; every process leaves its own weights."""

    def train(self, work: Work) -> None:
        model, share = tiny(), this_process()
        trained = train(
            model, Batches(BATCHES.source, 2), optimiser=CONSTANT, measure=lambda _model: {},
            measure_at=[], checkpoint=Checkpoint(folder=work.scratch, seconds=1e9),
        )  # fmt: skip
        losses = {"losses": torch.tensor(trained.losses)}
        save_file(model.state_dict() | losses, work.path / f"{share.rank}.safetensors")


@pytest.mark.slow
def test_every_process_ends_with_the_same_weights_even_one_without_rows(tmp_path: Path) -> None:
    one, three, stage = Store(tmp_path / "one"), Store(tmp_path / "three"), EachKeeps()
    one.build(stage, Machine(), lambda _done: None)
    three.build(stage, Machine(slots=(("cpu", "cpu", "cpu"),)), lambda _done: None)
    (alone,) = [load_file(one.path(stage) / "0.safetensors")]
    first, *others = [load_file(three.path(stage) / f"{rank}.safetensors") for rank in range(3)]
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)
    assert torch.allclose(first["losses"], alone["losses"], atol=1e-5)
    assert not torch.equal(first["lm_head.weight"], tiny().lm_head.weight)


WORKER = """
import pickle, sys
from pathlib import Path
sys.path += sys.argv[3:]
from repro.runs import Machine, Store
stage = pickle.loads(Path(sys.argv[2]).read_bytes())
machine = Machine(slots=(("cpu", "cpu"),), checkpoint_seconds=1e-9)
Store(Path(sys.argv[1])).build(stage, machine, lambda done: print(done, flush=True))
"""


@contextlib.contextmanager
def worker(store: Store, stage: Shared, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that does `stage` with two of its own, saving after each step."""
    (tmp_path / "stage").write_bytes(pickle.dumps(stage))
    command = [sys.executable, "-c", WORKER, str(store.root), str(tmp_path / "stage")]
    command += [str(TESTS), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.slow
def test_a_killed_worker_leaves_no_process_and_its_run_resumes_to_the_same_bits(
    base: Pretrain, tmp_path: Path, mark: str
) -> None:
    whole, cut, stage = Store(tmp_path / "whole"), Store(tmp_path / "cut"), cpt_on(base, steps=600)
    for store in (whole, cut):
        run([base], store, Machine())
    whole.build(stage, PAIR, lambda _done: None)
    with worker(cut, stage, tmp_path) as process:
        assert process.stdout is not None
        while float(process.stdout.readline()) < 0.2:
            pass
        assert len(started(mark)) == 3  # the worker and two processes
        process.kill()
    assert nothing_left(mark, tmp_path, seconds=20)
    assert cut.status(stage) == "begun"
    told: list[float] = []
    in_a_thread(lambda: cut.build(stage, PAIR, told.append))
    assert told[0] >= 0.2
    for name in (STATE, PROGRESS, "adapter_model.safetensors"):
        assert (cut.path(stage) / name).read_bytes() == (whole.path(stage) / name).read_bytes(), name


@pytest.mark.slow
def test_a_worker_killed_while_its_processes_start_or_wait_leaves_none(tmp_path: Path, mark: str) -> None:
    store, stage = Store(tmp_path / "runs"), Failing(how="sleep")
    for after in (1.0, 2.0, 3.0, 4.0, math.inf):
        with worker(store, stage, tmp_path) as process:
            deadline = time.monotonic() + after
            while time.monotonic() < deadline and not (store.part(stage) / "asleep").exists():
                time.sleep(0.1)
            process.kill()
        assert nothing_left(mark, tmp_path, seconds=20)
    assert (store.part(stage) / "asleep").exists()


@pytest.mark.slow
def test_a_damaged_checkpoint_is_set_aside_once_for_all_processes(
    base: Pretrain, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, stage = Store(tmp_path / "runs"), cpt_on(base)
    run([base], store, Machine())
    scratch = store.part(stage) / "checkpoint"
    scratch.mkdir(parents=True)
    (scratch / "state.safetensors").write_bytes(b"not a state")
    told: list[float] = []
    in_a_thread(lambda: store.build(stage, PAIR, told.append))
    assert told[0] == pytest.approx(1 / 9)
    assert caplog.text.count("set aside as state.safetensors.corrupt") == 1


def test_the_rows_of_a_step_are_divided_whole() -> None:
    tokens, counted = torch.arange(35).view(7, 5), torch.ones(7, 4, dtype=torch.bool)
    for ranks in (1, 2, 3, 9):
        parts = [Share(rank, ranks).of(Batch(tokens, counted)) for rank in range(ranks)]
        assert sorted(int(row[0]) for part in parts for row in part.tokens) == list(range(0, 35, 5))
        assert sum(part.labels for part in parts) == 28
        assert max(len(part.tokens) for part in parts) == math.ceil(7 / ranks)


def test_processes_that_come_to_different_weights_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(into: list[str], own: str) -> None:
        into[:] = [own, "another"]

    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    with pytest.raises(RuntimeError, match="2 processes that share a run have come to different weights"):
        Share(0, 2).require_same("weights", "own")
    Share(0, 2).require_same("weights", "another")
