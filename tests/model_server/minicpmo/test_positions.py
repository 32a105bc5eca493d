from __future__ import annotations

import math
import platform

import pytest
import torch

from model_server.minicpmo.network.positions import ONE_LOWER, axis_sines, buckets, position_ids, rounded_buckets, sines

CPU = torch.device("cpu")
UP_TO_70 = {
    25: [5, 10, 15, 20],
    49: [7, 14, 35, 42],
    50: [5, 10, 15, 20, 30, 40],
    55: [11, 22, 33, 44],
    58: [29],
}
ABOVE_70 = (77, 82, 86, 94, 98, 100, 110, 115, 135, 147, 154, 155, 164, 165, 166, 172, 175, 188, 189, 194, 196, 200)


def test_buckets_are_the_floor_but_for_the_listed_patches() -> None:
    for n in range(1, 71):
        lower = UP_TO_70.get(n, [])
        assert list(buckets(n, 70)) == [math.floor(i * 70 / n) - (i in lower) for i in range(n)], n


def test_the_famous_exception() -> None:
    assert buckets(58, 70)[28:31] == (33, 34, 36)


def test_the_list_names_the_sides_of_the_specification() -> None:
    assert tuple(ONE_LOWER) == (*UP_TO_70, *ABOVE_70)


@pytest.mark.parametrize("side", [70, 7])
def test_buckets_are_what_torch_computes(side: int) -> None:
    if platform.machine() not in ("x86_64", "AMD64"):
        return  # Elsewhere float32 steps may round otherwise, which is why there is a list.
    for n in range(1, 231):
        assert buckets(n, side) == rounded_buckets(n, side), n


@pytest.mark.parametrize("n", [201, 714, 2048])
def test_a_side_behind_the_list_still_covers_the_table(n: int) -> None:
    found = buckets(n, 70)
    assert (len(found), found[0], found[-1], list(found)) == (n, 0, 69, sorted(found))


def test_position_ids_go_row_by_row() -> None:
    assert position_ids(2, 3, 70, CPU).tolist() == [0, 23, 46, 35 * 70, 35 * 70 + 23, 35 * 70 + 46]


def test_sines_have_the_column_first() -> None:
    table = sines(3, 2, 8, CPU, torch.float32)  # Frequencies 1 and 1/100.
    column, row = [math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)], [math.sin(2), math.sin(0.02)]
    assert table.shape == (6, 8)
    expected = [*column, *row, math.cos(2), math.cos(0.02)]  # Row 2, column 1.
    torch.testing.assert_close(table[5], torch.tensor(expected), atol=1e-6, rtol=0)


def test_sines_of_one_side_do_not_rescale() -> None:
    assert torch.equal(axis_sines(4, 8), axis_sines(101, 8)[:4])


def test_sines_come_in_the_dtype_that_is_asked_for() -> None:
    wide, narrow = sines(2, 2, 8, CPU, torch.float32), sines(2, 2, 8, CPU, torch.bfloat16)
    assert torch.equal(narrow, wide.to(torch.bfloat16))
