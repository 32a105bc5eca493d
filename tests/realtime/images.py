"""Pictures for tests, made by the codecs that are here anyway."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Any

import av
import numpy as np


def frame_of(width: int, height: int, colour: tuple[int, int, int] = (200, 30, 30)) -> Any:
    """A video frame of one colour (RGB) with some texture, so that files have a size worth slicing."""
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    pixels[:] = colour
    pixels[::7, ::5] = 255 - pixels[::7, ::5]
    return av.VideoFrame.from_ndarray(pixels, format="rgb24")


@functools.cache
def jpeg_of(width: int, height: int, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """A real JPEG file of mostly one colour (RGB)."""
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 1)
    picture = frame_of(width, height, colour).reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


def pixels_of(jpeg: bytes) -> np.ndarray:
    """A JPEG file as RGB pixels, shape [height, width, 3]."""
    decoder: Any = av.CodecContext.create("mjpeg", "r")
    pictures = [*decoder.decode(av.Packet(jpeg)), *decoder.decode(None)]
    return np.asarray(pictures[0].to_ndarray(format="rgb24"))
