"""espeak-ng through ctypes: one sentence in, its samples and the times of its words out.

The library is GPL-3 and comes with the extra `demo`: it is loaded at run time, by the process that speaks.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_short, c_uint, c_void_p
from typing import Any

from model_server.demo.voice_messages import Manner, Speak, Spoken

_SYNCHRONOUS = 2
_UTF8 = 1
_CHARACTER_POSITIONS = 1
_ENDS = 0
_WORD = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_CALLBACK_CONTINUES = 0


class _EventId(ctypes.Union):
    _fields_ = (("number", c_int), ("name", c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """`espeak_EVENT` of espeak-ng's speak_lib.h."""

    _fields_ = (
        ("type", c_int),
        ("unique_identifier", c_uint),
        ("text_position", c_int),
        ("length", c_int),
        ("audio_position", c_int),
        ("sample", c_int),
        ("user_data", c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(c_int, POINTER(c_short), c_int, POINTER(_Event))


class VoiceError(Exception):
    """espeak-ng could not do what was asked."""


class Espeak:
    """The library, loaded and ready to speak in one manner. It has global state: one for each process."""

    def __init__(self, manner: Manner) -> None:
        """Raises `VoiceError`."""
        import espeakng_loader

        self._samples: list[bytes] = []
        self._words: list[tuple[int, int]] = []
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path()).encode()
        self.rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0))
        if self.rate <= 0:
            raise VoiceError("espeak-ng did not start: install the extra again, pip install '.[demo]'")
        self._callback = _Callback(self._take)
        self._adopt(manner)

    def speak(self, question: Speak) -> Spoken:
        """The sentence of `question` in full. Raises `VoiceError`."""
        self._samples.clear()
        self._words.clear()
        text = question.text.encode()
        self._library.espeak_SetSynthCallback(self._callback)
        failed = self._library.espeak_Synth(
            c_char_p(text), len(text) + 1, 0, _CHARACTER_POSITIONS, 0, _UTF8, byref(c_uint(0)), None
        )
        if failed:
            raise VoiceError(f"espeak-ng could not speak {len(question.text)} characters: error {failed}")
        return Spoken(question.number, self.rate, b"".join(self._samples), list(self._words))

    def _adopt(self, manner: Manner) -> None:
        if self._library.espeak_SetVoiceByName(manner.voice.encode()):
            raise VoiceError(f"espeak-ng has no voice {manner.voice!r}: choose one that `espeak-ng --voices` shows")
        for parameter, value in (
            (_RATE, manner.words_per_minute),
            (_VOLUME, 100),
            (_PITCH, manner.pitch),
            (_RANGE, manner.melody),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._samples.append(ctypes.string_at(samples, 2 * count))
        index = 0
        while (event := events[index]).type != _ENDS:
            if event.type == _WORD:
                self._words.append((event.text_position - 1, event.sample))
            index += 1
        return _CALLBACK_CONTINUES
