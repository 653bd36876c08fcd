"""The pretrained model that is adapted (section 3.1 of paper B), as one folder of safetensors with its tokenizer."""

import json
from dataclasses import dataclass, field
from typing import ClassVar

from repro.lm.pretrained import ModelSource
from repro.runs.spec import Stage, Work


@dataclass(frozen=True, kw_only=True)
class Base(Stage):
    """A pretrained model, copied or converted once.

    parameters: how many weights it has; only costs and plans use it, so it is no part of the identity.
    """

    version: ClassVar[int] = 1
    weights: ClassVar[str] = "*.safetensors"
    effort: ClassVar[float] = 1e11  # seconds of reading and writing, whatever the size
    source: ModelSource
    parameters: int = field(metadata={"identity": False}, compare=False)

    @property
    def name(self) -> str:
        """What tables, figures and saved adapters call this model."""
        return self.source.label

    @property
    def vocabulary(self) -> int:
        """An upper bound: how large this tokenizer is, is not known before the model is here."""
        return 2**32

    @property
    def label(self) -> str:
        return f"base model {self.name}"

    def execute(self, work: Work) -> None:
        self.source.write(work.path)
        for file in work.path.glob("*config.json"):
            if "auto_map" in json.loads(file.read_text()):
                raise ValueError(f"{self.name} brings code of its own, which is never run here; choose another model")
