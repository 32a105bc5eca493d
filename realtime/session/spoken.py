"""What of a response's text belongs to what was heard of its speech. Sans-I/O.

The engine says which characters each piece of speech speaks, and exact word times where it knows them. Where it does
not, time runs as the letters of a piece do; and where the text runs ahead of the speech, as with MiniCPM-o 2.6, the
words' times are estimated (see `speech_times`). A reply is never cut inside a word.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_server.protocol import SPEECH_RATE, Speech, WordMark
from realtime.session.speech_times import LETTER_MS, Pauses, letters, rms, word_ends, words

RUNS_AHEAD = 2.2
"""Text that would take so many times longer than the speech that came with it is not what this speech says."""

AUDIBLE = 200.0
"""Root mean square (16 bit) above which a piece of speech says something, be its own text empty."""

ENOUGH_MS = 1_000.0
"""So much speech is needed to tell."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One piece of speech: milliseconds of the response, characters of its text."""

    start_ms: float
    end_ms: float
    span: tuple[int, int]
    marks: tuple[WordMark, ...]


class SpokenText:
    """Text and speech of one response as they came."""

    def __init__(self) -> None:
        self.text = ""
        self._pieces: list[_Piece] = []
        self._told = 0
        """Characters that speech has come for."""
        self._marked = False
        self._pauses = Pauses()
        self._runs_ahead = False
        self._complete = False

    @property
    def speech_ms(self) -> float:
        """How much speech has come."""
        return self._pieces[-1].end_ms if self._pieces else 0.0

    def add_text(self, start: int, text: str) -> None:
        """The characters from `start` on."""
        self.text = self.text[:start] + text

    def add_speech(self, speech: Speech) -> None:
        """The next piece of speech."""
        start_ms = speech.position * 1000 / SPEECH_RATE
        end_ms = start_ms + len(speech.pcm) // 2 * 1000 / SPEECH_RATE
        self._pieces.append(_Piece(start_ms, end_ms, speech.text_span, tuple(speech.marks)))
        self._told = max(self._told, speech.text_span[1])
        self._marked = self._marked or bool(speech.marks)
        if not speech.marks:
            self._pauses.add(speech.pcm)
            self._runs_ahead = self._runs_ahead or self._says_other_text(speech)

    def finish(self) -> None:
        """All of its text and speech has come."""
        self._complete = True

    def heard(self, ms: float) -> str:
        """The text that `ms` of the speech speak, cut after the last whole word."""
        if self._runs_ahead:
            return self.text[: self._estimated(ms)].rstrip()
        end = 0
        for piece in self._pieces:
            if ms >= piece.end_ms:
                end = max(end, piece.span[1])
            elif ms > piece.start_ms:
                end = max(end, self._within(piece, ms))
        return self.text[:end].rstrip()

    def _says_other_text(self, speech: Speech) -> bool:
        """Whether the engine's spans are not what is said, but what may be said from then on."""
        if self._marked:
            return False
        if speech.text_span[0] == speech.text_span[1] and rms(speech.pcm) > AUDIBLE:
            return True
        told = letters(self.text[: self._told]) * LETTER_MS
        return self.speech_ms >= ENOUGH_MS and told > RUNS_AHEAD * self.speech_ms

    def _estimated(self, ms: float) -> int:
        told = max((piece.span[1] for piece in self._pieces if piece.start_ms < ms), default=0)
        if self._complete and ms >= self.speech_ms:
            return told
        end_ms = self.speech_ms if self._complete else None
        said = word_ends(self.text[: self._told], self._pauses.found(), end_ms)
        return min(told, max((end for end, at in said if at <= ms), default=0))

    def _within(self, piece: _Piece, ms: float) -> int:
        if piece.marks:
            return max((mark.text_end for mark in piece.marks if mark.end_ms <= ms), default=0)
        start, end = piece.span
        left = letters(self.text[start:end]) * (ms - piece.start_ms) / (piece.end_ms - piece.start_ms)
        said = 0
        for word in words(self.text[:end]):
            if word.end > start:
                left -= word.letters if word.start >= start else letters(self.text[start : word.end])
                said = word.end if left >= -1e-6 and word.end <= end else said
        return said
