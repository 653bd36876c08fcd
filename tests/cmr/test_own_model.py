"""A study of models that were pretrained elsewhere: their own tokenizer, no pretraining, one domain."""

import json
import math
import re
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import ROOT
from helpers.texts import folder_source, prose
from repro import cli, params as parameters
from repro.cmr import recommend
from repro.cmr.design import design
from repro.cmr.plan import plan
from repro.cmr.study import Study, open_study
from repro.lm.models import Shape, new_model
from repro.lm.sequences import train_tokenizer
from repro.params import ParamsError
from repro.runs import Store
from repro.stages.training import LOSSES, read_losses

SMALL = {
    "vocabulary": 300, "sequence_length": 16, "batch": 2, "continual_tokens": 320, "continual_warmup_steps": 1,
    "validation_points": 5, "validation_sequences": 4, "validation_share": 0.2, "domain_validation_share": 0.2,
    "ratios": ["1/4", "1/2", "3/4", 1], "learning_rates": [], "bootstrap": 20, "workers": 1, "device": "cpu",
    "second_domain": None, "second_ratios": [], "pretrain_tokens": 320,
}  # fmt: skip
SHOWS = {
    "own/cmr": "recommended share",
    "notebooks/cmr-2-pretraining": "were pretrained elsewhere",
    "notebooks/cmr-6-critical": "recommended share",
    "notebooks/cmr-7-second-domain": "This run has no second domain",
    "notebooks/laws-2-recovery": "<em>Does the paper's table show a best split?</em>",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as Hugging Face saves one, whose tokenizer is not that of the text at hand."""
    folder = tmp_path_factory.mktemp("models") / "mine"
    tokenizer = train_tokenizer(prose(40, seed=7), 280)
    tokenizer.save_pretrained(folder)
    new_model(Shape(hidden=16, intermediate=32, layers=1, heads=2), len(tokenizer), 32, seed=3).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("texts")
    for name, seed in (("general", 1), ("mine", 2)):
        folder_source(folder / name, prose(60, seed=seed))
    texts = {name: [{"folder": str(folder / name)}] for name in ("general", "mine")}
    smoke = parameters.read(parameters.preset_file("smoke"))
    domain = {"name": "mine", "sources": texts["mine"]}
    return smoke | SMALL | {"general": texts["general"], "domain": domain, "models": [{"folder": str(model)}]}


@pytest.mark.parametrize("adapter", [None, {"rank": 2, "alpha": 4}, {"rank": 2, "alpha": 4, "targets": ["q_proj"]}])
def test_from_a_folder_with_a_model_to_laws(tmp_path: Path, values: dict[str, Any], adapter: Any) -> None:
    params = parameters.check(values | {"adapter": adapter})
    study = Study(store=Store(tmp_path / "runs"), params=params, design=design(params))
    losses = study.losses()
    begin = losses[losses["tokens"] == 0]
    assert begin["general_loss"].nunique() == 1, "every ratio begins at the model as it is"
    assert set(losses["ratio"]) == {0.25, 0.5, 0.75, 1.0}
    assert set(losses["domain"]) == {"mine"}
    run = study.design.continual[0]
    assert losses["general_loss"].iloc[-1] != begin["general_loss"].iloc[0]
    saved = {file.name for file in study.finished(run).iterdir()}
    assert LOSSES in saved
    if adapter:
        config = json.loads((study.finished(run) / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "mine"
        assert config["target_modules"] == adapter.get("targets", config["target_modules"])
        assert "model.safetensors" not in saved
    else:
        assert "model.safetensors" in saved
    assert read_losses(study.file(run, LOSSES))["step"].tolist()[-1] == 10

    (group,) = study.analysis().groups
    assert group.ratio_law["domain"] is not None
    shapes = study.shapes()
    assert shapes[["hidden_size", "layers", "vocabulary_size"]].to_numpy().tolist() == [[16, 1, 280]]
    assert study.pretraining().empty
    corpora = study.corpora().set_index(["corpus", "part"])
    general = corpora.loc[("general", "training")]
    assert general["epochs"] == pytest.approx(320 * 0.75 / general["tokens"])
    assert set(study.distances()["corpus"]) == {"general, held out", "mine"}


def test_text_is_in_the_tokens_of_the_model_and_all_of_it_can_be_replayed(values: dict[str, Any]) -> None:
    found = design(parameters.check(values))
    assert {run.domain.tokenizer for run in found.continual} == set(found.models)
    assert {run.mixed.tokenizer for run in found.continual} == set(found.models)
    assert found.general.text.split.replay == 0
    assert not found.pretraining


def test_what_is_trained_is_part_of_a_run_and_costs_less_with_an_adapter(values: dict[str, Any]) -> None:
    full, adapted = (design(parameters.check(values | {"adapter": a})) for a in (None, {"rank": 2, "alpha": 4}))
    assert not {run.key for run in full.continual} & {run.key for run in adapted.continual}
    assert adapted.continual[0].cost == pytest.approx(2 / 3 * full.continual[0].cost)


def test_the_plan_has_the_model_and_no_pretraining(values: dict[str, Any]) -> None:
    (size,) = plan(parameters.check(values)).sizes
    assert (size.runs, size.tokens) == (4, 4 * 320)
    assert math.isfinite(size.memory_gib)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder, for a store that the pages share."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("params", "_data"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_a_pilot_does_runs_of_a_study_with_its_ratios(
    home: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_HOME", str(home))
    params = parameters.check(values)
    ratios = recommend.pilot(params, width=0.01, runs=4).as_json()["pilot"]["ratios"]
    study = open_study(params.model_copy(update={"ratios": [Fraction(ratio) for ratio in ratios]}))
    assert len(ratios) == 4
    assert all(map(study.store.has, study.design.continual))
    assert not any(map(study.store.has, study.design.recovery)), "a pilot does only what its answer needs"


@pytest.fixture(scope="module")
def book(home: Path, values: dict[str, Any]) -> Path:
    """The folder of a book of these parameters, which are those of paper A alone."""
    for name in ("notebooks", "book", "results", "_config.yml"):
        (home / name).symlink_to(ROOT / name)
    own = {name: value for name, value in values.items() if name in parameters.names(parameters.Params)}
    (home / "mine.yaml").write_text(yaml.safe_dump(own | {"preset": "mine"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_HOME", str(home))
        assert cli.main(["book", "--params", str(home / "mine.yaml")]) == 0
    return home / "_build/html"


@pytest.mark.ci
@pytest.mark.timeout(1200)
def test_one_model_on_one_domain_makes_a_book_of_paper_a(book: Path) -> None:
    listed = re.findall(r"file: (\S+)", (ROOT / "book/_toc-cmr.yml").read_text())
    assert all((book / f"{name}.html").is_file() for name in listed)
    assert not list(book.rglob("allocation-*.html"))
    for name, shows in SHOWS.items():
        assert shows in (book / f"{name}.html").read_text(), name
    assert "own/cmr.html" in (book / "index.html").read_text(), "the first page leads to the answer"


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_attention_heads": 0}, {"hidden_size": 10**12}, {"hidden_size": "wide"}, {"model_type": "none"},
        {"num_key_value_heads": 0}, {"hidden_act": "none"}, {"rope_parameters": 7}, {"dtype": "float99"},
    ],
)  # fmt: skip
def test_settings_of_no_model_are_refused_before_anything_runs(
    tmp_path: Path, values: dict[str, Any], model: Path, wrong: dict[str, Any]
) -> None:
    own = shutil.copytree(model, tmp_path / "own")
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(config | wrong))
    with pytest.raises(ParamsError) as caught:
        design(parameters.check(values | {"models": [{"folder": str(own)}]}))
    assert "config.json" in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"models": [{"folder": "/nowhere/at/all"}]}, "models[0].folder: "),
        ({"models": [{"package": "none"}]}, "models[0].package: no model 'none'; there are smollm2"),
        ({"models": [{"hub": "a/b"}]}, "a hub model needs a revision"),
        ({"models": [{"package": "smollm2"}, {"hidden": 8, "intermediate": 8, "layers": 1, "heads": 2}]}, "either all"),
        ({"sequence_length": 64, "continual_tokens": 3200}, "sequence_length: must be at most 32, the context of mine"),
        ({"models": [{"hidden": 8, "intermediate": 8, "layers": 1, "heads": 2}], "adapter": {"rank": 1, "alpha": 1}},
         "adapter is an option of pretrained models"),
        ({"adapter": {"rank": 0, "alpha": 1}}, "adapter.rank"),
    ],
)  # fmt: skip
def test_wrong_models_are_refused_by_name(values: dict[str, Any], wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError) as caught:
        design(parameters.check(values | {"pretrain_tokens": 3200} | wrong))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
