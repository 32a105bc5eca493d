"""A learned opinion on whether the person's turn is over: any model that listens, asked beside the event loop.

There is none by default. Its answer is one voice among others (see `end_of_turn`) and may come late or not at all: then
the turn ends as it would have without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog

from model_server.protocol import HEARING_RATE
from realtime.media.decoder import Samples

log = structlog.get_logger(__name__)

HEARD_S = 8.0
"""A model hears the last so many seconds."""

SUREST = 1e-3
"""No model is surer than this, either way."""


class TurnEndModel(Protocol):
    """A model that tells the end of a turn from a pause."""

    def probability(self, samples: Samples, silence_ms: float) -> float:
        """0 to 1: whether a turn is over that sounds like this. May take as long as it likes; called in a thread.

        `samples`: the last 8 s at most of the call, PCM16 mono 16 kHz, shape [any]; the voice ended `silence_ms` before
        their end. 0.5 says nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Question:
    position: int
    frames: tuple[Samples, ...]
    silence_ms: float


class TurnEndJudge:
    """Asks a model for one call: one question at a time, and of those that wait only the newest."""

    def __init__(self, model: TurnEndModel, answer: Callable[[int, float], None]) -> None:
        """`answer` gets the position that was asked about and the odds that the turn is over."""
        self._model = model
        self._answer = answer
        self._task: asyncio.Task[None] | None = None
        self._next: _Question | None = None

    def ask(self, position: int, frames: Iterable[Samples], silence_ms: float) -> None:
        """The voice that ended at `position` has been silent for so long; `frames` are what was heard."""
        self._next = _Question(position, tuple(frames), silence_ms)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="turn end model")

    def close(self) -> None:
        """Nobody waits for an answer any more."""
        self._next = None
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        while (question := self._next) is not None:
            self._next = None
            odds = await asyncio.to_thread(self._judge, question)
            if odds is not None:
                self._answer(question.position, odds)

    def _judge(self, question: _Question) -> float | None:
        heard = np.concatenate(question.frames)[-round(HEARD_S * HEARING_RATE) :]
        try:
            return odds_of(self._model.probability(heard, question.silence_ms))
        except Exception as error:
            # A model that fails is one that has no opinion; the call goes on without.
            log.warning("turn_end_model_failed", error=str(error), kind=type(error).__name__)
            return None


def odds_of(probability: float) -> float:
    """The odds of a probability. Raises `ValueError` for what is none."""
    if not 0 <= probability <= 1:
        raise ValueError(f"a probability is between 0 and 1, got {probability}")
    bounded = min(max(probability, SUREST), 1 - SUREST)
    return bounded / (1 - bounded)
