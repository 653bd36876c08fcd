"""Executing the book's notebooks one after the other, telling in the terminal what happens."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.publish.notebooks import NotebookFailed, execute, up_to_date


def execute_all(source: Path, out: Path, parameters: Mapping[str, Any], extra: str) -> dict[str, Path] | None:
    """Execute every notebook of `source` that is not up to date, in name order.

    extra: whatever else decides what they show, as `notebooks.execute` takes it.

    Returns:
        name -> executed notebook; None if one failed, which has then been told on standard error.

    """
    done: dict[str, Path] = {}
    for notebook in sorted(source.glob("*.ipynb")):
        done[notebook.stem] = out / notebook.name
        if not execute_one(notebook, done[notebook.stem], parameters, extra):
            return None
    return done


def execute_one(notebook: Path, output: Path, parameters: Mapping[str, Any], extra: str) -> bool:
    """Execute one notebook unless it is up to date; whether it is done."""
    if up_to_date(notebook, output, parameters, extra):
        print(f"{notebook.name}: up to date", flush=True)
        return True
    started = time.monotonic()
    print(f"{notebook.name} ...", flush=True)
    try:
        execute(notebook, output, parameters, extra=extra)
    except NotebookFailed as error:
        print(f"repro: {error}", file=sys.stderr)
        return False
    print(f"{notebook.name}: {time.monotonic() - started:.0f} s -> {output}", flush=True)
    return True
