"""The files that set things up agree with each other."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import ROOT
from tools.lock import cpu_wheels, with_hashes

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = [line.split("==") for line in PROJECT["project"]["dependencies"]]
EXTRAS = PROJECT["project"]["optional-dependencies"]
DEVELOPMENT = [line.split("==") for line in EXTRAS["dev"]]
CLUSTER = [line.split("==") for line in EXTRAS["cluster"]]
CONDA_NAMES = {"torch": "pytorch"}
NOT_ON_CONDA = {"sphinx-mathjax-offline"}
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))
CUDA = re.compile(r"triton$|nvidia-|cuda-")
TARGETS = ["book", "test", "test-ci", "test-slow", "check", "bench", "audit", "clean", "data", "lock", "help"]

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


def entries(lock: str) -> dict[str, str]:
    """What a lock file says of each package, from its version on; each must start with one."""
    (_, *found) = re.split(r"^(?=[^\s#])", (ROOT / lock).read_text(), flags=re.MULTILINE)
    parts = [re.fullmatch(r"([a-z0-9._-]+)(?:\[[a-z,]+\])?==(.*)", entry, re.DOTALL) for entry in found]
    assert all(parts), lock
    return {part[1]: part[2] for part in parts if part}


def locked(lock: str) -> dict[str, str]:
    return {name: entry.split()[0] for name, entry in entries(lock).items()}


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_in_a_lock_file_has_hashes(lock: str) -> None:
    assert entries(lock)
    for name, entry in entries(lock).items():
        assert re.search(r"(\s+\\\n    --hash=sha256:[0-9a-f]{64})+\n\Z", entry), name


def test_the_lock_files_hold_every_pin_and_agree_on_versions() -> None:
    used = locked("requirements.lock")
    assert {name: used.get(name) for name, _ in [*PINNED, *CLUSTER, *DEVELOPMENT]} == dict(
        [*PINNED, *CLUSTER, *DEVELOPMENT]
    )
    audit = dict(line.split("==") for line in PROJECT["dependency-groups"]["audit"])
    assert audit.items() <= locked("requirements-audit.lock").items()
    assert not [name for name in used if CUDA.match(name)]
    assert not [name for name in locked("requirements-cuda.lock") if not CUDA.match(name)]
    build = locked("requirements-build.lock")
    assert {name: used[name] for name in build if name in used}.items() <= build.items()


def test_what_builds_packages_is_pinned_also_where_pip_builds_them_alone() -> None:
    required = dict(line.split("==") for line in PROJECT["build-system"]["requires"])
    assert {"hatchling", "editables"} <= required.keys()
    build = locked("requirements-build.lock")
    assert build == required | {"setuptools": locked("requirements.lock")["setuptools"]}


def test_torch_has_the_hashes_of_its_builds_with_and_without_cuda() -> None:
    (version,) = [version for name, version in PINNED if name == "torch"]
    hashes = set(re.findall(r"sha256:(\S+)", entries("requirements.lock")["torch"]))
    wheels = dict(reversed(line.split("  ")) for line in (ROOT / "torch-cpu.lock").read_text().splitlines())
    for python in ["cp311", "cp312", "cp313", "cp314"]:
        for machine in ["x86_64", "aarch64"]:
            assert f"torch-{version}+cpu-{python}-{python}-manylinux_2_28_{machine}.whl" in wheels
    assert set(wheels.values()) < hashes
    assert len(hashes - set(wheels.values())) >= len(wheels)


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
        (["PARAMS=my.yaml"], "repro book --params 'my.yaml'"),
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
    steps = make("--dry-run", "--always-make", "test").replace("\\\n", "").splitlines()
    installs = [line for line in steps if "pip install" in line]
    files = [re.search(r"-r (\S+)$|-e \.$", line) for line in installs]
    assert [file and file[1] for file in files] == [
        "requirements-build.lock", "requirements.lock", "requirements-cuda.lock", None,
    ]  # fmt: skip
    assert all("--no-deps" in line and "--no-build-isolation" in line for line in installs)
    assert all("--require-hashes" in line for line in installs[:3])
    assert "--only-binary :all:" in installs[0]
    fetched = next(n for n, line in enumerate(steps) if "repro data --fetch" in line)
    checked = next(n for n, line in enumerate(steps) if "pip check" in line)
    tested = next(n for n, line in enumerate(steps) if "bin/pytest" in line)
    assert steps.index(installs[-1]) < checked < fetched < tested


@pytest.fixture
def audited(tmp_path: Path) -> Path:
    """A copy of what `make audit` reads, with both environments set up; the auditors write down how they are called."""
    for name in ["Makefile", "pyproject.toml", *LOCKS]:
        shutil.copy(ROOT / name, tmp_path)
    for name in [".venv/.ready", ".venv-audit/.ready"]:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    for name in ["pip-licenses", "pip-audit"]:
        auditor(tmp_path, name, status=0)
    return tmp_path


def auditor(folder: Path, name: str, status: int) -> None:
    program = folder / ".venv-audit/bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\necho {name} "$@" >>calls\nexit {status}\n')
    program.chmod(0o755)


def audit(folder: Path) -> int:
    return subprocess.run(["make", "audit"], cwd=folder, capture_output=True, check=False).returncode


def test_audit_asks_for_every_lock_file_and_takes_no_silence_for_an_answer(audited: Path) -> None:
    assert audit(audited) == 0
    licences, known = (audited / "calls").read_text().splitlines()
    assert licences.startswith("pip-licenses --python .venv/bin/python")
    assert {"--strict", "--disable-pip", "--require-hashes"} <= set(known.split())
    assert sorted(re.findall(r"-r (\S+)", known)) == LOCKS


@pytest.mark.parametrize("name", ["pip-licenses", "pip-audit"])
def test_an_audit_that_fails_fails_make(audited: Path, name: str) -> None:
    auditor(audited, name, status=1)
    assert audit(audited) != 0


def test_ci_audits_every_week() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/audit.yml").read_text())
    (schedule,) = workflow[True]["schedule"]  # YAML 1.1 reads the key `on` so
    minute, hour, day, month, weekday = schedule["cron"].split()
    assert (day, month) == ("*", "*")
    assert all(field.isdigit() for field in (minute, hour, weekday))
    assert "make audit" in [step.get("run") for step in workflow["jobs"]["audit"]["steps"]]


def test_the_allowed_licences_are_named_in_pyproject() -> None:
    rules = PROJECT["tool"]["pip-licenses"]
    allowed = {name.strip() for name in rules["allow-only"].split(";")}
    assert {"MIT", "BSD-3-Clause", "Apache-2.0"} <= allowed
    assert not [name for name in allowed if re.search(r"unknown|proprietary|affero|^gpl|^gnu general", name, re.I)]
    assert "partial-match" not in rules, "a part of a name would allow what is joined to it"


PAGE = "".join(
    f'<a href="/whl/cpu/torch-{version}%2Bcpu-cp311-cp311-{platform}.whl#sha256={digit * 64}">wheel</a><br/>'
    for version, platform, digit in [
        ("9.1.0", "manylinux_2_28_x86_64", "a"),
        ("9.1.0", "win_amd64", "b"),
        ("9.0.0", "manylinux_2_28_x86_64", "c"),
    ]
)


def test_the_cpu_build_of_another_torch_is_looked_up(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text(PAGE)
    listing = f"{'d' * 64}  torch-9.0.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl\n"
    assert [*cpu_wheels(listing, page.as_uri(), "9.0.0").values()] == ["d" * 64], "what is listed is not asked for"
    assert cpu_wheels(listing, page.as_uri(), "9.1.0") == {
        "torch-9.1.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl": "a" * 64
    }
    with pytest.raises(SystemExit, match=r"no CPU build of torch 9\.2\.0"):
        cpu_wheels(listing, page.as_uri(), "9.2.0")
    entry = with_hashes(f"torch==9.1.0 \\\n    --hash=sha256:{'c' * 64}\n", ["a" * 64, "c" * 64])
    assert entry.splitlines() == [
        "torch==9.1.0 \\", f"    --hash=sha256:{'a' * 64} \\", f"    --hash=sha256:{'c' * 64}",
    ]  # fmt: skip
