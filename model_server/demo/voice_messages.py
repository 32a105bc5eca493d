"""Messages between the engine and the process that speaks."""

from __future__ import annotations

import msgspec


class Manner(msgspec.Struct, frozen=True):
    """How to speak: a voice of espeak-ng; `words_per_minute`: 80 to 450; `pitch` and `melody`: 0 to 99."""

    voice: str = "en-us"
    words_per_minute: int = 165
    pitch: int = 48
    melody: int = 60


class Warm(msgspec.Struct, tag="warm"):
    """First message: how to speak."""

    manner: Manner


class Speak(msgspec.Struct, tag="speak"):
    """One sentence, to be answered by `Spoken`."""

    number: int
    text: str


class Spoken(msgspec.Struct, tag="spoken"):
    """A sentence as PCM16 mono at `rate` Hz. `words`: where each begins, in characters and in samples."""

    number: int
    rate: int
    pcm: bytes
    words: list[tuple[int, int]]
    failed: bool = False


ToVoice = Warm | Speak

to_voice: msgspec.msgpack.Decoder[ToVoice] = msgspec.msgpack.Decoder(ToVoice)
