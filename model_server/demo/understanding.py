"""Decides what was meant by what was heard, and when nothing was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_server.demo.ear_messages import Sentence
from model_server.demo.script import Loaded
from model_server.demo.script_checks import Meaning

CLARITY_DB = (18.0, 30.0)
LEAST_SCORE = (-63.5, -71.0)
"""A sentence heard with less is not understood: in noise (at the first of `CLARITY_DB`, or below) and in quiet.

In noise all sounds come nearer to each other, so that more is asked of a sentence. Found with flite's voices slt, rms
and kal, clean and in noise 15 dB below them: `python -m tests.bench.ears --sweep`.
"""


@dataclass(frozen=True, slots=True)
class Understood:
    """What the person meant; without a meaning, `words` are the nearest that was heard or typed."""

    meaning: Meaning | None
    words: str


def understood(heard: Sequence[Sentence], loaded: Loaded, stricter: float = 0.0) -> Understood:
    """The last sentence of a turn that is understood, else the best that was not. `stricter` raises what is asked."""
    for sentence in reversed(heard):
        if sentence.text and sentence.score >= least_score(sentence.clarity_db) + stricter:
            return Understood(loaded.meanings[sentence.text], sentence.text)
    best = max(heard, key=lambda sentence: sentence.score, default=None)
    return Understood(None, (best.text or best.partial) if best else "")


def least_score(clarity_db: float) -> float:
    """What is asked of a sentence's score, by how far the voice stood above the noise."""
    return float(np.interp(clarity_db, CLARITY_DB, LEAST_SCORE))
