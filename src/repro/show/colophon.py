"""The note at the end of every page: what produced its numbers."""

import html
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from repro.params import AllocationParams, Params


@dataclass(frozen=True)
class Colophon:
    """Parameters, commits, package versions, hardware and seconds behind a page; shows itself as folded HTML."""

    preset: str
    parameters: str
    commits: tuple[str, ...]
    packages: tuple[str, ...]
    hardware: tuple[str, ...]
    runs: int
    seconds: float

    @classmethod
    def of(cls, params: Params | AllocationParams, records: list[dict[str, Any]]) -> "Colophon":
        """From the parameters of a study and the records of its finished runs."""
        chosen = json.loads(params.model_dump_json(exclude_defaults=True))
        return cls(
            preset=params.preset,
            parameters=yaml.safe_dump(chosen, sort_keys=False, default_flow_style=None, width=100),
            commits=_distinct(record["commit"] for record in records),
            packages=_distinct(", ".join(map(" ".join, record["packages"].items())) for record in records),
            hardware=_distinct(record["hardware"] for record in records),
            runs=len(records),
            seconds=sum(record["seconds"] for record in records),
        )

    def _repr_html_(self) -> str:
        summary = (
            f"The study behind this page: {self.runs} runs, {self.seconds:,.0f} seconds of computing, "
            f"parameters “{self.preset}”"
        )
        facts = {"Commit": self.commits, "Hardware": self.hardware, "Packages": self.packages}
        rows = "".join(f"<dt>{name}</dt><dd>{html.escape('; '.join(v))}</dd>" for name, v in facts.items())
        return (
            f'<details class="colophon"><summary>{html.escape(summary)}</summary>'
            f"<dl>{rows}</dl><pre>{html.escape(self.parameters)}</pre></details>"
        )


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
