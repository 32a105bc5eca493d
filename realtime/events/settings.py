"""What a client may set of its session."""

from __future__ import annotations

from typing import Literal

import msgspec


class TurnDetection(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How the end of the person's turn is found.

    `server_vad`: after `silence_duration_ms` (0 to 10 000) without a voice; a window is a voice with `threshold` (0.1
    to 0.95), and `prefix_padding_ms` (0 to 1 000) before it belong to it. `semantic_vad`: what was said and how this
    person pauses decide; `eagerness` is `low`, `medium`, `high` or `auto`.
    """

    type: str
    threshold: float | None = None
    prefix_padding_ms: float | None = None
    silence_duration_ms: float | None = None
    eagerness: str | None = None


class AudioInput(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How the microphone is listened to."""

    turn_detection: TurnDetection | msgspec.UnsetType | None = msgspec.UNSET


class AudioSettings(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Settings of sound."""

    input: AudioInput | None = None


class SessionSettings(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Settings a client may change during the call.

    `extensions`: names of our own events the client wants. `output_modalities`: `["audio"]` or `["text"]`.
    `loopback`: a line check, the caller hears their own microphone instead of the assistant.
    `voice`: one of `GET /v1/voices`, the usual one where empty. `mode`, `task`, `picture_detail`, `temperature`,
    `top_p` and `max_output_tokens` (of one response) as in `SessionConfig`, where the engine has them.
    `turn_detection`: null for push to talk; it may also stand in `audio.input`, as in OpenAI's API.
    """

    instructions: str | None = None
    output_modalities: list[Literal["audio", "text"]] | None = None
    language: str | None = None
    extensions: list[str] | None = None
    loopback: bool | None = None
    voice: str | None = None
    mode: str | None = None
    task: str | None = None
    picture_detail: Literal["high", "low"] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    turn_detection: TurnDetection | msgspec.UnsetType | None = msgspec.UNSET
    audio: AudioSettings | None = None

    @property
    def turns(self) -> TurnDetection | msgspec.UnsetType | None:
        """The `turn_detection` that is asked for, wherever it stands."""
        nested = self.audio.input.turn_detection if self.audio and self.audio.input else msgspec.UNSET
        return self.turn_detection if nested is msgspec.UNSET else nested
