"""Reading parameter files and checking values, with one line for the first thing that is wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from repro.home import home
from repro.params.schema import NAMES, Params

LONGEST = 80  # characters of a refused value that are shown


class ParamsError(ValueError):
    """A parameter is wrong; the message is one line naming the field and what is allowed."""


def read(path: Path) -> dict[str, Any]:
    """The names and values of a parameter file, not yet checked.

    Raises:
        ParamsError: if the file is missing or is not a YAML mapping.

    """
    if not path.is_file():
        raise ParamsError(f"{path}: no such file; presets are {', '.join(presets())}")
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ParamsError(f"{path}: must be names with values")
    return values


def presets() -> list[str]:
    """The names of the parameter files that come with the project."""
    return sorted(file.stem for file in (home() / "params").glob("*.yaml"))


def preset_file(name: str) -> Path:
    """Where the preset `name` lies.

    Raises:
        ParamsError: if there is none of that name.

    """
    if name not in presets():
        raise ParamsError(f"preset: no preset {shown(name)}; there are {', '.join(presets())}")
    return home() / "params" / f"{name}.yaml"


def check(values: Mapping[str, Any]) -> Params:
    """`values` as parameters.

    Raises:
        ParamsError: one line for the first thing that is wrong: the field, what is allowed, what was given.

    """
    check_names(values)
    try:
        return Params.model_validate(dict(values))
    except ValidationError as error:
        raise ParamsError(_first(error)) from None


def check_names(values: Mapping[str, Any]) -> None:
    """Refuse names that are no parameters.

    Raises:
        ParamsError: naming the first, and what is allowed.

    """
    for name in values:
        if name not in NAMES:
            raise ParamsError(f"{shown(name)}: unknown parameter; allowed are {', '.join(NAMES)}")


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found["loc"]).lstrip(".")
    message = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if found["type"] == "missing":
        return f"{place}: missing"
    if found["type"] == "extra_forbidden":
        return f"{place}: unknown name"
    if isinstance(found["input"], (dict, BaseModel)):
        return f"{place}: {message}" if place else message
    return f"{place}: {message[0].lower()}{message[1:]}, got {shown(found['input'])}"


def shown(value: object) -> str:
    """`value` for a one-line message, shortened."""
    text = repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
