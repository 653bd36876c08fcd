"""Continual pretraining on a mixture of general and domain text (sections 3.1 and 3.2 of the CMR paper)."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from repro.lm.corpora import REPLAY, TRAINING, VALIDATION
from repro.runs.spec import Stage, Work
from repro.stages.corpus import Tokens, tokens_of
from repro.stages.parallel import Shared
from repro.stages.pretrain import Pretrain
from repro.stages.training import Training, run_training


@dataclass(frozen=True, kw_only=True)
class Continue(Shared):
    """A pretrained model trained further on D_R: domain text at `ratio`, general text kept for this at 1 - `ratio`.

    sequences: held-out sequences of each of the two texts. With a constant learning rate a shorter run is a prefix
    of this one, so its losses along the way are those of every smaller token budget.
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
        from repro.lm.mixing import Mixture, Stream, fixed_sequences
        from repro.lm.model import load_model

        folders = {"general": work.inputs(self.base.tokens), "domain": work.inputs(self.domain)}
        # Both texts are tokens of one tokenizer.
        dtype, length = self.domain.dtype, self.training.length
        held_out = {
            name: fixed_sequences(tokens_of(folder, VALIDATION, dtype), length, self.sequences)
            for name, folder in folders.items()
        }
        general = Stream(tokens_of(folders["general"], REPLAY, dtype), length, self.seed)
        domain = Stream(tokens_of(folders["domain"], TRAINING, dtype), length, self.seed)
        mixture = Mixture(general=general, domain=domain, ratio=self.ratio)
        model = load_model(work.inputs(self.base))
        run_training(work, model, mixture, self.training, held_out, self.base.tokens.tokenizer)
