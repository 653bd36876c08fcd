"""What papermill lets pass, our runner refuses; and nothing half done replaces what was good."""

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from repro.publish.notebooks import NotebookFailed, execute, stamp_of, up_to_date

PARAMETERS = "points = 3  # how many\nname: str = 'a'"


def notebook(folder: Path, *sources: str, tagged: bool = True) -> Path:
    first = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]} if tagged else {})
    nb = new_notebook(cells=[first, *map(new_code_cell, sources)])
    path = folder / "a.ipynb"
    nbformat.write(nb, path)
    return path


def streams(path: Path, name: str) -> str:
    cells = nbformat.read(path, as_version=4).cells
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    return "".join(out.text for out in outputs if out.output_type == "stream" and out.name == name)


def test_runs_with_parameters_in_this_interpreter_and_folder(tmp_path: Path) -> None:
    import sys

    source = notebook(tmp_path, "import os, sys\nprint(points, name, sys.executable, os.getcwd())")
    work = tmp_path / "work"
    work.mkdir()
    execute(source, tmp_path / "out/b.ipynb", {"points": 7}, cwd=work)
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


def test_unknown_parameter_is_named_with_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown parameter 'pionts'; allowed: points, name"):
        execute(notebook(tmp_path, "1"), tmp_path / "b.ipynb", {"pionts": 7})
    assert not (tmp_path / "b.ipynb").exists()


def test_a_notebook_without_parameters_cell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no cell is tagged 'parameters'"):
        execute(notebook(tmp_path, "1", tagged=False), tmp_path / "b.ipynb", {"points": 7})


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
    assert stamp_of(failed.value.kept) is None
    assert "\x1b" not in str(failed.value)
    assert out.read_bytes() == good
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ipynb", "b.failed.ipynb", "b.ipynb"]


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
