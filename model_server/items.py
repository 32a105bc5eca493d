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
    MAX_VOICE_CLIP_SAMPLES,
    MIN_VOICE_CLIP_SAMPLES,
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

SAMPLING_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0.01, 2),
    "top_p": (0.0001, 1),
    "top_k": (1, 1_000_000),
    "repetition_penalty": (0.5, 2),
    "max_response_tokens": (1, 4096),
}
"""What a session may ask of the draws of its text."""

MAX_SEED = 2**63 - 1


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
    for field, value, known in (
        ("task", config.task, capabilities.tasks),
        ("voice", config.voice, capabilities.voices),
    ):
        if value and value not in known:
            offered = f"is one of {', '.join(known)}" if known else "is empty"
            raise ConfigRejected(f"config.{field} {offered} with this engine, got {value[:40]!r}")
    _check_voice_clip(config.voice_clip, capabilities)
    _check_draws(config)


def _check_voice_clip(clip: bytes, capabilities: Capabilities) -> None:
    samples, odd = divmod(len(clip), 2)
    if not clip:
        return
    if not capabilities.voice_clips:
        raise ConfigRejected("config.voice_clip is empty with this engine: it does not imitate voices")
    if odd or not MIN_VOICE_CLIP_SAMPLES <= samples <= MAX_VOICE_CLIP_SAMPLES:
        raise ConfigRejected(f"config.voice_clip is 1 to 30 s of PCM16 at 16 kHz, got {len(clip)} bytes")
    if not clip.strip(b"\0"):
        raise ConfigRejected("config.voice_clip is a voice, got silence: record it again")


def _check_draws(config: SessionConfig) -> None:
    if config.seed is not None and not 0 <= config.seed <= MAX_SEED:
        raise ConfigRejected(f"config.seed is 0 to {MAX_SEED}, got {config.seed}")
    for field, (least, most) in SAMPLING_RANGES.items():
        value = getattr(config, field)
        likeliest = field == "temperature" and value == 0
        if value is not None and not likeliest and not least <= value <= most:
            raise ConfigRejected(f"config.{field} is {least:g} to {most:g}, got {value:g}")


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
