"""What a model knows (section 3.1.3): benchmarks question by question, programs executed, held-out losses."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from repro.data.corpora import VALIDATION
from repro.runs.spec import Stage, Work
from repro.stages.models import Adapted, load, parameters, parts_of, tokenizer_of
from repro.stages.texts import Material
from repro.stages.tokens import Tokens, tokens_of

ITEMS, HELD_OUT = "items.parquet", "held-out.parquet"
BATCH = 16  # questions in a forward pass: in low precision it decides the last digits, so it is the same everywhere


@dataclass(frozen=True, kw_only=True)
class Evaluate(Stage):
    """A model's answers to the questions of a domain's benchmarks, through lm-eval; programs are not executed here.

    hub: benchmarks that are not made here are read from the hub; chat: whether the chat template is used.
    """

    version: ClassVar[int] = 1
    model: Adapted
    material: Material
    benchmarks: tuple[str, ...]
    chat: bool
    precision: str

    @property
    def label(self) -> str:
        return f"evaluate {self.model.label}"

    @property
    def cost(self) -> float:
        return 2.0 * parameters(self.model) * 50 * len(self.benchmarks) * self.material.division.questions

    def upstream(self) -> Iterator[Stage]:
        yield from super().upstream()
        yield from parts_of(self.model)

    def execute(self, work: Work) -> None:
        from repro.lm.evaluation import evaluate

        model, folder = load(work, self.model, self.precision), work.inputs(self.material)
        found = evaluate(
            model,
            tokenizer_of(work, self.model),
            self.benchmarks,
            folder=folder,
            hub=True,
            batch=BATCH,
            chat=self.chat,
        )
        found.to_parquet(work.path / ITEMS, index=False)


@dataclass(frozen=True, kw_only=True)
class Programs(Stage):
    """Programs that a model writes for HumanEval, executed.

    isolated: in the sandbox; otherwise with limits on memory and time only, which a user has to ask for.
    """

    version: ClassVar[int] = 1
    model: Adapted
    material: Material
    benchmark: str
    precision: str
    isolated: bool

    @property
    def label(self) -> str:
        return f"programs of {self.model.label}"

    @property
    def cost(self) -> float:
        return 2.0 * parameters(self.model) * 20_000

    def upstream(self) -> Iterator[Stage]:
        yield from super().upstream()
        yield from parts_of(self.model)

    def execute(self, work: Work) -> None:
        from repro.lm.evaluation import evaluate
        from repro.sandbox import Sandbox

        sandbox = Sandbox(unsafe=not self.isolated)
        found = evaluate(
            load(work, self.model, self.precision),
            tokenizer_of(work, self.model),
            (self.benchmark,),
            folder=work.inputs(self.material),
            hub=True,
            batch=BATCH,
            execute=lambda program, entry_point, test, prompt: (
                sandbox.check(program, entry_point, test, prompt=prompt).status
            ),
        )
        found.to_parquet(work.path / ITEMS, index=False)


@dataclass(frozen=True, kw_only=True)
class HeldOut(Stage):
    """A model's losses on held-out domain text and held-out general text, nats per token of the base's tokenizer."""

    version: ClassVar[int] = 1
    model: Adapted
    domain: Tokens
    replay: Tokens
    length: int
    sequences: int
    precision: str

    @property
    def label(self) -> str:
        return f"held-out losses of {self.model.label}"

    @property
    def cost(self) -> float:
        return 2.0 * parameters(self.model) * 2 * self.length * self.sequences

    def upstream(self) -> Iterator[Stage]:
        yield from super().upstream()
        yield from parts_of(self.model)

    def execute(self, work: Work) -> None:
        from repro.lm.mixing import fixed_sequences
        from repro.lm.scoring import sequence_losses
        from repro.lm.training import DTYPES, require_finite

        model, losses = load(work, self.model, self.precision), {}
        for name, stage in (("domain", self.domain), ("general", self.replay)):
            tokens = tokens_of(work.inputs(stage), VALIDATION, stage.dtype)
            rows = fixed_sequences(tokens, self.length, self.sequences)
            losses[name] = sequence_losses(model, rows, batch=work.machine.at_once(BATCH), dtype=DTYPES[self.precision])
            require_finite(f"the held-out loss on {name}", losses[name], f"of {self.model.label}")
        pd.DataFrame(losses).to_parquet(work.path / HELD_OUT, index=False)


def read_items(file: Path) -> pd.DataFrame:
    """One row for each question: see :func:`repro.lm.evaluation.evaluate`."""
    return pd.read_parquet(file)


def read_held_out(file: Path) -> pd.DataFrame:
    """The loss of each held-out sequence: columns domain, general (nats per token)."""
    return pd.read_parquet(file)
