"""One table of timings: training, fitting laws, finding near-duplicates, wrong commands. One thread each."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.laws import against_random_starts
from repro import params
from repro.cmr.design import design
from repro.data.documents import NearDuplicates
from repro.data.domains import PACKAGES
from repro.data.sources import PackageSource
from repro.laws import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, RATIO_LAW, Law
from repro.laws.allocation import allocation_law
from repro.lm.models import new_model
from repro.lm.sequences import Batches, Stream
from repro.lm.training import Checkpoint, Optimiser, train
from repro.runs.store import hardware
from repro.stages.training import Pretrain

REPEATS = 5
STEPS = 8
HELD_OUT, SEARCHED = 500, 1000  # documents


@dataclass(frozen=True)
class Timing:
    """Seconds of several repeats of the same work, `amount` units of it each."""

    name: str
    amount: int
    unit: str
    seconds: tuple[float, ...]

    def __str__(self) -> str:
        rates = [self.amount / seconds for seconds in self.seconds]
        middle, low, high = statistics.median(rates), min(rates), max(rates)
        digits = 0 if low >= 10 else 2
        return f"{self.name:56} {middle:>10,.{digits}f} {self.unit + '/s':12} ({low:,.{digits}f} to {high:,.{digits}f})"


def timed(name: str, amount: int, unit: str, work: Callable[[], object]) -> Timing:
    """`work` done once to warm up and then `REPEATS` times by the clock."""
    work()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return Timing(name, amount, unit, tuple(seconds))


def training(stage: Pretrain) -> Timing:
    """Optimiser steps as pretraining does them, without validation."""
    settings = stage.training
    tokens = np.random.default_rng(0).integers(0, stage.vocabulary, 100_000, dtype=np.uint16)
    model = new_model(stage.shape, stage.vocabulary, settings.length, seed=0)

    def steps() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train(
                model,
                Batches(Stream(tokens, settings.length, 0), settings.batch),
                optimiser=Optimiser(peak=settings.peak, steps=STEPS, warmup=1, precision=settings.precision),
                measure=lambda _model: {},
                measure_at=[],
                checkpoint=Checkpoint(folder=Path(folder), seconds=3600),
            )

    amount = STEPS * settings.batch * settings.length
    name = f"training, {stage.parameters:,} parameters, {settings.batch} x {settings.length}"
    return timed(name, amount, "tokens", steps)


def fitting(law: Law, truth: dict[str, float], x: np.ndarray) -> Timing:
    """Global fits to as many points as a study has."""
    noise = 0.001 * np.random.default_rng(0).standard_normal(len(x))
    y = law.evaluate(truth, x) + noise
    return timed(f"fitting: {law.name}, {len(x)} points", 1, "fits", lambda: law.fit(x, y))


def fits() -> Iterator[Timing]:
    """Each law of the papers on as many points as a study has."""
    ratios = np.array([float(ratio) for ratio in (Fraction(1, 8), 0.25, Fraction(1, 3), 0.5, 0.75, 1)])
    t = np.linspace(4, 100, 25)
    tokens = np.geomspace(3e5, 5e7, 16)
    yield fitting(RATIO_LAW, {"s": -0.4, "alpha": 0.05, "beta": 1.2}, ratios)
    yield fitting(DOMAIN_TOKEN_LAW, {"s1": -0.3, "alpha1": 1.2, "beta1": -0.7}, t)
    general = {"s2": 0.3, "s3": 0.8, "alpha2": 0.02, "alpha3": -0.003, "beta2": 0.001}
    yield fitting(GENERAL_TOKEN_LAW, general, t)
    yield fitting(CMR_LAW, {"s4": 0.4, "alpha4": 0.05, "beta3": 0.1}, np.array([8.0, 20, 40, 80, 120, 230]))
    scores = {"mu": 14.6, "sigma": 0.8, "s_min": 1e5, "p_base": 0.4, "amplitude": 0.05, "penalty": 1e3}
    yield fitting(allocation_law(tokens), scores, tokens)


def near_duplicates() -> Iterator[Timing]:
    """Indexing held-out documents of the encyclopaedia and looking other documents up in them."""
    source = PackageSource(package="wikipedia-en", sha256=PACKAGES["wikipedia-en"].sha256)
    texts = [document.text for document in source.documents()][: HELD_OUT + SEARCHED]
    held_out, others = texts[:HELD_OUT], texts[HELD_OUT:]
    index = NearDuplicates(held_out, 0.5)
    yield timed("near-duplicates, indexing", HELD_OUT, "documents", lambda: NearDuplicates(held_out, 0.5))
    yield timed("near-duplicates, looking up", SEARCHED, "documents", lambda: [text in index for text in others])


def commands() -> Iterator[Timing]:
    """Commands in processes of their own that need not load anything heavy."""
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder, "wrong.yaml")
        wrong.write_text("raitos: [1]\n")
        for words in (["--help"], ["plan", "--params", str(wrong)], ["fit", "cmr", "none.csv", "--epsilon", "x"]):
            command = [sys.executable, "-m", "repro.cli", *words]
            name = " ".join(["repro", *words[:2]])
            yield timed(f"commands: {name}", 1, "commands", partial(subprocess.run, command, capture_output=True))


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{hardware('cpu')}; one thread; median of {REPEATS} (slowest to fastest)\n")
    for stage in design(params.check(params.read(params.preset_file("quick")))).pretraining:
        print(training(stage), flush=True)
    for timing in fits():
        print(timing, flush=True)
    for timing in near_duplicates():
        print(timing, flush=True)
    for timing in commands():
        print(timing, flush=True)
    for text in against_random_starts():
        print(f"\n{text}", flush=True)


if __name__ == "__main__":
    main()
