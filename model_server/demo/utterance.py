"""One person's turn on its way through the recogniser, second by second.

What comes out depends on the turn's pieces alone: the same pieces in the same order give the same words, whether they
came one by one or all at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from model_server.demo.decoder import GrammarDecoder, Words
from model_server.demo.enhancement import Enhancer, Samples, noise_of
from model_server.protocol import HEARING_RATE

_STEP = HEARING_RATE // 100
_SPEECH_RANGE_DB = 28
"""Frames this far below the loudest are no speech."""
_LOUDEST_FRAMES = 15
_QUIET_SHARE = 0.15
_LEAST_POWER = 1e-12
_SETTLED_FRAMES = 60
"""So many frames of speech say enough of level, noise and channel."""
_MARGIN_FRAMES = 10
_PAUSE_FRAMES = 60
"""A longer pause ends a sentence."""
_LONGEST_FRAMES = 800
"""No sentence of a script is longer; what is gets no answer and costs no more."""
_PEAK = 0.5
_BITE = HEARING_RATE // 4


def loudness(samples: Samples) -> Samples:
    """Mean power of each whole 10 ms of `samples`."""
    whole = samples[: len(samples) // _STEP * _STEP].reshape(-1, _STEP)
    return np.asarray(np.mean(whole * whole, axis=1), np.float32)


@dataclass
class Surroundings:
    """Level, noise and channel as the first speech of a turn showed them."""

    enhancer: Enhancer
    gain: float
    threshold: float
    clarity_db: float
    average: str = ""


@dataclass
class Utterance:
    """Turns pieces of samples into sentences; `decoder` is this turn's own until `release`."""

    decoder: GrammarDecoder
    sentences: list[Words] = field(default_factory=list)
    too_long: bool = False
    _unsettled: Samples = field(default_factory=lambda: np.zeros(0, np.float32))
    _surroundings: Surroundings | None = None
    _clean: Samples = field(default_factory=lambda: np.zeros(0, np.float32))
    _lead_in: Samples = field(default_factory=lambda: np.zeros(0, np.float32))
    _open: bool = False
    _quiet: int = 0
    _length: int = 0

    def feed(self, samples: Samples) -> Iterator[None]:
        """The turn's next piece (16 kHz, -1 to 1), a bite of 250 ms at each step. Empty: a second without speech."""
        if not len(samples):
            yield from self._settle()
            self._close()
            return
        if self._surroundings is None:
            self._unsettled = np.concatenate((self._unsettled, samples))
            if _speech_frames(self._unsettled) >= _SETTLED_FRAMES:
                yield from self._settle()
            return
        yield from self._listen(self._surroundings.enhancer.feed(samples * self._surroundings.gain))

    def finish(self) -> Iterator[None]:
        """The turn's end: `sentences` is complete afterwards."""
        yield from self._settle()
        if self._surroundings is not None:
            yield from self._listen(self._surroundings.enhancer.flush())
        self._close()

    def release(self) -> GrammarDecoder:
        """Give the decoder back, in the middle of a sentence too."""
        self._close()
        return self.decoder

    def _settle(self) -> Iterator[None]:
        if self._surroundings is not None or not len(self._unsettled):
            return
        samples, self._unsettled = self._unsettled, self._unsettled[:0]
        gain = _PEAK / max(1e-4, float(np.abs(samples).max()))
        enhancer = Enhancer(noise_of(samples * gain))
        clean = enhancer.feed(samples * gain)
        levels = loudness(clean)
        threshold = _threshold(levels) if len(levels) else 0.0
        self._surroundings = Surroundings(enhancer, gain, threshold, _clarity_db(loudness(samples)))
        spoken = np.flatnonzero(levels > threshold)
        if len(spoken):
            first = max(0, int(spoken[0]) - _MARGIN_FRAMES) * _STEP
            last = (int(spoken[-1]) + _MARGIN_FRAMES) * _STEP
            self._surroundings.average = self.decoder.average(clean[first:last])
        yield
        yield from self._listen(clean)

    def _listen(self, clean: Samples) -> Iterator[None]:
        self._clean = np.concatenate((self._clean, clean))
        while len(self._clean) >= _STEP:
            bite = self._clean[: min(len(self._clean) // _STEP * _STEP, _BITE)]
            self._clean = self._clean[len(bite) :]
            self._take(bite)
            yield

    def _take(self, bite: Samples) -> None:
        assert self._surroundings is not None
        frames = bite.reshape(-1, _STEP)
        for frame, spoken in zip(frames, loudness(bite) > self._surroundings.threshold, strict=True):
            if spoken:
                self._begin()
            self._quiet = 0 if spoken else self._quiet + 1
            self._lead_in = np.concatenate((self._lead_in, frame))
            if not self._open:
                self._lead_in = self._lead_in[-_MARGIN_FRAMES * _STEP :]
            elif self._quiet >= _PAUSE_FRAMES:
                self._close()
        if self._open:
            self._feed_open()

    def _begin(self) -> None:
        if not self._open and self._surroundings is not None and self._surroundings.average:
            self._open, self._length = True, 0
            self.decoder.begin(self._surroundings.average)

    def _feed_open(self) -> None:
        """Let the decoder have what waits, silence only once speech came after it."""
        quiet = min(self._quiet - _MARGIN_FRAMES, len(self._lead_in) // _STEP) if self._quiet > _MARGIN_FRAMES else 0
        now = len(self._lead_in) - quiet * _STEP
        self._length += now // _STEP
        if self._length <= _LONGEST_FRAMES:
            self.decoder.feed(self._lead_in[:now])
        else:
            self.too_long = True
        self._lead_in = self._lead_in[now:]

    def _close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._feed_open()
        self._lead_in = self._lead_in[:0]
        words = self.decoder.end()
        if self._length > _LONGEST_FRAMES:
            words = Words("", words.partial, -np.inf)
        clarity_db = self._surroundings.clarity_db if self._surroundings else 0.0
        self.sentences.append(replace(words, clarity_db=clarity_db))


def _clarity_db(levels: Samples) -> float:
    """How far the loudest frames stand above the quietest."""
    if not len(levels):
        return 0.0
    ordered = np.sort(levels)
    quiet = float(np.mean(ordered[: max(4, int(len(levels) * _QUIET_SHARE))]))
    loud = float(ordered[-min(_LOUDEST_FRAMES, len(levels))])
    return 10 * math.log10((loud + _LEAST_POWER) / (quiet + _LEAST_POWER))


def _threshold(levels: Samples) -> float:
    loudest = np.sort(levels)[-min(_LOUDEST_FRAMES, len(levels))]
    return float(loudest) * math.pow(10, -_SPEECH_RANGE_DB / 10)


def _speech_frames(samples: Samples) -> int:
    """How many 10 ms of raw `samples` stand out of their noise."""
    levels = loudness(samples)
    floor = float(np.sort(levels)[int(len(levels) * _QUIET_SHARE)]) if len(levels) else 0.0
    return int(np.count_nonzero(levels > max(_threshold(levels), 4 * floor))) if len(levels) else 0
