"""A book of two pages that needs neither data nor runs."""

import shutil
from pathlib import Path

import nbformat
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers import ROOT

BEGIN = "if 0:\n    cmr.begin(globals())"  # says whose parameters a notebook takes, and costs no import
WAITS = """import pathlib, time
pathlib.Path(f"began-{preset}").touch()
for _ in range(40 if preset == "first" else 0):
    if pathlib.Path("began-second").exists():
        time.sleep(2)
        break
    time.sleep(0.1)
print("this is", preset)"""


def small_book(home: Path) -> None:
    """A project of two small pages with the parameters "first" and "second"."""
    for name in ("book", "notebooks"):
        (home / name).mkdir()
    shutil.copy(ROOT / "_config.yml", home)
    for name in ("_ext", "_static"):
        shutil.copytree(ROOT / "book" / name, home / "book" / name)
    shutil.copy(ROOT / "book/references.bib", home / "book")
    (home / "book/_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n- glob: notebooks/*\n")
    (home / "book/index.md").write_text("# Index\n")
    for name, source in (("a", "print('this is', preset)"), ("b", WAITS)):
        cells = [new_markdown_cell(f"# {name}"), new_code_cell("preset = 'x'", metadata={"tags": ["parameters"]})]
        cells += [new_code_cell(BEGIN), new_code_cell(source)]
        nbformat.write(new_notebook(cells=cells), home / f"notebooks/{name}.ipynb")
    smoke = yaml.safe_load((ROOT / "params/smoke.yaml").read_text())
    for mine in ("first", "second"):
        (home / f"{mine}.yaml").write_text(yaml.safe_dump(smoke | {"preset": mine}))
