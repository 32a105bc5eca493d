"""Decides what was meant by what was heard, and when nothing was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model_server.demo.ear_messages import Sentence
from model_server.demo.script import Loaded, Meaning

LEAST_SCORE = -63.0
"""A sentence heard with less is not understood.

Found with flite's voices slt, rms and kal, clean and in noise 15 dB below them: `python -m tests.bench.ears --sweep`.
"""


@dataclass(frozen=True, slots=True)
class Understood:
    """What the person meant; without a meaning, `words` are the nearest that was heard or typed."""

    meaning: Meaning | None
    words: str


def understood(heard: Sequence[Sentence], loaded: Loaded, least_score: float = LEAST_SCORE) -> Understood:
    """The last sentence of a turn that is understood, else the best that was not."""
    for sentence in reversed(heard):
        if sentence.text and sentence.score >= least_score:
            return Understood(loaded.meanings[sentence.text], sentence.text)
    best = max(heard, key=lambda sentence: sentence.score, default=None)
    return Understood(None, (best.text or best.partial) if best else "")
