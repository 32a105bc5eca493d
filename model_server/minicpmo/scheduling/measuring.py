"""How many calls a device keeps up with, from what their work takes on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from model_server.minicpmo.loading import devices
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.replies.segment import Piece, Voice
from model_server.minicpmo.scheduling.batcher import Batcher, Running
from model_server.minicpmo.scheduling.together import Failed
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT, Item

MOST_LOAD = 0.7
"""Device seconds that a second of all calls may take."""

SPEAKING = 0.3
"""Share of the calls in which the assistant speaks at any time."""

TOGETHER = 4
"""Replies that are measured at once, to tell what they share from what each adds."""

PASSES = 40
"""Of the speech model, that are measured."""

FRAMES_PER_SECOND = 24_000 / 512


@dataclass(frozen=True, slots=True)
class Cost:
    """Device seconds: of one unit with a picture, and of a second of speech of one reply and of four together."""

    unit: float
    one: float
    four: float

    def load(self, calls: int) -> float:
        """Device seconds that a second of so many calls takes."""
        each = max(self.four - self.one, 0.0) / (TOGETHER - 1)
        speaking = calls * SPEAKING
        # Below one reply at a time the passes are there for a part of the time only.
        shared = max(self.one - each, 0.0) * min(speaking, 1.0)
        return calls * (1 - SPEAKING) * self.unit + shared + each * speaking


def most_calls(cost: Cost, most: int) -> int:
    """Calls whose work takes at most 0.7 of the device's time, 1 to `most`: the first call is always taken."""
    fitting = 1
    while fitting < most and cost.load(fitting + 1) <= MOST_LOAD:
        fitting += 1
    return fitting


def measured(model: MiniCPMO, clock: Callable[[], float] = time.perf_counter, passes: int = PASSES) -> Cost:
    """Measure a loaded network that has run before; takes a few seconds' work of one call."""
    bench = _Bench(model, clock, passes)
    return Cost(min(bench.unit() for _ in range(2)), bench.speech(1), bench.speech(TOGETHER))


class _Bench:
    def __init__(self, model: MiniCPMO, clock: Callable[[], float], passes: int) -> None:
        self._model, self._clock, self._most = model, clock, passes
        self._device = model.language.embedding.device
        self._second = np.zeros(16_000, np.float32)
        self._empty = Session(model)

    def unit(self) -> float:
        session = Session(self._model, seed=0)
        content: list[Item] = [UNIT, Image.new("RGB", (448, 448)), self._second]
        message = session.prepare("user", content)
        return self._timed(lambda: session.write(message))

    def speech(self, replies: int) -> float:
        """Device seconds that a second of speech of each of them takes."""
        batcher = Batcher(self._clock)
        runnings = [self._reply() for _ in range(replies)]
        for running in runnings:
            self._pull(batcher, running)
        seconds = self._timed(lambda: self._passes(batcher))
        for running in runnings:
            running.close()
        spoken = batcher.counts["SpeechStep.steps"] / replies / FRAMES_PER_SECOND
        return seconds / spoken

    def _passes(self, batcher: Batcher) -> None:
        while batcher.counts["SpeechStep.passes"] < self._most:
            batcher.tick()

    def _reply(self) -> Running[Piece]:
        session = Session(self._model, seed=0)
        session.adopt(self._empty, slotted=True)  # As a call's is.
        session.write(session.prepare("user", [UNIT, self._second]))
        said = self._model.tokenizer.encode("one and two and three and so it goes on, ")
        number = iter(range(10_000))
        voice = Voice(argmax, forbid_end=lambda call: True)
        return Running(
            session.reply_steps(
                TextSampling(max_new_tokens=5000), choose=lambda logits: said[next(number) % len(said)], voice=voice
            )
        )

    def _pull(self, batcher: Batcher, running: Running[Piece]) -> None:
        def told(outcome: Any) -> None:
            if isinstance(outcome, Piece):
                batcher.pull(running, 0.0, told)
            elif isinstance(outcome, Failed):
                raise outcome.error

        batcher.pull(running, 0.0, told)

    def _timed(self, work: Callable[[], object]) -> float:
        devices.synchronise(self._device)
        begun = self._clock()
        with torch.inference_mode():
            work()
        devices.synchronise(self._device)
        return self._clock() - begun
