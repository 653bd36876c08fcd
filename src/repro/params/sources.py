"""Where text comes from, as parameters say it."""

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

    folder: absolute, from ~, or from the project's folder; directory: of a hub data set, whose files alone are read;
    tokenizer: where text_field holds token ids, the tokenizer of the hub that they are of (with directory only).
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
        given = [name for name in ("package", "folder", "hub") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"must have exactly one of package, folder and hub, not {' and '.join(given) or 'none'}")
        for name in self.model_fields_set - {given[0], "part"}:
            if given[0] not in OPTIONS[name]:
                raise ValueError(f"{name} is an option of {' and '.join(OPTIONS[name])}, not of {given[0]}")
        if self.part[0] >= self.part[1]:
            raise ValueError("part must be [from, to] with from < to")
        if self.hub and not self.revision:
            raise ValueError("a hub data set needs a revision, so that it stays the same text")
        if self.tokenizer and not self.directory:
            raise ValueError("tokenizer needs a directory")
        if self.directory and self.config:
            raise ValueError("config and directory cannot both be given")
        return self
