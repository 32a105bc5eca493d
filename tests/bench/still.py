"""One picture as a page sends it: 768 x 576, about 50 kB."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT = 768, 576
GRAIN = 4


def still(seed: int = 1) -> bytes:
    """A smooth scene with some grain, as JPEG."""
    rng = np.random.default_rng(seed)
    across, down = np.meshgrid(np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT))
    scene = np.stack([across, down, 255 - across], axis=2) + rng.normal(0, GRAIN, (HEIGHT, WIDTH, 1))
    picture = av.VideoFrame.from_ndarray(scene.clip(0, 255).astype(np.uint8), "rgb24")
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
    encoder.time_base = Fraction(1, 1)
    frame = picture.reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
