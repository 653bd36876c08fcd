"""The files that set things up agree with each other."""

import os
import re
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from helpers import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = [line.split("==") for line in PROJECT["project"]["dependencies"]]
EXTRAS = PROJECT["project"]["optional-dependencies"]
DEVELOPMENT = [line.split("==") for line in EXTRAS["dev"]]
CLUSTER = [line.split("==") for line in EXTRAS["cluster"]]
CONDA_NAMES = {"torch": "pytorch"}
NOT_ON_CONDA = {"sphinx-mathjax-offline"}
LOCK = (ROOT / "requirements.lock").read_text()
TARGETS = ["book", "test", "test-ci", "test-slow", "check", "bench", "clean", "data", "lock", "help"]

# Every test is in one of them, whichever marks it has.
TIERS = {"test": "not slow and not ci", "test-ci": "ci and not slow", "test-slow": "slow"}


def make(*arguments: str) -> str:
    # Not what an outer make, whose test this may be, was told.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "PRESET", "PARAMS", "ROOM")
    }
    command = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_every_dependency_is_pinned_and_in_order() -> None:
    for group in (PINNED, CLUSTER, DEVELOPMENT):
        assert all(len(parts) == 2 for parts in group)
        assert [name for name, _ in group] == sorted(name for name, _ in group)


def test_conda_gets_the_same_pins() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, by_pip = environment["dependencies"]
    wanted = {f"{CONDA_NAMES.get(name, name)}={version}" for name, version in PINNED if name not in NOT_ON_CONDA}
    assert set(conda) == wanted | {"python=3.11", "pip"}
    assert by_pip["pip"] == [*(f"{n}=={v}" for n, v in PINNED if n in NOT_ON_CONDA), "-e ."]
    assert environment["channels"][0] == "conda-forge"
    assert PROJECT["project"]["requires-python"] == ">=3.11"


def test_the_lock_file_holds_every_pin_with_hashes_and_leaves_torch_to_the_machine() -> None:
    locked = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", LOCK, re.MULTILINE))
    for name, version in [*PINNED, *CLUSTER, *DEVELOPMENT]:
        assert locked.get(name) == (None if name == "torch" else version), name
    assert not [name for name in locked if re.match(r"torch$|triton|nvidia-|cuda-", name)]
    entries = re.split(r"\n(?=[a-z0-9._-]+==)", LOCK)
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry.split("\n", 1)[0])


def test_ci_installs_what_apt_lists_and_runs_the_checks_and_the_tests() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert "apt.txt" in script
    assert script.rstrip().endswith("make check\nmake test\nmake test-ci")
    assert "chromium" in (ROOT / "apt.txt").read_text().split()
    workflow = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text())
    steps = {name: [step.get("run") for step in job["steps"]] for name, job in workflow["jobs"].items()}
    assert ".ci/run" in steps["test"]
    assert "make book" in steps["build"]
    assert set(workflow["jobs"]["publish"]["needs"]) == {"test", "build"}


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_target(target: str) -> None:
    make("--dry-run", target)
    assert re.search(rf"^{target}\t\S", make("help"), re.MULTILINE) or target == "help"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "repro book --preset quick"),
        (["PRESET=desk"], "repro book --preset desk"),
        (["PARAMS=my.yaml"], "repro book --params my.yaml"),
    ],
)
def test_make_book_takes_a_preset_or_a_file(options: list[str], says: str) -> None:
    assert make("--dry-run", "book", *options).rstrip().endswith(says)


@pytest.mark.parametrize("target", TIERS)
@pytest.mark.parametrize(
    ("options", "rooms"), [([], ""), (["ROOM=laws"], " tests/laws"), (["ROOM=laws fit"], " tests/laws tests/fit")]
)
def test_make_runs_a_tier_of_everything_or_of_rooms(target: str, options: list[str], rooms: str) -> None:
    (line,) = [line for line in make("--dry-run", target, *options).splitlines() if "bin/pytest" in line]
    assert line.rstrip().endswith(f' -m "{TIERS[target]}"{rooms}')


def test_setting_up_comes_first_and_takes_only_what_the_locks_allow() -> None:
    steps = make("--dry-run", "--always-make", "test").splitlines()
    installs = [line for line in steps if "pip " in line]
    assert "--no-deps --require-hashes -r requirements.lock" in installs[0]
    assert "-e '.[cluster,dev]'" in installs[1]
    fetched = next(n for n, line in enumerate(steps) if "repro data --fetch" in line)
    tested = next(n for n, line in enumerate(steps) if "bin/pytest" in line)
    assert steps.index(installs[1]) < fetched < tested
