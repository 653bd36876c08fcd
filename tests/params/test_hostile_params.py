"""Parameters written to do harm: refused in one line that says where and what is allowed, leaving no trace."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from helpers import REPRO, ROOT
from repro import cli, params
from repro.cmr.design import design

TEXT = (ROOT / "params/smoke.yaml").read_text()
SMOKE: dict[str, Any] = yaml.safe_load(TEXT)
QUICK: dict[str, Any] = yaml.safe_load((ROOT / "params/quick.yaml").read_text())
CODE = "x; import os; os.system('touch pwned')"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project without runs or data, and with a notebook."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(ROOT / "params", home / "params")
    cell = nbformat.v4.new_code_cell(params.notebook_cell(params.Params), metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), home / "a.ipynb")
    return home


class Refused:
    """The line that a command is refused with; it leaves the project's folder as it was."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.capsys = home, capsys

    def __call__(self, *arguments: str) -> str:
        before = sorted(self.home.rglob("*"))
        status = cli.main(arguments)
        told = self.capsys.readouterr()
        assert (status, told.out) == (2, "")
        check(told.err)
        assert sorted(self.home.rglob("*")) == before
        return told.err.removeprefix("repro: ")


def check(told: str) -> None:
    assert re.fullmatch(r"repro: [^\n]{1,1500}\n", told), told[:2000]
    assert told[:-1].isprintable()


@pytest.fixture
def refused(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    monkeypatch.setenv("REPRO_HOME", str(home))
    monkeypatch.chdir(home)
    return Refused(home, capsys)


# Whole files: text of the file, and what is said after its name.
FILES: dict[str, tuple[str | bytes, str]] = {
    "a megabyte": (f"{TEXT}\nlicence: {'x' * 2**20}\n", r"must be at most 64 KiB"),
    "five megabytes of remarks": ("# nothing\n" * 500_000, r"must be at most 64 KiB"),
    "a long value": (f"preset: {'x' * 2000}", r"preset \(line 1\): .*at most 1,000 characters, got 2,000"),
    "a long name": (f"{'x' * 900}{'y' * 900}: 1", r"line 1: a value must be at most 1,000 characters, got 1,800"),
    "billion laughs": (LAUGHS, r"b \(line 2\): \*a stands for a value given elsewhere; must be written out"),
    "itself": ("other: &x [*x]", r"other \(line 1\): \*x stands for"),
    "merged": ("base: &b {batch: 1}\n<<: *b\n", r"line 2: \*b stands for"),
    "an object": (
        "preset: !!python/object/apply:os.system ['touch pwned']",
        r"preset \(line 1\): the tag .*os\.system",
    ),
    "a document": ("!!python/object/new:os.system ['touch pwned']", r"line 1: the tag .* is not allowed"),
    "a function": (
        "preset: !!python/name:os.system",
        r"preset \(line 1\): the tag .*; must be plain text, number, list",
    ),
    "a tag of its own": ("preset: !mine x", r"preset \(line 1\): the tag '!mine' is not allowed"),
    "a name twice": (f"{TEXT}\npreset: other\n", r"line \d+: 'preset' is given twice; must be given once"),
    "a name twice inside": ("domain: {name: a, name: b}", r"line 1: 'name' is given twice"),
    "a number as name": (f"{TEXT}\n1: 2\n", r"line \d+: must be names with values, and '1' is no name"),
    "a truth as name": ("yes: 2\n", r"line 1: must be names with values"),
    "nothing as name": ("~: 2\n", r"line 1: must be names with values"),
    "a list as name": ("? [a, b]\n: 2\n", r"line 1: must be names with values"),
    "a number as name inside": ("domain: {1: 2}\n", r"line 1: must be names with values"),
    "a list": ("[1, 2]", r"must be names with values"),
    "two documents": ("a: 1\n---\nb: 2\n", r"not YAML: "),
    "deep lists": ("seeds: " + "[" * 20_000, r"seeds \(line 1\): lists and mappings must be at most 20 deep"),
    "deep mappings": ("seeds: " + "{a: " * 10_000, r"seeds \(line 1\): lists and mappings must be at most 20 deep"),
    "deep blocks": ("- " * 30_000, r"line 1: lists and mappings must be at most 20 deep"),
    "many seeds": (f"seeds: {[*range(5000)]}", r"seeds \(line 1\): a list or mapping must have at most 1,000 entries"),
    "many names": ("".join(f"n{number}: 1\n" for number in range(3000)), r".*must have at most 1,000 entries"),
    "octal digits": (
        f"{TEXT.replace('seeds: [0]', 'seeds: [0100]')}",
        r"seeds \(line \d+\): 0100 begins with 0, so YAML",
    ),
    "octal digits as name": ("domain: {010: 2}", r"domain \(line 1\): 010 begins with 0, so YAML reads octal digits"),
    "a number without digits": ("bootstrap: 0x_", r"not a number: invalid literal"),
    "other bytes": (b"preset: \xff\xfe", r"not YAML in UTF-8"),
    "zeros": (b"\0" * 1000, r"not YAML: "),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused(name: str, refused: Refused, tmp_path: Path) -> None:
    given, says = FILES[name]
    file = tmp_path / "p.yaml"
    file.write_bytes(given if isinstance(given, bytes) else given.encode())
    told = refused("plan", "--params", str(file))
    assert re.match(f"{re.escape(str(file))}: {says}", told), told


# One parameter as a file spells it, and what is said.
VALUES: list[tuple[str, str, str]] = [
    ("preset", f'"{CODE}"', r"preset: must be letters, digits, _ and -, .*, got \"x; import os;"),
    ("preset", '"a\\0b"', r"preset: must be letters, digits, _ and -, .*, got 'a\\x00b'"),
    ("preset", '"smoke\\n"', r"preset: must be letters, digits, _ and -, .*, got 'smoke\\n'"),
    ("preset", "../smoke", r"preset: must be letters, digits"),
    ("bootstrap", str(10**400), r"bootstrap: must be at most 1,000,000, got 1000"),
    ("bootstrap", f"0x{'f' * 900}", r"bootstrap: must be at most 1,000,000, got"),
    ("pretrain_lr", str(10**400), r"pretrain_lr: must be "),
    ("pretrain_lr", ".nan", r"pretrain_lr: must be .*, got nan"),
    ("pretrain_warmup", ".nan", r"pretrain_warmup: must be .*, got nan"),
    ("weight_decay", ".inf", r"weight_decay: must be at most 1,000,000,000,000,000, got inf"),
    ("checkpoint_seconds", "1.0e+999", r"checkpoint_seconds: must be at most 1,000,000,000,000,000, got inf"),
    ("pretrain_lr", "1e-4", r"pretrain_lr: must be a number, not text .*write 1\.0e-4\), got '1e-4'"),
    ("validation_share", "1e-4", r"validation_share: must be a number or a fraction .*write 1\.0e-4\), got '1e-4'"),
    ("validation_share", "1e-999999999", r"validation_share: must be a number or a fraction"),
    ("validation_share", f"1/{'9' * 900}", r"validation_share: must be a number or a fraction"),
    ("validation_share", "2024-13-45", r"validation_share: must be a number or a fraction such as 1/3, got"),
    ("seeds", "[-1]", r"seeds\[0\]: must be 0 or more, got -1"),
    ("seeds", f"[{2**63}]", r"seeds\[0\]: must be below 9,223,372,036,854,775,808"),
    ("seeds", "[true]", r"seeds\[0\]: must be a whole number, got True"),
    ("seeds", "[[[[[0]]]]]", r"seeds\[0\]: must be a whole number"),
    ("clip", "yes", r"clip: must be a number, got True"),
    ("clip", "1:30", r"clip: must be a number, not text, got '1:30'"),
    ("batch", "-010", r".*batch \(line \d+\): -010 begins with 0, so YAML reads octal digits; must be"),
    ("batch", "1e3", r"batch: must be a whole number, got '1e3'"),
    ("domain", "{name: no, sources: [{package: hpo}]}", r"domain\.name: must be text, .*, got False"),
    ("general", "[{package: hpo, topics: [12]}]", r"general\[0\]\.topics\[0\]: must be text, in quotes if .*, got 12"),
    ("general", "[{package: hpo, topics: [~]}]", r"general\[0\]\.topics\[0\]: must be text, in quotes if .*, got None"),
    ("recovery_sets", "1000000000", r"recovery_sets: must be at most 100,000, got 1000000000"),
    ("recovery_draws", "1000000000", r"recovery_draws: must be at most 1,000,000, got 1000000000"),
    ("continual_lr", "1.0e+300", r"continual_lr: must be at most 1,000,000,000,000,000, got 1e\+300"),
    ("seeds", f"{[*range(900)]}", r"models, seeds, ratios, .* ask for \d+,\d+ runs together; must be at most 10,000$"),
    ("workers", "1000000", r"workers: must be auto or a whole number from 1 to 10,000, got 1000000"),
    ("domain", f'{{name: "{CODE}", sources: [{{package: hpo}}]}}', r"domain\.name: must be letters, digits"),
    ("domains", f'[{{name: "{CODE}", builtin: health, benchmarks: [mmlu]}}]', r"domains\[0\]\.name: must be letters"),
    ("domains", "[{name: x, builtin: health, benchmarks: [../x]}]", r"domains\[0\]\.benchmarks\[0\]: must be letters"),
    ("general", "[{folder: ../x}]", r"general\[0\]\.folder: must be a folder without \.\.: absolute, from ~, or from"),
    ("general", "[{folder: texts/../../x}]", r"general\[0\]\.folder: must be a folder without \.\."),
    ("general", "[{folder: /}]", r"general\[0\]\.folder: must be a folder, not the whole file system"),
    ("general", "[{folder: ~nobody/x}]", r"general\[0\]\.folder: must be absolute, from ~, or from the project"),
    ("general", '[{folder: "a\\0b"}]', r"general\[0\]\.folder: must be one line of printable text, got 'a\\x00b'"),
    ("general", '[{folder: "a\\nb"}]', r"general\[0\]\.folder: must be one line of printable text"),
    ("general", '[{folder: "a\\uD800"}]', r"general\[0\]\.folder: must be one line|.*not YAML"),
    ("general", f"[{{folder: {'x' * 300}}}]", r"general\[0\]\.folder: must have no name longer than 255 bytes in it"),
    ("general", f"[{{folder: {'xx/' * 320}}}]", r"general\[0\]\.folder: /.*: no such folder or file"),
    ("general", "[{package: ../../x}]", r"general\[0\]\.package: no package '\.\./\.\./x'; there are wikipedia-en"),
    ("general", "[{package: hpo, topics: ['a\\nb', '']}]", r"general\[0\]\.topics\[1\]: must be one line of printable"),
    ("general", "[{hub: a/../b, revision: main}]", r"general\[0\]\.hub: must be a name of the hub such as owner/name"),
    ("general", "[{hub: 'https://a.b/c', revision: main}]", r"general\[0\]\.hub: must be a name of the hub"),
    ("general", "[{hub: /etc, revision: main}]", r"general\[0\]\.hub: must be a name of the hub"),
    ("general", "[{hub: a/b, revision: ../x}]", r"general\[0\]\.revision: must be a commit, tag or branch"),
    ("general", "[{hub: a/b, revision: '--option=x'}]", r"general\[0\]\.revision: must be a commit, tag or"),
    ("general", "[{hub: a/b, revision: main, config: ../x}]", r"general\[0\]\.config: must be a configuration's name"),
    ("general", "[{hub: a/b, revision: main, split: 'train[:9%]'}]", r"general\[0\]\.split: must be a split's name"),
    ("general", "[{hub: a/b, revision: main, directory: a/../../b}]", r"general\[0\]\.directory: must be a folder"),
    ("general", "[{hub: a/b, revision: main, directory: /etc}]", r"general\[0\]\.directory: must be a folder"),
    (
        "general", "[{hub: a/b, revision: main, directory: x, tokenizer: ../t}]",
        r"general\[0\]\.tokenizer: must be a name of the hub",
    ),
    ("base_model", "{folder: ../../model}", r"base_model\.folder: must be a folder without \.\."),
    ("base_model", "{hub: ../model, revision: main, parameters: 1}", r"base_model\.hub: must be a name of the hub"),
    ("replay", "{name: x, builtin: general, sft: {folder: ../x}}", r"replay\.sft\.folder: must be a folder without"),
    ("replay", "{name: x, builtin: general, sft: {hub: a/b, revision: x y}}", r"replay\.sft\.revision: must be"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spelt", "says"), VALUES, ids=[f"{name} {spelt[:40]}" for name, spelt, _ in VALUES])
def test_a_hostile_value_is_refused(name: str, spelt: str, says: str, refused: Refused, tmp_path: Path) -> None:
    others = yaml.safe_dump({field: value for field, value in SMOKE.items() if field != name})
    (tmp_path / "p.yaml").write_text(f"{others}{name}: {spelt}\n")
    told = refused("plan", "--params", str(tmp_path / "p.yaml"))
    assert re.match(f"({re.escape(str(tmp_path))}/p.yaml: )?{says}", told), told


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (CODE, "1", r"\"x; import os; os\.system\('touch pwned'\)\": unknown parameter; allowed are preset"),
        ("x=1;import os", "1", r"'x=1;import os': unknown parameter"),
        ("x" * 100_000, "1", r"'x{76}\.\.\.: unknown parameter"),
        ("__class__", "1", r"'__class__': unknown parameter"),
        ("ratios\nseeds", "1", r"'ratios\\nseeds': unknown parameter"),
        ("preset", CODE, r"preset: choose it with --preset or --params, not with -p"),
        ("device", "cpu; rm -rf x", r"device: must be 'auto', 'cpu' or 'cuda', got"),
        ("seeds", "!!python/object/apply:os.system ['touch pwned']", r"seeds: line 1: the tag"),
        ("seeds", "[&a [0], *a]", r"seeds: line 1: \*a stands for"),
        ("seeds", "[" * 50_000, r"seeds: line 1: lists and mappings must be at most 20 deep"),
        ("seeds", "[", r"seeds: not YAML"),
        ("domain", "{name: a, name: b}", r"domain: line 1: 'name' is given twice"),
        ("domain", "x" * 2**20, r"domain: must be at most 64 KiB"),
        ("batch", "9" * 5000, r"batch: line 1: a value must be at most 1,000 characters, got 5,000"),
        ("pretrain_lr", "nan", r"pretrain_lr: must be .*, got nan"),
        ("batch", "true", r"batch: must be a whole number, got True"),
        ("general", "[{folder: ../x}]", r"general\[0\]\.folder: must be a folder without \.\."),
    ],
)  # fmt: skip
def test_a_hostile_value_on_the_command_line_is_refused(name: str, value: str, says: str, refused: Refused) -> None:
    told = refused("run", "a.ipynb", "--preset", "smoke", "-p", name, value)
    assert re.match(says, told), told


def test_a_hostile_name_of_a_file_or_preset_is_told_in_one_line(refused: Refused) -> None:
    assert refused("plan", "--params", "no\nsuch.yaml").startswith("no\\nsuch.yaml: no such file; presets are desk")
    assert refused("plan", "--params", "/dev/zero").startswith("/dev/zero: not a file")
    assert refused("plan", "--preset", "../params/smoke").startswith("preset: no preset '../params/smoke'; there are")
    long = "x" * 300
    for command in (["plan", "--params", long], ["run", long], ["plan", "--json", long]):
        assert re.fullmatch(rf"'.*x\.\.\.: file name too long\n|'.*{long}': file name too long\n", refused(*command))
    assert refused("run", "no\nsuch.ipynb").startswith("no\\nsuch.ipynb: no such notebook")


@pytest.mark.parametrize(
    ("command", "given"),
    [
        (["plan", "--params"], f"{TEXT}\n{LAUGHS}"),
        (["book", "--params"], "x: 1\n" * 2**20),
        (["run", "a.ipynb", "--params"], f"{TEXT}\npreset: !!python/object/apply:os.system ['touch pwned']\n"),
        (["run", "a.ipynb", "-p", CODE, "1", "--params"], TEXT),
        (["run", "a.ipynb", "-p", "general", "[{folder: ../x}]", "--params"], TEXT),
    ],
    ids=["plan", "book", "run", "a name", "a value"],
)
def test_the_command_itself_says_the_same(command: list[str], given: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(given)
    before = sorted(home.rglob("*"))
    done = subprocess.run(
        [REPRO, *command, str(tmp_path / "p.yaml")], env=os.environ | {"REPRO_HOME": str(home)}, cwd=home,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    check(done.stderr)
    assert sorted(home.rglob("*")) == before


SPELT = ("null", "[]", "{}", "[null]", "[[]]", "-1", "-1.5", "-.inf", ".nan", "yes", "x y", "0100", "1:30", "1e400", "")
FOREIGN = re.compile(r"should|\bvalid\b|Input|pattern|constrained|[\^\\]|\bdict|\btuple|_type|instance|unable")


@pytest.mark.parametrize("name", sorted(params.NAMES - {"preset"}))
def test_whatever_a_parameter_is_set_to_the_answer_is_one_plain_line(name: str) -> None:
    schemas = [schema for schema in params.SCHEMAS if name in params.names(schema)]
    refused = 0
    for spelt in SPELT:
        try:
            value = params.value(name, spelt)
            for schema in schemas:
                params.check(QUICK | {name: value}, schema)
        except params.ParamsError as error:
            refused += 1
            told = str(error)
            assert re.match(rf"{name}\b.*(must |: missing$)", told), told
            assert told.isprintable(), told
            assert len(told) < 400, told
            assert not FOREIGN.search(told), told
    assert refused > len(SPELT) // 2


def test_what_multiplies_is_refused_before_it_is_listed() -> None:
    many = [{"name": f"d{n}", "builtin": "health", "benchmarks": ["hpo_terms"]} for n in range(600)]
    tokens = [*range(1, 900)]
    for values, says in (
        ({"domains": many}, r"^domains: must be a list of at most 100, got"),
        (
            {"domains": many[:90], "sft_tokens": tokens},
            r"^seeds, domains, sft_tokens and .* ask for 81,\d+ runs together",
        ),
        ({"seeds": tokens, "snapshots": tokens}, r"^seeds, domains, sft_tokens and .* ask for 8\d\d,\d+ runs together"),
    ):
        with pytest.raises(params.ParamsError, match=says):
            params.check(QUICK | values, params.AllocationParams)
    with pytest.raises(params.ParamsError, match=r"ask for 3,\d+,\d+ runs together; must be at most 10,000$"):
        params.check(QUICK | {"seeds": [*range(900)], "ratios": [f"{n}/1000" for n in range(900)]})


def test_nought_has_one_spelling() -> None:
    for name in ("weight_decay", "pretrain_floor", "pretrain_warmup"):
        held = params.check(QUICK | {name: params.value(name, "-0.0")}).model_dump()[name]
        assert repr(held) == "0.0"
    below = design(params.check(QUICK | {"weight_decay": -0.0}))
    assert below.identity == design(params.check(QUICK | {"weight_decay": 0})).identity


def test_the_command_line_reads_numbers_as_a_file_does() -> None:
    for spelt, value in (
        ("1_000", 1000),
        ("1e-4", 1e-4),
        ("0x10", 16),
        ("[1, 2]", [1, 2]),
        ("auto", "auto"),
        ("-0", 0),
    ):
        assert params.value("batch", spelt) == value
    for spelt in ("0100", "-07", "[0100]", "1_0: 00"):
        with pytest.raises(params.ParamsError, match=r"^batch: line 1: .* begins with 0, so YAML reads octal digits"):
            params.value("batch", spelt)


@pytest.mark.parametrize(
    "name", ["mistralai/Mistral-7B-v0.3", "gpt2", "HuggingFaceFW/fineweb-edu", "a_b/c__d-E.f", "_x/y"]
)
def test_what_the_hub_allows_is_allowed(name: str) -> None:
    source = {"hub": name, "revision": "refs/convert/parquet", "config": "20231101.zh-min-nan", "split": "test.full"}
    found = params.check(SMOKE | {"general": [source]})
    assert found.general[0].hub == name
    for revision in ("v1.0", "2024-01-01", "0123456789abcdef0123456789abcdef01234567", "refs/pr/12", "fix--it"):
        assert params.check(SMOKE | {"general": [source | {"revision": revision}]}).general[0].revision == revision
    own = {
        "hub": name,
        "revision": "main",
        "directory": "data/lang=en/v1.0 final",
        "tokenizer": "openai-community/gpt2",
    }
    assert params.check(SMOKE | {"general": [own]}).general[0].directory == "data/lang=en/v1.0 final"
    for folder in ("texts", "~/my texts/ünï", "/data/x..y", "./a"):
        assert params.check(SMOKE | {"general": [{"folder": folder}]}).general[0].folder == folder


def test_a_day_and_a_time_are_text(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("a: 2024-01-01\nb: 08:30:00\nc: 12:30:00\nd: 1_000\ne: -1.5\nf: null\ng: 'x'\n")
    found = params.read(tmp_path / "p.yaml")
    assert found == {"a": "2024-01-01", "b": "08:30:00", "c": "12:30:00", "d": 1000, "e": -1.5, "f": None, "g": "x"}
