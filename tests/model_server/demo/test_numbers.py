from __future__ import annotations

import pytest

from model_server.demo import numbers


@pytest.mark.parametrize("number", range(numbers.LARGEST + 1))
def test_words_say_the_number(number: int) -> None:
    assert numbers.value(numbers.spoken(number)) == number


@pytest.mark.parametrize(("number", "words"), [(0, "zero"), (13, "thirteen"), (40, "forty"), (42, "forty two")])
def test_words(number: int, words: str) -> None:
    assert numbers.spoken(number) == words


def test_counts_up_and_down() -> None:
    assert numbers.counting(1, 4) == "one, two, three, four"
    assert numbers.counting(2, 0) == "two, one, zero"


def test_other_words_and_numbers_are_none() -> None:
    assert numbers.value("many") is None
    with pytest.raises(ValueError, match="0 to 100, got 101"):
        numbers.spoken(101)
