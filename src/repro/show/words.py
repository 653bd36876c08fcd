"""How prose and tables write numbers, lists and intervals."""

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

Facts = dict[str, float | int | str]

FRACTION = "{:.7f}"
_NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def in_words(number: int) -> str:
    """Small numbers as prose writes them: "four", "13"."""
    return _NUMBERS[number] if 0 <= number < len(_NUMBERS) else str(number)


def some(number: int, noun: str) -> str:
    """A number of things: "one seed", "four sizes"."""
    return f"{in_words(number)} {noun}{'' if number == 1 else 's'}"


def join(words: Iterable[str]) -> str:
    """ "a, b and c"."""
    listed = list(words)
    return " and ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else "".join(listed)


def short_tokens(number: Any) -> str:
    """Tokens as readers say them, three digits: 29.9B, 2.31M, 12.3k, none."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            places = 0 if number >= 99.95 * size else 1 if number >= 9.995 * size else 2
            return f"{number / size:.{places}f}{unit}"
    return f"{number:.0f}" if number else "none"


def p_value(value: float) -> str:
    """A p-value: two digits, three below 0.1, where they tell on which side of a level it is, or that it is tiny."""
    return f"{value:.2f}" if value >= 0.0995 else f"{value:.3f}" if value >= 0.001 else "below 0.001"


def between(low: pd.Series, high: pd.Series, form: Callable[[float], str]) -> list[str | None]:
    """ "low to high", or None where an end is missing."""
    return [f"{form(a)} to {form(b)}" if a == a and b == b else None for a, b in zip(low, high, strict=True)]


def with_error(value: float, error: float, form: str, scale: float = 1.0) -> str | None:
    """ "value ± standard error", the value alone where it has no error, None where there is no value."""
    if value != value:
        return None
    written = format(scale * value, form)
    return written if error != error else f"{written} \u00b1 {format(scale * error, form)}"
