"""What of a response's text belongs to what was heard of its speech. Sans-I/O.

The engine says which characters each piece of speech speaks, and exact word times where it knows them; between these
time and text are taken to run alike. A reply is never cut inside a word.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_server.protocol import SPEECH_RATE, Speech, WordMark


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

    def heard(self, ms: float) -> str:
        """The text that `ms` of the speech speak, cut after the last whole word."""
        end = 0
        for piece in self._pieces:
            if ms >= piece.end_ms:
                end = max(end, piece.span[1])
            elif ms > piece.start_ms:
                end = max(end, self._within(piece, ms))
        return self.text[:end].rstrip()

    def _within(self, piece: _Piece, ms: float) -> int:
        if piece.marks:
            return max((mark.text_end for mark in piece.marks if mark.end_ms <= ms), default=0)
        start, end = piece.span
        share = (ms - piece.start_ms) / (piece.end_ms - piece.start_ms)
        return _word_end(self.text, start + int((end - start) * share))


def _word_end(text: str, cut: int) -> int:
    """The last place at or before `cut` where a word of `text` ends."""
    if cut >= len(text) or text[cut].isspace():
        return min(cut, len(text))
    while cut and not text[cut - 1].isspace():
        cut -= 1
    return cut
