from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from model_server.minicpmo.config import PictureConfig
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.inputs.pictures import (
    MAX_PATCHES,
    SlicedPicture,
    best_size,
    choose_grid,
    plan,
    slice_picture,
    snap,
)

CONFIG = PictureConfig()


def shapes(cut: SlicedPicture) -> list[tuple[int, int]]:
    return [(part.rows, part.columns) for part in cut.slices]


@pytest.mark.parametrize(
    ("length", "step", "expected"),
    [(35, 14, 28), (49, 14, 56), (48, 14, 42), (1, 14, 14), (7, 14, 14), (104.5, 14, 98), (5, 2, 4), (7, 2, 8)],
)
def test_halves_snap_to_the_even_multiple(length: float, step: int, expected: int) -> None:
    assert snap(length, step) == expected


@pytest.mark.parametrize(
    ("size", "most", "source", "grid", "cell"),
    [
        ((640, 480), 1, (518, 392), None, (518, 392)),
        ((320, 240), 1, (518, 392), None, (518, 392)),
        ((640, 480), 6, (518, 392), (2, 1), (364, 546)),
        ((1280, 720), 1, (602, 336), None, (602, 336)),
        ((1280, 720), 6, (602, 336), (3, 2), (490, 406)),
        ((1920, 1080), 9, (602, 336), (4, 2), (420, 476)),
        ((224, 224), 9, (448, 448), None, (448, 448)),
        ((448, 448), 9, (448, 448), None, (448, 448)),
        ((512, 512), 6, (448, 448), (1, 2), (630, 322)),
        ((100, 1000), 9, (140, 1414), None, (140, 1414)),
        ((1000, 100), 9, (1414, 140), None, (1414, 140)),
    ],
)
def test_sizes_of_the_specification(
    size: tuple[int, int], most: int, source: tuple[int, int], grid: tuple[int, int] | None, cell: tuple[int, int]
) -> None:
    layout = plan(size, most, CONFIG)
    assert (layout.source, layout.grid, layout.cell) == (source, grid, cell)


def test_the_first_of_equally_good_grids_is_taken() -> None:
    assert choose_grid((512, 512), 2, CONFIG) == (1, 2)  # Not (2, 1), which is as far from a square.
    assert choose_grid((1002, 1002), 6, CONFIG) == (3, 2)  # (2, 3) of the same six is as far, and (1, 5) farther.


def test_no_grid_has_one_cell_or_more_than_allowed() -> None:
    assert choose_grid((449, 448), 9, CONFIG) in ((2, 1), (1, 2), (3, 1), (1, 3))
    assert choose_grid((4480, 448), 4, CONFIG) == (4, 1)


def test_a_small_picture_is_enlarged_only_without_a_grid() -> None:
    assert best_size(100, 100, CONFIG, enlarge=True) == (448, 448)
    assert best_size(100, 100, CONFIG, enlarge=False) == (98, 98)


def test_a_strip_of_one_to_ten() -> None:
    cut = slice_picture(Image.new("RGB", (100, 1000), "red"), 9, CONFIG)
    assert (cut.grid, shapes(cut)) == (None, [(101, 10)])


@pytest.mark.parametrize("size", [(1, 1), (10000, 10), (10, 10000), (3, 5000)])
def test_odd_pictures_still_have_about_a_thousand_patches(size: tuple[int, int]) -> None:
    (part,) = slice_picture(Image.new("RGB", size), 1, CONFIG).slices
    assert part.patches.shape == (part.rows * part.columns, 588)
    assert 900 <= part.rows * part.columns <= MAX_PATCHES


def test_the_cells_come_behind_the_whole_row_by_row() -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (255, 255, 0)]
    blocks = np.array(colours, np.uint8).reshape(2, 3, 3)
    image = Image.fromarray(blocks.repeat(360, axis=0).repeat(426, axis=1))
    cut = slice_picture(image, 6, CONFIG)
    assert cut.grid == (3, 2)
    assert len(cut.slices) == 7
    for part, colour in zip(cut.slices[1:], colours, strict=True):
        middle = part.patches[part.rows // 2 * part.columns + part.columns // 2].view(3, 14, 14)
        assert middle.mean((1, 2)).tolist() == pytest.approx([level / 127.5 - 1 for level in colour], abs=1e-6)


def test_patches_go_row_by_row_and_channel_row_column_inside() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (448, 448, 3), dtype=np.uint8)
    (part,) = slice_picture(Image.fromarray(pixels), 1, CONFIG).slices
    row, column, channel, y, x = 3, 17, 2, 5, 11
    value = part.patches[row * 32 + column, channel * 196 + y * 14 + x]
    level = np.float32(pixels[row * 14 + y, column * 14 + x, channel])
    assert part.patches.dtype == torch.float32
    assert value.item() == float((level / np.float32(255) - np.float32(0.5)) / np.float32(0.5))


def test_other_kinds_of_pictures_become_rgb() -> None:
    grey = slice_picture(Image.new("L", (448, 448), 255), 1, CONFIG)
    clear = slice_picture(Image.new("RGBA", (448, 448), (255, 255, 255, 0)), 1, CONFIG)
    assert torch.equal(grey.slices[0].patches, torch.ones(1024, 588))
    assert torch.equal(clear.slices[0].patches, torch.ones(1024, 588))


@pytest.mark.parametrize(
    ("size", "most", "words"),
    [
        ((0, 5), 1, "at least 1x1"),
        ((5, 0), 1, "at least 1x1"),
        ((20001, 5000), 1, "100000000 pixels"),
        ((60000, 2), 1, "2048 patches"),
        ((1, 10000), 1, "2048 patches"),
        ((100, 100), 0, "max_slices: expected 1 to 100, got 0"),
        ((100, 100), 101, "max_slices: expected 1 to 100, got 101"),
    ],
)
def test_absurd_requests_are_refused_by_the_limit_they_break(size: tuple[int, int], most: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        slice_picture(Image.new("1", size), most, CONFIG)


def test_a_damaged_file_is_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "PNG")
    with pytest.raises(InputError, match="64x64: cannot be decoded"):
        slice_picture(Image.open(io.BytesIO(file.getvalue()[:2000])), 1, CONFIG)


def test_sizes_follow_the_configuration() -> None:
    layout = plan((300, 200), 4, PictureConfig(scale_resolution=160, patch_size=8))
    assert (layout.source, layout.grid) == ((192, 128), (2, 1))
    assert layout.cell == (136, 184)
