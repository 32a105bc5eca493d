"""What may be written into a session: the rules that hold for every engine, each checked before an engine sees a byte.

Every function raises the engine's own error types (`ItemRejected`, `ConfigRejected`) with a text that names the limit,
what came and what to do.
"""

from __future__ import annotations

from model_server.engine import ConfigRejected, ItemRejected
from model_server.protocol import (
    MAX_ENGINE_TOKENS_BYTES,
    MAX_PICTURE_BYTES,
    MAX_PICTURES_PER_UNIT,
    MAX_TEXT_CHARS,
    SHORTEST_UNIT_SAMPLES,
    UNIT_MULTIPLE,
    UNIT_SAMPLES,
    Append,
    Capabilities,
    GenerateOptions,
    Item,
    PictureItem,
    SessionConfig,
    TextItem,
    Unit,
)

JPEG_START = b"\xff\xd8\xff"


def check_item(item: Item, max_picture_bytes: int = MAX_PICTURE_BYTES) -> None:
    """Raise `ItemRejected` unless `item` has the form that the protocol promises to engines."""
    match item:
        case Unit():
            _check_audio(item)
            _check_pictures(item.pictures, max_picture_bytes)
        case TextItem():
            _check_text("a text item", item.text)
        case PictureItem():
            _check_picture(item.jpeg, "the picture", max_picture_bytes)


def check_append(request: Append) -> None:
    """Raise `ItemRejected` unless the history of `request` is bounded and says something."""
    if not request.text and not request.engine_tokens:
        raise ItemRejected("history has text or engine tokens, got neither: leave it out")
    if len(request.text) > MAX_TEXT_CHARS:
        raise ItemRejected(f"history text has at most {MAX_TEXT_CHARS} characters, got {len(request.text)}: split it")
    if len(request.engine_tokens) > MAX_ENGINE_TOKENS_BYTES:
        got = len(request.engine_tokens)
        raise ItemRejected(
            f"engine tokens take at most {MAX_ENGINE_TOKENS_BYTES} bytes, got {got}: append text instead"
        )
    if request.engine_tokens and request.role != "assistant":
        raise ItemRejected(f"engine tokens belong to the role assistant, got {request.role}: send its text instead")


def check_options(options: GenerateOptions) -> None:
    """Raise `ItemRejected` unless the texts of `options` are bounded."""
    for name, text in (("say", options.say), ("instructions", options.instructions)):
        if text is not None and len(text) > MAX_TEXT_CHARS:
            raise ItemRejected(f"options.{name} has at most {MAX_TEXT_CHARS} characters, got {len(text)}: shorten it")


def check_config(config: SessionConfig, capabilities: Capabilities) -> None:
    """Raise `ConfigRejected` unless the engine with `capabilities` can follow `config`."""
    if len(config.instructions) > MAX_TEXT_CHARS:
        got = len(config.instructions)
        raise ConfigRejected(f"config.instructions has at most {MAX_TEXT_CHARS} characters, got {got}: shorten it")
    for field, value, known in (
        ("mode", config.mode, capabilities.modes),
        ("language", config.language, capabilities.languages),
    ):
        if value not in known:
            raise ConfigRejected(f"config.{field} is one of {', '.join(known)} with this engine, got {value[:40]!r}")


def _check_audio(unit: Unit) -> None:
    samples, odd = divmod(len(unit.audio), 2)
    if odd:
        raise ItemRejected(f"audio is PCM16, two bytes a sample, got {len(unit.audio)} bytes: send whole samples")
    if samples == UNIT_SAMPLES:
        return
    if not unit.last:
        raise ItemRejected(f"a unit has {UNIT_SAMPLES} samples, got {samples}: only the last of a turn may be short")
    if not SHORTEST_UNIT_SAMPLES <= samples <= UNIT_SAMPLES or samples % UNIT_MULTIPLE:
        raise ItemRejected(
            f"a last unit has {SHORTEST_UNIT_SAMPLES} to {UNIT_SAMPLES} samples, a multiple of {UNIT_MULTIPLE}, "
            f"got {samples}: pad it with zeros"
        )


def _check_pictures(pictures: list[bytes], max_bytes: int) -> None:
    if len(pictures) > MAX_PICTURES_PER_UNIT:
        raise ItemRejected(
            f"a unit carries at most {MAX_PICTURES_PER_UNIT} pictures, got {len(pictures)}: send the newest"
        )
    for number, jpeg in enumerate(pictures, 1):
        _check_picture(jpeg, f"picture {number}", max_bytes)


def _check_picture(jpeg: bytes, name: str, max_bytes: int) -> None:
    if len(jpeg) > max_bytes:
        raise ItemRejected(f"{name} has at most {max_bytes} bytes, got {len(jpeg)}: scale it down or lower its quality")
    if not jpeg.startswith(JPEG_START):
        raise ItemRejected(f"{name} is a JPEG file and starts with ff d8 ff, got {jpeg[:3].hex(' ') or 'nothing'}")


def _check_text(name: str, text: str) -> None:
    if not text.strip():
        raise ItemRejected(f"{name} says something, got {len(text)} characters of white space: leave it out")
    if len(text) > MAX_TEXT_CHARS:
        raise ItemRejected(f"{name} has at most {MAX_TEXT_CHARS} characters, got {len(text)}: split it")
