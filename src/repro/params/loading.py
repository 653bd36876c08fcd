"""Reading YAML that may be written to do harm: plain values only, each name once, and little of everything."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

BYTES = 64 * 1024  # of a whole file; the longest preset has 4 KiB
CHARACTERS, ITEMS, DEPTH = 1000, 1000, 20  # of a value, of a list or mapping, of one inside another

PLAIN = ("null", "bool", "int", "float")
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")

Scanner: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class NotPlain(ValueError):
    """The text is not a plain value; the message is one line that says where and what is allowed."""


def load(text: str) -> Any:
    """The value that `text` is as YAML; a date is text.

    Raises:
        NotPlain: for what is not YAML, aliases, tags, a name that is not text or is given twice, a number that cannot
        be, and more of anything than a parameter file needs.

    """
    if len(text.encode(errors="replace")) > BYTES:
        raise NotPlain(f"must be at most {BYTES // 1024} KiB")
    try:
        _survey(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, made stricter
    except yaml.YAMLError as error:
        raise NotPlain(f"not YAML: {' '.join(str(error).split())[:200]}") from None
    except ValueError as error:  # 0x_ is a number to YAML, but not to Python
        raise error if isinstance(error, NotPlain) else NotPlain(f"not a number: {error}") from None


@dataclass
class _Open:
    """A list or mapping whose end has not been read yet; count: of its values so far, names included."""

    mapping: bool
    count: int = 0


@dataclass
class _Place:
    """Where a survey is: the open lists and mappings, and the outermost name above."""

    opened: list[_Open] = field(default_factory=list)
    name: str = ""

    def says(self, event: yaml.Event, message: str) -> NotPlain:
        line = f"line {event.start_mark.line + 1 if event.start_mark else '?'}"
        return NotPlain(f"{self.name} ({line}): {message}" if self.name else f"{line}: {message}")


def _survey(text: str) -> None:
    """Read `text` event by event before anything is made of it: a few bytes can stand for gigabytes."""
    place = _Place()
    for event in yaml.parse(text, Loader=Scanner):
        if isinstance(event, yaml.CollectionEndEvent):
            place.opened.pop()
        elif isinstance(event, yaml.NodeEvent):
            _note(event, place)
            for message in _faults(event, place):
                raise place.says(event, message)
            if isinstance(event, yaml.CollectionStartEvent):
                place.opened.append(_Open(isinstance(event, yaml.MappingStartEvent)))


def _note(event: yaml.NodeEvent, place: _Place) -> None:
    if not place.opened:
        return
    inner = place.opened[-1]
    if len(place.opened) == 1 and inner.mapping and inner.count % 2 == 0 and isinstance(event, yaml.ScalarEvent):
        place.name = event.value if event.value.isidentifier() and len(event.value) <= 40 else ""
    inner.count += 1


def _faults(event: yaml.NodeEvent, place: _Place) -> Iterator[str]:
    if isinstance(event, yaml.AliasEvent):
        yield f"*{str(event.anchor)[:40]} stands for a value given elsewhere; must be written out"
    if (tag := getattr(event, "tag", None)) is not None:
        yield f"the tag {tag[:60]!r} is not allowed; must be plain text, number, list or mapping"
    if isinstance(event, yaml.ScalarEvent) and len(event.value) > CHARACTERS:
        yield f"a value must be at most {CHARACTERS:,} characters, got {len(event.value):,}"
    if place.opened and place.opened[-1].count > ITEMS * (1 + place.opened[-1].mapping):
        yield f"a list or mapping must have at most {ITEMS:,} entries"
    if len(place.opened) > DEPTH:
        yield f"lists and mappings must be at most {DEPTH} deep"


class _Loader(Scanner):  # type: ignore[misc]
    """A safe loader that refuses names given twice, of which YAML's own silently takes the last."""

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
