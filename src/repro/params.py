"""What a study may be told: one schema for every preset, checked before anything starts.

A preset is a file of `params/`. A notebook's parameters cell names a preset and may override any name of it, as may
papermill (`-p NAME VALUE`).
"""

import ast
import re
import types
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    ValidationError,
    model_validator,
)

from repro.home import home

LONGEST = 80  # characters of a refused value that are shown


class ParamsError(ValueError):
    """A parameter is wrong; the message is one line naming the field and what is allowed."""


def _fraction(value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Fraction)):
        raise ValueError("must be a number or a fraction such as 1/3")
    try:
        ratio = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError("must be a number or a fraction such as 1/3") from None
    if not 0 <= ratio <= 1:
        raise ValueError("must be between 0 and 1")
    return ratio


def _inner_fraction(value: object) -> Fraction:
    share = _fraction(value)
    if not 0 < share < 1:
        raise ValueError("must be between 0 and 1, and neither")
    return share


def _number(value: object) -> object:
    if isinstance(value, str):
        raise ValueError("must be a number, not text (YAML reads 1e-4 as text: write 1.0e-4)")
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Share = Annotated[Fraction, BeforeValidator(_fraction), PlainSerializer(str)]
InnerShare = Annotated[Fraction, BeforeValidator(_inner_fraction), PlainSerializer(str)]
Count = Annotated[int, Strict(), Field(gt=0)]
Positive = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,40}$")]


class Section(BaseModel):
    """Base of every part of the schema: no unknown names, nothing changes once checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# Which kinds of source each option is for.
OPTIONS = {
    "topics": ("package",),
    "text_field": ("folder", "hub"),
    "licence": ("folder", "hub"),
    "config": ("hub",),
    "split": ("hub",),
    "revision": ("hub",),
    "characters_limit": ("hub",),
}


class SourceParams(Section):
    """One source of documents: exactly one of package, folder and hub, and what to take of it.

    folder: absolute, from ~, or from the project's folder.
    """

    package: str | None = None
    folder: str | None = None
    hub: str | None = None
    topics: tuple[str, ...] = ()
    part: tuple[Share, Share] = (Fraction(0), Fraction(1))
    text_field: str = "text"
    licence: str | None = None
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    characters_limit: Count | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "SourceParams":
        given = [name for name in ("package", "folder", "hub") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"must have exactly one of package, folder and hub, not {' and '.join(given) or 'none'}")
        for name in self.model_fields_set - {given[0], "part"}:
            if given[0] not in OPTIONS[name]:
                raise ValueError(f"{name} is an option of {' and '.join(OPTIONS[name])}, not of {given[0]}")
        if self.part[0] >= self.part[1]:
            raise ValueError("part must be [from, to] with from < to")
        if self.hub and not self.revision:
            raise ValueError("a hub data set needs a revision, so that it stays the same text")
        return self


class DomainParams(Section):
    """A domain: its name in tables and figures, and its text."""

    name: Name
    sources: Annotated[tuple[SourceParams, ...], Field(min_length=1)]


class ModelParams(Section):
    """A model's shape, as the rows of Table 1."""

    hidden: Count
    intermediate: Count
    layers: Count
    heads: Count

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelParams":
        if self.hidden % self.heads:
            raise ValueError(f"heads must divide hidden: {self.heads} does not divide {self.hidden}")
        if self.hidden // self.heads % 2:
            raise ValueError("hidden / heads must be even, for rotary positions")
        return self


def _text(description: str, **options: Any) -> Any:
    return Field(description=description, **options)


class Params(Section):
    """Everything that decides the numbers of a study, and where it runs."""

    preset: Name = _text("name of this set of parameters")
    general: tuple[SourceParams, ...] = _text("sources of general text", min_length=1)
    domain: DomainParams = _text("the domain every size is trained on")
    second_domain: DomainParams = _text("another domain, for the smallest size only")
    validation_share: InnerShare = _text("share of the general documents held out")
    domain_validation_share: InnerShare = _text("share of a domain's documents held out")
    replay_share: InnerShare = _text("share of the general documents kept for continual pretraining")
    near_duplicate: Positive = _text("Jaccard similarity from which two documents count as the same", le=1)
    vocabulary: Count = _text("entries of the tokenizer", ge=257)
    models: tuple[ModelParams, ...] = _text("shapes of the models, smallest first", min_length=1)
    sequence_length: Count = _text("tokens in a training sequence")
    batch: Count = _text("sequences in an optimiser step")
    pretrain_tokens: Count = _text("tokens of general pretraining")
    pretrain_lr: Positive = _text("peak learning rate of pretraining")
    pretrain_warmup: Rate = _text("share of the pretraining steps spent warming up")
    pretrain_floor: Rate = _text("learning rate at the end of the cosine, as a share of the peak")
    continual_tokens: Count = _text("tokens of continual pretraining, T_max")
    continual_lr: Positive = _text("constant learning rate of continual pretraining")
    continual_warmup_steps: Annotated[int, Strict(), Field(ge=0)] = _text("continual steps spent warming up")
    weight_decay: Annotated[float, BeforeValidator(_number), Field(ge=0)] = _text("weight decay of matrices")
    clip: Positive = _text("largest norm of the gradient")
    precision: Literal["fp32", "bf16"] = _text("what matrix products are computed in: fp32 or bf16")
    ratios: tuple[Share, ...] = _text("domain shares R of the mixture, every size", min_length=1)
    second_ratios: tuple[Share, ...] = _text("domain shares R for the second domain", min_length=1)
    seeds: tuple[Annotated[int, Strict(), Field(ge=0)], ...] = _text("seeds of weights and data", min_length=1)
    validation_points: Count = _text("points of a loss curve after the first", ge=5)
    validation_sequences: Count = _text("held-out sequences losses are measured on", ge=2)
    epsilon: Positive = _text("tolerated rise of the general loss, nats per token (Eq. 1)")
    lagrange: Positive = _text("the Lagrange multiplier of Eq. 3")
    device: Literal["auto", "cpu", "cuda"] = _text("where to train: auto, cpu or cuda", default="auto")
    workers: Count | Literal["auto"] = _text("runs at a time; auto is one a core or GPU", default="auto")
    micro_batch: Count | None = _text("sequences per forward pass; null takes the whole batch", default=None)
    checkpoint_seconds: Positive = _text("how often a run saves what it needs to resume", default=60.0)

    @model_validator(mode="after")
    def _consistent(self) -> "Params":
        step = self.batch * self.sequence_length
        for name in ("pretrain_tokens", "continual_tokens"):
            if getattr(self, name) < step * self.validation_points:
                least = f"{self.validation_points} steps (validation_points) of {self.batch} x {self.sequence_length}"
                raise ValueError(f"{name} must be at least {step * self.validation_points}: {least} tokens")
        for name in ("ratios", "second_ratios", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must not repeat a value")
        if self.validation_share + self.replay_share >= 1:
            raise ValueError("validation_share + replay_share must leave some text to pretrain on")
        names = [self.domain.name, self.second_domain.name]
        if len({"general", *names}) < 3:
            raise ValueError("domain.name and second_domain.name must differ from each other and from general")
        return self


NAMES = tuple(Params.model_fields)
REQUIRED = frozenset(name for name, field in Params.model_fields.items() if field.is_required())


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
    _check_names(values)
    try:
        return Params.model_validate(dict(values))
    except ValidationError as error:
        raise ParamsError(_first(error)) from None


def _check_names(values: Mapping[str, Any]) -> None:
    for name in values:
        if name not in NAMES:
            raise ParamsError(f"{shown(name)}: unknown parameter; allowed are {', '.join(NAMES)}")


def from_notebook(namespace: Mapping[str, Any]) -> Params:
    """The parameters of a running notebook: its preset, with every name that is not None put over it.

    A notebook that was given everything a preset must say (papermill's ``-f FILE``) needs no preset of that name.

    namespace: the notebook's globals. Names that its parameters cell or papermill's set, and that are no parameters,
    are refused, so that a misspelt one fails instead of being ignored; names set elsewhere are the reader's own.
    """
    given = {name: value for name, value in namespace.items() if _is_parameter(name, value)}
    if "In" in namespace:  # IPython's history of cells
        said = _assigned(namespace["In"])
        given = {name: value for name, value in given.items() if name in said}
    _check_names(given)
    given = {name: value for name, value in given.items() if value is not None}
    if "preset" not in given:
        raise ParamsError(f"preset: missing; there are {', '.join(presets())}")
    base = {} if given.keys() >= REQUIRED else read(preset_file(given["preset"]))
    return check(base | given)


def notebook_cell() -> str:
    """The source of every notebook's parameters cell: all names, None meaning "as in the preset"."""
    fields = Params.model_fields
    lines = [f"{name} = None  # {fields[name].description}" for name in NAMES if name != "preset"]
    return "\n".join(['preset = "quick"  # the file of params/ that gives what is None below', *lines])


def _assigned(cells: Iterable[str]) -> set[str]:
    """The names assigned in parameters cells: the one that names the preset, and the one papermill puts after it."""
    found = (cell for cell in cells if cell.startswith("# Parameters") or re.search(r"^preset\s*=", cell, re.MULTILINE))
    targets = (node.targets for cell in found for node in ast.parse(cell).body if isinstance(node, ast.Assign))
    return {target.id for listed in targets for target in listed if isinstance(target, ast.Name)}


def _is_parameter(name: str, value: object) -> bool:
    if name.startswith("_") or name in ("In", "Out") or isinstance(value, types.ModuleType):
        return False
    return value is None or isinstance(value, (bool, int, float, str, list, tuple, dict))


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
