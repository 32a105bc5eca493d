"""What a client may set of its session, checked against what the engine can do before the engine hears of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import structs

from model_server.protocol import MAX_TEXT_CHARS, Capabilities, SessionConfig
from realtime import events
from realtime.events import EventError

_RANGES: dict[str, tuple[str, float, float]] = {
    "temperature": ("temperature", 0.0, 2.0),
    "top_p": ("top_p", 0.0001, 1.0),
    "max_output_tokens": ("max_response_tokens", 1, 4096),
}
"""By the client's name: the session's name for it, and its range."""


def session_config(
    settings: events.SessionSettings, config: SessionConfig, capabilities: Capabilities, voices: Mapping[str, bytes]
) -> SessionConfig:
    """`config` with what `settings` changes; `voices` are the clips of this call, by name.

    Raises `EventError` that names the field.
    """
    if settings.instructions is not None and len(settings.instructions) > MAX_TEXT_CHARS:
        raise EventError("invalid_value", f"expected at most {MAX_TEXT_CHARS} characters", param="session.instructions")
    changes: dict[str, Any] = {}
    for name, known in (("language", capabilities.languages), ("mode", capabilities.modes)):
        _one_of(changes, name, getattr(settings, name), known)
    _one_of(changes, "task", settings.task, ("", *capabilities.tasks))
    if settings.instructions is not None:
        changes["instructions"] = settings.instructions
    if settings.picture_detail is not None:
        changes["picture_detail"] = settings.picture_detail
    if settings.output_modalities is not None:
        changes["speech"] = "audio" in settings.output_modalities
    for name, (field, least, most) in _RANGES.items():
        _within(changes, name, field, getattr(settings, name), least, most)
    if settings.voice is not None:
        changes |= _voice(settings.voice, capabilities, voices)
    return structs.replace(config, **changes)


def voice_facts(config: SessionConfig, voices: Mapping[str, bytes]) -> dict[str, object]:
    """The settings in force beside language and instructions, as a client is told them."""
    brought = next((name for name, clip in voices.items() if config.voice_clip and clip == config.voice_clip), "")
    return {
        "voice": brought or config.voice,
        "mode": config.mode,
        "task": config.task,
        "picture_detail": config.picture_detail,
    }


def _one_of(changes: dict[str, Any], name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is None:
        return
    if value not in known:
        raise EventError("invalid_value", f"expected one of {', '.join(filter(None, known))}", param=f"session.{name}")
    changes[name] = value


def _within(changes: dict[str, Any], name: str, field: str, value: float | None, least: float, most: float) -> None:
    if value is None:
        return
    lowest_drawn = 0.01
    if not least <= value <= most or (name == "temperature" and 0 < value < lowest_drawn):
        raise EventError("invalid_value", f"expected {least:g} to {most:g}, got {value:g}", param=f"session.{name}")
    changes[field] = value


def _voice(name: str, capabilities: Capabilities, voices: Mapping[str, bytes]) -> dict[str, Any]:
    if name in voices:
        return {"voice": "", "voice_clip": voices[name]}
    if name and name not in capabilities.voices:
        known = ", ".join((*capabilities.voices, *voices)) or "none, this engine has only its own"
        raise EventError("invalid_value", f"expected one of {known}", param="session.voice")
    return {"voice": name, "voice_clip": b""}
