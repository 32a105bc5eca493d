"""What callers say: sentences of the synthetic voice at the microphone's 48 kHz."""

from __future__ import annotations

import numpy as np
import soxr

from tests.caller import MIC_RATE, Pcm
from tests.realtime.voices import RATE, sentence


def spoken(text: str, *, before_s: float = 0.5, after_s: float = 2.0) -> Pcm:
    """`text` between two silences, PCM16 mono 48 kHz."""
    voice = soxr.resample(sentence(text), RATE, MIC_RATE).astype(np.int16)
    return np.concatenate(
        [np.zeros(int(before_s * MIC_RATE), np.int16), voice, np.zeros(int(after_s * MIC_RATE), np.int16)]
    )
