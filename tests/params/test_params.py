"""Parameters are checked before anything starts: one line naming the field and what is allowed."""

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import ROOT
from repro import params
from repro.cmr.design import design
from repro.params import ParamsError

PRESETS = sorted(path.stem for path in (ROOT / "params").glob("*.yaml") if path.stem != "mine")
SMOKE: dict[str, Any] = yaml.safe_load((ROOT / "params/smoke.yaml").read_text())
MODEL = {"hidden": 16, "intermediate": 48, "layers": 1, "heads": 2}


OF_B = (params.AllocationParams,)
OF_ONE_PAPER = {"paper-cmr": (params.Params,), "paper-allocation": OF_B, "paper-allocation-replay": OF_B}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_checks_and_says_the_same_things(name: str) -> None:
    values = params.read(params.preset_file(name))
    schemas = OF_ONE_PAPER.get(name, params.SCHEMAS)
    assert params.schemas_in(values) == schemas
    for schema in schemas:
        assert params.required(schema) <= set(values)
        assert params.check(values, schema).preset == name
    if params.Params in schemas:
        control = 4 * (0 in values["ratios"])  # general text only, at each of four sizes
        assert len(design(params.check(values)).continual) == (29 + control) * len(values["seeds"])


def test_learning_rates_run_the_smallest_size_again_and_leave_the_other_runs_as_they_are() -> None:
    plain, more = (design(params.check(SMOKE | {"learning_rates": given})) for given in ([], [0.5, 3]))
    assert not plain.rates
    assert more.continual == plain.continual
    assert [run.training.peak for run in more.rates] == [0.5e-3] * 7 + [3e-3] * 7
    assert {run.base for run in more.rates} == {plain.pretraining[0]}
    assert set(more.stages) == {*plain.stages, *more.rates}


def test_the_papers_setting_with_replay_differs_in_replay_and_in_how_drift_is_sampled_only() -> None:
    plain, replayed = (params.read(params.preset_file(f"paper-allocation{end}")) for end in ("", "-replay"))
    assert {name for name in replayed if replayed[name] != plain.get(name)} == {
        "preset", "replay", "lora_replay_share", "drift_share",
    }  # fmt: skip
    assert 2_019_000 in replayed["sft_tokens"]


def test_the_presets_are_those_of_the_project() -> None:
    assert params.presets() == PRESETS
    assert {"smoke", "quick", "desk", "h100", "paper-cmr", "paper-allocation"} <= set(PRESETS)


def test_the_papers_share_the_names_that_mean_the_same_in_both_and_no_others() -> None:
    shared = set(params.names(params.Params)) & set(params.names(params.AllocationParams))
    assert shared == {
        "preset", "domain_validation_share", "near_duplicate", "weight_decay", "clip", "seeds", "bootstrap",
        "device", "workers", "cluster", "resources", "micro_batch", "checkpoint_seconds",
    }  # fmt: skip


def test_each_paper_takes_its_own_names_and_neither_takes_another() -> None:
    values = params.read(params.preset_file("quick"))
    assert not set(params.names(params.Params)) >= set(values)
    assert params.check(values) == params.check({n: v for n, v in values.items() if n in params.names(params.Params)})
    with pytest.raises(
        ParamsError,
        match=r"^'budgte': unknown parameter; did you mean budget\? allowed are preset, base_model, .* budget, ",
    ):
        params.check(values | {"budgte": 1})


def test_the_papers_setting_is_the_papers() -> None:
    found = params.check(params.read(params.preset_file("paper-cmr")))
    step = found.batch * found.sequence_length
    assert (found.pretrain_tokens, found.continual_tokens) == (100_000 * step, 10_000 * step)
    assert (found.batch, found.sequence_length, found.vocabulary) == (512, 4096, 65_632)
    assert (found.pretrain_lr, found.continual_lr) == (3e-4, 3e-5)
    assert found.ratios == tuple(Fraction(*r) for r in ((1, 8), (1, 4), (1, 3), (1, 2), (3, 4), (1, 1)))


def test_a_file_says_only_what_differs_from_the_preset_it_extends(tmp_path: Path) -> None:
    mine = tmp_path / "my file.yaml"
    mine.write_text("extends: smoke\nseeds: [3]\nsecond_domain: null\n")
    found = params.check(params.read(mine))
    assert (found.preset, found.seeds, found.second_domain) == ("mine", (3,), None)
    assert found.ratios == params.check(SMOKE).ratios
    mine.write_text("extends: none\n")
    with pytest.raises(ParamsError, match=r"preset: no preset 'none'; there are .*quick"):
        params.read(mine)
    mine.write_text("extends: [quick]\n")
    with pytest.raises(ParamsError, match=r"extends: must be the name of a preset; there are .*quick"):
        params.read(mine)


def test_such_a_file_may_be_of_one_paper_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    for paper, schema in params.PAPERS.items():
        mine.write_text(f"extends: smoke\npaper: {paper}\nseeds: [3]\n")
        values = params.read(mine)
        assert params.schemas_in(values) == (schema,)
        assert params.check(values, schema).seeds == (3,)
        namespace = {"In": ["# Parameters\n" + mine.read_text().replace(": ", " = ")], "extends": "smoke", "seeds": [3]}
        assert params.from_notebook(namespace | {"paper": paper}, schema).seeds == (3,)
    for wrong in ("cmrs", "[cmr]", "null"):
        mine.write_text(f"extends: smoke\npaper: {wrong}\n")
        with pytest.raises(ParamsError, match=r"^paper: must be cmr or allocation, got "):
            params.read(mine)


def test_the_template_is_short_and_what_it_offers_in_comments_is_allowed() -> None:
    text = (ROOT / "params/mine.yaml").read_text()
    assert len(text.splitlines()) <= 60
    given = yaml.safe_load(text)
    assert given["extends"] == "quick"
    assert {"general", "domain", "models", "ratios", "continual_tokens", "epsilon", "seeds"} <= given.keys()
    found = params.check(params.read(ROOT / "params/mine.yaml"))
    assert (len(found.models), found.second_domain) == (1, None)
    assert [run.ratio for run in design(found).continual] == list(found.ratios)
    offered = yaml.safe_load("\n".join(re.findall(r"^# ((?:general|models|adapter): .*)$", text, re.MULTILINE)))
    yours = params.check(params.read(ROOT / "params/mine.yaml") | offered)
    assert yours.adapter and yours.models[0].folder and yours.general[0].folder == "~/texts/general"


def test_papermill_can_hand_on_such_a_file_and_its_none_is_a_value() -> None:
    cells = ["", 'preset = "quick"\nsecond_domain = None\nratios = None', "# Parameters\n"]
    for given in ({"extends": "smoke", "second_domain": None}, {"preset": "smoke", "second_domain": None}):
        told = "\n".join(f"{name} = {value!r}" for name, value in given.items())
        namespace = {"In": [*cells[:2], cells[2] + told], "preset": "quick", "ratios": None, **given}
        found = params.from_notebook(namespace)
        assert found.second_domain is None
        assert found.ratios == params.check(SMOKE).ratios


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"raitos": [1]},
        r"'raitos': unknown parameter; did you mean ratios\? allowed are preset, general, .*checkpoint_seconds",
    ),
    ({"ratios": [0.5, 1.5]}, r"ratios\[1\]: must be between 0 and 1, got 1\.5"),
    ({"ratios": ["-1/8"]}, r"ratios\[0\]: must be between 0 and 1, got '-1/8'"),
    ({"ratios": ["1/0"]}, r"ratios\[0\]: must be a number or a fraction such as 1/3, got '1/0'"),
    ({"ratios": ["half"]}, r"ratios\[0\]: must be a number or a fraction such as 1/3, got 'half'"),
    ({"ratios": [True]}, r"ratios\[0\]: must be a number or a fraction such as 1/3, got True"),
    ({"ratios": [math.nan]}, r"ratios\[0\]: must be a number or a fraction such as 1/3, got nan"),
    ({"learning_rates": [1, 3]}, r"learning_rates must not have 1: continual_lr itself is always run"),
    ({"learning_rates": [3, 3]}, r"learning_rates must not repeat a value"),
    ({"learning_rates": ["1/3"]}, r"learning_rates\[0\]: must be a number, not text"),
    ({"ratios": [0]}, r"ratios must have one above 0: alone, 0 \(general text only\) compares with nothing"),
    ({"ratios": []}, r"ratios: must be a list of 1 or more, got \[\]"),
    ({"ratios": 0.5}, r"ratios: must be a list, got 0\.5"),
    ({"ratios": [0.5, "1/2"]}, r"ratios must not repeat a value"),
    ({"seeds": [0, 0]}, r"seeds must not repeat a value"),
    ({"seeds": [-1]}, r"seeds\[0\]: must be 0 or more, got -1"),
    ({"validation_points": 10**6}, r"validation_points: .*10,000"),
    ({"pretrain_tokens": 0}, r"pretrain_tokens: must be above 0, got 0"),
    ({"continual_tokens": 100}, r"continual_tokens must be at least 6400: 25 steps \(validation_points\) of 8 x 32"),
    ({"continual_tokens": "many"}, r"continual_tokens: must be a whole number, got 'many'"),
    ({"continual_tokens": 20_000.0}, r"continual_tokens: must be a whole number, got 20000\.0"),
    ({"batch": True}, r"batch: must be a whole number, got True"),
    ({"pretrain_lr": "1e-4"}, r"pretrain_lr: must be a number, not text .*write 1\.0e-4\), got '1e-4'"),
    ({"pretrain_lr": True}, r"pretrain_lr: must be a number, got True"),
    ({"pretrain_lr": math.nan}, r"pretrain_lr: must be .*, got nan"),
    ({"pretrain_lr": math.inf}, r"pretrain_lr: must be at most 1,000,000,000,000,000, got inf"),
    ({"pretrain_warmup": 1.5}, r"pretrain_warmup: must be at most 1, got 1\.5"),
    ({"models": [MODEL | {"heads": 3}]}, r"models\[0\]: heads must divide hidden: 3 does not divide 16"),
    ({"models": [MODEL, MODEL | {"heads": 16}]}, r"models\[1\]: hidden / heads must be even"),
    (
        {"models": [MODEL | {"depth": 3}]},
        r"models\[0\]: unknown name 'depth'; allowed are hidden, intermediate, layers, heads",
    ),
    ({"models": [{"hidden": 16}]}, r"models\[0\]\.intermediate: missing"),
    ({"precision": "fp16"}, r"precision: must be 'fp32' or 'bf16', got 'fp16'"),
    ({"device": "gpu"}, r"device: must be 'auto', 'cpu' or 'cuda', got 'gpu'"),
    ({"vocabulary": 256}, r"vocabulary: must be 257 or more, got 256"),
    ({"validation_share": 0.9}, r"validation_share \+ replay_share must leave some text to pretrain on"),
    ({"general": [{}]}, r"general\[0\]: must have exactly one of package, folder and hub, not none"),
    ({"general": [{"hub": "a", "folder": "b"}]}, r"general\[0\]: must have exactly one of .*, not folder and hub"),
    ({"general": [{"hub": "a/b"}]}, r"general\[0\]: a hub data set needs a revision"),
    ({"general": [{"package": "hpo", "part": [0.5, 0.5]}]}, r"general\[0\]: part must be \[from, to\] with from < to"),
    (
        {"domain": {"name": "a/b", "sources": [{"package": "hpo"}]}},
        r"domain\.name: must be letters, digits, spaces, _ and -, .*, got 'a/b'",
    ),
    ({"preset": None}, r"preset: must be text, .*, got None"),
    ({"epsilon": {"a": 1}}, r"epsilon: must be a number"),
    ({"ratios": "x" * 500}, r"ratios: must be a list, got 'x{76}\.\.\."),
]


@pytest.mark.parametrize(("values", "says"), WRONG, ids=[says[:40] for _, says in WRONG])
def test_what_is_wrong_is_told_in_one_line(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=f"^{says}") as found:
        params.check(SMOKE | values)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 900


@pytest.mark.parametrize("name", sorted(params.required(params.Params)))
def test_a_missing_parameter_is_named(name: str) -> None:
    with pytest.raises(ParamsError, match=f"^{name}: missing$"):
        params.check({key: value for key, value in SMOKE.items() if key != name})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"package": "hpoo"}, r"general\[0\]\.package: no package 'hpoo'; there are wikipedia-en, .*hpo, mendeleev$"),
        (
            {"folder": "/no/such"},
            r"general\[0\]\.folder: /no/such: no such folder or file$",
        ),
    ],
)
def test_text_that_does_not_exist_is_told(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=f"^{says}"):
        design(params.check(SMOKE | {"general": [values]}))


def test_a_relative_folder_starts_at_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("a text")
    found = design(params.check(SMOKE | {"general": [{"folder": "texts", "licence": "mine"}]}))
    assert found.general.text.sources[0].licence == "mine"
    assert [document.text for document in found.general.text.sources[0].documents()] == ["a text"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "not YAML"),
        ("- 1", "must be names with values"),
        ("1: 2", "must be names with values"),
        ("", "must be names with values"),
    ],
)
def test_a_file_that_is_none_of_ours(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ParamsError, match=says) as found:
        params.read(tmp_path / "p.yaml")
    assert "\n" not in str(found.value)
    with pytest.raises(ParamsError, match=r"q\.yaml: no such file; presets are desk, "):
        params.read(tmp_path / "q.yaml")


def notebook(**values: Any) -> dict[str, Any]:
    """The globals of a notebook after its parameters cell and the one papermill puts after it with `values`."""
    injected = "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in values.items())])
    namespace: dict[str, Any] = {"__name__": "__main__", "_": "", "Out": {}, "math": math, "Path": Path}
    cell = params.notebook_cell(params.Params, ["ratios", "lagrange", "bootstrap"])
    exec(cell, namespace)
    exec(injected, namespace)
    return namespace | {"In": ["", cell, injected]}


def test_a_notebook_names_a_preset_and_changes_some_of_it() -> None:
    assert params.from_notebook(notebook()) == params.check(params.read(params.preset_file("quick")))
    found = params.from_notebook(notebook(preset="smoke", ratios=[0.5], workers=3))
    assert found == params.check(SMOKE | {"ratios": [0.5], "workers": 3})


def test_a_notebook_may_be_given_everything() -> None:
    """As `papermill -f FILE` does; what the file leaves out, or sets to null, is not taken from a preset."""
    given = {name: value for name, value in SMOKE.items() if name != "workers"}
    for name in ("mine", "smoke"):
        values = given | {"preset": name, "micro_batch": None}
        assert params.from_notebook(notebook(**values)) == params.check(values)
        assert params.from_notebook(notebook(**values)).micro_batch is None


def test_only_parameters_cells_are_read_in_a_running_notebook() -> None:
    """A reader's own variables do not count; what papermill injects does."""
    cells = notebook(ratios=[0.5])
    assert params.from_notebook(cells | {"total": 3, "In": [*cells["In"], "total = 3"]}).ratios == (0.5,)
    with pytest.raises(ParamsError, match="'total': unknown parameter"):
        params.from_notebook(notebook(total=3))


def test_a_corrected_misspelling_is_accepted_when_the_cell_is_run_again() -> None:
    wrong, right = 'preset = "smoke"\nraitos = [0.5]', 'preset = "smoke"\nratios = [0.5]'
    namespace: dict[str, Any] = {"In": ["", wrong]}
    exec(wrong, namespace)
    with pytest.raises(ParamsError, match="'raitos': unknown parameter; did you mean ratios"):
        params.from_notebook(namespace)
    exec(right, namespace)
    namespace["In"].append(right)
    assert params.from_notebook(namespace).ratios == (0.5,)
    dropped = 'preset = "smoke"'
    namespace["In"].append(dropped)
    assert params.from_notebook(namespace).ratios == params.check(SMOKE).ratios, "what a cell no longer says"


def test_a_variable_that_a_parameters_cell_makes_use_of_is_the_readers_own() -> None:
    cell = 'preset = "smoke"\nmost = 0.5\nratios = [most / 2, most]\nlr = continual_lr = 1e-3'
    namespace: dict[str, Any] = {"In": ["", cell]}
    exec(cell, namespace)
    with pytest.raises(ParamsError, match="'lr': unknown parameter"):
        params.from_notebook(namespace)
    cell = cell.replace("lr = cont", "cont")
    assert params.from_notebook(namespace | {"In": ["", cell]}).ratios == (0.25, 0.5)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("seeds: list = [7]", "7"),
        ("seeds, clip = [7], 2.0", "7"),
        ("seeds = [7 + zero for zero in [0]]", "7"),
        ("seeds = range(7, 8)", "7"),
        ("seeds = {'7': 7}.keys", "seeds: must be a list, got <built-in"),
        ("sedes = range(7, 8)", r"'sedes': unknown parameter; did you mean seeds\?"),
        ("sedes: object = object()", r"'sedes': unknown parameter; did you mean seeds\?"),
    ],
)
def test_whatever_way_a_parameter_is_set_it_counts(line: str, says: str) -> None:
    cells = notebook(preset="smoke")
    exec(line, cells)
    cells["In"][-1] += f"\n{line}"
    if says.isdigit():
        assert params.from_notebook(cells).seeds == (int(says),)
    else:
        with pytest.raises(ParamsError, match=f"^{says}"):
            params.from_notebook(cells)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"raitos": [0.5]}, r"'raitos': unknown parameter; did you mean ratios\? allowed are preset"),
        ({"preset": "mine", "raitos": None}, "'raitos': unknown parameter"),
        (
            {"preset": "quikc"},
            r"preset: no preset 'quikc'; there are desk, h100, paper-allocation, .*, paper-cmr, quick, smoke",
        ),
        ({"preset": ["quick"]}, r"preset: no preset \['quick'\]"),
        ({"preset": None}, "preset: missing; there are desk"),
        ({"ratios": [2]}, r"ratios\[0\]: must be between 0 and 1, got 2"),
    ],
)
def test_a_notebooks_mistake_is_told(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=f"^{says}"):
        params.from_notebook(notebook(**values))


@pytest.mark.parametrize("order", [[0, 0], [1, 0]], ids=["one label twice", "largest first"])
def test_models_grow_in_size_each_with_its_own_label(order: list[int]) -> None:
    models = [SMOKE["models"][number] for number in order]
    with pytest.raises(ParamsError, match=r"^models: must grow in size, each with a label of its own, not"):
        design(params.check(SMOKE | {"models": models}))
