"""Pieces of phrases."""

from collections.abc import Iterable

import pandas as pd

from repro.laws import ratio_label

Facts = dict[str, float | int | str]

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


def between(values: pd.Series, form: str) -> str:
    """Lowest to highest, or the one there is where both read the same: "0.1 to 0.3", "0.1"."""
    return " to ".join(dict.fromkeys(format(value, form) for value in (values.min(), values.max())))


def ratios(values: Iterable[float]) -> str:
    """Mixture ratios as a list: "1/8, 1/4"."""
    return ", ".join(map(ratio_label, values))
