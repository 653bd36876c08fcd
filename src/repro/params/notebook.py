"""The parameters of a notebook: the cell that declares them, and what a running notebook was given."""

import ast
import re
import types
from collections.abc import Iterable, Mapping
from typing import Any

from repro.params.cmr import Params
from repro.params.reading import (
    ParamsError,
    Schema,
    check,
    check_names,
    known,
    names,
    preset_file,
    read,
    required,
)
from repro.params.values import Section


def from_notebook(namespace: Mapping[str, Any], schema: type[Schema] = Params) -> Schema:  # type: ignore[assignment]
    """The parameters of a running notebook: its preset, with every name that is not None put over it.

    A notebook that was given everything a preset must say (papermill's ``-f FILE``) needs no preset of that name.

    namespace: the notebook's globals. Names that its parameters cell or papermill's set, and that are no parameters,
    are refused, so that a misspelt one fails instead of being ignored; names set elsewhere are the reader's own.
    """
    if "In" in namespace:  # IPython's history of cells
        given = {name: namespace[name] for name in _assigned(namespace["In"]) if name in namespace}
    else:
        given = {name: value for name, value in namespace.items() if _is_parameter(name, value)}
    check_names(given)
    given = {name: value for name, value in given.items() if value is not None}
    if "preset" not in given:
        raise ParamsError(f"preset: missing; there are {known()}")
    base = {} if given.keys() >= required(schema) else read(preset_file(given["preset"]))
    return check(base | given, schema)


def notebook_cell(schema: type[Section] = Params) -> str:
    """The source of a notebook's parameters cell: all names of its paper, None meaning "as in the preset"."""
    fields = schema.model_fields
    lines = [f"{name} = None  # {fields[name].description}" for name in names(schema) if name != "preset"]
    return "\n".join(['preset = "quick"  # the file of params/ that gives what is None below', *lines])


def _assigned(cells: Iterable[str]) -> list[str]:
    """The names assigned in parameters cells: the one that names the preset, and the one papermill puts after it."""
    found = (cell for cell in cells if cell.startswith("# Parameters") or re.search(r"^preset\s*=", cell, re.MULTILINE))
    targets = (target for cell in found for node in ast.parse(cell).body for target in _targets(node))
    said = (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
    return list(dict.fromkeys(name for name in said if not name.startswith("_")))


def _targets(statement: ast.stmt) -> list[ast.expr]:
    match statement:
        case ast.Assign():
            return statement.targets
        case ast.AnnAssign() | ast.AugAssign():
            return [statement.target]
        case _:
            return []


def _is_parameter(name: str, value: object) -> bool:
    if name.startswith("_") or name in ("In", "Out") or isinstance(value, types.ModuleType):
        return False
    return value is None or isinstance(value, (bool, int, float, str, list, tuple, dict))
