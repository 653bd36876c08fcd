"""General pretraining from scratch (section 3.2 of the CMR paper)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from repro.lm.corpora import TRAINING, VALIDATION
from repro.lm.size import Shape
from repro.runs.spec import Stage, Work
from repro.stages.corpus import Tokens, tokens_of
from repro.stages.parallel import Shared
from repro.stages.training import Training, run_training


@dataclass(frozen=True, kw_only=True)
class Pretrain(Shared):
    """A model trained from scratch on the training part of the general text.

    sequences: held-out sequences of general text its loss is measured on.
    """

    version: ClassVar[int] = 1
    tokens: Tokens
    shape: Shape
    training: Training
    sequences: int
    seed: int

    @property
    def vocabulary(self) -> int:
        return self.tokens.tokenizer.vocabulary

    @property
    def parameters(self) -> int:
        return self.shape.parameters(self.vocabulary)

    @property
    def size(self) -> str:
        """What tables and figures call this model."""
        return size_label(self.parameters)

    @property
    def label(self) -> str:
        return f"pretrain {self.size}"

    @property
    def cost(self) -> float:
        per_token = self.shape.flops_per_token(self.vocabulary, self.training.length)
        return self.training.flops(per_token, held_out=self.sequences)

    def upstream(self) -> Iterator[Stage]:
        yield from super().upstream()
        yield self.tokens.tokenizer  # kept beside the weights

    def train(self, work: Work) -> None:
        from repro.lm.mixing import Stream, fixed_sequences
        from repro.lm.model import new_model

        folder, length = work.inputs(self.tokens), self.training.length
        model = new_model(self.shape, self.vocabulary, length, self.seed)
        stream = Stream(tokens_of(folder, TRAINING, self.tokens.dtype), length, self.seed)
        held_out = fixed_sequences(tokens_of(folder, VALIDATION, self.tokens.dtype), length, self.sequences)
        run_training(work, model, stream, self.training, {"general": held_out}, self.tokens.tokenizer)


def size_label(parameters: int) -> str:
    """A model's size as people write it: 92k, 0.29M, 1.6M, 461.6M, 3.06B."""
    if parameters < 99_500:
        return f"{parameters / 1e3:.0f}k"
    unit, name = (1e6, "M") if parameters < 999.5e6 else (1e9, "B")
    amount = parameters / unit
    return f"{amount:.2f}{name}" if amount < 1 or name == "B" else f"{amount:.4g}{name}"
