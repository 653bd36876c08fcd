"""Executing the book's notebooks one after the other, telling in the terminal what happens."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.params import NAMES, ParamsError
from repro.publish.declared import parameters_of
from repro.publish.notebooks import NotebookFailed, execute, up_to_date

Identities = Mapping[frozenset[str], str]  # names of a study's parameters -> what decides its numbers


def execute_all(source: Path, out: Path, parameters: Mapping[str, Any], studies: Identities) -> dict[str, Path] | None:
    """Execute every notebook of `source` that is not up to date, in name order.

    parameters: of all studies; each notebook is given those that it declares. studies: what else decides what they
    show.

    Returns:
        name -> executed notebook; None if one failed, which has then been told on standard error.

    """
    done: dict[str, Path] = {}
    for notebook in sorted(source.glob("*.ipynb")):
        done[notebook.stem] = out / notebook.name
        if not execute_one(notebook, done[notebook.stem], parameters, studies):
            return None
    return done


def execute_one(notebook: Path, output: Path, parameters: Mapping[str, Any], studies: Identities) -> bool:
    """Execute one notebook unless it is up to date; whether it is done.

    Raises:
        ParamsError: if the parameters say nothing of the study that the notebook is about.

    """
    declared = frozenset(parameters_of(notebook))
    study = next((names for names in studies if names >= declared), None)
    if study is None:
        raise ParamsError(f"{notebook.name}: these parameters are those of the other paper's study")
    parameters = {name: value for name, value in parameters.items() if name in declared or name not in NAMES}
    extra = studies[study]
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
