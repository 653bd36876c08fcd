"""The parameters that a notebook declares, and whether values fit them: known before a kernel is started."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from repro.params import ParamsError

# What a default's type says of the values that may stand in its place.
KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    list: ((list, tuple), "a list"),
    tuple: ((list, tuple), "a list"),
    dict: ((dict,), "names with values"),
}


def parameters_of(notebook: Path) -> dict[str, str]:
    """The parameters a notebook declares, name -> default as written in its cell tagged ``parameters``.

    Raises:
        ParamsError: the file is no notebook, or has no such cell.

    """
    from papermill.translators import PythonTranslator  # 0.3 s: only when a notebook is really looked at

    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        nbformat.ValidationError,
    ):  # whatever the file holds
        raise ParamsError(f"{notebook}: must be a Jupyter notebook") from None
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if not tagged:
        raise ParamsError(f"{notebook}: no cell is tagged 'parameters'")
    return {parameter.name: parameter.default for parameter in PythonTranslator.inspect(tagged[0])}


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the notebook does not declare (papermill would warn and use the default), or of another
    type than their default has.

    Raises:
        ParamsError: naming what is wrong and what is allowed.

    """
    declared = parameters_of(notebook)
    unknown = [name for name in parameters if name not in declared]
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise ParamsError(f"{notebook.name}: unknown parameter {names}; allowed: {', '.join(declared)}")
    for name, value in parameters.items():
        _check_kind(f"{notebook.name}: {name}", value, declared[name])


def _check_kind(place: str, value: Any, default: str) -> None:
    try:
        kind = type(ast.literal_eval(default))
    except (ValueError, SyntaxError):  # worked out by the notebook itself
        return
    if kind not in KINDS:  # None: whatever the study allows
        return
    allowed, told = KINDS[kind]
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise ParamsError(f"{place}: must be {told} such as {default}, got {value!r:.80}")
