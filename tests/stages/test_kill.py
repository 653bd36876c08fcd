"""SIGKILL at any moment: nothing half-made under a final name, and the finished run is bit-equal to an unbroken one."""

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from helpers.texts import folder_source, prose
from helpers.toys import Weighty, digests
from repro.data.corpora import TRAINING, Split
from repro.lm.models import Shape
from repro.runs import Machine, Stage, Store, Work, run
from repro.runs.engine import freeable
from repro.runs.spec import closure
from repro.stages.lora import Cpt, LoraTraining
from repro.stages.texts import Text, Tokenizer, Tokens, tokens_of
from repro.stages.training import Pretrain, Training

# Processes that are forked from one which has imported much, and has no threads: each starts at once, and dies alone.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pandas", "pytest", "repro.stages.lora"])
CHANGES = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVERY_STEP = Machine(checkpoint_seconds=-1.0)
PEAK = 1e-2


def build_until(root: Path, stage: Stage, end_at: int) -> None:
    """Do `stage`, and be killed right before the `end_at`-th time that anything under `root` is changed."""
    changes = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        if event in CHANGES and str(arguments[0]).startswith(str(root)) and (event != "open" or arguments[2] & WRITING):
            changes += 1
            if changes == end_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    Store(root).build(stage, Machine(), lambda _done: None)


def build_until_half_written(root: Path, stage: Stage, end_at: int) -> None:
    """Do `stage`, and be killed in the middle of the `end_at`-th text that is written."""
    whole, written = Path.write_text, 0

    def half(path: Path, text: str, *rest: Any) -> int:
        nonlocal written
        written += 1
        if written == end_at:
            whole(path, text[: len(text) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(path, text, *rest)

    Path.write_text = half  # type: ignore[method-assign,assignment]  # of a process that is about to end
    Store(root).build(stage, Machine(), lambda _done: None)


def killed(target: Callable[..., None], *arguments: Any) -> bool:
    """Whether a process that does `target` was killed, rather than done."""
    process = FORKS.Process(target=target, args=arguments)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def require_whole(store: Store, *stages: Stage) -> None:
    """Whatever lies under a final name is what its manifest says."""
    for stage in stages:
        if store.path(stage).exists():
            store.published(stage)


@pytest.mark.parametrize("again", [False, True], ids=["the first time", "after its weights were freed"])
@pytest.mark.parametrize("target", [build_until, build_until_half_written])
def test_killed_at_every_change_that_a_run_makes_to_the_store(
    tmp_path: Path, target: Callable[..., None], again: bool
) -> None:
    stage, unbroken = Weighty(value=3), Store(tmp_path / "unbroken")
    unbroken.build(stage, Machine(), lambda _done: None)
    places = 0
    while True:
        store = Store(tmp_path / str(places))
        if again:
            store.build(stage, Machine(), lambda _done: None)
            store.free(stage)
        if not killed(target, store.root, stage, places + 1):
            break
        places += 1
        require_whole(store, stage)
        store.build(stage, Machine(), lambda _done: None)
        assert digests(store, stage) == digests(unbroken, stage)
        left = {path for path in store.root.iterdir() if path.name not in (stage.folder, ".locks")}
        assert left == set(freeable(store, [stage]).folders), f"left behind at place {places}"
        assert not left or again, "a first run leaves nothing to be cleaned"
    assert places >= (7 if target is build_until_half_written else 20)


def test_work_that_is_done_is_not_lost_when_publishing_is_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stage = Store(tmp_path), Weighty(value=3)
    done = sum(killed(build_until, tmp_path / "counted", stage, place) for place in range(1, 100))
    assert killed(build_until, store.root, stage, done)  # the last change is the rename under the final name, or close
    monkeypatch.setattr(Weighty, "execute", lambda *_: pytest.fail("done again"))
    store.build(stage, Machine(), lambda _done: None)
    assert store.whole(stage)


@dataclass(frozen=True, kw_only=True)
class Followed(Pretrain):
    """Leaves its last checkpoint's digest too, optimiser included, and that of the batches that would come next."""

    def train(self, work: Work) -> None:
        from repro.lm.sequences import Batches, Stream
        from repro.lm.training import digest, read_state

        super().train(work)
        tensors, history = read_state(work.scratch / "state.safetensors", sealed=True)
        stream = Stream(tokens_of(work.inputs(self.tokens), TRAINING, self.tokens.dtype), 32, self.seed)
        batches = Batches(stream, self.training.batch)
        coming = [batches(self.training.steps + n).tokens.numpy().tobytes() for n in range(8)]
        told = {
            "state": digest(tensors, json.dumps(history)),
            "history": history,
            "next": [hashlib.sha256(b).hexdigest() for b in coming],
        }
        assert history["step"] == self.training.steps
        (work.path / "followed.json").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[Stage]]:
    """A store in which a pretraining and a LoRA run are done, and the two."""
    FORKS.set_forkserver_preload(["peft", "repro.lm.adapters", "repro.lm.training", "repro.stages.lora"])
    folder = tmp_path_factory.mktemp("kill")
    split = Split(validation=Fraction(1, 5), replay=Fraction(1, 5), near_duplicate=0.5)
    text = Text(name="general", sources=(folder_source(folder / "general", prose(150)),), split=split)
    tokens = Tokens(text=text, tokenizer=Tokenizer(text=text, vocabulary=320))
    common: dict[str, Any] = {"weight_decay": 0.1, "clip": 1.0, "precision": "fp32", "peak": PEAK, "warmup": 3}
    pretrain = Followed(
        tokens=tokens,
        shape=Shape(hidden=16, intermediate=48, layers=2, heads=2),
        training=Training(tokens=150 * 128, length=32, batch=4, floor=0.1, measures=25, **common),
        sequences=20,
        seed=0,
    )
    cpt = Cpt(
        base=pretrain, domain=tokens, replay=tokens, replay_share=Fraction(1, 4), length=16, tokens=150 * 32, seed=0,
        training=LoraTraining(rank=4, alpha=8, batch=2, **common),
    )  # fmt: skip
    store = Store(folder / "runs")
    run([cpt], store, EVERY_STEP)
    return store, [pretrain, cpt]


def do(root: Path, stage: Stage, ready: Event) -> None:
    import repro.lm.adapters
    import repro.lm.training  # noqa: F401

    ready.set()
    run([stage], Store(root), EVERY_STEP)


def lived(root: Path, stage: Stage, seconds: float) -> float | None:
    """Do `stage`, and kill it after so many seconds; how many it took, None if it was killed."""
    ready = FORKS.Event()
    process = FORKS.Process(target=do, args=(root, stage, ready))
    process.start()
    assert ready.wait(60)
    began = time.monotonic()
    process.join(seconds)
    took = time.monotonic() - began
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return took if process.exitcode == 0 else None


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["pretraining", "LoRA"])
def test_killed_at_twenty_random_moments_of_real_training(
    tmp_path: Path, runs: tuple[Store, list[Stage]], which: int
) -> None:
    unbroken, stage = runs[0], runs[1][which]
    everything = closure([stage])
    others = [one.folder for one in everything if one != stage]

    def fresh(name: str) -> Store:
        for folder in others:
            shutil.copytree(unbroken.root / folder, tmp_path / name / folder)
        return Store(tmp_path / name)

    seconds = lived(fresh("timed").root, stage, 300)
    assert seconds is not None
    rng, kills, studies, resumed = random.Random(0), 0, 0, 0
    while kills < 20:
        store = fresh(str(studies))
        studies += 1
        while lived(store.root, stage, rng.uniform(0, seconds)) is None:
            kills += 1
            require_whole(store, *everything)
            resumed += (store.part(stage) / "checkpoint" / "state.safetensors").exists()
        assert digests(store, stage) == digests(unbroken, stage)
    assert resumed >= 10
    print(f"{kills} kills, {resumed} with a checkpoint, {studies} studies of {seconds:.1f} s")
