"""Reading parameter files and checking values, with one line for the first thing that is wrong."""

import ast
import difflib
import re
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from repro.home import home
from repro.params.allocation import AllocationParams
from repro.params.cmr import Params
from repro.params.loading import BYTES, NotPlain, load
from repro.params.values import Section, instead

Schema = TypeVar("Schema", bound=Section)
SCHEMAS: tuple[type[Section], ...] = (Params, AllocationParams)
NAMES = frozenset(name for schema in SCHEMAS for name in schema.model_fields)
COMMON = frozenset.intersection(*(frozenset(schema.model_fields) for schema in SCHEMAS))
LONGEST = 80  # characters of a refused value that are shown
KINDS = {  # pydantic's word for what a value is not -> ours
    "model_type": "names with values",
    "dict_type": "names with values",
    "tuple_type": "a list",
    "string_type": "text",
}


class ParamsError(ValueError):
    """A parameter is wrong; the message is one line naming the field and what is allowed."""


def read(path: Path) -> dict[str, Any]:
    """The names and values of a parameter file, not yet checked.

    Raises:
        ParamsError: if the file is missing, is not a YAML mapping, or holds what no parameter file needs (`loading`).

    """
    told = plain(path)
    if not path.is_file():
        what = "not a file" if path.exists() else "no such file"
        raise ParamsError(f"{told}: {what}; presets are {known()}")
    try:
        with path.open("rb") as file:
            text = file.read(BYTES + 1).decode("utf-8-sig")
        values = load(text)
    except (OSError, UnicodeDecodeError, NotPlain) as error:
        raise ParamsError(f"{told}: {_why(error)}") from None
    if not isinstance(values, dict):
        raise ParamsError(f"{told}: must be names with values")
    return values


def value(name: str, text: str) -> Any:
    """The value of parameter `name` from the command line: a number if it reads as one (1e-4 too), else as YAML has it.

    Raises:
        ParamsError: for YAML that is more than a plain value.

    """
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    try:
        return load(text)
    except NotPlain as error:
        raise ParamsError(f"{shown(name)[1:-1]}: {error}") from None


def presets() -> list[str]:
    """The names of the parameter files that come with the project."""
    return sorted(file.stem for file in (home() / "params").glob("*.yaml"))


def known() -> str:
    """The presets in words."""
    return ", ".join(presets()) or f"none in {home() / 'params'}"


def preset_file(name: str) -> Path:
    """Where the preset `name` lies.

    Raises:
        ParamsError: if there is none of that name.

    """
    if name not in presets():
        raise ParamsError(f"preset: no preset {shown(name)}; there are {known()}")
    return home() / "params" / f"{name}.yaml"


def names(schema: type[Section]) -> tuple[str, ...]:
    """Every name of a schema, in its order."""
    return tuple(schema.model_fields)


def required(schema: type[Section]) -> frozenset[str]:
    """The names of a schema that must be given."""
    return frozenset(name for name, field in schema.model_fields.items() if field.is_required())


def schemas_in(values: Iterable[str]) -> tuple[type[Section], ...]:
    """The schemas that names are given of, those aside that they share."""
    given = set(values) - COMMON
    return tuple(schema for schema in SCHEMAS if given & set(names(schema)))


def check(values: Mapping[str, Any], schema: type[Schema] = Params) -> Schema:  # type: ignore[assignment]
    """`values` as the parameters of `schema`; those of the other paper are left out.

    Raises:
        ParamsError: one line for the first thing that is wrong: the field, what is allowed, what was given.

    """
    check_names(values)
    own = names(schema)
    try:
        return schema.model_validate({name: value for name, value in values.items() if name in own})
    except ValidationError as error:
        raise ParamsError(_first(error)) from None


def check_names(values: Iterable[str]) -> None:
    """Refuse names that are no parameters of either paper.

    Raises:
        ParamsError: naming the first, and what is allowed where the most similar name is.

    """
    for name in values:
        if name not in NAMES:
            like = difflib.get_close_matches(name[:LONGEST], sorted(NAMES), n=1, cutoff=0.0)
            schema = next((one for one in SCHEMAS if like and like[0] in names(one)), Params)
            raise ParamsError(f"{shown(name)}: unknown parameter; {instead(name, names(schema))}")


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return f"not YAML in UTF-8: {error}" if isinstance(error, UnicodeDecodeError) else str(error)


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    parts = [part for part in found["loc"] if part != "[key]"]  # pydantic's word for a name that is wrong itself
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
    message = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if found["type"] == "missing":
        return f"{place}: missing"
    if found["type"] in KINDS:
        return f"{place}: must be {KINDS[found['type']]}, got {shown(found['input'])}"
    if isinstance(found["input"], (dict, BaseModel)):
        return f"{place}: {message}" if place else message
    return f"{place}: {message[0].lower()}{message[1:]}, got {shown(found['input'])}"


def plain(path: Path) -> str:
    """The name of a file for a one-line message, which a name may not be made of."""
    return str(path) if str(path).isprintable() else repr(str(path))


def shown(value: object) -> str:
    """`value` for a one-line message, shortened."""
    text = repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


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
