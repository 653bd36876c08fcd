"""The notebooks in the repository: thin, without outputs, with the schema's parameters."""

import re
from pathlib import Path

import nbformat
import pytest

from helpers import ROOT
from repro.params import AllocationParams, Params, notebook_cell
from repro.publish.notebooks import declared

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOGIC = re.compile(r"^\s*(def|for|while|class|if|try|with) ", re.MULTILINE)


def code(notebook: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 11


def test_no_page_refers_by_number_to_what_some_studies_do_not_draw() -> None:
    every = [nbformat.read(notebook, as_version=4).cells for notebook in NOTEBOOKS]
    figures = [(cell, cell.metadata.get("mystnb", {}).get("figure", {})) for cells in every for cell in cells]
    optional = {figure.get("name") for cell, figure in figures if "if_any(" in cell.source}
    texts = [page.read_text() for page in (ROOT / "book").glob("*.md")]
    texts += [text for cell, figure in figures for text in (cell.source, figure.get("caption", ""))]
    referred = {name for text in texts for name in re.findall(r"\{(?:numref|ref)\}`(?:[^`<]*<)?([\w-]+)>?`", text)}
    assert referred and optional
    assert not referred & optional


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
class TestEveryNotebook:
    def test_lists_few_parameters_as_the_schema_of_its_paper_has_them(self, notebook: Path) -> None:
        first, *later = code(notebook)
        listed, (schema, *others) = declared(notebook)
        assert bool(others) == (notebook.stem == "claims-1-ledger"), "it alone has the runs of both papers"
        assert schema is (AllocationParams if notebook.stem.startswith(("allocation", "claims-3")) else Params)
        assert first.metadata["tags"] == ["parameters"]
        assert first.source == notebook_cell(schema, listed), "run python tools/notebooks.py"
        assert 2 <= len(listed) <= 9, "the preset, and what the question of the page turns on"
        assert not [cell for cell in later if "parameters" in cell.metadata.get("tags", [])]

    def test_is_thin(self, notebook: Path) -> None:
        for cell in code(notebook):
            if "parameters" not in cell.metadata.get("tags", []):
                assert len(cell.source.splitlines()) <= 5, cell.source
                assert not LOGIC.search(cell.source), cell.source

    def test_shows_no_plumbing_even_with_its_code_unfolded(self, notebook: Path) -> None:
        shown = [
            c.source for c in code(notebook) if not {"remove-cell", "remove-input"} & {*c.metadata.get("tags", [])}
        ]
        assert [source for source in shown if re.search(r"glue\(|^(import|from) ", source, re.MULTILINE)] == []

    def test_holds_no_outputs_and_runs_anywhere(self, notebook: Path) -> None:
        assert not any(cell.outputs or cell.execution_count for cell in code(notebook))
        assert nbformat.read(notebook, as_version=4).metadata.kernelspec.name == "python3"

    def test_ends_with_what_stands_behind_it(self, notebook: Path) -> None:
        assert code(notebook)[-1].source == "study.colophon()"

    def test_every_number_in_its_prose_is_glued(self, notebook: Path) -> None:
        """Results with decimals come from the run; numbers of the paper that prose may name are listed here."""
        of_the_paper = {"5.1", "5.2", "5.3", "3.2", "1.6B", "3.1B", "0.2B", "0.0002", "0.01", "0.002", "2.0", "3.43"}
        cells = nbformat.read(notebook, as_version=4).cells
        prose = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
        prose = re.sub(r"\{[a-z:]+\}`[^`]*`", "", prose)
        assert set(re.findall(r"\d+\.\d+[BM]?", prose)) <= of_the_paper
