"""Numbers as people and spreadsheets write them: 1/8, 12.5%, 20B."""

import math

LARGEST = 1e15  # of any number that is read: squares and powers of more overflow
SMALLEST = 1e-100  # of any that is not 0: squares and powers of less vanish
SIZES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
SHARE, TOKENS = "%/", "kmbgt"


def plain(text: str) -> float:
    """What Python reads, but for 1_000, which Python alone reads as a number; NaN for what is none."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def written(text: str, units: str) -> float:
    """The number that a cell or a flag means; NaN for what is none. units: what may follow it, "/" for fractions."""
    above, fraction, below = text.partition("/")
    if fraction and fraction in units:
        return plain(above) / (plain(below) or math.nan)
    if text and (unit := text[-1].lower()) in units:
        return plain(text[:-1]) / 100 if unit == "%" else plain(text[:-1]) * SIZES[unit]
    return plain(text)
