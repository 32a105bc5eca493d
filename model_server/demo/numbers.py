"""Numbers from 0 to 100 as English words, and back."""

from __future__ import annotations

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

LARGEST = 100


def spoken(number: int) -> str:
    """`number` (0 to 100) in words, as a dictionary of single words has them: 42 is `forty two`."""
    if not 0 <= number <= LARGEST:
        raise ValueError(f"numbers are spoken from 0 to {LARGEST}, got {number}")
    if number == LARGEST:
        return "one hundred"
    if number < len(_ONES):
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f" {_ONES[ones]}" if ones else "")


_VALUES = {spoken(number): number for number in range(LARGEST + 1)}


def value(words: str) -> int | None:
    """The number that `words` say, or None where they say none."""
    return _VALUES.get(words)


def counting(first: int, last: int) -> str:
    """`first` to `last` in words, upwards or downwards: `one, two, three`."""
    step = 1 if last >= first else -1
    return ", ".join(spoken(number) for number in range(first, last + step, step))
