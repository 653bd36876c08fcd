"""From a folder of text to a model that anyone can load: real stages in a real store, very small."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.texts import folder_source, prose
from repro.data.corpora import REPLAY, STATISTICS, TRAINING, VALIDATION, Split, read_statistics, read_texts
from repro.lm.models import Shape
from repro.lm.sequences import train_tokenizer
from repro.lm.training import sequence_losses
from repro.runs import Local, Machine, Store, run
from repro.runs.folder import Corrupt
from repro.runs.spec import Stage
from repro.stages.texts import Text, Tokenizer, Tokens, tokens_of
from repro.stages.training import LOSSES, Continue, Pretrain, Training, read_losses, size_label

VOCABULARY = 320
TRAINING_VALUES: dict[str, Any] = {
    "length": 32, "batch": 4, "weight_decay": 0.1, "clip": 1.0, "precision": "fp32", "measures": 25,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Small:
    """A study of one run each, done."""

    store: Store
    pretrain: Pretrain
    adapt: Continue

    @property
    def general(self) -> Tokens:
        return self.pretrain.tokens

    def finished(self, stage: Stage) -> Path:
        return self.store.finished(stage)

    def losses(self, stage: Stage) -> pd.DataFrame:
        return read_losses(self.store.file(stage, LOSSES))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("stages")
    split = Split(validation=Fraction(1, 5), replay=Fraction(1, 5), near_duplicate=0.5)
    far = [text.upper()[::-1] for text in prose(80, seed=1)]
    general = Text(name="general", sources=(folder_source(folder / "general", prose(150)),), split=split)
    domain = Text(
        name="far",
        sources=(folder_source(folder / "far", far),),
        split=dataclasses.replace(split, replay=Fraction(0)),
        general=general,
    )
    tokenizer = Tokenizer(text=general, vocabulary=VOCABULARY)
    pretrain = Pretrain(
        tokens=Tokens(text=general, tokenizer=tokenizer),
        shape=Shape(hidden=16, intermediate=48, layers=2, heads=2),
        training=Training(tokens=60 * 128, peak=1e-2, warmup=3, floor=0.1, **TRAINING_VALUES),
        sequences=20,
        seed=0,
    )
    adapt = Continue(
        base=pretrain,
        domain=Tokens(text=domain, tokenizer=tokenizer),
        ratio=Fraction(1, 2),
        training=Training(tokens=40 * 128 + 5, peak=5e-3, warmup=2, floor=1.0, **TRAINING_VALUES),
        sequences=20,
        seed=0,
    )
    store = Store(folder / "runs")
    run([adapt], store, Machine())
    return Small(store, pretrain, adapt)


def stages(small: Small) -> list[Pretrain | Continue]:
    return [small.pretrain, small.adapt]


def test_the_model_loads_anywhere(small: Small) -> None:
    for stage in stages(small):
        folder = small.finished(stage)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert model.config.architectures == ["LlamaForCausalLM"]
        assert model.dtype == torch.float32
        out = model.generate(**tokenizer("The river", return_tensors="pt"), max_new_tokens=5, do_sample=False)
        assert tokenizer.decode(out[0]).startswith("The river")
        assert tokenizer.eos_token_id == model.config.eos_token_id == 0
        weights = {p.name for p in folder.rglob("*") if p.suffix in (".safetensors", ".bin", ".pt", ".pth", ".pkl")}
        assert weights == {"model.safetensors"}


def test_the_loaded_model_has_the_recorded_loss(small: Small) -> None:
    folder = small.finished(small.adapt)
    held_out = tokens_of(small.finished(small.general), VALIDATION, small.general.dtype)
    model = AutoModelForCausalLM.from_pretrained(folder)
    windows = (len(held_out) - 1) // 32
    starts = np.arange(20) * windows // 20 * 32
    rows = torch.from_numpy(np.stack([held_out[s : s + 33] for s in starts]).astype(np.int64))
    found = np.mean(sequence_losses(model, rows, batch=20, dtype=torch.float32))
    assert found == pytest.approx(small.losses(small.adapt)["general"].iloc[-1], abs=1e-5)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(hidden=16, intermediate=48, layers=2, heads=2),
        Shape(hidden=48, intermediate=144, layers=3, heads=3),
        Shape(hidden=8, intermediate=21, layers=1, heads=4),
    ],
)
def test_the_parameter_count_is_that_of_the_real_model(shape: Shape) -> None:
    from repro.lm.models import new_model

    assert shape.parameters(VOCABULARY) == sum(p.numel() for p in new_model(shape, VOCABULARY, 16, 0).parameters())


def test_losses_are_measured_from_the_start_to_the_end(small: Small) -> None:
    for stage, columns in ((small.pretrain, {"general"}), (small.adapt, {"general", "domain"})):
        losses = small.losses(stage)
        assert set(losses) == {"step", "tokens", "training_loss"} | columns | {
            f"{name}_{what}" for name in columns for what in ("se", "sequences")
        }
        assert losses["tokens"].iloc[0] == 0
        assert losses["step"].iloc[-1] == stage.training.steps
        assert (losses["tokens"] == losses["step"] * 128).all()
        assert len(losses) == 26
        assert losses["tokens"].is_monotonic_increasing
        assert losses["tokens"].is_unique
        assert losses.drop(columns="training_loss").notna().all(axis=None)
        assert (losses["general_se"].iloc[0], losses["training_loss"].isna().sum()) == (0, 1)
    assert small.losses(small.pretrain)["general"].iloc[-1] < small.losses(small.pretrain)["general"].iloc[0] - 0.5
    assert small.losses(small.adapt)["domain"].iloc[-1] < small.losses(small.adapt)["domain"].iloc[0] - 0.5


def test_continual_pretraining_begins_where_pretraining_ended(small: Small) -> None:
    ended, begins = small.losses(small.pretrain).iloc[-1], small.losses(small.adapt).iloc[0]
    assert begins["general"] == ended["general"]


def test_the_tokenizer_has_seen_general_training_text_only(small: Small) -> None:
    text = small.finished(small.general.text)
    found = AutoTokenizer.from_pretrained(small.finished(small.general.tokenizer))
    assert found.get_vocab() == train_tokenizer(read_texts(text, TRAINING), VOCABULARY).get_vocab()
    assert found.get_vocab() != train_tokenizer(read_texts(text, REPLAY), VOCABULARY).get_vocab()


def test_every_document_is_encoded_and_counted(small: Small) -> None:
    tokenizer = AutoTokenizer.from_pretrained(small.finished(small.general.tokenizer))
    counts = read_statistics(small.store.file(small.general, STATISTICS))
    for part in (TRAINING, REPLAY, VALIDATION):
        tokens = tokens_of(small.finished(small.general), part, small.general.dtype)
        texts = list(read_texts(small.finished(small.general.text), part))
        assert len(tokens) == counts[f"{part} tokens"]
        assert tokenizer.decode(tokens.tolist()).split(tokenizer.eos_token)[:-1] == texts


@pytest.mark.ci
def test_workers_and_this_process_train_to_the_same_bits(small: Small, tmp_path: Path) -> None:
    other = Store(tmp_path / "runs")
    run([small.adapt], other, Machine(checkpoint_seconds=0.01), on=Local(workers=2))
    for stage in stages(small):
        manifests = [json.loads((store.path(stage) / "manifest.json").read_text()) for store in (small.store, other)]
        for manifest in manifests:
            del manifest["record.json"]  # seconds differ
        assert manifests[0] == manifests[1]


def test_what_a_run_needs_of_earlier_ones_is_made_again(small: Small, tmp_path: Path) -> None:
    shutil.copytree(small.store.root, tmp_path / "runs")
    store = Store(tmp_path / "runs")
    for stage in (small.adapt, small.general, small.general.tokenizer):
        shutil.rmtree(store.path(stage))
    run([small.adapt], store, Machine())
    assert read_losses(store.file(small.adapt, LOSSES)).equals(small.losses(small.adapt))


def test_a_vocabulary_that_the_text_does_not_fill(tmp_path: Path, prose_folder: Callable[..., Any]) -> None:
    """Two bytes would hold the tokens there are, but whoever reads them goes by the vocabulary asked for."""
    split = Split(validation=Fraction(1, 5), replay=Fraction(1, 5), near_duplicate=0.5)
    text = Text(name="general", sources=(prose_folder("text", prose(40)),), split=split)
    stage = Tokens(text=text, tokenizer=Tokenizer(text=text, vocabulary=70_000))
    store = Store(tmp_path / "runs")
    run([stage], store, Machine())
    tokens = tokens_of(store.finished(stage), TRAINING, stage.dtype)
    assert len(tokens) == read_statistics(store.file(stage, STATISTICS))["training tokens"]
    assert tokens.max() < 5000


def test_points_are_dense_where_losses_move_most() -> None:
    for steps in (25, 26, 40, 100, 244, 10_000):
        values = TRAINING_VALUES | {"tokens": steps * 128, "peak": 1.0, "warmup": 0, "floor": 1.0}
        points = Training(**values).measure_at
        assert (points[0], points[-1], len(points)) == (0, steps, 26)
        assert points == sorted(set(points))
        assert points[1] <= points[-1] - points[-2]
    with pytest.raises(ValueError, match="25 validation points do not fit into 24 steps"):
        Training(**TRAINING_VALUES, tokens=24 * 128, peak=1.0, warmup=0, floor=1.0)


@pytest.mark.parametrize(
    ("parameters", "label"),
    [(91_520, "92k"), (291_000, "0.29M"), (1_600_000, "1.6M"), (461_620_224, "461.6M"), (3_062_499_840, "3.06B")],
)
def test_sizes_are_written_as_people_write_them(parameters: int, label: str) -> None:
    assert size_label(parameters) == label


def test_a_shorter_run_is_the_beginning_of_a_longer_one(small: Small) -> None:
    """With a constant rate, one trajectory gives the losses of every budget (prefix sharing)."""
    shorter = dataclasses.replace(small.adapt, training=dataclasses.replace(small.adapt.training, tokens=30 * 128))
    run([shorter], small.store, Machine())
    pair = [small.losses(stage).set_index("step") for stage in (shorter, small.adapt)]
    common = pair[0].index.intersection(pair[1].index)
    assert len(common) >= 5
    columns = ["tokens", "general", "domain"]
    assert pair[0].loc[common, columns].equals(pair[1].loc[common, columns])


def test_losses_outlive_weights(small: Small, tmp_path: Path) -> None:
    shutil.copytree(small.store.root, tmp_path / "runs")
    store = Store(tmp_path / "runs")
    (store.path(small.adapt) / "model.safetensors").unlink()
    assert read_losses(store.file(small.adapt, LOSSES)).equals(small.losses(small.adapt))
    with pytest.raises(Corrupt, match=r"model\.safetensors is missing"):
        store.finished(small.adapt)
