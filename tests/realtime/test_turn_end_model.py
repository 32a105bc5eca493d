"""A learned model of the end of a turn: asked beside the loop, one question at a time, and never needed."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from realtime.floor.events import EndJudged, SpeechStarted, SpeechStopped, Tick
from realtime.floor.floor import Floor
from realtime.floor.rules import FloorRules
from realtime.floor.turn_end_model import HEARD_S, TurnEndJudge, odds_of
from realtime.media.decoder import Samples

FRAME = np.full(320, 7, np.int16)


class ScriptedModel:
    """Gives these answers in turn, each when it is let go; an exception is raised."""

    def __init__(self, *answers: float | Exception) -> None:
        self.asked: list[tuple[int, float]] = []
        self.go = threading.Semaphore(0)
        self.listens = threading.Semaphore(0)
        self._answers = iter(answers)

    def probability(self, samples: Samples, silence_ms: float) -> float:
        self.asked.append((len(samples), silence_ms))
        self.listens.release()
        self.go.acquire()
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Listener:
    """A judge whose answers can be waited for."""

    def __init__(self, model: ScriptedModel) -> None:
        self.answers: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
        self.judge = TurnEndJudge(model, lambda position, odds: self.answers.put_nowait((position, odds)))


async def test_the_answer_belongs_to_its_question():
    model = ScriptedModel(0.8)
    listener = Listener(model)
    listener.judge.ask(32_000, [FRAME] * 3, 180.0)
    model.go.release()
    assert await listener.answers.get() == (32_000, pytest.approx(4.0))
    assert model.asked == [(960, 180.0)]


async def test_it_hears_no_more_than_the_last_seconds():
    model = ScriptedModel(0.5)
    listener = Listener(model)
    listener.judge.ask(0, [FRAME] * 900, 180.0)
    model.go.release()
    assert (await listener.answers.get())[1] == pytest.approx(1.0)
    assert model.asked[0][0] == HEARD_S * 16_000


async def test_of_the_questions_that_wait_only_the_newest_is_asked():
    model = ScriptedModel(0.5, 0.9)
    listener = Listener(model)
    listener.judge.ask(1, [FRAME], 150.0)
    await asyncio.to_thread(model.listens.acquire)
    for position in (2, 3, 4):
        listener.judge.ask(position, [FRAME], 150.0)
    model.go.release(2)
    assert [(await listener.answers.get())[0] for _ in range(2)] == [1, 4]
    assert len(model.asked) == 2


@pytest.mark.parametrize("answer", [RuntimeError("no weights"), float("nan"), -0.1, 1.1])
async def test_a_model_that_fails_has_no_opinion(answer: float | Exception):
    model = ScriptedModel(answer, 0.5)
    listener = Listener(model)
    model.go.release(2)
    listener.judge.ask(1, [FRAME], 150.0)
    await asyncio.to_thread(model.listens.acquire)
    listener.judge.ask(2, [FRAME], 150.0)
    assert (await listener.answers.get())[0] == 2


async def test_after_the_call_nobody_is_told():
    model = ScriptedModel(0.5)
    listener = Listener(model)
    listener.judge.ask(1, [FRAME], 150.0)
    await asyncio.to_thread(model.listens.acquire)
    listener.judge.close()
    model.go.release()
    await asyncio.sleep(0)
    assert listener.answers.empty()


def test_no_model_is_quite_sure():
    assert odds_of(1.0) == pytest.approx(1 / odds_of(0.0))
    assert 100 < odds_of(1.0) < 10_000


# ------------------------------------------------------------------------------------------------- what the floor does


def waiting(spoken_s: float) -> Floor:
    """The person has spoken for so long from second 1 on and is silent now."""
    floor = Floor(FloorRules(), lambda prefix: prefix)
    end = 1 + spoken_s
    floor.handle(SpeechStarted(16_000, 1.0), 1.0)
    floor.handle(SpeechStopped(round(16_000 * end), end), end + 0.2)
    return floor


@pytest.mark.parametrize(("spoken_s", "odds", "least", "most"), [(1.0, 1e3, 0.5, 0.79), (4.0, 1e-3, 0.8, 0.83)])
def test_an_opinion_moves_the_end_of_the_turn(spoken_s: float, odds: float, least: float, most: float):
    floor, end = waiting(spoken_s), 1 + spoken_s
    floor.handle(EndJudged(round(16_000 * end), odds), end + 0.3)
    assert floor.deadline is not None
    assert least < floor.deadline - end < most


def test_an_opinion_on_something_else_means_nothing():
    floor = waiting(1.0)
    before = floor.deadline
    floor.handle(EndJudged(16_000, 1e3), 2.3)
    assert floor.deadline == before


def test_a_late_opinion_means_nothing():
    floor = waiting(1.0)
    floor.handle(SpeechStarted(35_000, 2.2), 2.3)
    assert floor.handle(EndJudged(32_000, 1e3), 2.4) == []
    assert floor.deadline is None
    over = waiting(1.0)
    over.handle(Tick(), 5.0)
    state = over.state
    assert over.handle(EndJudged(32_000, 1e3), 5.1) == []
    assert over.state == state
