"""Where text comes from: the parameters of a source of documents."""

from fractions import Fraction

from pydantic import model_validator

from repro.params.values import Config, Count, Directory, Folder, HubId, Line, Revision, Section, Share, Split

# Which kinds of source each option is for.
OPTIONS = {
    "topics": ("package",),
    "text_field": ("folder", "hub"),
    "licence": ("folder", "hub"),
    "config": ("hub",),
    "split": ("hub",),
    "revision": ("hub",),
    "directory": ("hub",),
    "tokenizer": ("hub",),
    "characters_limit": ("hub",),
}


class SourceParams(Section):
    """One source of documents: exactly one of package, folder and hub, and what to take of it.

    folder: absolute, from ~, or from the project's folder; directory: the folder of a hub data set to read alone;
    tokenizer: of the hub, if text_field holds its token ids (with directory only).
    """

    package: Line | None = None
    folder: Folder | None = None
    hub: HubId | None = None
    topics: tuple[Line, ...] = ()
    part: tuple[Share, Share] = (Fraction(0), Fraction(1))
    text_field: Line = "text"
    licence: Line | None = None
    config: Config | None = None
    split: Split = "train"
    revision: Revision | None = None
    directory: Directory | None = None
    tokenizer: HubId | None = None
    characters_limit: Count | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "SourceParams":
        kind = self.only("package", "folder", "hub")
        for name in self.model_fields_set - {kind, "part"}:
            if kind not in OPTIONS[name]:
                raise ValueError(f"{name} is an option of {' and '.join(OPTIONS[name])}, not of {kind}")
        if self.part[0] >= self.part[1]:
            raise ValueError("part must be [from, to] with from < to")
        if self.hub and not self.revision:
            raise ValueError("a hub data set needs a revision, so that it stays the same text")
        if self.tokenizer and not self.directory:
            raise ValueError("tokenizer needs a directory")
        if self.directory and self.config:
            raise ValueError("config and directory cannot both be given")
        return self
