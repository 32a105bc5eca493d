from __future__ import annotations

import io

import pytest
from PIL import Image

from model_server.engine import ItemRejected
from model_server.minicpmo.serving import jpeg
from tests.model_server.minicpmo.serving.samples import picture


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_a_picture_is_upright_and_rgb() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned by a quarter.
    found = jpeg.decode(encoded(Image.new("L", (40, 30)), exif=exif))
    assert (found.size, found.mode) == ((30, 40), "RGB")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xd8\xff\xe0", picture(1)[:-200], encoded(Image.new("RGB", (8, 8)), "PNG")],
    ids=["nothing", "a beginning", "cut", "PNG"],
)
def test_what_is_no_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(ItemRejected, match="cannot be decoded"):
        jpeg.decode(data)


def test_a_picture_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ItemRejected, match="got 9000x8: scale it down"):
        jpeg.decode(encoded(Image.new("RGB", (9_000, 8))))
