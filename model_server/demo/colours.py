"""Names for colours, decided in OKLab (Ottosson, 2020), where equal distances look equal."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

NAMES = ("black", "grey", "white", "red", "orange", "brown", "yellow", "green", "turquoise", "blue", "purple", "pink")
_GREYEST_CHROMA = 0.045
_HUES = ((8, "pink"), (42, "red"), (74, "orange"), (116, "yellow"), (166, "green"), (212, "turquoise"), (280, "blue"),
         (325, "purple"), (350, "pink"), (360, "pink"))  # fmt: skip
"""Upper ends of hue ranges in degrees."""
_TO_LMS = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                    [0.2119034982, 0.6806995451, 0.1073969566],
                    [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
_TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                    [1.9779984951, -2.4285922050, 0.4505937099],
                    [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip

Pixels = NDArray[np.uint8]


def oklab(pixels: Pixels) -> NDArray[np.float64]:
    """sRGB `[..., 3]` (0 to 255) as OKLab `[..., 3]`: lightness 0 to 1, then the two opponent axes."""
    part = pixels.astype(np.float64) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T)


def name_of(lightness: float, chroma: float, hue: float) -> str:
    """The name of one colour; `hue` in degrees."""
    if chroma < _GREYEST_CHROMA or lightness < 0.16:
        return "black" if lightness < 0.32 else "white" if lightness > 0.86 else "grey"
    name = next(name for end, name in _HUES if hue <= end)
    if name == "red" and lightness > 0.72:
        return "pink"
    if name in ("orange", "yellow") and lightness < 0.62:
        return "green" if name == "yellow" and hue > 105 else "brown"
    return name


def main_colour(pixels: Pixels) -> str:
    """The name of the colour that stands out in a picture `[row, column, 3]`: large, strong and near its middle."""
    lab = oklab(pixels)
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hues = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    weights = _middle(*chroma.shape) * (0.35 + np.minimum(chroma, 0.2) / 0.2)
    totals: dict[str, float] = dict.fromkeys(NAMES, 0.0)
    for light, strength, hue, weight in zip(lab[..., 0].flat, chroma.flat, hues.flat, weights.flat, strict=True):
        totals[name_of(light, strength, hue)] += weight
    return max(NAMES, key=lambda name: totals[name])


def _middle(rows: int, columns: int) -> NDArray[np.float64]:
    """Weights that fall from 1 in the middle to about 0.3 in the corners."""
    down = np.linspace(-1, 1, rows)[:, None]
    across = np.linspace(-1, 1, columns)[None, :]
    return np.exp(-(down**2 + across**2) * math.log(1 / 0.3) / 2)
