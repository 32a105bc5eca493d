"""Speaks a text as a stream: sentence by sentence, in pieces of whole words with their exact times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from model_server.demo.voice_messages import Spoken
from model_server.protocol import SPEECH_RATE, WordMark

LONGEST_PIECE_MS = 400
"""A piece is closed at the first word that ends beyond this."""
LONGEST_SENTENCE_CHARS = 300
PAUSE_MS = 260
_PEAK = 0.7 * 32767
_SILENT = 200
_FADE = SPEECH_RATE * 4 // 1000
_MOST_PIECE = SPEECH_RATE
_SENTENCE = re.compile(r"\S.*?(?:[.!?…]+[\"')\]]*(?=\s|$)|\n|$)\s*", re.S)
_WORD = re.compile(r"\S+")

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Piece:
    """Words with their sound. `text` includes the white space after them; marks count from the response's start."""

    text: str
    pcm: bytes
    text_span: tuple[int, int]
    marks: tuple[WordMark, ...]


def sentences(text: str) -> Iterator[str]:
    """`text` cut after each sentence; together they are `text` without the space around it."""
    for found in _SENTENCE.finditer(text.strip()):
        yield from _bounded(found.group())


def _bounded(sentence: str) -> Iterator[str]:
    """A very long sentence in parts of whole words."""
    while len(sentence) > LONGEST_SENTENCE_CHARS:
        cut = sentence.rfind(" ", 1, LONGEST_SENTENCE_CHARS) + 1 or LONGEST_SENTENCE_CHARS
        yield sentence[:cut]
        sentence = sentence[cut:]
    yield sentence


class Speaker:
    """One response on its way: gives the pieces of one sentence after the other."""

    def __init__(self) -> None:
        self.characters = 0
        self.samples = 0

    @property
    def milliseconds(self) -> int:
        """Length of what was given so far."""
        return self.samples * 1000 // SPEECH_RATE

    def say(self, sentence: str, voiced: Spoken, last: bool) -> list[Piece]:
        """The pieces of the next sentence, `voiced` is its sound; a pause follows unless it is the `last`."""
        spoken, begins = sound(voiced)
        words = _timed_words(sentence, begins, len(spoken))
        if not words:
            pieces = [Piece(sentence, b"", (self.characters, self.characters + len(sentence)), ())]
        else:
            pause = np.zeros(0 if last else PAUSE_MS * SPEECH_RATE // 1000, np.int16)
            sounding = np.concatenate((spoken, pause))
            ends = [*(word.begins for word in words[1:]), len(sounding)]
            pieces = [
                self._piece(sentence, sounding[group[0].begins : ends[words.index(group[-1])]], group)
                for group in _groups(words)
            ]
            self.samples += len(sounding)
        self.characters += len(sentence)
        return [part for piece in pieces for part in _at_most_a_second(piece)]

    def _piece(self, sentence: str, sounding: Samples, words: list[_Timed]) -> Piece:
        start, end = words[0].start, words[-1].next_start
        return Piece(
            sentence[start:end],
            sounding.astype("<i2").tobytes(),
            (self.characters + start, self.characters + end),
            tuple(self._mark(word) for word in words),
        )

    def _mark(self, word: _Timed) -> WordMark:
        start, end = self.characters + word.start, self.characters + word.end
        return WordMark(start, end, self._ms(word.begins), self._ms(word.ends))

    def _ms(self, sample: int) -> int:
        return (self.samples + sample) * 1000 // SPEECH_RATE


@dataclass(frozen=True, slots=True)
class _Timed:
    """A word: its characters in the sentence and where the next begins, its samples in the sentence's sound."""

    start: int
    end: int
    next_start: int
    begins: int
    ends: int


def sound(voiced: Spoken) -> tuple[Samples, list[tuple[int, int]]]:
    """24 kHz samples without silence around them, and where each word begins: (character, sample)."""
    samples = np.frombuffer(voiced.pcm, np.int16).astype(np.float32)
    if not len(samples):
        return np.zeros(0, np.int16), []
    resampled = soxr.resample(samples, voiced.rate, SPEECH_RATE)
    loud = np.flatnonzero(np.abs(resampled) > _SILENT)
    first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(resampled))
    spoken = resampled[first:last] * (_PEAK / max(1.0, float(np.abs(resampled).max())))
    fade = min(_FADE, len(spoken) // 2)
    if fade:
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        spoken[:fade] *= ramp
        spoken[-fade:] *= ramp[::-1]
    begins = [
        (character, min(max(0, sample * SPEECH_RATE // voiced.rate - first), len(spoken)))
        for character, sample in voiced.words
    ]
    return spoken.astype(np.int16), begins


def _timed_words(sentence: str, begins: list[tuple[int, int]], length: int) -> list[_Timed]:
    """The words of `sentence` with their samples; what makes no sound of its own goes with the word before it."""
    if not length:
        return []
    starts: list[tuple[int, int, int]] = []
    for word in _WORD.finditer(sentence):
        inside = [sample for character, sample in begins if word.start() <= character < word.end()]
        begin = min(inside, default=0) if starts else 0
        if starts and (not inside or (begin - starts[-1][2]) * 1000 < SPEECH_RATE or begin >= length):
            starts[-1] = (starts[-1][0], word.end(), starts[-1][2])
        else:
            starts.append((word.start(), word.end(), begin))
    nexts = [*(start[0] for start in starts[1:]), len(sentence)]
    ends = [*(start[2] for start in starts[1:]), length]
    return [_Timed(*start[:2], after, start[2], end) for start, after, end in zip(starts, nexts, ends, strict=True)]


def _groups(words: list[_Timed]) -> Iterator[list[_Timed]]:
    """Words together that last `LONGEST_PIECE_MS` or a little more."""
    group: list[_Timed] = []
    for word in words:
        group.append(word)
        if word.ends - group[0].begins >= LONGEST_PIECE_MS * SPEECH_RATE // 1000:
            yield group
            group = []
    if group:
        yield group


def _at_most_a_second(piece: Piece) -> Iterator[Piece]:
    """`piece`, cut where its sound is longer than a message may be; the words go with the first part."""
    step = _MOST_PIECE * 2
    yield Piece(piece.text, piece.pcm[:step], piece.text_span, piece.marks)
    end = piece.text_span[1]
    for start in range(step, len(piece.pcm), step):
        yield Piece("", piece.pcm[start : start + step], (end, end), ())
