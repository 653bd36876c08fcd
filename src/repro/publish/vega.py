"""The scripts the book needs, taken from installed packages and served by the book itself: no CDN."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import vl_convert

# The variant with every TeX extension inside, so that no formula makes MathJax look for a further file.
MATHJAX = "static/mathjax/tex-svg-full.js"


def write_scripts(folder: Path) -> None:
    """Write ``vega.js`` (defines ``vegaEmbed``) and ``mathjax.js`` into ``folder``.

    They do not go under ``_static``: jupyter-book puts every script there on every page, and the library of
    the charts weighs 0.9 MB.

    Raises:
        FileNotFoundError: the package that carries MathJax is not installed.

    """
    folder.mkdir(parents=True, exist_ok=True)
    # The bundle's own helper names are short globals (`n`, `t`); a function keeps them to itself.
    bundle = vl_convert.javascript_bundle(snippet="window.vegaEmbed = vegaEmbed;")
    (folder / "vega.js").write_text(f"(function () {{\n{bundle}\n}})();\n", encoding="utf-8")
    shutil.copyfile(_mathjax(), folder / "mathjax.js")


def _mathjax() -> Path:
    spec = importlib.util.find_spec("sphinx-mathjax-offline")  # hyphens: it cannot be imported by a statement
    if spec is None or spec.origin is None:
        raise FileNotFoundError("MathJax: the package sphinx-mathjax-offline is not installed")
    return Path(spec.origin).parent / MATHJAX
