"""Sources of text, from parameters."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from repro.data.documents import digest_files
from repro.data.domains import PACKAGES
from repro.data.packages import wheel
from repro.data.sources import FolderSource, HubFolderSource, HubSource, Source, folder_files, package_source
from repro.home import home
from repro.params import ParamsError, SourceParams


def sources(given: tuple[SourceParams, ...], field: str) -> tuple[Source, ...]:
    """The sources that parameters name; `field` is the parameter that names them.

    Raises:
        ParamsError: if a package or folder of that name does not exist or holds no text.

    """
    return tuple(_source(source, f"{field}[{number}]") for number, source in enumerate(given))


def _source(source: SourceParams, field: str) -> Source:
    if source.package is not None:
        try:
            return package_source(source.package, source.topics, source.part)
        except ValueError as error:
            raise ParamsError(f"{field}.package: {error}") from error
    options: dict[str, Any] = {"text_field": source.text_field, "part": source.part}
    if source.licence:  # else as the class of the source has it
        options["licence"] = source.licence
    if source.folder is not None:
        folder = (home() / Path(source.folder).expanduser()).resolve()  # wherever the notebook's kernel was started
        files = folder_files(folder) if folder.is_dir() else []
        if not files:
            raise ParamsError(f"{field}.folder: {folder} holds no .txt, .md, .jsonl or .parquet files")
        return FolderSource(digest=digest_files(files, folder), folder=folder, **options)
    options |= {"dataset": source.hub} | source.model_dump(include={"revision", "split", "characters_limit"})
    if source.directory is not None:
        return HubFolderSource(folder=source.directory, tokenizer=source.tokenizer, **options)
    return HubSource(config=source.config, **options)


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
