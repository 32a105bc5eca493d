from __future__ import annotations

import pytest

from model_server.engine import ConfigRejected, ItemRejected
from model_server.items import check_append, check_config, check_item, check_options
from model_server.protocol import (
    MAX_PICTURE_BYTES,
    MAX_TEXT_CHARS,
    Append,
    Capabilities,
    GenerateOptions,
    Item,
    PictureItem,
    SessionConfig,
    TextItem,
    Unit,
)
from tests.model_server.samples import JPEG, short_unit, sound, unit

BIG_JPEG = JPEG[:-2] + bytes(MAX_PICTURE_BYTES) + JPEG[-2:]

GOOD_ITEMS: list[Item] = [
    unit(1),
    unit(1, last=True, pictures=8),
    short_unit(1),
    short_unit(1, 3_840),
    short_unit(1, 15_360),
    TextItem(text="x" * MAX_TEXT_CHARS),
    PictureItem(jpeg=JPEG),
]

BAD_ITEMS: list[tuple[Item, str]] = [
    (Unit(audio=b""), "16000 samples, got 0"),
    (Unit(audio=b"", last=True), "3200 to 16000 samples, .* got 0"),
    (Unit(audio=sound(1)[:-1]), "two bytes a sample, got 31999 bytes"),
    (Unit(audio=sound(1, 15_999)), "got 15999: only the last"),
    (Unit(audio=sound(1, 16_640)), "got 16640"),
    (Unit(audio=sound(1, 3_200)), "got 3200: only the last"),
    (short_unit(1, 2_560), "got 2560: pad it"),
    (short_unit(1, 3_201), "multiple of 640, got 3201"),
    (short_unit(1, 16_640), "3200 to 16000 samples, .* got 16640"),
    (unit(1, pictures=9), "at most 8 pictures, got 9"),
    (Unit(audio=sound(1), pictures=[JPEG, b"GIF89a"]), "picture 2 is a JPEG file .* got 47 49 46"),
    (Unit(audio=sound(1), pictures=[b""]), "got nothing"),
    (Unit(audio=sound(1), pictures=[BIG_JPEG]), f"at most {MAX_PICTURE_BYTES} bytes, got {len(BIG_JPEG)}"),
    (PictureItem(jpeg=BIG_JPEG), f"got {len(BIG_JPEG)}: scale it down"),
    (PictureItem(jpeg=b"\x89PNG"), "starts with ff d8 ff, got 89 50 4e"),
    (TextItem(text=""), "says something"),
    (TextItem(text=" \n"), "white space"),
    (TextItem(text="x" * (MAX_TEXT_CHARS + 1)), f"at most {MAX_TEXT_CHARS} characters, got {MAX_TEXT_CHARS + 1}"),
]


@pytest.mark.parametrize("item", GOOD_ITEMS)
def test_a_good_item_passes(item: Item) -> None:
    check_item(item)


@pytest.mark.parametrize(("item", "says"), BAD_ITEMS)
def test_a_bad_item_is_rejected_in_words(item: Item, says: str) -> None:
    with pytest.raises(ItemRejected, match=says):
        check_item(item)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Append(seq=1, role="user"), "text or engine tokens"),
        (Append(seq=1, role="user", text="x" * 8_001), "got 8001"),
        (Append(seq=1, role="tool", engine_tokens=b"x"), "belong to the role assistant, got tool"),
        (Append(seq=1, role="assistant", engine_tokens=bytes(1024 * 1024 + 1)), "at most 1048576 bytes"),
    ],
)
def test_bad_history_is_rejected_in_words(request_: Append, says: str) -> None:
    with pytest.raises(ItemRejected, match=says):
        check_append(request_)


@pytest.mark.parametrize("field", ["say", "instructions"])
def test_option_texts_are_bounded(field: str) -> None:
    check_options(GenerateOptions(**{field: "x" * MAX_TEXT_CHARS}))
    with pytest.raises(ItemRejected, match=f"options.{field} has at most 8000"):
        check_options(GenerateOptions(**{field: "x" * (MAX_TEXT_CHARS + 1)}))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (SessionConfig(mode="xyz"), "config.mode is one of omni, audio with this engine, got 'xyz'"),
        (SessionConfig(language="tlh"), "config.language is one of en, de with this engine, got 'tlh'"),
        (SessionConfig(instructions="x" * 8_001), "config.instructions has at most 8000"),
    ],
)
def test_settings_must_suit_the_engine(config: SessionConfig, says: str) -> None:
    capabilities = Capabilities(engine="e", model="m", modes=("omni", "audio"), languages=("en", "de"))
    check_config(SessionConfig(language="de", mode="audio"), capabilities)
    with pytest.raises(ConfigRejected, match=says):
        check_config(config, capabilities)
