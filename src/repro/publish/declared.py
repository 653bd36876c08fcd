"""What a notebook says of its parameters, and whether values fit it: known before a kernel is started."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

from repro.params import PAPERS, ParamsError, Section, assigned, names

BEGIN = re.compile(rf"^[^#\n]*\b({'|'.join(PAPERS)})\.begin\(", re.MULTILINE)
# What the type of a default says of the values that may stand in its place.
KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    list: ((list, tuple), "a list"),
    tuple: ((list, tuple), "a list"),
    dict: ((dict,), "names with values"),
}


class Declared(NamedTuple):
    """``defaults``: the names that the cell tagged ``parameters`` assigns, with the source of their values.

    ``schema``: of the paper whose study the notebook begins (``cmr.begin``, ``allocation.begin``), if it begins one;
    every name of it may be given, whether the cell lists it or not.
    """

    defaults: dict[str, str]
    schema: type[Section] | None

    @property
    def names(self) -> tuple[str, ...]:
        """Every parameter that the notebook takes."""
        return tuple(dict.fromkeys([*self.defaults, *(names(self.schema) if self.schema else ())]))


def read(notebook: Path) -> Declared:
    """What a notebook declares. Raises ParamsError if the file is not a notebook, or has no cell tagged ``parameters``
    that is Python.
    """
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except (ValueError, TypeError, KeyError, AttributeError, nbformat.ValidationError):  # whatever the file holds
        raise ParamsError(f"{notebook}: must be a Jupyter notebook") from None
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if not tagged:
        raise ParamsError(f"{notebook}: no cell is tagged 'parameters'")
    try:
        defaults = assigned(tagged[0])
    except SyntaxError:
        raise ParamsError(f"{notebook}: the cell tagged 'parameters' must be Python") from None
    begins = [match for cell in cells if cell.cell_type == "code" and (match := BEGIN.search(cell.source))]
    return Declared(defaults, PAPERS[begins[0][1]] if begins else None)


def check(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the notebook does not take, which papermill would only warn about, or of another type.
    Raises ParamsError, which names what is wrong and what is allowed.
    """
    declared = read(notebook)
    unknown = [name for name in parameters if name not in declared.names]
    if unknown:
        which = ", ".join(map(repr, unknown))
        raise ParamsError(f"{notebook.name}: unknown parameter {which}; allowed: {', '.join(declared.names)}")
    for name, value in parameters.items():
        if name in declared.defaults:
            _check_kind(f"{notebook.name}: {name}", value, declared.defaults[name])


def _check_kind(place: str, value: Any, default: str) -> None:
    try:
        kind = type(ast.literal_eval(default))
    except (ValueError, SyntaxError):  # worked out by the notebook itself
        return
    if kind not in KINDS:  # None: whatever the study allows
        return
    allowed, words = KINDS[kind]
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise ParamsError(f"{place}: must be {words} such as {default}, got {value!r:.80}")
