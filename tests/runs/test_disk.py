"""A full disk and a read-only one: one line that names the path, nothing half-made, and what was done is kept.

The disks are small ones of their own, in memory, that bubblewrap mounts without root's rights.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import BIN, ROOT
from helpers.pages import small_book
from helpers.toys import WITH_HELPERS, Number
from repro.runs import Machine, Store, run

MIB = 2**20
KEY = r"[0-9a-f]{16}"
FULL = "no space left on device; what is done is kept: free space and run the same command to resume"


def refused() -> str | None:
    """Why no disk can be mounted here, None if one can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (apt.txt lists it)"
    tried = subprocess.run(
        ["bwrap", "--bind", "/", "/", "--size", "65536", "--tmpfs", "/tmp", "true"], capture_output=True
    )
    return tried.stderr.decode().strip() or None


REASON = refused()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no small disk: {REASON}")


def within(mounts: list[str], *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that sees the root file system, and over it `mounts`, as bubblewrap's options."""
    wrapped = ["bwrap", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *mounts, "--die-with-parent", *command]
    known = os.environ | WITH_HELPERS | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(wrapped, env=known, capture_output=True, text=True, check=False)


CODE = """
import json, os, sys
from pathlib import Path
import torch
from repro.lm.training import State, read_state, write_state
from repro.runs import Machine, Store, Work, run
from repro.runs.engine import StudyFailed
from repro.runs.spec import SCRATCH
from helpers.toys import Number, Sum, Weighty

def fill(folder, leave):
    disk = os.statvfs(folder)
    (folder / "fill").write_bytes(bytes(disk.f_bavail * disk.f_bsize - leave))

class Trains(Number):  # a checkpoint of a quarter of the disk, then one larger than what is left
    def execute(self, work: Work) -> None:
        for size in (256, 900)[:self.value]:
            state = State({"weights": torch.full((size, 256), float(size))}, {"step": size})
            write_state(work.scratch / "state.safetensors", state, sealed=True)
        super().execute(work)

class Fills(Number):  # nothing is left when it is to be published
    def execute(self, work: Work) -> None:
        super().execute(work)
        work.scratch.mkdir(exist_ok=True)
        (work.scratch / "state").touch()
        fill(work.path.parent.parent, 0)

def attempt(store, *stages):
    try:
        run(stages, store, Machine())
    except StudyFailed as error:
        return [line for line in str(error).splitlines() if not line.startswith("    ")]
    return "done"

def left(store):
    files = (p.relative_to(store.root) for p in store.root.rglob("*") if p.is_file())
    return sorted(str(name) for name in files if name.parts[0] != ".locks")

disks = Path(sys.argv[1])
told = {}
store, stage = Store(disks / "a/runs"), Trains(value=2)
told["checkpoint"] = attempt(store, Number(value=1), stage)
told["checkpoint kept"] = read_state(store.part(stage) / SCRATCH / "state.safetensors", sealed=True).history
told["checkpoint left"] = left(store)

store, stage = Store(disks / "b/runs"), Fills(value=1)
run([Weighty(value=9)], store, Machine())
told["publishing"] = attempt(store, stage)
told["publishing left"] = left(store)
told["freed"] = store.free(Weighty(value=9))  # even on a full disk
told["freed status"] = [store.whole(Weighty(value=9)), store.status(Weighty(value=9))]
(store.root.parent / "fill").unlink()
Fills.execute = Number.execute
told["publishing again"] = attempt(store, stage)

store = Store(disks / "c/runs")
fill(store.root.parent, 0)
told["first"] = attempt(store, *(Number(value=value) for value in range(60)))

store = Store(disks / "finished")
told["read-only"] = attempt(store, Number(value=1), Number(value=2))
told["read-only status"] = [store.status(Number(value=1)), store.record(Number(value=1))["label"]]
told["read-only finished"] = store.finished(Number(value=1)).name
told["read-only nothing to do"] = attempt(store, Number(value=1))
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disks")


@pytest.fixture(scope="module")
def told(disks: Path) -> dict[str, Any]:
    """What CODE found, on disks of a mebibyte each and one that is read-only."""
    run([Number(value=1)], Store(disks / "finished"), Machine())
    mounts = ["--ro-bind", str(disks / "finished"), str(disks / "finished")]
    for name in "abc":
        (disks / name).mkdir()
        mounts += ["--size", str(MIB), "--tmpfs", str(disks / name)]
    done = within(mounts, sys.executable, "-c", CODE, str(disks))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(told: dict[str, Any], disks: Path) -> None:
    folder = f"trains-{KEY}.part"
    first, line = told["checkpoint"]
    assert first == "1 of 2 runs failed:"
    assert re.fullmatch(rf"  number 2 \(trains-{KEY}\): Unwritable: {disks}/a/runs/{folder}: {FULL}", line)
    assert told["checkpoint kept"] == {"step": 256}
    ours = [name for name in told["checkpoint left"] if name.startswith("trains")]
    assert [name.split("/", 1)[1] for name in ours] == ["attempts.json", "checkpoint/state.safetensors"]


def test_a_disk_that_is_full_when_a_run_is_published_loses_nothing(told: dict[str, Any], disks: Path) -> None:
    assert re.fullmatch(
        rf"  number 1 \(fills-{KEY}\): Unwritable: {disks}/b/runs/fills-{KEY}.part: {FULL}", told["publishing"][1]
    )
    ours = [name.split("/", 1) for name in told["publishing left"] if name.startswith("fills")]
    assert {folder.partition(".")[2] for folder, _ in ours} == {"part"}, "nothing under the final name"
    assert "checkpoint/state" in {name for _, name in ours}
    assert told["publishing again"] == "done"


def test_weights_can_be_freed_on_a_full_disk(told: dict[str, Any]) -> None:
    assert told["freed"] == 9 * 256
    assert told["freed status"] == [False, "done"]


def test_a_disk_that_is_full_from_the_start(told: dict[str, Any], disks: Path) -> None:
    first, line, rest = told["first"]
    assert first == "1 of 60 runs failed, and 59 not run:"
    assert re.fullmatch(rf"  number 0 \(number-{KEY}\): Unwritable: {disks}/c/runs/number-{KEY}.part: {FULL}", line)
    assert rest == "  the other 59: not run, because nothing can be written"


def test_a_read_only_store_can_be_read(told: dict[str, Any], disks: Path) -> None:
    first, line = told["read-only"]
    assert first == "1 of 1 runs failed:"
    lock = f"{disks}/finished/.locks/{Number(value=2).folder}.lock"
    assert line.endswith(f"Unwritable: {lock}: cannot be written (read-only file system)")
    assert told["read-only status"] == ["done", "number 1"]
    assert told["read-only finished"] == Number(value=1).folder
    assert told["read-only nothing to do"] == "done"


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "_data/.ready").is_file(), reason="the data wheels are not here: `make data`")
@pytest.mark.parametrize(
    ("disk", "why"),
    [
        (["--size", str(MIB // 2), "--tmpfs"], FULL),
        (["--ro-bind", "/usr/share/doc"], r"cannot be written \(read-only file system\)"),
    ],
    ids=["full", "read-only"],
)
def test_a_command_ends_in_a_line_that_names_the_path(tmp_path: Path, disk: list[str], why: str) -> None:
    for name in ("notebooks", "params", "book", "results", "_config.yml", "_data"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "_runs").mkdir()
    command = [str(BIN / "repro"), "book", "--preset", "smoke"]
    done = within([*disk, str(tmp_path / "_runs")], *command, REPRO_HOME=str(tmp_path))
    lines = [line for line in re.split("[\r\n]", done.stderr) if line]
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert any(re.search(rf"Unwritable: {tmp_path}/_runs\S*: {why}$", line) for line in lines), done.stderr


BOOK = """import sys
from repro import cli
from repro.params import SCHEMAS

cli.all_runs = lambda values, **_: True  # they are on another disk
cli.identities_of = lambda values, **_: dict.fromkeys(SCHEMAS, "data")
sys.exit(cli.main(["book", "--params", "second.yaml"]))
"""


@pytest.mark.parametrize(
    ("disk", "says"),
    [
        (["--size", "4096", "--tmpfs"], rf"/notebooks/a\.ipynb: {FULL}"),
        pytest.param(["--size", "200000", "--tmpfs"], rf"/source: {FULL}", marks=pytest.mark.ci),
        (["--ro-bind", "/usr/share/doc"], r"/\.site\.lock: cannot be written \(read-only file system\)"),
    ],
    ids=["no room for a page", "no room for the site", "read-only"],
)
def test_pages_that_cannot_be_written_are_told_in_one_line(tmp_path: Path, disk: list[str], says: str) -> None:
    small_book(tmp_path)
    build = tmp_path / "_build"
    build.mkdir()
    mounts = [*disk, str(build), "--chdir", str(tmp_path)]
    done = within(mounts, sys.executable, "-c", BOOK, REPRO_HOME=str(tmp_path))
    assert (done.returncode, re.sub(rf"^repro: {build}{says}\n$", "", done.stderr)) == (1, "")
