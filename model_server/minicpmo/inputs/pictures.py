"""Pictures to patches: how a picture is resized, cut into slices and normalised (specification sections 2.1 to 2.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model_server.minicpmo.config import PictureConfig
from model_server.minicpmo.errors import InputError

Size = tuple[int, int]
"""Width and height in pixels, or columns and rows."""

MAX_PIXELS = 100_000_000
"""Largest picture taken: 300 MB of RGB, a second or two of resizing."""

MAX_SLICES = 100

MAX_PATCHES = 2048
"""Most patches of one slice. All pictures but extreme strips have about (448 / 14)² = 1024."""

LEVELS = (torch.arange(256, dtype=torch.float32, device="cpu") / 255 - 0.5) / 0.5
"""The number that stands for each level of a colour, in the published order of float32 steps."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is made of a picture: one reduced picture, and behind it the cells of a grid, where there is one."""

    source: Size
    grid: Size | None
    cell: Size


@dataclass(frozen=True, slots=True)
class PictureSlice:
    """One picture for the tower.

    `patches` [rows * columns, 3 * side * side] float32, each patch in (channel, row, column) order.
    """

    patches: Tensor
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class SlicedPicture:
    """The reduced picture first, then the grid's cells row by row; `grid` is (columns, rows)."""

    slices: tuple[PictureSlice, ...]
    grid: Size | None


def slice_picture(image: Image.Image, max_slices: int, config: PictureConfig) -> SlicedPicture:
    """Patches of a picture, in at most `max_slices` slices beside the reduced picture.

    Raises `InputError`: no pixels, too many of them, a strip too long for its width, a file that cannot be decoded, or
    `max_slices` outside 1 to 100.
    """
    layout = plan(image.size, max_slices, config)
    rgb = _decoded(image)
    slices = [_patches(_pixels(rgb, layout.source), config.patch_size)]
    if layout.grid is not None:
        (columns, rows), (width, height) = layout.grid, layout.cell
        refined = _pixels(rgb, (width * columns, height * rows))
        for top in range(0, height * rows, height):
            cells = (refined[top : top + height, left : left + width] for left in range(0, width * columns, width))
            slices += [_patches(cell, config.patch_size) for cell in cells]
    return SlicedPicture(tuple(slices), layout.grid)


def plan(size: Size, max_slices: int, config: PictureConfig) -> Layout:
    """Sizes in pixels of all that a picture of `size` becomes. Raises `InputError` as `slice_picture` does."""
    _check_request(size, max_slices)
    width, height = size
    grid = choose_grid(size, max_slices, config)
    source = best_size(width, height, config, enlarge=grid is None)
    cell = source if grid is None else _cell(size, grid, config)
    for part in (source, cell):
        patches = (part[0] // config.patch_size) * (part[1] // config.patch_size)
        if patches > MAX_PATCHES:
            raise InputError(
                f"picture of {width}x{height}: at most {MAX_PATCHES} patches in a slice, "
                f"this strip would have {patches}: crop it to a shape nearer to a square"
            )
    return Layout(source, grid, cell)


def choose_grid(size: Size, max_slices: int, config: PictureConfig) -> Size | None:
    """Columns and rows whose shape is nearest to the picture's, or None for a picture that is not cut (section 2.3)."""
    width, height = size
    wanted = min(math.ceil(width * height / config.scale_resolution**2), max_slices)
    if wanted <= 1:
        return None
    counts = (n for n in (wanted - 1, wanted, wanted + 1) if n != 1 and n <= max_slices)
    grids = [(columns, n // columns) for n in counts for columns in range(1, n + 1) if n % columns == 0]
    shape = math.log(width / height)
    return min(grids, key=lambda grid: abs(shape - math.log(grid[0] / grid[1])))


def best_size(width: float, height: float, config: PictureConfig, *, enlarge: bool) -> Size:
    """A size of the same shape and of about the area that the tower was made for, in whole patches (section 2.2).

    Without `enlarge` a smaller picture keeps its size.
    """
    if width * height > config.scale_resolution**2 or enlarge:
        shape = width / height
        height = int(config.scale_resolution / math.sqrt(shape))
        width = int(height * shape)
    return snap(width, config.patch_size), snap(height, config.patch_size)


def snap(length: float, step: int) -> int:
    """The multiple of `step` nearest to `length`, at least one `step`; halves go to the even multiple."""
    return max(round(length / step) * step, step)


def _cell(size: Size, grid: Size, config: PictureConfig) -> Size:
    (width, height), (columns, rows) = size, grid
    return best_size(snap(width, columns) / columns, snap(height, rows) / rows, config, enlarge=True)


def _check_request(size: Size, max_slices: int) -> None:
    width, height = size
    if not 1 <= max_slices <= MAX_SLICES:
        raise InputError(f"max_slices: expected 1 to {MAX_SLICES}, got {max_slices}")
    if width < 1 or height < 1:
        raise InputError(f"picture of {width}x{height}: expected at least 1x1, send one that has pixels")
    if width * height > MAX_PIXELS:
        raise InputError(f"picture of {width}x{height}: at most {MAX_PIXELS} pixels, make it smaller first")


def _decoded(image: Image.Image) -> Image.Image:
    try:
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # What PIL raises for damaged files.
        raise InputError(f"picture of {image.width}x{image.height}: cannot be decoded: {error}") from error


def _pixels(rgb: Image.Image, size: Size) -> Tensor:
    """[height, width, 3] uint8 of the picture in another size."""
    return torch.from_numpy(np.array(rgb.resize(size, Image.Resampling.BICUBIC)))


def _patches(pixels: Tensor, side: int) -> PictureSlice:
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    split = pixels.reshape(rows, side, columns, side, 3).permute(0, 2, 4, 1, 3)
    return PictureSlice(LEVELS[split.reshape(rows * columns, -1).int()], rows, columns)
