"""The size and cost of a Llama-architecture model, from its shape alone (no torch needed).

Standard multi-head attention, SwiGLU feed-forward, RMSNorm, rotary positions, no biases and untied input
and output embeddings: the architecture of Table 1 of the CMR paper, whose four rows have 461.6M, 937.8M,
1.58B and 3.06B parameters by these formulas.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a model; `heads` must divide `hidden`."""

    hidden: int
    intermediate: int
    layers: int
    heads: int

    def parameters(self, vocabulary: int) -> int:
        """Number of weights with `vocabulary` tokens, embeddings included; ValueError if a size is not positive.

        The number of attention heads does not matter: they divide `hidden` among themselves.
        """
        for name, value in {**vars(self), "vocabulary": vocabulary}.items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        attention = 4 * self.hidden * self.hidden
        feed_forward = 3 * self.hidden * self.intermediate
        norms = 2 * self.hidden
        embeddings = 2 * vocabulary * self.hidden
        return embeddings + self.layers * (attention + feed_forward + norms) + self.hidden

    def flops_per_token(self, vocabulary: int, sequence: int) -> int:
        """Operations of training on one token, forward and backward: 6 N + 12 layers hidden sequence.

        The first term is two operations per parameter forward and four backward; the second is attention over
        `sequence` positions, counted without the saving of the causal mask.
        """
        return 6 * self.parameters(vocabulary) + 12 * self.layers * self.hidden * sequence
