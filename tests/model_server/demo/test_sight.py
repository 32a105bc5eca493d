from __future__ import annotations

import io

import pytest
from PIL import Image

from model_server.demo.sight import Seen, look
from model_server.engine import ItemRejected
from tests.model_server.demo.samples import BLUE, GREEN, RED, picture


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        (RED, "red"),
        ((255, 0, 0), "red"),
        ((120, 10, 15), "red"),
        (GREEN, "green"),
        ((0, 255, 0), "green"),
        (BLUE, "blue"),
        ((0, 0, 255), "blue"),
        ((90, 160, 230), "blue"),
        ((255, 220, 0), "yellow"),
        ((255, 140, 0), "orange"),
        ((110, 65, 25), "brown"),
        ((130, 40, 170), "purple"),
        ((255, 150, 190), "pink"),
        ((40, 200, 200), "turquoise"),
        ((8, 8, 8), "black"),
        ((128, 128, 128), "grey"),
        ((250, 250, 250), "white"),
    ],
)
def test_names_the_colour(rgb: tuple[int, int, int], name: str) -> None:
    assert look(picture(rgb)).colour == name


def test_what_is_held_before_the_camera_counts_more_than_the_wall() -> None:
    image = Image.new("RGB", (640, 480), (190, 188, 180))
    image.paste(RED, (200, 120, 440, 380))
    file = io.BytesIO()
    image.save(file, "JPEG")
    assert look(file.getvalue()).colour == "red"


def test_brightness() -> None:
    assert look(picture((20, 20, 20))).light == "dark"
    assert look(picture((120, 120, 120))).light == "neither very bright nor dark"
    assert look(picture((230, 230, 230))).light == "bright"


def test_movement_has_a_beginning_and_an_end() -> None:
    still, moving = look(picture(GREEN, box=20)), look(picture(GREEN, box=160))
    seen = Seen().after(still, 0).after(still, 1)
    assert (seen.count, seen.moved_at, seen.moving_since) == (2, None, None)
    seen = seen.after(moving, 2).after(still, 3)
    assert (seen.moved_at, seen.moving_since) == (3, 2)
    seen = seen.after(still, 4)
    assert (seen.count, seen.moved_at, seen.moving_since) == (5, 3, None)


def test_a_change_of_light_is_no_movement() -> None:
    darker, brighter = look(picture((90, 90, 90))), look(picture((140, 140, 140)))
    assert Seen().after(darker, 0).after(brighter, 1).moved_at is None


def _bomb() -> bytes:
    whole = picture(RED)
    start = whole.index(b"\xff\xc0")
    return whole[: start + 5] + (20_000).to_bytes(2, "big") * 2 + whole[start + 9 :]


@pytest.mark.parametrize(
    "jpeg",
    [b"", b"\xff\xd8\xff", picture(RED)[:-300], b"GIF89a" + bytes(40), _bomb()],
    ids=["empty", "start", "cut", "other", "20000x20000"],
)
def test_what_is_no_picture_is_rejected(jpeg: bytes) -> None:
    with pytest.raises(ItemRejected, match="picture"):
        look(jpeg)
