"""A whole reply of a double: its text, its speech in pieces of 200 ms, and when each word is spoken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import soxr

from model_server.engine import Chunk, SpeechChunk, TextChunk
from model_server.protocol import HEARING_RATE, SPEECH_RATE, WordMark

Samples = npt.NDArray[np.int16]

PIECE_MS = 200
LONGEST_ECHO_MS = 60_000
WORD_MS_PER_CHARACTER = 60
SHORTEST_WORD_MS = 120
TONE_AMPLITUDE = 6_000
FADE_MS = 8

NOTHING: Samples = np.zeros(0, np.int16)


@dataclass(frozen=True, slots=True)
class Composition:
    """Text, speech (24 kHz mono) and one mark per word; without speech there are no marks."""

    text: str
    speech: Samples
    words: tuple[WordMark, ...]

    def chunks(self) -> Iterator[Chunk]:
        """Text and the speech that says it, piece by piece: a word belongs to the piece in which it begins."""
        if not len(self.speech):
            yield from (TextChunk(word) for word in re.findall(r"\S+\s*", self.text))
            return
        samples = PIECE_MS * SPEECH_RATE // 1000
        told = 0
        for start in range(0, len(self.speech), samples):
            words = self._words_between(start, start + samples)
            end = self._text_end(words, last=start + samples >= len(self.speech), told=told)
            if end > told:
                yield TextChunk(self.text[told:end])
            yield SpeechChunk(self.speech[start : start + samples].tobytes(), (told, end), words)
            told = end

    def without_speech(self) -> Composition:
        """Enough to say later what was heard of it."""
        return replace(self, speech=NOTHING)

    def heard(self, keep_ms: int) -> str:
        """The whole words that were spoken within `keep_ms`."""
        ends = [word.text_end for word in self.words if word.end_ms <= keep_ms]
        return self.text[: max(ends, default=0)]

    def _words_between(self, start: int, end: int) -> tuple[WordMark, ...]:
        return tuple(word for word in self.words if start <= word.start_ms * SPEECH_RATE // 1000 < end)

    def _text_end(self, words: tuple[WordMark, ...], *, last: bool, told: int) -> int:
        if last:
            return len(self.text)
        return words[-1].text_end if words else told


def echo(text: str, heard: bytes) -> Composition:
    """`text` said with the person's own sound (PCM16, 16 kHz), its words spread evenly; with tones if there is none."""
    sound = np.frombuffer(heard, np.int16)[-LONGEST_ECHO_MS * HEARING_RATE // 1000 :]
    if not len(sound):
        return tones(text)
    speech = _resampled(sound)
    spans = _word_spans(text)
    total_ms = len(speech) * 1000 // SPEECH_RATE
    times = [total_ms * index // len(spans) for index in range(len(spans) + 1)]
    return Composition(text, speech, _marks(spans, times))


def tones(text: str) -> Composition:
    """`text` said with one tone per word, its pitch and length the word's own."""
    spans = _word_spans(text)
    if not spans:
        return silent(text)
    sounds = [_tone(text[start:end]) for start, end in spans]
    times = [0, *np.cumsum([len(sound) * 1000 // SPEECH_RATE for sound in sounds]).tolist()]
    return Composition(text, np.concatenate(sounds), _marks(spans, times))


def silent(text: str) -> Composition:
    """`text` alone."""
    return Composition(text, NOTHING, ())


def _resampled(sound: Samples) -> Samples:
    wave = soxr.resample(sound.astype(np.float32), HEARING_RATE, SPEECH_RATE)  # As integers it would be dithered.
    speech: Samples = np.clip(np.rint(wave), -32768, 32767).astype(np.int16)
    return speech


def _word_spans(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S+", text)]


def _marks(spans: list[tuple[int, int]], times: list[int]) -> tuple[WordMark, ...]:
    return tuple(
        WordMark(start, end, begins, ends)
        for (start, end), begins, ends in zip(spans, times[:-1], times[1:], strict=True)
    )


@lru_cache(maxsize=1024)
def _tone(word: str) -> Samples:
    ms = max(SHORTEST_WORD_MS, len(word) * WORD_MS_PER_CHARACTER)
    ms = min(ms, 2_000)
    time = np.arange(ms * SPEECH_RATE // 1000) / SPEECH_RATE
    pitch = 180 + 20 * (sum(word.encode()) % 16)
    edge = np.minimum(time, time[::-1]) * 1000 / FADE_MS
    wave = TONE_AMPLITUDE * np.minimum(edge, 1.0) * np.sin(2 * np.pi * pitch * time)
    tone: Samples = wave.astype(np.int16)
    tone.setflags(write=False)
    return tone
