"""What the model can be asked to do with a clip or a text, and the words in which to ask it.

The prompts of `mimick` and of transcription are data of the model (specification section 5.2); the others are plain
sentences of our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.words.prompts import Item, Language, Mode

Needs = Literal["sound", "text", "voice and text"]


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt in front of what the person gives."""

    prompt: dict[Language, str]
    needs: Needs
    mode: Mode = "audio_assistant"
    """Of the system prompt, where the reply is spoken."""
    spoken: bool = False
    """Whether the reply is about how it sounds."""


def _both(english: str, chinese: str) -> dict[Language, str]:
    return {"en": english, "zh": chinese}


_TRANSCRIBE_EN = "Please listen to the audio snippet carefully and transcribe the content."
_TRANSCRIBE_ZH = "请仔细听这段音频片段，并将其内容逐字记录。"
_MIMICK = "Please repeat each user's speech, including voice style and speech content."

TASKS: dict[str, Task] = {
    "mimick": Task(_both(_MIMICK, _MIMICK), "sound", spoken=True),
    "transcribe-en": Task(_both(_TRANSCRIBE_EN, _TRANSCRIBE_EN), "sound"),
    "transcribe-zh": Task(_both(_TRANSCRIBE_ZH, _TRANSCRIBE_ZH), "sound"),
    "translate": Task(
        _both(
            "Please listen to the audio and translate what is said: English into Chinese, anything else into English.",
            "请听这段音频并翻译其内容：中文译成英文，其他语言译成中文。",
        ),
        "sound",
    ),
    "speaker-analysis": Task(
        _both(
            "Listen to the speaker and describe gender, approximate age, emotion and manner of speaking.",
            "请听说话人的声音，描述其性别、大致年龄、情绪和说话方式。",
        ),
        "sound",
    ),
    "sound-caption": Task(
        _both("Describe in one sentence what can be heard in the audio.", "请用一句话描述音频中能听到的内容。"),
        "sound",
    ),
    "scene-tag": Task(
        _both(
            "Name the scene in which the audio was recorded, in a few keywords.",
            "请用几个关键词说明音频的录制场景。",
        ),
        "sound",
    ),
    "read-text-in-voice": Task(
        _both("Please read the text below.", "请朗读以下内容。"), "voice and text", mode="voice_cloning", spoken=True
    ),
    "speak-as-instructed": Task(
        _both(
            "Please speak exactly as the following instruction says.",
            "请严格按照以下要求说话。",
        ),
        "text",
        spoken=True,
    ),
}
"""By the name that `--task` takes."""


def task(name: str) -> Task:
    """The task of that name. Raises `InputError` naming those that there are."""
    if name not in TASKS:
        raise InputError(f"task: expected one of {', '.join(TASKS)}, got {name!r}")
    return TASKS[name]


def asked(name: str, language: Language, given: list[Item], has_voice: bool) -> list[Item]:
    """The content of a message: the task's prompt, and behind it what the person gives.

    Raises `InputError` if the task needs a clip, a text or a voice that is not there.
    """
    found = task(name)
    texts = [item for item in given if isinstance(item, str) and item.strip()]
    clips = [item for item in given if isinstance(item, np.ndarray)]
    if found.needs == "sound" and not clips:
        raise InputError(f"task {name}: expected a clip to work on, got none: give one with --audio")
    if found.needs != "sound" and not texts:
        raise InputError(f"task {name}: expected a text, got none: give one with --text")
    if found.needs == "voice and text" and not has_voice:
        raise InputError(f"task {name}: expected a voice to read in, got none: give a clip with --voice")
    return [found.prompt[language] + "\n", *given]
