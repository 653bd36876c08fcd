"""The kinds of value that parameters have, and the parameters that both papers' studies share."""

import difflib
import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    model_validator,
)

LARGEST = 10**15  # of a count: still an exact float
LONGEST = 200  # characters of a name
LONGEST_PART = 255  # bytes of a folder's name, as most file systems have it
LONGEST_SHOWN = 80  # characters of an unknown name that a message repeats
FRACTION = re.compile(r"[+-]?[0-9]{1,40}(/[0-9]{1,40}|\.[0-9]{0,40})?", re.ASCII)
# Words joined by single dots and by dashes, which excludes ".." and what starts with a dot or a dash.
WORDS = r"[A-Za-z0-9_]+(?:(?:[.+]|-+)[A-Za-z0-9_]+)*"


class Section(BaseModel):
    """Base of every part of the schema: no unknown names, nothing changes once checked."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields:
                raise ValueError(f"unknown name {str(name)[:LONGEST_SHOWN]!r}; {instead(str(name), cls.model_fields)}")
        return values

    def only(self, *names: str) -> str:
        """The one of `names` that is given; ValueError if none or several are."""
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            allowed = f"{', '.join(names[:-1])} and {names[-1]}"
            raise ValueError(f"must have exactly one of {allowed}, not {' and '.join(given) or 'none'}")
        return given[0]

    def require_distinct(self, *names: str) -> None:
        """Refuse a list, among those called `names`, that has a value twice."""
        for name in names:
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} must not repeat a value")


def instead(name: str, allowed: Iterable[str]) -> str:
    """What may stand in place of an unknown name: the one that was probably meant, and all there are."""
    known = list(allowed)
    like = difflib.get_close_matches(name[:LONGEST_SHOWN], known, n=1)
    return f"{f'did you mean {like[0]}? ' if like else ''}allowed are {', '.join(known)}"


def text(description: str, **options: Any) -> Any:
    """A field and what it means, which a notebook's parameters cell shows."""
    return Field(description=description, **options)


def matches(pattern: str, allowed: str) -> AfterValidator:
    """A check that a text is like `pattern` from end to end; `allowed` says in words what that is."""
    whole = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not whole.fullmatch(value):
            raise ValueError(f"must be {allowed}")
        return value

    return AfterValidator(check)


def _name(pattern: str, allowed: str) -> AfterValidator:
    return matches(rf"(?=.{{1,{LONGEST}}}\Z)(?:{pattern})", f"{allowed}, at most {LONGEST} characters")


def _fraction(value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Fraction)):
        raise ValueError("must be a number or a fraction such as 1/3")
    if isinstance(value, str) and not FRACTION.fullmatch(value):  # 1e-999999999 would be computed, digit by digit
        exponent = " (YAML reads 1e-4 as text: write 1.0e-4)" if re.fullmatch(r"[0-9.]+[eE].*", value) else ""
        raise ValueError(f"must be a number or a fraction such as 1/3{exponent}")
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


def _line(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("must be one line of printable text")
    return value


def _folder(value: str) -> str:
    parts = Path(_line(value)).parts
    if ".." in parts:
        raise ValueError("must be a folder without ..: absolute, from ~, or from the project's folder")
    if value.startswith("~") and parts[0] != "~":
        raise ValueError("must be absolute, from ~, or from the project's folder; of users only ~ itself is allowed")
    if any(len(part.encode()) > LONGEST_PART for part in parts):
        raise ValueError(f"must have no name longer than {LONGEST_PART} bytes in it")
    if parts == ("/",):
        raise ValueError("must be a folder, not the whole file system")
    return value


Share = Annotated[Fraction, BeforeValidator(_fraction), PlainSerializer(str)]
InnerShare = Annotated[Fraction, BeforeValidator(_inner_fraction), PlainSerializer(str)]
Count = Annotated[int, Strict(), Field(gt=0, le=LARGEST)]
Whole = Annotated[int, Strict(), Field(ge=0, le=LARGEST)]
Positive = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1, allow_inf_nan=False)]
Flag = Annotated[bool, Strict()]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,40}$")]
Line = Annotated[str, AfterValidator(_line)]
Folder = Annotated[str, AfterValidator(_folder)]
HubId = Annotated[str, _name(rf"(?:{WORDS}/)?{WORDS}", "a name of the hub such as owner/name")]
Revision = Annotated[str, _name(rf"{WORDS}(?:/{WORDS})*", "a commit, tag or branch such as main or refs/pr/1")]
Config = Annotated[str, _name(rf"{WORDS}(?: {WORDS})*", "a configuration's name such as 20231101.en")]
Split = Annotated[str, _name(r"\w+(?:\.\w+)*", "a split's name such as train")]
Directory = Annotated[
    str, _name(r"\w[\w.=+, -]*(?:/\w[\w.=+, -]*)*", "a folder of the data set such as data/en, without .. in it")
]

# What both papers' studies have, so that a preset says it once.
Preset = Annotated[Name, text("name of this set of parameters")]
NearDuplicate = Annotated[Positive, text("Jaccard similarity from which two documents count as the same", le=1)]
WeightDecay = Annotated[float, BeforeValidator(_number), text("weight decay of matrices", ge=0, allow_inf_nan=False)]
Clip = Annotated[Positive, text("largest norm of the gradient")]
Seeds = Annotated[
    tuple[Annotated[int, Strict(), Field(ge=0, lt=2**63)], ...], text("seeds of weights and data", min_length=1)
]
Bootstrap = Annotated[Count, text("bootstrap draws for intervals")]
Device = Annotated[Literal["auto", "cpu", "cuda"], text("where to train: auto, cpu or cuda")]
Workers = Annotated[
    Annotated[Count, Field(le=10_000)] | Literal["auto"], text("runs at a time; auto: one for each GPU, or else core")
]
MicroBatch = Annotated[Count | None, text("sequences in a forward pass; null: the whole batch")]
CheckpointSeconds = Annotated[Positive, text("seconds between saves of what a run needs to resume")]
