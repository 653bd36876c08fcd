"""The real model of the quick preset: HumanEval through the sandbox, and an allocation trained again alone."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from repro import params
from repro.allocation.design import Design, design
from repro.runs import Machine, Store, run
from repro.runs.engine import verify_again
from repro.sandbox import probe
from repro.stages.evaluate import ITEMS, Evaluate, Programs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
CPU = Machine()
KNOWN = 7 / 164  # greedy pass@1 of this model as its prompt form solves it elsewhere
CODING = {"name": "coding", "builtin": "coding", "benchmarks": ["humaneval"]}


def study(**changes: object) -> Design:
    values = params.read(params.preset_file("quick")) | changes
    return design(params.check(values, params.AllocationParams))


@pytest.mark.skipif(probe() is not None, reason=f"{probe()}")
def test_pass_at_1_is_what_is_known_of_the_model(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (programs,) = study(domains=[CODING]).trials[0].programs
    assert isinstance(programs, Programs)
    run([programs], store, CPU)
    found = pd.read_parquet(store.file(programs, ITEMS))
    assert len(found) == 164
    assert set(found["status"]) <= {"passed", "failed", "timed out"}
    low, high = proportion_confint(int(found["right"].sum()), 164, method="wilson")
    assert low <= KNOWN <= high


def test_an_allocation_trained_again_alone_gives_the_same_answers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    trials = {trial.sft_tokens: trial for trial in study().trials if trial.kind == "allocation"}
    evaluation = trials[4096].evaluation
    assert isinstance(evaluation, Evaluate)
    assert trials[4096].before.after is not None, "its CPT goes on from a shorter one's"  # type: ignore[union-attr]
    run([evaluation], store, CPU)
    again = verify_again(evaluation, store, CPU)
    assert again.different == ()
    assert replace(evaluation, chat=True).key != evaluation.key
