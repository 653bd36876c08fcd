"""What a model knows (section 3.1.3): benchmarks question by question, programs executed, held-out losses.

Finished models may be of any kind: the base, after CPT, after SFT.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from repro.data.corpora import VALIDATION
from repro.runs.spec import Stage, Work
from repro.stages.lora import Cpt, Sft
from repro.stages.texts import Base, Material, Tokens, tokens_of
from repro.stages.training import Pretrain

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Adapted = Base | Pretrain | Cpt | Sft
ITEMS = "items.parquet"  # one row for each question, see repro.lm.evaluation.evaluate
HELD_OUT = "held-out.parquet"  # the loss of each held-out sequence: columns domain, general (nats per token)
BATCH = 16  # questions in a forward pass, the same everywhere: in low precision it decides the last digits


def base_of(model: Adapted) -> Base | Pretrain:
    """The base that a model was adapted from, which may be itself."""
    return model.base if isinstance(model, (Cpt, Sft)) else model


def parameters(model: Adapted) -> int:
    """The weights of a model's base."""
    return base_of(model).parameters


def parts_of(model: Adapted) -> tuple[Stage, ...]:
    """The stages whose folders `load` reads."""
    match model:
        case Sft():
            return (model, *parts_of(model.start))
        case Cpt():
            return (model, model.base)
    return (model,)


def load(work: Work, model: Adapted, precision: str) -> "PreTrainedModel | PeftModel":
    """A finished model on this worker's device, ready to be evaluated; stages that call it name `parts_of` upstream."""
    import torch

    from repro.lm.adapters import load_adapted
    from repro.lm.training import DTYPES

    torch.set_num_threads(1)
    cpt = model.start if isinstance(model, Sft) else model
    loaded = load_adapted(
        work.inputs(base_of(model)),
        work.inputs(cpt) if isinstance(cpt, Cpt) else None,
        work.inputs(model) if isinstance(model, Sft) else None,
        mode=model.mode if isinstance(model, Sft) else "continue",  # type: ignore[arg-type]
        dtype=DTYPES[precision],
    )
    loaded.to(work.machine.device)  # type: ignore[arg-type]  # a decorator of transformers hides the signature
    return loaded.eval()


def tokenizer_of(work: Work, model: Adapted) -> "PreTrainedTokenizerFast":
    """The tokenizer of a model's base."""
    from repro.lm.tokenizer import load_tokenizer

    return load_tokenizer(work.inputs(base_of(model)))


@dataclass(frozen=True, kw_only=True)
class OfModel(Stage):
    """A stage that loads a finished model."""

    model: Adapted
    precision: str

    def upstream(self) -> Iterator[Stage]:
        yield from super().upstream()
        yield from parts_of(self.model)


@dataclass(frozen=True, kw_only=True)
class Evaluate(OfModel):
    """A model's answers to the questions of a domain's benchmarks, through lm-eval; programs are not executed here.

    chat: whether the chat template is used.
    """

    material: Material
    benchmarks: tuple[str, ...]
    chat: bool

    @property
    def label(self) -> str:
        return f"evaluate {self.model.label}"

    @property
    def cost(self) -> float:
        return 2.0 * parameters(self.model) * 50 * len(self.benchmarks) * self.material.division.questions

    def execute(self, work: Work) -> None:
        _answer(work, self, self.benchmarks, chat=self.chat)


@dataclass(frozen=True, kw_only=True)
class Programs(OfModel):
    """Programs that a model writes for HumanEval, executed.

    isolated: in the sandbox; otherwise with limits on memory and time only, which a user has to ask for.
    """

    material: Material
    benchmark: str
    isolated: bool

    @property
    def label(self) -> str:
        return f"programs of {self.model.label}"

    @property
    def cost(self) -> float:
        return 2.0 * parameters(self.model) * 20_000

    def execute(self, work: Work) -> None:
        from repro.sandbox import Sandbox

        sandbox = Sandbox(unsafe=not self.isolated)

        def status(program: str, entry_point: str, test: str, prompt: str) -> str:
            return sandbox.check(program, entry_point, test, prompt=prompt).status

        _answer(work, self, (self.benchmark,), execute=status)


@dataclass(frozen=True, kw_only=True)
class HeldOut(OfModel):
    """A model's losses on held-out domain text and held-out general text, nats per token of the base's tokenizer."""

    domain: Tokens
    replay: Tokens
    length: int
    sequences: int

    @property
    def label(self) -> str:
        return f"held-out losses of {self.model.label}"

    @property
    def cost(self) -> float:
        return 2.0 * parameters(self.model) * 2 * self.length * self.sequences

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


def _answer(work: Work, stage: Evaluate | Programs, benchmarks: tuple[str, ...], **options: Any) -> None:
    """Write the model's answers to `benchmarks`; those that are not made here are read from the hub."""
    from repro.lm.evaluation import evaluate

    model, tokenizer = load(work, stage.model, stage.precision), tokenizer_of(work, stage.model)
    folder = work.inputs(stage.material)
    items = evaluate(model, tokenizer, benchmarks, folder=folder, hub=True, batch=BATCH, **options)
    items.to_parquet(work.path / ITEMS, index=False)
