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
        """Number of weights with `vocabulary` tokens, embeddings included."""
        return parameter_count(self.hidden, self.intermediate, self.layers, vocabulary)

    def flops_per_token(self, vocabulary: int, sequence: int) -> int:
        """Operations of training on one token in sequences of `sequence` tokens."""
        return training_flops_per_token(self.parameters(vocabulary), self.hidden, self.layers, sequence)


def parameter_count(hidden: int, intermediate: int, layers: int, vocabulary: int) -> int:
    """Number of trainable parameters of the model, embeddings included; ValueError if a dimension is not positive.

    The number of attention heads does not matter: they divide ``hidden`` among themselves.
    """
    sizes = {"hidden": hidden, "intermediate": intermediate, "layers": layers, "vocabulary": vocabulary}
    for name, value in sizes.items():
        if value <= 0:
            raise ValueError(f"{name} must be positive, got {value}")
    attention = 4 * hidden * hidden
    feed_forward = 3 * hidden * intermediate
    norms = 2 * hidden
    embeddings = 2 * vocabulary * hidden
    return embeddings + layers * (attention + feed_forward + norms) + hidden


def training_flops_per_token(parameters: int, hidden: int, layers: int, sequence: int) -> int:
    """Floating-point operations of one training token, forward and backward: 6 N + 12 layers hidden sequence.

    The first term is two operations per parameter forward and four backward; the second is attention over
    ``sequence`` positions, counted without the saving of the causal mask.
    """
    return 6 * parameters + 12 * layers * hidden * sequence
