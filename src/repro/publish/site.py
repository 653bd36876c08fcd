"""Build the book with jupyter-book from prose pages and executed notebooks, strictly and only when needed."""

import base64
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nbformat
import vl_convert
from filelock import FileLock

from repro.publish.notebooks import installed, stamp_in
from repro.publish.places import without_places
from repro.runs.folder import acquire, put, writing

# What formulas of the AMS need, without MathJax's menu; _config.yml keeps it from looking for further files.
MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "output/chtml.js",
    "output/chtml/fonts/tex.js",
    "a11y/assistive-mml.js",
)
FONT = re.compile(r"%%URL%%/(MathJax_(?:Main-Regular|Main-Bold|Math-Italic|Size\d-Regular|AMS-Regular|Zero)\.woff)")
CONFIG = "_config.yml"
BOOK = "book"
TOC = "_toc.yml"  # of the whole book; those of one paper's pages are _toc-<paper>.yml
LEDGERS = "results/*/claims.csv"  # recorded, for book/_ext/findings.py
HERE = "results/claims.csv"  # the ledger of the book, among its staged pages
SOURCE = "source"  # staged inputs and jupyter-book's own output, beside the site
LOCK = ".site.lock"  # beside the site
RECORD = ".inputs"  # inside the site: the digest of what it was built from
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
# Cells shown folded, and what the fold says.
FOLDED = {"parameters": "Parameters and their defaults", "injected-parameters": "Parameters of this run"}


class SiteFailed(Exception):
    """The book could not be built; the message holds jupyter-book's warnings and errors."""


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Make pages of the site ``out`` and build it while no other process does; SiteFailed if there are no locks."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out.with_name(LOCK), fallback_to_soft=False, is_singleton=True)
    try:
        acquire(lock, f"another process makes the pages in {out.parent}; waiting for it")
    except NotImplementedError:
        raise SiteFailed(f"{out.parent}: this file system has no locks (flock)") from None
    try:
        yield
    finally:
        lock.release()


def build(
    root: Path, notebooks: Mapping[str, Path], out: Path, asked: Mapping[str, str] | None = None, toc: str = TOC
) -> bool:
    """Build ``out/index.html``; False where the site is already built from the same inputs.

    root: holds ``_config.yml`` and ``book/`` (pages, ``_toc.yml``, ``_static/``, ``references.bib``). notebooks: name
    -> executed notebook, staged as ``notebooks/<name>.ipynb`` beside the pages. out: the folder of the site, usually
    ``_build/html``. Replaced only after success. asked: name -> the digest of the inputs that a notebook must have been
    executed with. toc: the file in ``book/`` that lists the pages. Raises SiteFailed if a notebook is missing,
    incomplete, modified since it was executed or executed with other inputs, or jupyter-book warned or failed.
    """
    with alone(out):  # two at once would stage their pages in one folder
        pages = {name: _read(name, path, (asked or {}).get(name)) for name, path in notebooks.items()}
        digest, record = _digest(root, pages), out / RECORD
        if (out / "index.html").exists() and record.exists() and record.read_text() == digest:
            return False
        work = out.parent / SOURCE
        # Always from scratch: Sphinx does not repeat warnings of cached pages, so a second try of a book with an
        # error in it would pass.
        shutil.rmtree(work, ignore_errors=True)
        with writing(work):
            _stage(root, pages, work / BOOK)
            built = _jupyter_book(root / CONFIG, work, toc)
            (built / RECORD).write_text(digest)
            put(built, out)
        return True


def _read(name: str, path: Path, asked: str | None) -> bytes:
    """An executed notebook, read once: another process may put another in its place at any time."""
    page = path.read_bytes() if path.is_file() else b""
    stamp = stamp_in(page)
    if stamp is None:
        raise SiteFailed(f"notebook {name}: {path} is missing, incomplete or modified since it was executed")
    if asked not in (None, stamp["inputs"]):
        raise SiteFailed(f"notebook {name}: {path} was executed with other parameters meanwhile; try again")
    return page


def _inputs(root: Path) -> Iterator[Path]:
    yield root / CONFIG
    for path in sorted((root / BOOK).rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts):
            yield path
    yield from sorted(root.glob(LEDGERS))


def _digest(root: Path, notebooks: Mapping[str, bytes]) -> str:
    """SHA-256 over pages, executed notebooks, this folder's code and all installed packages' versions."""
    digest = hashlib.sha256()
    named = [(str(path.relative_to(root)), path.read_bytes()) for path in _inputs(root)]
    named += [(f"notebooks/{name}", page) for name, page in sorted(notebooks.items())]
    named += [(path.name, path.read_bytes()) for path in sorted(Path(__file__).parent.glob("*.py"))]
    for name, content in named:
        digest.update(f"{name}\0".encode() + hashlib.sha256(content).digest())
    digest.update(installed().encode())
    return digest.hexdigest()


def _stage(root: Path, notebooks: Mapping[str, bytes], source: Path) -> None:
    for path in list(_inputs(root))[1:]:  # copytree hides what each error was, and copyfile where
        copy = source / path.relative_to(root / BOOK if path.is_relative_to(root / BOOK) else root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (source / "notebooks").mkdir(parents=True, exist_ok=True)
    (source / HERE).parent.mkdir(exist_ok=True)
    for path in (root / "notebooks").glob("*.ipynb"):  # those that are not in this book have titles all the same
        shutil.copyfile(path, source / "notebooks" / path.name)
    for name, page in notebooks.items():
        nb = nbformat.reads(without_places(page.decode()), as_version=4)
        for cell in nb.cells:
            tags = cell.metadata.get("tags", [])
            for output in cell.get("outputs", []):
                if ledger := output.get("data", {}).pop("text/csv", None):
                    (source / HERE).write_text(ledger)
            if any("text/markdown" in output.get("data", {}) for output in cell.get("outputs", [])):
                cell.metadata.get("mystnb", {}).pop("figure", None)  # it says why there is nothing to draw
                tags = [tag for tag in tags if tag != "hide-output"]
                cell.metadata["tags"] = tags
            for title in (FOLDED[tag] for tag in tags if tag in FOLDED):
                cell.metadata["tags"] = [*tags, "hide-input"]
                cell.metadata["mystnb"] = {"code_prompt_show": title, "code_prompt_hide": title}
        nbformat.write(nb, source / "notebooks" / f"{name}.ipynb")
    _write_scripts(source / "_extra" / "assets")


def _write_scripts(folder: Path) -> None:
    """Write ``vega.js`` (defines ``vegaEmbed``) and ``mathjax/`` with its fonts inside, which a page read from a folder
    may be refused. Not under ``_static``, whose scripts are on every page: ``vega.js`` weighs 0.9 MB.
    """
    mathjax = importlib.util.find_spec("sphinx-mathjax-offline")  # hyphens: it cannot be imported by a statement
    if mathjax is None or mathjax.origin is None:
        raise FileNotFoundError("MathJax: the package sphinx-mathjax-offline is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    # The bundle's own helper names are short globals (`n`, `t`); a function keeps them to itself.
    bundle = vl_convert.javascript_bundle(snippet="window.vegaEmbed = vegaEmbed;")
    (folder / "vega.js").write_text(f"(function () {{\n{bundle}\n}})();\n", encoding="utf-8")
    parts = Path(mathjax.origin).parent / "static/mathjax"
    fonts = parts / "output/chtml/fonts/woff-v2"
    for name in MATHJAX:
        target = folder / "mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(FONT.sub(lambda font: _inlined(fonts / font[1]), (parts / name).read_text("utf-8")), "utf-8")


def _inlined(font: Path) -> str:
    return f"data:font/woff;base64,{base64.b64encode(font.read_bytes()).decode()}"


def _jupyter_book(config: Path, work: Path, toc: str) -> Path:
    """Run jupyter-book over the staged pages; the folder with the HTML."""
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(work / BOOK), "--path-output", str(work)]
    command += ["--config", str(config), "--toc", str(work / BOOK / toc), "-W", "-n", "--keep-going", "--quiet"]
    # The book's own extensions leave no compiled copies among the pages, whose digest would change.
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    log = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    (work / "log.txt").write_text(log, encoding="utf-8")
    html = work / "_build" / "html"
    if done.returncode != 0:
        problems = [line for line in log.splitlines() if re.search(r"WARNING|ERROR|Error|Exception", line)]
        text = ("\n".join(problems) or log).replace(f"{work / BOOK}{os.sep}", "")
        raise SiteFailed(f"{text}\n(whole log: {work / 'log.txt'})")
    if not (html / "index.html").exists():
        raise SiteFailed(f"jupyter-book wrote no index.html (its version 2 is another program)\n{log}")
    return html
