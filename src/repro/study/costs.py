"""What plans of both papers say in words: large numbers, and hours by device."""

from collections.abc import Mapping

from repro.params import AllocationParams, Params


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
        f"  {device}, {rate:.1e} FLOP/s and {step * 1000:.0f} ms a step at best: {_in_words(hours[device])}"
        for device, (rate, step) in rates.items()
    ]


def _in_words(hours: float) -> str:
    return f"{hours * 60:.1f} minutes" if hours < 2 else f"{hours:,.1f} hours"
