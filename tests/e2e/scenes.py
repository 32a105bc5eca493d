"""What the camera of a test sees: one colour, or a table with a red apple."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Field = npt.NDArray[np.float64]
RED = (220, 20, 20)


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (640, 360)) -> Image.Image:
    """One colour."""
    return Image.new("RGB", size, colour)


def apple_on_a_table(width: int = 960, height: int = 720) -> Image.Image:
    """A red apple on a wooden table before a wall, drawn by light and shade."""
    x, y = np.meshgrid(np.linspace(-1.0, 1.0, width) * width / height, np.linspace(-1.0, 1.0, height))
    picture = np.where((y > 0.35)[..., None], _table(x, y), _wall(x, y))
    picture = _shaded(picture, np.exp(-(((x + 0.12) / 0.62) ** 2 + ((y - 0.62) / 0.13) ** 2) * 1.5), 0.62)
    body = np.hypot(np.abs(x) / 0.56, (y - 0.12) / 0.52) - 0.06 * np.cos(np.arctan2(np.abs(x), -(y - 0.12)) * 2)
    cover = np.clip((1.0 - body) * 120, 0, 1)[..., None]
    picture = picture * (1 - cover) + _apple(x, y, body) * cover
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    _stem_and_leaf(image)
    return image.filter(ImageFilter.GaussianBlur(0.7))


def _wall(x: Field, y: Field) -> Field:
    light = 0.86 + 0.14 * np.exp(-((x + 0.9) ** 2 + (y + 0.8) ** 2))
    return _coloured(light, 226.0, 219.0, 205.0)


def _table(x: Field, y: Field) -> Field:
    grain = 0.04 * np.sin(34 * y + 3 * np.sin(2.1 * x + 5 * y)) + 0.03 * np.sin(90 * y + 4 * x)
    light = 0.80 + 0.18 * np.exp(-((x + 0.7) ** 2 + (y - 0.5) ** 2)) + grain
    return _coloured(light, 196.0, 148.0, 100.0)


def _apple(x: Field, y: Field, body: Field) -> Field:
    roundness = np.sqrt(np.clip(1.0 - body**2, 0, 1))
    light = 0.42 + 0.58 * np.clip((-0.45 * x / 0.56 - 0.5 * (y - 0.12) / 0.52 + 0.75 * roundness), 0, 1.1)
    blush = np.clip(0.5 + 0.5 * np.sin(9 * x + 2 * y), 0, 1)[..., None] * 0.12
    skin = (1 - blush) * np.array([204.0, 28.0, 30.0]) + blush * np.array([232.0, 120.0, 56.0])
    gloss = np.exp(-(((x + 0.2) / 0.11) ** 2 + ((y + 0.08) / 0.14) ** 2))[..., None]
    return np.asarray(skin * light[..., None] * (1 - 0.55 * gloss) + 255 * 0.55 * gloss)


def _shaded(picture: Field, shadow: Field, depth: float) -> Field:
    return np.asarray(picture * (1 - depth * shadow)[..., None])


def _coloured(light: Field, red: float, green: float, blue: float) -> Field:
    return np.asarray(light[..., None] * np.array([red, green, blue]))


def _stem_and_leaf(image: Image.Image) -> None:
    draw = ImageDraw.Draw(image)
    width, height = image.size
    middle, top = width / 2, height * 0.325
    draw.line(
        [(middle, top), (middle + 8, top - 34), (middle + 20, top - 70)], fill=(92, 62, 38), width=11, joint="curve"
    )
    leaf = [(middle + 12, top - 40), (middle + 60, top - 92), (middle + 132, top - 88), (middle + 78, top - 42)]
    draw.polygon(leaf, fill=(86, 138, 62))
    draw.line([(middle + 12, top - 40), (middle + 120, top - 84)], fill=(120, 168, 92), width=4)
