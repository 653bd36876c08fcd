"""What a study may be told: one schema for each paper, checked before anything starts.

A preset is a file of `params/` with the names of one paper's schema or of both. A notebook's parameters cell names a
preset and the parameters that its page is about; papermill may set any name of the schema (`-p NAME VALUE`). The first
fault is told in one line. YAML may be written to do harm: what is read is plain values only, each name once, and little
of everything.
"""

import ast
import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from repro.home import home
from repro.output import LONGEST, safe, shown
from repro.params.allocation import (
    AllocationParams as AllocationParams,
    MaterialParams as MaterialParams,
    PairsParams as PairsParams,
)
from repro.params.cmr import ModelParams as ModelParams, Params as Params
from repro.params.values import (
    OriginParams as OriginParams,
    PretrainedParams as PretrainedParams,
    Section as Section,
    SourceParams as SourceParams,
    StudyParams as StudyParams,
    instead,
)

MINE = "mine"  # what a file that extends a preset is called, unless it says; params/mine.yaml is a template of one
BYTES = 64 * 1024  # of a whole file; the longest preset has 4 KiB
CHARACTERS, ITEMS, DEPTH = 1000, 1000, 20  # of a value, of a list or mapping, of one inside another
PLAIN = ("null", "bool", "int", "float")
OCTAL = re.compile(r"[+-]?0[0-9_]+")
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
Schema = TypeVar("Schema", bound=Section)
PAPERS: dict[str, type[Section]] = {"cmr": Params, "allocation": AllocationParams}  # by the package of their study
SCHEMAS = tuple(PAPERS.values())
NAMES = frozenset(name for schema in SCHEMAS for name in schema.model_fields)
SafeLoader: Any = yaml.SafeLoader  # whose types are not known
COMMON = frozenset.intersection(*(frozenset(schema.model_fields) for schema in SCHEMAS))
INJECTED = "# Parameters"  # how papermill's cell of parameters begins
EXTENDS = "extends"  # names the preset that has what a file does not say
PAPER = "paper"  # beside it: the only paper whose parameters are taken from there
KINDS: dict[str, str] = yaml.safe_load(Path(__file__).with_name("kinds.yaml").read_text())


class NotPlain(ValueError):
    """The text is not a plain value; the message is one line that says where and what is allowed."""


def load(text: str) -> Any:
    """The value that `text` is as YAML; a date is text. Raises NotPlain for what is not YAML, aliases, tags, a name
    that is not text or is given twice, a number that cannot be, and more of anything than a parameter file needs.
    """
    if len(text.encode(errors="replace")) > BYTES:
        raise NotPlain(f"must be at most {BYTES // 1024} KiB")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, made stricter
    except yaml.YAMLError as error:
        raise NotPlain(f"not YAML: {' '.join(str(error).split())[:200]}") from None
    except ValueError as error:  # 0x_ is a number to YAML, but not to Python
        raise error if isinstance(error, NotPlain) else NotPlain(f"not a number: {error}") from None


class _Loader(SafeLoader):  # type: ignore[misc]
    """A safe loader that lets only plain values through, before it makes anything of them: a few bytes can stand for
    gigabytes. It refuses names given twice, of which YAML's own silently takes the last.
    """

    _depth = 0  # of the next node: how many lists and mappings are around it
    _above = ""  # the outermost name before it

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node of the text; NotPlain for what no parameter file needs."""
        event = self.peek_event()
        if self._depth == 1 and index is None and isinstance(event, yaml.ScalarEvent):  # a name
            self._above = f"{event.value} " if event.value.isidentifier() and len(event.value) <= 40 else ""
        for message in self._faults(event, parent):
            line = f"line {event.start_mark.line + 1}"
            raise NotPlain(f"{self._above}({line}): {message}" if self._above else f"{line}: {message}")
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _faults(self, event: Any, parent: yaml.Node | None) -> Iterator[str]:
        if isinstance(event, yaml.AliasEvent):
            yield f"*{str(event.anchor)[:40]} stands for a value given elsewhere; must be written out"
        elif event.tag is not None:
            yield f"the tag {event.tag[:60]!r} is not allowed; must be plain text, number, list or mapping"
        if isinstance(event, yaml.ScalarEvent):
            if len(event.value) > CHARACTERS:
                yield f"a value must be at most {CHARACTERS:,} characters, got {len(event.value):,}"
            if event.implicit[0] and OCTAL.fullmatch(event.value):
                octal = f"{event.value[:40]} begins with 0, so YAML reads octal digits"
                yield f"{octal}; must be without it, or in quotes as text"
        if parent is not None and len(parent.value) >= ITEMS:
            yield f"a list or mapping must have at most {ITEMS:,} entries"
        if self._depth > DEPTH:
            yield f"lists and mappings must be at most {DEPTH} deep"

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The names and values of a mapping; NotPlain for a name that is not text, or is given twice."""
        values: dict[Any, Any] = {}
        for name_node, value_node in node.value:
            line = f"line {name_node.start_mark.line + 1}"
            name = self.construct_object(name_node, deep=True)
            if not isinstance(name, str):
                raise NotPlain(f"{line}: must be names with values, and {str(name_node.value)[:40]!r} is no name")
            if name in values:
                raise NotPlain(f"{line}: {name[:40]!r} is given twice; must be given once")
            values[name] = self.construct_object(value_node, deep=deep)
        return values

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """The kind of a value: YAML's own, but a date (a revision) and 12:30:00 (a time of a job) are text."""
        tag: str = super().resolve(kind, value, implicit)
        if kind is yaml.ScalarNode and (tag.rpartition(":")[2] not in PLAIN or (":" in value and tag in NUMBERS)):
            return "tag:yaml.org,2002:str"
        return tag


class ParamsError(ValueError):
    """A parameter is wrong; the message is one line naming the field and what is allowed."""


def presets() -> list[str]:
    """The names of the parameter files that come with the project, but for the template of the reader's own."""
    return sorted({file.stem for file in (home() / "params").glob("*.yaml")} - {MINE})


def _presets_in_words() -> str:
    return ", ".join(presets()) or f"none in {home() / 'params'}"


def preset_file(name: str) -> Path:
    """The file of the preset `name`. Raises ParamsError if there is none of that name."""
    if name not in presets():
        raise ParamsError(f"preset: no preset {shown(repr(name))}; there are {_presets_in_words()}")
    return home() / "params" / f"{name}.yaml"


def read(path: Path) -> dict[str, Any]:
    """The names and values of a parameter file, not yet checked; those of the preset that it `extends`, under them.
    Raises ParamsError if the file is missing, is not a YAML mapping, or holds what no parameter file needs (`load`).
    """
    file = safe(path)
    if not path.is_file():
        what = "not a file" if path.exists() else "no such file"
        raise ParamsError(f"{file}: {what}; presets are {_presets_in_words()}")
    try:
        with path.open("rb") as opened:
            values = load(opened.read(BYTES + 1).decode("utf-8-sig"))
    except OSError as error:
        raise ParamsError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{file}: not YAML in UTF-8: {error}") from None
    except NotPlain as error:
        raise ParamsError(f"{file}: {error}") from None
    if not isinstance(values, dict):
        raise ParamsError(f"{file}: must be names with values")
    return _extended(values)


def _extended(values: dict[str, Any]) -> dict[str, Any]:
    """`values` over those of the preset that they extend, if they do; their own name is `MINE` unless they give one."""
    if EXTENDS not in values:
        return values
    own = {name: value for name, value in values.items() if name not in (EXTENDS, PAPER)}
    if not isinstance(values[EXTENDS], str):
        raise ParamsError(f"{EXTENDS}: must be the name of a preset; there are {_presets_in_words()}")
    base = read(preset_file(values[EXTENDS]))
    if PAPER in values:
        if (paper := str(values[PAPER])) not in PAPERS:
            raise ParamsError(f"{PAPER}: must be {' or '.join(PAPERS)}, got {shown(repr(values[PAPER]))}")
        base = {name: value for name, value in base.items() if name in names(PAPERS[paper])}
    return base | {"preset": MINE} | own


def value(name: str, text: str) -> Any:
    """The value of a parameter on the command line: as YAML, but 1e-4 is a number; ParamsError if not plain."""
    try:
        found = load(text)
    except NotPlain as error:
        raise ParamsError(f"{shown(name)}: {error}") from None
    try:
        return float(found) if isinstance(found, str) and found == text else found
    except ValueError:
        return found


def names(schema: type[Section]) -> tuple[str, ...]:
    """Every name of a schema: its own in their order, and then those that it shares with the other paper's."""
    return tuple(sorted(schema.model_fields, key=StudyParams.model_fields.__contains__))


def required(schema: type[Section]) -> frozenset[str]:
    """The names of a schema that must be given."""
    return frozenset(name for name, field in schema.model_fields.items() if field.is_required())


def schemas_in(values: Iterable[str]) -> tuple[type[Section], ...]:
    """The schemas that have any of the names, those aside that all schemas share."""
    given = set(values) - COMMON
    return tuple(schema for schema in SCHEMAS if given & set(names(schema)))


def check(values: Mapping[str, Any], schema: type[Schema] = Params) -> Schema:  # type: ignore[assignment]
    """`values` as the parameters of `schema`; those of the other paper are left out. Raises ParamsError with one line
    for the first thing that is wrong: the field, what is allowed, what was given.
    """
    _check_names(values)
    own = names(schema)
    try:
        return schema.model_validate({name: value for name, value in values.items() if name in own})
    except ValidationError as error:
        raise ParamsError(_first(error)) from None


def _check_names(values: Iterable[str]) -> None:
    """Refuse a name that is in no schema; the message lists those of the schema with the most similar name."""
    for name in values:
        if name not in NAMES:
            like = difflib.get_close_matches(name[:LONGEST], sorted(NAMES), n=1, cutoff=0.0)
            schema = next((schema for schema in SCHEMAS if like and like[0] in names(schema)), Params)
            raise ParamsError(f"{shown(repr(name))}: unknown parameter; {instead(name, names(schema))}")


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    # In brackets: pydantic's word for a name that is wrong itself, and our words for the kinds of a value.
    parts = [part for part in fault["loc"] if not str(part).startswith("[")]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
    if fault["type"] == "missing":
        return f"{place}: missing"
    if fault["type"] in KINDS:
        limits = {name: int(limit) if limit in (0, 1) else limit for name, limit in fault.get("ctx", {}).items()}
        return f"{place}: must be {KINDS[fault['type']].format(**limits)}, got {shown(repr(fault['input']))}"
    message = fault["msg"].removeprefix("Value error, ")
    if isinstance(fault["input"], (dict, BaseModel)):
        return f"{place}: {message}" if place else message
    return f"{place}: {message}, got {shown(repr(fault['input']))}"


def from_notebook(namespace: Mapping[str, Any], schema: type[Schema] = Params) -> Schema:  # type: ignore[assignment]
    """The parameters of a running notebook: its preset, with every name that is not None, or that papermill sets to
    None, put over it. One that was given all that a preset must say (papermill's ``-f FILE``) needs no preset of that
    name.

    namespace: the notebook's globals. Only names that its parameters cell or papermill's :func:`assigned` when it was
    last run are read, and any name of either paper is allowed there; names set in other cells are the reader's own.
    Raises ParamsError for a name that is not a parameter, so that a misspelt one is not ignored, or a wrong value.
    """
    history = (cell for cell in namespace.get("In", ()) if _is_parameters_cell(cell))  # of cells, as IPython has it
    cells = [(cell, assigned(cell)) for cell in {cell.startswith(INJECTED): cell for cell in history}.values()]
    given = {name: namespace[name] for _, names in cells for name in names if name in namespace}
    meant = {name for cell, names in cells if cell.startswith(INJECTED) for name in names}  # None is a value there
    _check_names(name for name in given if name not in (EXTENDS, PAPER))
    given = {name: value for name, value in given.items() if value is not None or name in meant}
    if EXTENDS in given:  # papermill's ``-f FILE`` hands on what the file says
        return check(_extended(given), schema)
    if given.get("preset") is None:
        raise ParamsError(f"preset: missing; there are {_presets_in_words()}")
    base = {} if given.keys() >= required(schema) else read(preset_file(given["preset"]))
    return check(base | given, schema)


def notebook_cell(schema: type[Section], listed: Collection[str] = ()) -> str:
    """The source of a notebook's parameters cell: the preset, and those `listed` names that its paper has."""
    fields = schema.model_fields
    lines = [f"{name} = None  # {fields[name].description}" for name in listed if name in fields and name != "preset"]
    return "\n".join(['preset = "quick"  # the file of params/ with what is None, or not listed, here', *lines])


def assigned(cell: str) -> list[str]:
    """The names that a cell assigns, in order, without those that begin with _ and helpers: what is no parameter, and
    the cell itself makes use of. SyntaxError if it is not Python.
    """
    body, found = ast.parse(cell), list[ast.Name]()
    for statement in body.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            found += [node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    used = {node.id for node in ast.walk(body) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return [node.id for node in found if not node.id.startswith("_") and node.id not in used - NAMES]


def _is_parameters_cell(cell: str) -> bool:
    """Whether a cell is the one that names the preset, or the one that papermill puts after it."""
    return cell.startswith(INJECTED) or re.search(r"^preset\s*=", cell, re.MULTILINE) is not None
