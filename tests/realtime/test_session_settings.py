from __future__ import annotations

import math

import pytest

from model_server.protocol import MAX_TEXT_CHARS, Capabilities, SessionConfig
from realtime.call.session_settings import session_config, voice_facts
from realtime.events import EventError, SessionSettings

NETWORK = Capabilities(
    engine="e",
    model="m",
    modes=("omni", "audio_assistant"),
    languages=("en", "zh"),
    tasks=("mimick",),
    voices=("warm",),
    voice_clips=True,
)
CLIP = b"\1\2" * 16_000


def test_settings_change_only_what_they_name() -> None:
    before = SessionConfig(instructions="be kind", language="en", seed=7, voice="warm", temperature=0.5)
    after = session_config(SessionSettings(output_modalities=["text"]), before, NETWORK, {})
    assert after == SessionConfig(
        instructions="be kind", language="en", seed=7, voice="warm", temperature=0.5, speech=False
    )


def test_every_setting_arrives() -> None:
    settings = SessionSettings(
        mode="audio_assistant",
        task="mimick",
        voice="warm",
        picture_detail="low",
        temperature=0.0,
        top_p=0.5,
        max_output_tokens=30,
        language="zh",
    )
    expected = SessionConfig(
        mode="audio_assistant",
        task="mimick",
        voice="warm",
        picture_detail="low",
        temperature=0.0,
        top_p=0.5,
        max_response_tokens=30,
        language="zh",
    )
    assert session_config(settings, SessionConfig(), NETWORK, {}) == expected


def test_a_brought_voice_is_sent_as_a_clip_and_named_to_the_client() -> None:
    config = session_config(SessionSettings(voice="voice_1"), SessionConfig(voice="warm"), NETWORK, {"voice_1": CLIP})
    assert (config.voice, config.voice_clip) == ("", CLIP)
    assert voice_facts(config, {"voice_1": CLIP})["voice"] == "voice_1"
    again = session_config(SessionSettings(voice=""), config, NETWORK, {"voice_1": CLIP})
    assert (again.voice, again.voice_clip) == ("", b"")


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        (SessionSettings(language="xx"), "session.language"),
        (SessionSettings(instructions="x" * (MAX_TEXT_CHARS + 1)), "session.instructions"),
        (SessionSettings(mode="shouting"), "session.mode"),
        (SessionSettings(task="dance"), "session.task"),
        (SessionSettings(voice="voice_of_another_call"), "session.voice"),
        (SessionSettings(temperature=2.5), "session.temperature"),
        (SessionSettings(temperature=0.001), "session.temperature"),
        (SessionSettings(temperature=math.nan), "session.temperature"),
        (SessionSettings(top_p=0.0), "session.top_p"),
        (SessionSettings(max_output_tokens=0), "session.max_output_tokens"),
    ],
)
def test_settings_out_of_range_name_their_field(settings: SessionSettings, param: str) -> None:
    with pytest.raises(EventError) as caught:
        session_config(settings, SessionConfig(), NETWORK, {})
    assert caught.value.param == param
