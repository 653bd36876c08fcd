"""Names of folders, of files and of what the Hugging Face hub holds: what they may be made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from repro.params.values import matches

# Words joined by single dots and by dashes, so that "..", and what starts with a dot or a dash, is none of them.
WORDS = r"[A-Za-z0-9_]+(?:(?:[.+]|-+)[A-Za-z0-9_]+)*"
LONGEST = 200  # characters of a name
LONGEST_PART = 255  # bytes of a folder's name, as most file systems have it


def _matches(pattern: str, allowed: str) -> Callable[[str], str]:
    return matches(rf"(?=.{{1,{LONGEST}}}\Z)(?:{pattern})", f"{allowed}, at most {LONGEST} characters")


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
        raise ValueError("must be a folder, not all there is")
    return value


Line = Annotated[str, AfterValidator(_line)]
Folder = Annotated[str, AfterValidator(_folder)]
HubId = Annotated[str, AfterValidator(_matches(rf"(?:{WORDS}/)?{WORDS}", "a name of the hub such as owner/name"))]
Revision = Annotated[
    str, AfterValidator(_matches(rf"{WORDS}(?:/{WORDS})*", "a commit, tag or branch such as main or refs/pr/1"))
]
Config = Annotated[
    str, AfterValidator(_matches(rf"{WORDS}(?: {WORDS})*", "a configuration's name such as 20231101.en"))
]
Split = Annotated[str, AfterValidator(_matches(r"\w+(?:\.\w+)*", "a split's name such as train"))]
Directory = Annotated[
    str,
    AfterValidator(
        _matches(r"\w[\w.=+, -]*(?:/\w[\w.=+, -]*)*", "a folder of the data set such as data/en, without .. in it")
    ),
]
