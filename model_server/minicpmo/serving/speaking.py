"""Pieces of a reply as chunks of the engine contract: text at once, speech as PCM16 with the text that it speaks.

The network does not say which words a piece of sound holds; `Spoken` decides (`model_server.minicpmo.memory.heard`).
The last 20 ms wait for what follows, because the last chunk has to name the text up to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from model_server.engine import Chunk, SpeechChunk, TextChunk
from model_server.minicpmo.replies.segment import Piece
from model_server.protocol import SPEECH_RATE

HELD_BACK = 480
MOST_SAMPLES = SPEECH_RATE

Spoken = Callable[[float], int]
"""How many characters of the text given so far are spoken within so many ms of the reply."""


class Speaking:
    """One reply while it is given."""

    def __init__(self, spoken: Spoken) -> None:
        self._spoken = spoken
        self._held = np.zeros(0, np.float32)
        self._samples = 0
        self._end = 0
        self.text = ""

    @property
    def made_ms(self) -> float:
        """Speech given so far."""
        return self._samples * 1000 / SPEECH_RATE

    def chunks(self, piece: Piece) -> Iterator[Chunk]:
        """What can be given now that `piece` came."""
        if piece.text:
            self.text += piece.text
            yield TextChunk(piece.text)
        if piece.samples.numel():
            sound = np.concatenate((self._held, piece.samples.numpy()))
            ready, self._held = sound[:-HELD_BACK], sound[-HELD_BACK:]
            for start in range(0, len(ready), MOST_SAMPLES):
                yield self._speech(ready[start : start + MOST_SAMPLES], final=False)

    def last(self) -> Iterator[Chunk]:
        """What is left when the reply is over."""
        if len(self._held):
            yield self._speech(self._held, final=True)
            self._held = self._held[:0]

    def _speech(self, sound: npt.NDArray[np.float32], final: bool) -> SpeechChunk:
        self._samples += len(sound)
        reached = len(self.text) if final else min(self._spoken(self.made_ms), len(self.text))
        start, self._end = self._end, max(self._end, reached)
        return SpeechChunk(pcm16(sound), (start, self._end))


def pcm16(samples: npt.NDArray[np.float32]) -> bytes:
    """Samples in [-1, 1] as PCM16 LE; what is louder is clipped."""
    return np.rint(np.clip(samples, -1.0, 1.0) * 32_767).astype("<i2").tobytes()
