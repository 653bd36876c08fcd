"""Pretraining from scratch and continual pretraining (section 3.2 of the CMR paper)."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from repro.data.corpora import REPLAY, TRAINING, VALIDATION
from repro.lm.size import Shape
from repro.runs.spec import Stage, Work
from repro.stages.parallel import Shared
from repro.stages.tokens import Tokens, tokens_of
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


@dataclass(frozen=True, kw_only=True)
class Continue(Shared):
    """A pretrained model trained further on D_R: domain text at `ratio`, general text kept for this at 1 - `ratio`.

    sequences: held-out sequences of each of the two texts. With a constant learning rate a shorter run is a prefix
    of this one, so the losses on the way are those of every smaller token budget.
    """

    version: ClassVar[int] = 1
    base: Pretrain
    domain: Tokens
    ratio: Fraction
    training: Training
    sequences: int
    seed: int

    @property
    def label(self) -> str:
        return f"{self.base.size} on {self.domain.text.name} at {self.ratio}"

    @property
    def cost(self) -> float:
        per_token = self.base.shape.flops_per_token(self.base.vocabulary, self.training.length)
        return self.training.flops(per_token, held_out=2 * self.sequences)

    def upstream(self) -> Iterator[Stage]:
        yield from super().upstream()
        yield self.base.tokens  # the general text of the mixture
        yield self.base.tokens.tokenizer  # kept beside the weights

    def train(self, work: Work) -> None:
        import torch

        from repro.lm.mixing import Mixture, Stream, fixed_sequences
        from repro.lm.pretrained import load_pretrained

        folders = {"general": work.inputs(self.base.tokens), "domain": work.inputs(self.domain)}
        dtype, length = self.domain.dtype, self.training.length  # both texts are tokens of one tokenizer
        held_out = {
            name: fixed_sequences(tokens_of(folder, VALIDATION, dtype), length, self.sequences)
            for name, folder in folders.items()
        }
        general = Stream(tokens_of(folders["general"], REPLAY, dtype), length, self.seed)
        domain = Stream(tokens_of(folders["domain"], TRAINING, dtype), length, self.seed)
        mixture = Mixture(general=general, domain=domain, ratio=self.ratio)
        model = load_pretrained(work.inputs(self.base), torch.float32)
        run_training(work, model, mixture, self.training, held_out, self.base.tokens.tokenizer)


def size_label(parameters: int) -> str:
    """A model's size as people write it: 92k, 0.29M, 1.6M, 461.6M, 3.06B."""
    if parameters < 99_500:
        return f"{parameters / 1e3:.0f}k"
    unit, name = (1e6, "M") if parameters < 999.5e6 else (1e9, "B")
    amount = parameters / unit
    return f"{amount:.2f}{name}" if amount < 1 or name == "B" else f"{amount:.4g}{name}"
