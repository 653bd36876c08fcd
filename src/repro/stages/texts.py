"""Text as stages: a corpus of paper A (its section 3.1), and the material of a domain of paper B (its section 3.1)."""

from dataclasses import dataclass, field
from typing import ClassVar

from repro.data import corpora
from repro.data.build import Division, Domain, build
from repro.data.corpora import Split
from repro.data.sources import Source
from repro.runs.spec import Stage, Work


@dataclass(frozen=True, kw_only=True)
class Text(Stage):
    """Documents of one corpus, split into training and held-out parts.

    name: what tables and figures call it, no part of the identity; general: a text that is trained on as well;
    neither's training part repeats what the other holds out.
    """

    version: ClassVar[int] = 1
    name: str = field(metadata={"identity": False}, compare=False)
    sources: tuple[Source, ...]
    split: Split
    general: "Text | None" = None

    @property
    def label(self) -> str:
        return f"text of {self.name}"

    def execute(self, work: Work) -> None:
        seen = work.inputs(self.general) if self.general else None
        counts = corpora.split_text(self.sources, self.split, work.path, seen)
        corpora.write_statistics(work.path, counts)


@dataclass(frozen=True, kw_only=True)
class Material(Stage):
    """A domain's text, pairs and questions.

    name (what tables and figures call it) and benchmarks (what its models are scored on) are no part of the identity;
    seen: general material that is trained on as well, whose text held-out documents must not repeat.
    """

    version: ClassVar[int] = 2
    effort: ClassVar[float] = 1e11
    name: str = field(metadata={"identity": False}, compare=False)
    domain: Domain
    division: Division
    seen: "Material | None" = None
    benchmarks: tuple[str, ...] = field(default=(), metadata={"identity": False}, compare=False)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where its text comes from."""
        return self.domain.sources

    @property
    def label(self) -> str:
        return f"material of {self.name}"

    def execute(self, work: Work) -> None:
        build(work.path, self.domain, self.division, work.inputs(self.seen) if self.seen else None)
