"""One person's turn on its way through the recogniser, second by second.

What comes out depends on the turn's pieces alone: the same pieces in the same order give the same words, whether they
came one by one or all at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from model_server.demo.decoder import GrammarDecoder, Words
from model_server.demo.enhancement import Enhancer, Samples
from model_server.demo.surroundings import (
    FRAME,
    Surroundings,
    least_speech,
    loudness,
    speech_frames,
    surroundings_of,
)

_SETTLED_FRAMES = 30
"""So many frames of speech say enough of level, noise and channel."""
_MARGIN_FRAMES = 10
"""So much silence goes with a sentence on either side."""
_PAUSE_FRAMES = 60
"""A longer pause ends a sentence."""
_LONGEST_FRAMES = 800
"""No sentence of a script is longer; what is gets no answer and costs no more."""
_BITE = 25 * FRAME
_NOTHING = np.zeros(0, np.float32)


class Utterance:
    """Turns pieces of samples into `sentences`. The `decoder` is this turn's own until `release`."""

    def __init__(self, decoder: GrammarDecoder) -> None:
        self.sentences: list[Words] = []
        self._decoder = decoder
        self._unsettled = _NOTHING
        self._surroundings: Surroundings | None = None
        self._enhancer: Enhancer | None = None
        self._least_speech = 0.0
        self._average = ""
        self._clean = _NOTHING
        self._waiting = _NOTHING
        self._open = False
        self._quiet_frames = 0
        self._frames = 0

    def feed(self, samples: Samples) -> Iterator[None]:
        """The turn's next piece (16 kHz, -1 to 1), a bite of 250 ms at each step. Empty: a second without speech."""
        if not len(samples):
            yield from self._settle()
            self._close()
        elif self._surroundings is not None and self._enhancer is not None:
            yield from self._listen(self._enhancer.feed(samples * self._surroundings.gain))
        else:
            self._unsettled = np.concatenate((self._unsettled, samples))
            if speech_frames(self._unsettled) >= _SETTLED_FRAMES:
                yield from self._settle()

    def finish(self) -> Iterator[None]:
        """The turn's end: `sentences` is complete afterwards."""
        yield from self._settle()
        if self._enhancer is not None:
            yield from self._listen(self._enhancer.flush())
        self._close()

    def release(self) -> GrammarDecoder:
        """Give the decoder back, in the middle of a sentence too."""
        self._close()
        return self._decoder

    def _settle(self) -> Iterator[None]:
        """Level, noise and channel are what they are from now on; what has waited for that is heard."""
        if self._surroundings is not None or not len(self._unsettled):
            return
        samples, self._unsettled = self._unsettled, _NOTHING
        self._surroundings = surroundings_of(samples)
        self._enhancer = Enhancer(self._surroundings.noise)
        clean = self._enhancer.feed(samples * self._surroundings.gain)
        levels = loudness(clean)
        self._least_speech = least_speech(levels)
        spoken = np.flatnonzero(levels > self._least_speech)
        if len(spoken):
            first = max(0, int(spoken[0]) - _MARGIN_FRAMES) * FRAME
            self._average = self._decoder.average(clean[first : (int(spoken[-1]) + _MARGIN_FRAMES) * FRAME])
        yield
        yield from self._listen(clean)

    def _listen(self, clean: Samples) -> Iterator[None]:
        self._clean = np.concatenate((self._clean, clean))
        while len(self._clean) >= FRAME:
            bite = self._clean[: min(len(self._clean) // FRAME * FRAME, _BITE)]
            self._clean = self._clean[len(bite) :]
            self._take(bite)
            yield

    def _take(self, bite: Samples) -> None:
        for frame, spoken in zip(bite.reshape(-1, FRAME), loudness(bite) > self._least_speech, strict=True):
            if spoken and self._average and not self._open:
                self._open, self._frames = True, 0
                self._decoder.begin(self._average)
            self._quiet_frames = 0 if spoken else self._quiet_frames + 1
            self._waiting = np.concatenate((self._waiting, frame))
            if not self._open:
                self._waiting = self._waiting[-_MARGIN_FRAMES * FRAME :]
            elif self._quiet_frames >= _PAUSE_FRAMES:
                self._close()
        if self._open:
            self._decode()

    def _decode(self) -> None:
        """Let the decoder have what waits; silence beyond the margin only once speech came after it."""
        silence = max(0, self._quiet_frames - _MARGIN_FRAMES) * FRAME
        now = self._waiting[: max(0, len(self._waiting) - silence)]
        self._waiting = self._waiting[len(now) :]
        self._frames += len(now) // FRAME
        if self._frames <= _LONGEST_FRAMES:
            self._decoder.feed(now)

    def _close(self) -> None:
        """The end of a sentence, if one is open."""
        if not self._open:
            return
        self._decode()
        self._open = False
        self._waiting = _NOTHING
        words = self._decoder.end()
        if self._frames > _LONGEST_FRAMES:
            words = Words("", words.partial, -math.inf)
        clarity_db = self._surroundings.clarity_db if self._surroundings is not None else 0.0
        self.sentences.append(replace(words, clarity_db=clarity_db))
