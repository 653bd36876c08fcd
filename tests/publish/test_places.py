"""What is published names no folder of this machine."""

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from repro.publish import site
from repro.publish.places import without_places

HOME = "/scratch/ada/study"


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_HOME", HOME)
    monkeypatch.setenv("HOME", "/users/ada")
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    monkeypatch.setattr("tempfile.tempdir", "/var/tmp/job")  # once `tmp_path` is made
    monkeypatch.setattr("sys.prefix", "/opt/python")


@pytest.mark.parametrize(
    ("written", "published"),
    [
        (f"repro: {HOME}/_runs/tokens-1/a.bin was altered", "repro: _runs/tokens-1/a.bin was altered"),
        (f"in {HOME}", "in ."),
        ("folder: /users/ada/corpus", "folder: ~/corpus"),
        ("/data/projects/ada/corpus", "~/corpus"),
        ("file:///var/tmp/job/x", "…/x"),
        ("/opt/python/lib/a.py:3: UserWarning", "…/lib/a.py:3: UserWarning"),
        ("first\n/users/ada/x", "first\n~/x"),
        ("https://example.org/users/ada/x", "https://example.org/users/ada/x"),
        (f"{HOME}-other and /users/adam and a/b, 3/4", "~/study-other and /users/adam and a/b, 3/4"),
    ],
)
def test_a_path_is_told_from_the_project_on(written: str, published: str) -> None:
    assert without_places(written) == published
    in_json = {"a": [written], "b": json.dumps({"c": written})}
    assert json.loads(without_places(json.dumps(in_json, ensure_ascii=False)))["a"] == [published]
    assert json.loads(json.loads(without_places(json.dumps(in_json)))["b"]) == {"c": published}


def test_a_home_that_is_the_root_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setenv("REPRO_HOME", "/")
    assert without_places("/a/b 1/2 /") == "/a/b 1/2 /"
    assert Path.home() == Path("/")


def test_neither_outputs_nor_metadata_of_a_published_notebook_name_a_folder(tmp_path: Path) -> None:
    path, words = f"{HOME}/_runs/text-1/manifest.json", "was altered"
    outputs = [
        new_output("stream", name="stderr", text=f"repro: {path} {words}\n"),
        new_output("display_data", {"text/html": f'<a href="{path}">{words}</a>', "application/json": {"x": [path]}}),
        new_output("error", ename="OSError", evalue=path, traceback=[f"File {path}"]),
    ]
    cells = [new_markdown_cell(path), new_code_cell(f"folder = '{HOME}/corpus'", outputs=outputs)]
    nb = new_notebook(cells=cells, metadata={"papermill": {"input_path": f"{HOME}/notebooks/a.ipynb"}})
    (tmp_path / "book").mkdir()
    site._stage(tmp_path, {"a": nbformat.writes(nb).encode()}, tmp_path / "source")
    staged = (tmp_path / "source/notebooks/a.ipynb").read_text()
    assert "/ada" not in staged and "/scratch" not in staged
    assert staged.count("_runs/text-1/manifest.json") == 6 and "notebooks/a.ipynb" in staged
