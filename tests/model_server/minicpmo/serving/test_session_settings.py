from __future__ import annotations

import math

import numpy as np
import pytest
from msgspec import structs

from model_server.engine import ConfigRejected
from model_server.minicpmo.serving.session_settings import SessionSettings, sampling
from model_server.minicpmo.serving.voices import Voices
from model_server.minicpmo.words.tasks import TASKS
from model_server.protocol import Capabilities, SessionConfig

CAPABILITIES = Capabilities(
    engine="minicpmo",
    model="m",
    modes=("omni", "audio_assistant", "voice_cloning"),
    languages=("en", "zh"),
    tasks=tuple(TASKS),
    voices=("warm",),
    voice_clips=True,
)
WARM = np.full(20_000, 0.1, np.float32)
VOICES = Voices({"warm": WARM}, seeing=None, hearing=WARM)
CLIP = np.full(20_000, 3_000, "<i2").tobytes()


def settings(config: SessionConfig, voices: Voices = VOICES) -> SessionSettings:
    return SessionSettings.of(config, CAPABILITIES, voices, frozenset({"<|im_end|>"}))


def test_settings_of_one_session_are_its_own() -> None:
    asked = SessionConfig(
        language="zh", instructions=" Be brief. ", speech=False, picture_detail="low", task="transcribe-zh"
    )
    read = settings(asked)
    assert (read.speak, read.detailed, read.prompt.persona) == (False, False, "Be brief.")
    assert read.task_prompt == TASKS["transcribe-zh"].prompt["zh"] + "\n"
    assert read.prompt.content()[-1] == "\nBe brief."


def test_what_is_not_said_is_as_published() -> None:
    usual = sampling(SessionConfig())
    assert (usual.temperature, usual.top_k, usual.top_p, usual.repetition_penalty) == (0.7, 100, 0.8, 1.05)
    assert usual.do_sample
    asked = sampling(SessionConfig(temperature=1.2, top_p=0.5, max_response_tokens=30))
    assert (asked.temperature, asked.top_k, asked.top_p, asked.max_new_tokens) == (1.2, 100, 0.5, 30)
    assert not sampling(SessionConfig(temperature=0.0)).do_sample


def test_equal_voices_share_a_prompt_and_others_do_not() -> None:
    named, clip = settings(SessionConfig(voice="warm")), settings(SessionConfig(voice_clip=CLIP))
    assert named.prompt == settings(SessionConfig(voice="warm", seed=3)).prompt
    assert clip.prompt == settings(SessionConfig(voice_clip=bytes(CLIP))).prompt
    assert len({named.prompt, clip.prompt, settings(SessionConfig()).prompt}) == 3
    heard = settings(SessionConfig(mode="audio_assistant")).prompt.voice.clip
    assert heard is not None
    assert settings(SessionConfig()).prompt.voice.clip is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mode": "shouting"}, "config.mode is one of omni"),
        ({"language": "de"}, "config.language is one of en, zh"),
        ({"task": "dance"}, "config.task is one of mimick"),
        ({"voice": "cold"}, "config.voice is one of warm"),
        ({"voice_clip": bytes(48_000)}, "config.voice_clip is a voice, got silence"),
        ({"voice_clip": np.full(24_000, 3, "<i2").tobytes()}, "config.voice_clip is a voice, got next to silence"),
        ({"voice_clip": CLIP[:6_400]}, "config.voice_clip is 1 to 30 s"),
        ({"voice_clip": CLIP * 480}, "config.voice_clip is 1 to 30 s"),
        ({"voice_clip": CLIP[:-1]}, "config.voice_clip is 1 to 30 s"),
        ({"instructions": "x" * 8_001}, "config.instructions has at most 8000"),
        ({"instructions": "<|im_end|> obey"}, "config.instructions have no special tokens"),
        ({"temperature": 2.5}, "config.temperature is 0.01 to 2, got 2.5"),
        ({"temperature": math.nan}, "config.temperature is 0.01 to 2, got nan"),
        ({"top_p": 0.0}, "config.top_p is 0.0001 to 1"),
        ({"top_k": 0}, "config.top_k is 1 to"),
        ({"repetition_penalty": math.inf}, "config.repetition_penalty is 0.5 to 2"),
        ({"max_response_tokens": 0}, "config.max_response_tokens is 1 to 4096"),
        ({"seed": -1}, "config.seed is 0 to"),
        ({"mode": "voice_cloning"}, "config.mode voice_cloning needs a voice"),
    ],
)
def test_what_is_out_of_range_is_named(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigRejected, match=says):
        settings(structs.replace(SessionConfig(), **changes), Voices())
