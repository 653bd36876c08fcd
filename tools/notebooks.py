"""Bring the notebooks in `notebooks/` up to date: outputs removed, parameters cells as the schema has them.

A parameters cell keeps the names it lists, in their order; their comments are the schema's.
"""

from pathlib import Path

import nbformat

from repro.params import Params, notebook_cell
from repro.publish.notebooks import declared

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Rewrite what differs; a notebook that is as it should be is left alone."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        defaults, schemas = declared(path)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
                if "parameters" in cell.metadata.get("tags", []):
                    cell.source = notebook_cell(next(iter(schemas), Params), defaults)
        text = nbformat.writes(notebook) + "\n"
        if text != path.read_text():
            path.write_text(text)


if __name__ == "__main__":
    main()
