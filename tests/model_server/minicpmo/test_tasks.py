"""What the model can be asked to do, and what each task needs."""

from __future__ import annotations

import numpy as np
import pytest

from model_server import chat
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.words.prompts import Language
from model_server.minicpmo.words.tasks import TASKS, asked, task

CLIP = np.zeros(16000, np.float32)


def test_the_command_offers_every_task() -> None:
    assert tuple(TASKS) == chat.TASKS


@pytest.mark.parametrize(
    ("name", "language", "prompt"),
    [
        ("transcribe-en", "en", "Please listen to the audio snippet carefully and transcribe the content."),
        ("transcribe-zh", "en", "请仔细听这段音频片段，并将其内容逐字记录。"),
        ("mimick", "zh", "Please repeat each user's speech, including voice style and speech content."),
    ],
)
def test_prompts_that_the_model_was_trained_with(name: str, language: Language, prompt: str) -> None:
    content = asked(name, language, [CLIP], has_voice=False)
    assert content[0] == prompt + "\n"
    assert content[1] is CLIP


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_prompt_in_both_languages_and_names_what_it_lacks(name: str) -> None:
    assert all(task(name).prompt[language] for language in ("en", "zh"))
    with pytest.raises(InputError, match=name):
        asked(name, "en", ["text"] if task(name).needs == "sound" else [CLIP], has_voice=False)


def test_reading_in_a_voice_needs_the_voice() -> None:
    with pytest.raises(InputError, match="--voice"):
        asked("read-text-in-voice", "en", ["text"], has_voice=False)
    assert asked("read-text-in-voice", "en", ["text"], has_voice=True)[1:] == ["text"]


def test_a_task_that_there_is_not() -> None:
    with pytest.raises(InputError, match="mimick, transcribe-en"):
        task("sing")
