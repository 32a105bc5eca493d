"""The line check: the caller hears their own microphone at once, through the same path as the assistant's speech."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

from model_server.protocol import HEARING_RATE, SPEECH_RATE
from realtime.connection.frames import AUDIO_MESSAGE_SAMPLES, AudioMessage

RESPONSE_NUMBER = 0
"""The line check's number on the channel `audio`: no response has it."""

RESAMPLER_LAG = 3
"""Samples the resampler holds back; without them every message would wait for the next frame."""


class LineCheck:
    """Turns frames of the microphone into messages for the page. PCM16 mono 16 kHz in, 24 kHz out."""

    def __init__(self) -> None:
        self._resampler = soxr.ResampleStream(HEARING_RATE, SPEECH_RATE, 1, dtype="int16", quality="QQ")
        self._waiting = np.zeros(RESAMPLER_LAG, np.int16)
        self._position = 0

    def feed(self, samples: npt.NDArray[np.int16]) -> list[AudioMessage]:
        """Messages to send now; less than 20 ms waits for the next frame."""
        self._waiting = np.concatenate([self._waiting, self._resampler.resample_chunk(samples)])
        messages = []
        while len(self._waiting) >= AUDIO_MESSAGE_SAMPLES:
            pcm, self._waiting = np.split(self._waiting, [AUDIO_MESSAGE_SAMPLES])
            messages.append(AudioMessage(RESPONSE_NUMBER, self._position, pcm.tobytes()))
            self._position += AUDIO_MESSAGE_SAMPLES
        return messages
