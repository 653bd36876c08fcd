"""What papermill lets pass, our runner refuses; and nothing half done replaces what was good."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
import zmq
from nbformat.v4 import new_code_cell, new_notebook

from helpers import REPRO, ROOT
from helpers.pages import BEGIN, small_book
from helpers.texts import prose
from helpers.toys import lives
from repro import cli, params
from repro.publish import site
from repro.publish.notebooks import NotebookFailed, execute, execute_one, stamp_in, stamp_of, up_to_date, write_stamped

PARAMETERS = "points = 3  # how many\nname: str = 'a'"


def notebook(folder: Path, *sources: str, tagged: bool = True, cell: str = PARAMETERS) -> Path:
    first = new_code_cell(cell, metadata={"tags": ["parameters"]} if tagged else {})
    nb = new_notebook(cells=[first, *map(new_code_cell, sources)])
    path = folder / "a.ipynb"
    nbformat.write(nb, path)
    return path


def streams(path: Path, name: str) -> str:
    cells = nbformat.read(path, as_version=4).cells
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    return "".join(out.text for out in outputs if out.output_type == "stream" and out.name == name)


def test_runs_with_parameters_in_this_interpreter_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = notebook(tmp_path, "import os, sys\nprint(points, name, sys.executable, os.getcwd())")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    execute(source, tmp_path / "out/b.ipynb", {"points": 7})
    assert streams(tmp_path / "out/b.ipynb", "stdout").split() == ["7", "a", sys.executable, str(work)]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b.ipynb"]


def test_a_users_own_python3_kernel_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "share/kernels/python3"
    wrong.mkdir(parents=True)
    kernel = {"argv": ["/bin/false", "{connection_file}"], "display_name": "x", "language": "python"}
    (wrong / "kernel.json").write_text(json.dumps(kernel))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    execute(notebook(tmp_path, "1"), tmp_path / "b.ipynb", {})
    assert stamp_of(tmp_path / "b.ipynb") is not None


TRANSPORT = """import json, pathlib, sys
print(json.loads(pathlib.Path(sys.argv[sys.argv.index("-f") + 1]).read_text())["transport"])"""


@pytest.mark.parametrize(("name", "transport"), [("a", "ipc"), ("long" * 25, "tcp")])
def test_no_other_program_can_take_the_kernels_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, transport: str
) -> None:
    """It has none, unless the temporary folder's name is too long for a socket's."""
    with tempfile.TemporaryDirectory(prefix=name) as temporary:
        with monkeypatch.context() as patch:
            patch.setattr("tempfile.tempdir", temporary)
            execute(notebook(tmp_path, TRANSPORT), tmp_path / "b.ipynb", {})
            assert capfd.readouterr().err == ""
        assert list(Path(temporary).iterdir()) == []
    assert streams(tmp_path / "b.ipynb", "stdout") == f"{transport}\n"


def test_a_kernel_that_does_not_come_up_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    launcher = tmp_path / "launcher.py"
    launcher.write_text("raise SystemExit('no memory, say')")
    monkeypatch.setattr("repro.publish.kernel.LAUNCHER", launcher)
    with pytest.raises(NotebookFailed, match=r"(?s)a\.ipynb: the kernel died .*Kernel died before replying"):
        execute(notebook(tmp_path, "1"), tmp_path / "b.ipynb", {})
    assert capfd.readouterr().err == "no memory, say\n"
    assert not (tmp_path / "b.ipynb").exists()


TORN = """import logging, zmq
for number in (zmq.ENOTSOCK, zmq.ENOTSUP):
    try:
        raise zmq.ZMQError(number)
    except zmq.ZMQError:
        logging.getLogger("tornado.general").error("failed with %d", number, exc_info=True)"""


def test_a_socket_closed_under_a_kernel_that_ends_is_no_news(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As happens, once in hundreds of kernels, between two of its threads."""
    execute(notebook(tmp_path, TORN), tmp_path / "b.ipynb", {})
    told = [line for line in capfd.readouterr().err.splitlines() if "failed with" in line]
    assert told == [f"ERROR:tornado.general:failed with {zmq.ENOTSUP}"]


def test_unknown_parameter_is_named_with_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown parameter 'pionts'; allowed: points, name"):
        execute(notebook(tmp_path, "1"), tmp_path / "b.ipynb", {"pionts": 7})
    assert not (tmp_path / "b.ipynb").exists()


LISTED = params.notebook_cell(params.Params, ["seeds"])


def test_a_notebook_takes_parameters_of_its_paper_that_its_cell_does_not_list(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, page = notebook(tmp_path, BEGIN, "print(preset, seeds, ratios, clip)", cell=LISTED), tmp_path / "b.ipynb"
    execute(source, page, {"preset": "mine", "ratios": [0.5], "clip": None})
    assert streams(page, "stdout") == "mine None [0.5] None\n"
    assert capfd.readouterr().err == ""  # where papermill would warn of them
    with pytest.raises(params.ParamsError, match=r"^a\.ipynb: unknown parameter 'raitos'; allowed: preset, seeds, gen"):
        execute(source, page, {"raitos": [0.5]})


def test_a_page_is_given_all_parameters_of_its_paper_and_made_again_if_one_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr("repro.publish.notebooks._run", lambda *run: given.append(run[-1]) or new_notebook())
    source, page = notebook(tmp_path, BEGIN, cell=LISTED), tmp_path / "b.ipynb"
    values = {"preset": "mine", "seeds": [0], "lagrange": 7000, "budget": 8, "bootstrap": 50}
    of_the_paper = {name: value for name, value in values.items() if name != "budget"}
    for change, count in (({}, 1), ({"budget": 9}, 1), ({"lagrange": 7}, 2), ({"bootstrap": 60}, 3)):
        assert execute_one(source, page, values | change, {params.Params: "identity"})
        assert len(given) == count, change
    assert given == [of_the_paper, of_the_paper | {"lagrange": 7}, of_the_paper | {"bootstrap": 60}]
    assert execute_one(source, page, values | {"bootstrap": 60}, {params.Params: "another identity"})
    assert len(given) == 4


@pytest.mark.parametrize(
    ("begin", "says"),
    [
        ("1", r"must call cmr\.begin\(globals\(\)\) or allocation\.begin\(globals\(\)\)"),
        ("# cmr.begin(globals())", "must call cmr"),
        ("allocation.begin(globals())", "these parameters are those of the other paper's study"),
    ],
)
def test_a_notebook_whose_parameters_are_not_there_is_not_executed(tmp_path: Path, begin: str, says: str) -> None:
    source = notebook(tmp_path, begin, cell=LISTED)
    with pytest.raises(params.ParamsError, match=rf"^a\.ipynb: {says}"):
        execute_one(source, tmp_path / "b.ipynb", {"preset": "mine"}, {params.Params: "identity"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no cell is tagged 'parameters'"),
        ("not JSON", "must be a Jupyter notebook"),
        ("[1, 2]", "must be a Jupyter notebook"),
        ('{"a": 1}', "must be a Jupyter notebook"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": 3}', "must be a Jupyter notebook"),
    ],
)
def test_what_is_no_notebook_with_parameters_is_told_in_one_line(
    tmp_path: Path, text: str | None, says: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = notebook(tmp_path, "1", tagged=False)
    if text is not None:
        source.write_text(text)
    assert cli.main(["run", str(source), "--params", str(home / "mine.yaml")]) == 2
    assert capsys.readouterr().err == f"repro: {source}: {says}\n"
    assert not (home / "_build").exists()


@pytest.mark.parametrize(
    ("source", "cell", "says"),
    [
        ("1 / 0", 3, "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit()", 3, "ended the process"),
        ("import sys; sys.exit(3)", 3, "SystemExit: 3"),
        ("import os; os.kill(os.getpid(), 9)", None, "Kernel died"),
        ("import os; os._exit(0)", None, "Kernel died"),
    ],
)
def test_a_failure_is_told_and_the_good_output_stays(tmp_path: Path, source: str, cell: int | None, says: str) -> None:
    out = tmp_path / "b.ipynb"
    execute(notebook(tmp_path, "print('good')"), out, {"points": 7})
    good = out.read_bytes()
    with pytest.raises(NotebookFailed, match=says) as failed:
        execute(notebook(tmp_path, source, "print('after')"), out, {"points": 7})
    assert failed.value.cell == cell
    assert failed.value.kept.exists()
    with pytest.raises(site.SiteFailed, match=r"b\.failed\.ipynb is missing, incomplete or modified"):
        site.build(tmp_path, {"b": failed.value.kept}, tmp_path / "html")
    assert "\x1b" not in str(failed.value)
    assert out.read_bytes() == good
    kept = [".site.lock", "a.ipynb", "b.failed.ipynb", "b.ipynb"]
    assert sorted(p.name for p in tmp_path.iterdir()) == kept


BAD = "class Bad:\n    def _repr_html_(self):\n        raise ValueError('no such shape')\nBad()"


@pytest.mark.parametrize(
    ("source", "says"), [(BAD, "no such shape"), ("x = 1", "shows no figure"), ("'text'", "shows no figure")]
)
def test_a_captioned_cell_that_draws_nothing_is_a_failure(tmp_path: Path, source: str, says: str) -> None:
    path = notebook(tmp_path, source)
    nb = nbformat.read(path, as_version=4)
    nb.cells[-1].metadata["mystnb"] = {"figure": {"name": "fig-a", "caption": "A figure."}}
    nbformat.write(nb, path)
    with pytest.raises(NotebookFailed, match=says):
        execute(path, tmp_path / "b.ipynb", {})
    assert not (tmp_path / "b.ipynb").exists()


def test_a_line_in_place_of_a_figure_has_no_caption_in_the_book(tmp_path: Path) -> None:
    source = (
        "from repro.show.display import if_any\nimport pandas as pd\nif_any(pd.DataFrame(), len, otherwise='none run')"
    )
    path = notebook(tmp_path, source)
    nb = nbformat.read(path, as_version=4)
    nb.cells[-1].metadata["mystnb"] = {"figure": {"name": "fig-a", "caption": "A figure."}}
    nbformat.write(nb, path)
    execute(path, tmp_path / "b.ipynb", {})
    (tmp_path / "book").mkdir()
    site._stage(tmp_path, {"b": (tmp_path / "b.ipynb").read_bytes()}, tmp_path / "source")
    cell = nbformat.read(tmp_path / "source/notebooks/b.ipynb", as_version=4).cells[-1]
    assert cell.outputs[0].data["text/markdown"] == "none run" and "figure" not in cell.metadata["mystnb"]


def test_progress_reaches_the_terminal_and_not_the_notebook(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bar = "from tqdm import tqdm\nimport sys\nfor _ in tqdm(range(3)): pass\nprint('kept', file=sys.stderr)"
    execute(notebook(tmp_path, bar), tmp_path / "b.ipynb", {})
    assert "3/3" in capfd.readouterr().err
    assert streams(tmp_path / "b.ipynb", "stderr") == "kept\n"


def test_up_to_date_until_source_parameters_data_or_package_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr("repro.publish.notebooks.PACKAGE", package)
    source, out = notebook(tmp_path, "1"), tmp_path / "b.ipynb"
    assert not up_to_date(source, out, {"points": 7})
    execute(source, out, {"points": 7}, extra="data v1")
    assert up_to_date(source, out, {"points": 7}, extra="data v1")
    assert not up_to_date(source, out, {"points": 8}, extra="data v1")
    assert not up_to_date(source, out, {"points": 7}, extra="data v2")
    (package / "laws.py").write_text("changed = True")
    assert not up_to_date(source, out, {"points": 7}, extra="data v1")
    (package / "laws.py").unlink()
    assert not up_to_date(notebook(tmp_path, "2"), out, {"points": 7}, extra="data v1")


# A notebook that is not as it was written


@pytest.fixture
def executed(tmp_path: Path) -> Path:
    nb = new_notebook(cells=[new_code_cell("print(1)", execution_count=1)])
    write_stamped(nb, tmp_path / "a.ipynb", {"complete": True, "inputs": "x", "seconds": 1.0})
    return tmp_path / "a.ipynb"


def test_every_flipped_bit_and_every_truncation_of_an_executed_notebook_is_found(executed: Path) -> None:
    good = executed.read_bytes()
    assert stamp_of(executed) == stamp_in(good)
    assert stamp_in(good) is not None
    for bit in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        assert stamp_in(bytes(flipped)) is None, bit
    for length in range(len(good)):
        assert stamp_in(good[:length]) is None, length
    assert stamp_in(good + b"\n") is None
    executed.unlink()
    assert stamp_of(executed) is None


def test_no_book_is_built_from_an_altered_notebook_which_is_executed_again(tmp_path: Path) -> None:
    source, page = notebook(tmp_path, "print('again')"), tmp_path / "b.ipynb"
    execute(source, page, {})
    good = page.read_bytes()
    for harm in (good[:-1], good.replace(b"again", b"egain"), b"", None):
        page.unlink() if harm is None else page.write_bytes(harm)
        with pytest.raises(site.SiteFailed, match=r"notebook b: .*b\.ipynb is missing, incomplete or"):
            site.build(tmp_path, {"b": page}, tmp_path / "html")
        assert not up_to_date(source, page, {})
    execute(source, page, {})
    assert up_to_date(source, page, {})


# The command and its kernel, killed

SLOW = """import os, pathlib, subprocess, time
if not pathlib.Path("go").exists():
    subprocess.run("sleep 300 & echo $! > child", shell=True, check=True)
    pathlib.Path("pids").write_text(f"{os.getpid()} {pathlib.Path('child').read_text()}")
    time.sleep(300)"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with parameters that need no data but its own, and a notebook that takes for ever."""
    home = tmp_path / "home"
    for name in ("general", "far", "near"):
        (home / name).mkdir(parents=True)
        (home / name / "a.txt").write_text(prose(1)[0])
    values = {n: v for n, v in params.read(ROOT / "params/smoke.yaml").items() if n in params.names(params.Params)}
    values |= {"preset": "mine", "general": [{"folder": "general"}]}
    values |= {
        field: {"name": n, "sources": [{"folder": n}]} for field, n in (("domain", "far"), ("second_domain", "near"))
    }
    (home / "mine.yaml").write_text(yaml.safe_dump(values))
    cells = [
        new_code_cell(params.notebook_cell(params.Params, ["seeds"]), metadata={"tags": ["parameters"]}),
        *map(new_code_cell, (BEGIN, SLOW, "'end'")),
    ]
    nbformat.write(new_notebook(cells=cells), home / "slow.ipynb")
    monkeypatch.setenv("REPRO_HOME", str(home))
    (home / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(home / "tmp"))
    return home


def begin(home: Path) -> subprocess.Popen[str]:
    """`repro run slow.ipynb` in a session of its own."""
    return subprocess.Popen(
        [REPRO, "run", "slow.ipynb", "--params", "mine.yaml"], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def within(seconds: float, met: Any) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if met():
            return True
        time.sleep(0.02)
    return bool(met())


INTERRUPTED = "repro: interrupted; what is done is kept: run the same command to resume\n"


@pytest.mark.parametrize(
    ("whom", "number", "status", "says"),
    [
        ("group", signal.SIGINT, 1, INTERRUPTED),
        pytest.param("command", signal.SIGTERM, 1, INTERRUPTED, marks=pytest.mark.ci),
        ("command", signal.SIGKILL, -signal.SIGKILL, ""),
        pytest.param(
            "kernel",
            signal.SIGKILL,
            1,
            "repro: slow.ipynb: the kernel died (kept for reading: {kept})\n\nKernel died\n",
            marks=pytest.mark.ci,
        ),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL", "kernel killed"],
)
def test_a_command_ended_in_mid_notebook_leaves_no_process_and_the_good_page(
    home: Path, whom: str, number: int, status: int, says: str
) -> None:
    pages = home / "_build/notebooks"
    pages.mkdir(parents=True)
    good = pages / "slow.ipynb"
    write_stamped(new_notebook(), good, {"complete": True, "inputs": "of yesterday", "seconds": 1.0})
    kept = good.read_bytes()
    command = begin(home)
    begun = within(60, lambda: (home / "pids").exists() and (home / "pids").read_text().endswith("\n"))
    assert begun, command.poll() is None or command.communicate()
    kernel, child = map(int, (home / "pids").read_text().split())
    match whom:
        case "group":
            os.killpg(command.pid, number)
        case "command":
            os.kill(command.pid, number)
        case "kernel":
            os.kill(kernel, number)
    told = command.communicate(timeout=60)[1]
    assert (command.returncode, told) == (status, says.format(kept=pages / "slow.failed.ipynb"))
    assert within(60, lambda: not lives(kernel) and not lives(child)), "a process is left"
    assert good.read_bytes() == kept
    assert [page for page in pages.iterdir() if stamp_of(page)] == [good]
    keys = list((home / "tmp").glob("repro-kernel-*/kernel.json"))  # the kernel obeys whoever has one
    if number == signal.SIGKILL and whom == "command":
        assert len(keys) == 1
        assert len(list(pages.glob(".slow.*.part.ipynb"))) == 1
        (home / "go").touch()
        again = begin(home)
        assert again.wait(timeout=60) == 0, again.communicate()
        keys = list((home / "tmp").glob("repro-kernel-*"))
        assert list(pages.iterdir()) == [good]
        assert good.read_bytes() != kept
    assert keys == []


# Two commands at once

TWO = """import sys
from repro import cli
from repro.params import SCHEMAS
from repro.publish import site

cli.all_runs = lambda values, **_: True  # the runs are others' business
cli.identities_of = lambda values, **_: dict.fromkeys(SCHEMAS, "data")
build, mine = site.build, sys.argv[1]

def look(root, pages, out, asked, toc):
    done = build(root, pages, out, asked, toc)
    print([page for page in pages if f"this is {mine}\\n" not in (out / f"notebooks/{page}.html").read_text()])
    return done

site.build = look
sys.exit(cli.main(["book", "--params", f"{mine}.yaml"]))
"""


@pytest.mark.ci
def test_two_books_with_other_parameters_at_once_each_get_their_own_pages(tmp_path: Path) -> None:
    small_book(tmp_path)
    processes = []
    for mine in ("first", "second"):
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", TWO, mine], cwd=tmp_path, env=os.environ | {"REPRO_HOME": str(tmp_path)},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        assert within(120, (tmp_path / "began-first").exists) or processes[0].communicate()
    for process in processes:
        out, err = process.communicate(timeout=250)
        assert process.returncode == 0, err
        assert "\n[]\nbuilt; open " in out, "a page of the other's"


def test_a_page_made_with_other_inputs_than_those_asked_for_is_not_built(executed: Path) -> None:
    with pytest.raises(site.SiteFailed, match=r"notebook a: .*a\.ipynb was executed with other parameters meanwhile"):
        site.build(executed.parent, {"a": executed}, executed.parent / "html", {"a": "y"})
    with pytest.raises(FileNotFoundError, match=r"_config\.yml"):  # it is looked no further
        site.build(executed.parent, {"a": executed}, executed.parent / "html", {"a": "x"})


def loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("place", "put", "says"),
    [
        ("_build", Path.touch, "file exists"),
        ("_build", loop, "file exists"),
        ("_build/notebooks", Path.touch, "not a directory"),
        ("_build/.site.lock", Path.mkdir, "is a directory"),
        ("_build/.site.lock", loop, "too many levels of symbolic links"),
        ("_build/notebooks/a.ipynb", Path.mkdir, "is a directory"),
        ("_build/notebooks/a.ipynb", loop, "too many levels of symbolic links"),
    ],
)
def test_what_stands_where_pages_should_be_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str, put: Any, says: str
) -> None:
    small_book(tmp_path)
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    put(tmp_path / place)
    before = (tmp_path / place).lstat()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    monkeypatch.setattr(cli, "all_runs", lambda *_, **__: True)
    monkeypatch.setattr(cli, "identities_of", lambda *_, **__: dict.fromkeys(params.SCHEMAS, "data"))
    assert cli.main(["book", "--params", "second.yaml"]) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(rf"repro: {tmp_path / place}\S*: {says}\n", told, re.IGNORECASE), told
    after = (tmp_path / place).lstat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
