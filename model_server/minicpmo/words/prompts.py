"""What the model is told in text: system prompts, message headers, and the fillers that media are poured into.

The texts are data of the model (specification sections 2.9, 3.3, 5): it was trained with exactly these.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from model_server.minicpmo.errors import InputError

Clip = npt.NDArray[np.float32]
"""Sound, 16 kHz mono [n] in [-1, 1]."""

Item = str | Image.Image | Clip
"""One piece of a message."""

Mode = Literal["omni", "audio_assistant", "audio_roleplay", "voice_cloning", "default"]
Language = Literal["en", "zh"]

GENERATION_PROMPT = "<|im_end|>\n<|im_start|>assistant\n<|spk_bos|><|spk|><|spk_eos|><|tts_bos|>"
"""Closes the person's turn and opens the reply; the hidden state at `<|spk|>` is the reply's voice."""

REPLY_START = GENERATION_PROMPT.partition("\n")[2]
"""How a reply begins after a message that is closed already."""

UNIT = "<unit>"
"""Stands in front of each second of a video call."""

TOKENS_PER_SECOND = 25
"""Embeddings of one second of sound, the most that one pair of audio tokens encloses."""

_SEES_AND_HEARS = {
    "zh": "你是一个AI助手。你能接受视频，音频和文本输入并输出语音和文本。",
    "en": "You are a helpful assistant. You can accept video, audio and text input and output voice and text. ",
}
_CLONE = {"zh": "模仿输入音频中的声音特征。", "en": "Clone the voice in the provided audio prompt."}
_ASSIST = {
    "zh": "作为助手，你将使用这种声音风格说话。",
    "en": "As an assistant, you will speak using this voice style.",
}
_ROLEPLAY = {
    "zh": "假装你是上述音频中的人物，与我进行对话。",
    "en": "Try to role-play the character based on the audio prompt above.",
}
_NO_VOICE = "Use the <reserved_53> voice."
_PLAIN = "You are a helpful assistant. You can accept audio and text input and output voice and text."


def system_content(mode: Mode, language: Language, voice: Clip | None = None) -> list[Item]:
    """Content of the system prompt; `voice` is a clip of 1 to 30 s whose voice the model speaks with.

    Raises `InputError` for an unknown mode or language, or voice cloning without a voice.
    """
    if mode not in get_args(Mode) or language not in get_args(Language):
        modes, languages = ", ".join(get_args(Mode)), ", ".join(get_args(Language))
        raise InputError(f"system prompt: expected a mode of {modes} and a language of {languages}: {mode}, {language}")
    if mode == "default":
        return [_PLAIN]
    if voice is None:
        return _without_voice(mode, language)
    prefix = _SEES_AND_HEARS[language] + _CLONE[language] if mode == "omni" else _CLONE[language]
    suffix = {"omni": _ASSIST, "audio_assistant": _ASSIST, "audio_roleplay": _ROLEPLAY}.get(mode)
    return [prefix, voice] if suffix is None else [prefix, voice, suffix[language]]


def _without_voice(mode: Mode, language: Language) -> list[Item]:
    if mode == "omni":
        return [_SEES_AND_HEARS[language]]
    if mode == "voice_cloning":
        raise InputError("voice_cloning: expected a clip of the voice to clone, got none")
    return [_NO_VOICE, (_ASSIST if mode == "audio_assistant" else _ROLEPLAY)[language]]


def picture_fillers(grid: tuple[int, int] | None, queries: int, number: int | None = None) -> str:
    """Where a picture's embeddings go: the whole picture, then the slices of `grid` (columns, rows), row by row.

    `number` is the picture's place in the prompt, written before it; streaming leaves it out.
    """
    fill = "<unk>" * queries
    text = "" if number is None else f"<image_id>{number}</image_id>"
    text += f"<image>{fill}</image>"
    if grid is not None:
        columns, rows = grid
        text += "\n".join([f"<slice>{fill}</slice>" * columns] * rows)
    return text


def clip_fillers(embeddings: int, chunked: bool = True) -> str:
    """Where a clip's embeddings go, one pair of tokens for each begun second, or one for all."""
    most = TOKENS_PER_SECOND if chunked else max(embeddings, 1)
    counts = [min(most, embeddings - start) for start in range(0, embeddings, most)]
    return "".join(f"<|audio_start|>{'<unk>' * count}<|audio_end|>" for count in counts)


def checked_text(text: str, special_strings: frozenset[str]) -> str:
    """A person's text. Raises `InputError` if it is no Unicode, or holds a special token: that would open or close
    what is not theirs.
    """
    if text in (UNIT, _NO_VOICE):
        return text
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise InputError("text: expected Unicode, got bytes that are no UTF-8: write it in UTF-8")
    for special in special_strings:
        if special in text:
            raise InputError(f"text: expected no special tokens, got {special}: take it out")
    return text
