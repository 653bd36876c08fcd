"""The machinery holds the paper's own models: one optimiser step of its smallest, on this processor."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from safetensors import safe_open

from helpers.texts import prose
from repro import params
from repro.cmr.design import design
from repro.data.sources import FolderSource
from repro.runs import Machine, Store, run
from repro.stages.training import LOSSES, read_losses

GIB = 2**30


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(psutil.virtual_memory().total < 15 * GIB, reason="needs 15 GiB of memory")
def test_one_step_of_the_papers_460m_model(
    tmp_path: Path, prose_folder: Callable[[str, list[str]], FolderSource]
) -> None:
    """Shape, vocabulary, precision and learning rate of the paper; one short sequence, because this is a test."""
    folder = str(prose_folder("text", prose(60)).folder)
    paper = params.read(params.preset_file("paper-cmr"))
    here = {"device": "cpu", "cluster": None, "resources": {}}
    small = {"batch": 1, "sequence_length": 32, "validation_sequences": 2, **here}
    domains = {name: {"name": name, "sources": [{"folder": folder}]} for name in ("domain", "second_domain")}
    text = {"general": [{"folder": folder}], "validation_share": 0.2, **domains}
    study = design(params.check(paper | small | text))
    training = replace(study.pretraining[0].training, tokens=32, warmup=0, measures=1)
    pretrain = replace(study.pretraining[0], training=training)
    assert (pretrain.vocabulary, pretrain.parameters) == (65_632, 461_620_224)
    assert (pretrain.training.precision, pretrain.training.peak) == ("bf16", 3e-4)

    store = Store(tmp_path / "runs")
    run([pretrain], store, Machine(checkpoint_seconds=math.inf))
    losses = read_losses(store.file(pretrain, LOSSES))
    assert losses["step"].tolist() == [0, 1]
    assert losses["general"].iloc[0] == pytest.approx(math.log(65_632), abs=0.5)
    assert losses["general"].iloc[-1] < losses["general"].iloc[0]
    with safe_open(store.finished(pretrain) / "model.safetensors", "pt") as weights:
        count = sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    assert count == 461_620_224
