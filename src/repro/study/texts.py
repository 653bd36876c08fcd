"""Texts as parameters name them, made into sources."""

from collections.abc import Iterable
from pathlib import Path

from repro.data.domains import PACKAGES
from repro.data.packages import wheel
from repro.data.sources import (
    FolderSource,
    HubFolderSource,
    HubSource,
    PackageSource,
    Source,
    digest_files,
    folder_files,
    package_source,
)
from repro.home import home
from repro.params import ParamsError, SourceParams


def sources(given: tuple[SourceParams, ...], field: str) -> tuple[Source, ...]:
    """The sources that parameters name; `field` is where they were given.

    Raises:
        ParamsError: if a package or folder of that name does not exist or holds no text.

    """
    return tuple(_source(source, f"{field}[{number}]") for number, source in enumerate(given))


def _source(source: SourceParams, field: str) -> Source:
    if source.package is not None:
        return _package(source, f"{field}.package")
    if source.folder is not None:
        return _folder(source, f"{field}.folder")
    if source.directory is not None:
        return HubFolderSource(
            dataset=str(source.hub),
            revision=str(source.revision),
            folder=source.directory,
            split=source.split,
            text_field=source.text_field,
            tokenizer=source.tokenizer,
            licence=source.licence or HubFolderSource.licence,
            part=source.part,
            characters_limit=source.characters_limit,
        )
    return HubSource(
        dataset=str(source.hub),
        revision=str(source.revision),
        config=source.config,
        split=source.split,
        text_field=source.text_field,
        licence=source.licence or HubSource.licence,
        part=source.part,
        characters_limit=source.characters_limit,
    )


def _package(source: SourceParams, field: str) -> PackageSource:
    try:
        return package_source(str(source.package), source.topics, source.part)
    except ValueError as error:
        raise ParamsError(f"{field}: {error}") from error


def _folder(source: SourceParams, field: str) -> FolderSource:
    folder = (home() / Path(str(source.folder)).expanduser()).resolve()  # wherever the notebook's kernel was started
    files = folder_files(folder) if folder.is_dir() else []
    if not files:
        raise ParamsError(f"{field}: {folder} holds no .txt, .md, .jsonl or .parquet files")
    return FolderSource(
        digest=digest_files(files, folder),
        text_field=source.text_field,
        licence=source.licence or FolderSource.licence,
        part=source.part,
        folder=folder,
    )


def require_packages(names: Iterable[str]) -> None:
    """Make sure that data packages have been fetched and are the pinned ones.

    Raises:
        ParamsError: naming the file that is missing or another one.

    """
    for name in names:
        try:
            wheel(PACKAGES[name])
        except (FileNotFoundError, ValueError) as error:
            raise ParamsError(str(error)) from None
