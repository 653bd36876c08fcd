"""What plans of both papers rest on and say in words: memory while training, hours by device, large numbers."""

from collections.abc import Mapping

from repro.params import AllocationParams, Params

GIB = 2**30
DEVICE_GIB = 80  # one H100
MONTH_HOURS = 30 * 24
TEXT_RATE = 3.5e6  # characters a second that one core tokenizes, as measured
# Activations kept per token, layer and unit of width without recomputation, and fp32 logits with their gradient.
BYTES_ACTIVATION, BYTES_LOGIT = 34, 12


def activations(tokens: int, layers_by_width: float, vocabulary: int) -> float:
    """Bytes that a forward pass over `tokens` keeps for the backward one; layers_by_width: their product."""
    return tokens * (layers_by_width * BYTES_ACTIVATION + vocabulary * BYTES_LOGIT)


def sharing(params: Params | AllocationParams) -> int:
    """How many runs share one device: the workers of this machine; those of a cluster have devices of their own."""
    return params.workers if isinstance(params.workers, int) and params.cluster is None else 1


def short(number: float) -> str:
    """A number as people write it: 98.3M, 30B."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.4g}{unit}"
    return f"{number:.0f}"


def times(hours: Mapping[str, float], rates: Mapping[str, tuple[float, float]]) -> list[str]:
    """A line for each device: its operations a second, the least seconds of an optimiser step, and the hours."""
    return [
        f"  {device}, {rate:.1e} FLOP/s and {step * 1000:.0f} ms a step at best: {in_words(hours[device])}"
        for device, (rate, step) in rates.items()
    ]


def beyond_one(hours: float) -> str:
    """That so many hours of one H100 take more of them; "" for up to a month."""
    if hours <= MONTH_HOURS:
        return ""
    return f"{hours:,.0f} hours are {hours / 24:,.0f} days on one H100; it takes a cluster"


def gib(size: float) -> str:
    """A size in GiB, to two digits where it is small."""
    return f"{size:,.0f} GiB" if size >= 10 else f"{size:.2g} GiB"


def in_words(hours: float) -> str:
    """Hours, or minutes where they are few."""
    return f"{hours * 60:.1f} minutes" if hours < 2 else f"{hours:,.1f} hours"
