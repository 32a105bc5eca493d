"""A JPEG file as it came from the network, decoded within limits."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageOps

from model_server.engine import ItemRejected

MAX_SIDE = 8_192
MAX_PIXELS = 24_000_000
"""72 MB of RGB, what the largest telephone takes."""


def decode(jpeg: bytes) -> Image.Image:
    """The picture, RGB, upright. Raises `ItemRejected` for another format, damage, or a size outside the limits."""
    try:
        with Image.open(BytesIO(jpeg), formats=("JPEG",)) as picture:
            width, height = picture.size
            if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                raise ItemRejected(
                    f"a picture has sides up to {MAX_SIDE} and up to {MAX_PIXELS} pixels, got {width}x{height}: "
                    "scale it down"
                )
            return ImageOps.exif_transpose(picture).convert("RGB")
    # What PIL raises for damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ItemRejected(f"the picture of {len(jpeg)} bytes cannot be decoded: {error}: send a whole JPEG") from error
