"""When each word of a reply is said, where the engine does not know: estimated from the text and the pauses. Sans-I/O.

MiniCPM-o's speech language model is given ten tokens of text for every 1.067 s of sound and speaks more slowly than it
is given text, so the sound alone tells where it is. A word lasts as long as it has letters; a pause in the sound that
comes about where a clause should end is that clause's end, from which the estimate goes on.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field

import numpy as np

from model_server.protocol import SPEECH_RATE

LETTER_MS = 65.0
"""What a letter lasts in the voice of somebody nobody knows yet."""

KNOWN_LETTERS = 60.0
"""So many letters of the reply itself weigh as much as that."""

SIGN_LETTERS = 3.5
"""A digit, or a sign that stands for a syllable, is spoken like so many letters."""

BLOCK_MS = 10
BLOCK = SPEECH_RATE * BLOCK_MS // 1000
SHORTEST_PAUSE_MS = 100
PAUSE_DB = 30.0
"""A pause is softer than the loud part of the speech by so much."""

SOONEST, LATEST, SLACK_MS = 0.55, 1.6, 100.0
"""A clause ends within these shares of its expected length, give or take the slack."""

SPREAD = 0.25
"""How far a clause's length is from what is expected (standard deviation of its logarithm)."""

WORD = re.compile(r"\S+")
SENTENCE_END = re.compile(r"[.!?…。！？][\"')\]»”]*$")
CLAUSE_END = re.compile(r"[,;:–—、，；：][\"')\]»”]*$")
SYLLABLE_SIGN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|(?<!\w)\d+(?!\w)|\d(?=[.,:]\d)")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the text: its characters, how long it is said for (in letters), and whether a pause follows it.

    `pause`: 0 none, 1 at a clause's end, 2 at a sentence's.
    """

    start: int
    end: int
    letters: float
    pause: int


def words(text: str) -> list[Word]:
    """The words of `text`; in scripts without spaces every sign is one."""
    found: list[Word] = []
    for match in WORD.finditer(text):
        found += _signs(text, *match.span())
    return found


def letters(text: str) -> float:
    """How long `text` is said for, in letters."""
    long = len(SYLLABLE_SIGN.findall(text))
    return SIGN_LETTERS * long + sum(sign.isalnum() for sign in text) - long


def rms(pcm: bytes) -> float:
    """Root mean square of PCM16 LE; 0 of nothing."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    return float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0


def _signs(text: str, start: int, end: int) -> list[Word]:
    """One word between spaces, cut after every ideogram; what follows it belongs to it."""
    cuts = [at for at in range(start + 1, end) if _ideogram(text[at])]
    edges = [start, *cuts, end]
    return [_word(text, a, b) for a, b in itertools.pairwise(edges)]


def _ideogram(sign: str) -> bool:
    return "\u3040" <= sign <= "\u30ff" or "\u3400" <= sign <= "\u9fff"


def _word(text: str, start: int, end: int) -> Word:
    said = text[start:end]
    pause = 2 if SENTENCE_END.search(said) else 1 if CLAUSE_END.search(said) else 0
    return Word(start, end, max(1.0, letters(said)), pause)


@dataclass(slots=True)
class Pauses:
    """The pauses of a sound that comes in pieces: (start, end) in milliseconds."""

    _powers: list[float] = field(default_factory=list)
    _rest: bytes = b""

    def add(self, pcm: bytes) -> None:
        """The next sound, PCM16 LE mono 24 kHz."""
        sound = self._rest + pcm
        whole = len(sound) // (2 * BLOCK) * BLOCK
        blocks = np.frombuffer(sound[: 2 * whole], "<i2").astype(np.float32).reshape(-1, BLOCK)
        self._powers += np.einsum("ij,ij->i", blocks, blocks).tolist()
        self._rest = sound[2 * whole :]

    def found(self) -> list[tuple[float, float]]:
        """Every pause between two sounds so far."""
        if not self._powers:
            return []
        powers = np.array(self._powers)
        soft = powers < np.percentile(powers, 90) * 10 ** (-PAUSE_DB / 10)
        edges = np.flatnonzero(np.diff(np.concatenate(([False], soft, [False])).astype(np.int8)))
        spans = BLOCK_MS * edges.reshape(-1, 2)
        return [(float(a), float(b)) for a, b in spans if b - a >= SHORTEST_PAUSE_MS]


def word_ends(text: str, pauses: list[tuple[float, float]], end_ms: float | None) -> list[tuple[int, float]]:
    """For each word of `text` its last character's place and the time at which it has been said, ms.

    `pauses` of the sound, `end_ms`: where all of `text` has been said, None while that is not known.
    """
    ends: list[tuple[int, float]] = []
    start, said_ms, said = 0.0, LETTER_MS * KNOWN_LETTERS, KNOWN_LETTERS
    clauses = _clauses(words(text))
    for clause in clauses:
        size = sum(word.letters for word in clause)
        expected = size * said_ms / said
        pause = None if clause is clauses[-1] else _pause(pauses, start, expected, clause[-1].pause)
        known = pause[0] if pause is not None else end_ms if clause is clauses[-1] else None
        end = start + expected if known is None else max(start, known)
        done = 0.0
        for word in clause:
            done += word.letters
            ends.append((word.end, start + (end - start) * done / size))
        if known is not None:
            said_ms, said = said_ms + end - start, said + size
        start = end if pause is None else pause[1]
    return ends


def _clauses(said: list[Word]) -> list[list[Word]]:
    clauses: list[list[Word]] = [[]]
    for word in said:
        clauses[-1].append(word)
        if word.pause:
            clauses.append([])
    return [clause for clause in clauses if clause]


def _pause(pauses: list[tuple[float, float]], start: float, expected: float, weight: int) -> tuple[float, float] | None:
    """The pause that ends a clause which began at `start`: long, and about where it is expected."""
    soonest, latest = start + SOONEST * expected - SLACK_MS, start + LATEST * expected + SLACK_MS
    near = [pause for pause in pauses if pause[0] > start and soonest <= pause[0] <= latest]

    def likely(pause: tuple[float, float]) -> float:
        off = math.log((pause[0] - start + 50) / (expected + 50))
        return min(pause[1] - pause[0], 400) / 300 * (1 + weight) - abs(off) / SPREAD

    return max(near, key=likely, default=None)
