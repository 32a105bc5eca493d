"""The scenarios: each plays one call and says what came of it, as lists of figures by the metric's name.

`pauses`: eight turns with pauses inside. `overlap`: one sound over a long reply. `alone`: the assistant speaks and
nobody else does.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

import numpy as np

from realtime.media.speech import DetectorPool, SpeechDetector
from tests.bench.floor.conditions import Condition
from tests.bench.floor.people import Clause, quantile, somebody
from tests.bench.floor.simulation import Person, Simulation
from tests.bench.floor.sounds import NOISES, cough
from tests.bench.floor.verdicts import Figures, alone_figures, overlap_figures, turn_figures
from tests.bench.floor.voices import Sound, draw, say
from tests.bench.floor.words import BACKCHANNELS, COMMANDS, INTERRUPTIONS, LONG_REPLIES, SHORT_REPLIES, Split

TURNS = 8
ANSWER_S = 3.0
"""A person who got no answer for so long goes on with the next turn."""

REPLY_S = 6.0
EVENT_S = (0.3, 4.0)
"""When the sound over a reply begins, after the reply's first sound."""

GREETED_S = 0.6
"""When an assistant begins that speaks first."""

AFTER_S = 2.5
ALONE_S = 30.0
POOLS: dict[str, DetectorPool] = {}


def play(condition: Condition, seed: int, index: int) -> Figures:
    """Call `index` of a condition. The same seed and index meet the same person whatever the noise and the network."""
    kind = f"{condition.scenario} {condition.what} {condition.contour}"
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), index])
    pool = POOLS.setdefault(condition.detector, DetectorPool(condition.detector))  # type: ignore[arg-type]
    detector = _like_new(pool.take())
    try:
        if condition.scenario == "pauses":
            return _pauses(condition, detector, rng, quantile(seed, index))
        return _SCENARIOS[condition.scenario](condition, detector, rng, index)
    finally:
        pool.give_back(detector)


def _like_new(detector: SpeechDetector) -> SpeechDetector:
    """A network remembers the last samples it heard, also when it is reset: let them always be the same."""
    detector.feed(np.random.default_rng(0).normal(0, 3_000, 1_600).astype(np.int16))
    detector.reset()
    return detector


# -------------------------------------------------------------------------------------------------------- pauses


def _pauses(condition: Condition, detector: SpeechDetector, rng: np.random.Generator, patience: float) -> Figures:
    person = somebody(condition, rng, patience)
    plans = [(float(rng.uniform(0.4, 1.2)), turn) for turn in person.turns(rng, TURNS)]
    replies = np.random.default_rng(int(rng.integers(1 << 32)))
    call = Simulation(condition, detector, rng, 30.0 * TURNS, lambda: str(replies.choice(SHORT_REPLIES)))
    turns: list[Turn] = []
    call.run(_converse(call, plans, turns))
    return turn_figures(call, turns)


Turn = list[tuple[float, float]]
"""When each clause of a turn begins and ends."""


def _converse(call: Simulation, plans: list[tuple[float, list[Clause]]], turns: list[Turn]) -> Person:
    for gap, clauses in plans:
        turn = place(call, clauses, call.now + gap)
        turns.append(turn)
        end = turn[-1][1]
        yield partial(_passed, call, end)
        yield lambda end=end: answered(call, end) or call.now > end + ANSWER_S  # type: ignore[misc]
        yield lambda end=end: call.idle or call.now > end + ANSWER_S + REPLY_S  # type: ignore[misc]


def place(call: Simulation, clauses: list[Clause], at: float) -> Turn:
    """Put a whole turn into the microphone."""
    turn: Turn = []
    for clause in clauses:
        end = call.microphone.add(clause.sound, at)
        turn.append((at, end))
        at = end + clause.pause_s
    return turn


def answered(call: Simulation, since: float) -> bool:
    """Whether a reply has begun since."""
    return any(at >= since for at in call.first_sent.values())


def _passed(call: Simulation, at: float) -> bool:
    return call.now >= at


# -------------------------------------------------------------------------------------------------------- overlap


def _overlap(condition: Condition, detector: SpeechDetector, rng: np.random.Generator, index: int) -> Figures:
    person = somebody(condition, rng)
    question = say(person.voice, "please tell me everything about that.")
    sound, level_db = _sound(condition, person.voice.name, rng, index)
    text = LONG_REPLIES[index % len(LONG_REPLIES)]
    call = Simulation(condition, detector, rng, 25.0, lambda: text)
    begun: list[tuple[str, float, float]] = []
    asked = None if condition.stranger else question
    call.run(_ask_and_overlap(call, asked, (sound, level_db), float(rng.uniform(*EVENT_S)), begun))
    return overlap_figures(call, *begun[0]) if begun else {"void": [1.0]}


def _ask_and_overlap(
    call: Simulation,
    question: Sound | None,
    over: tuple[Sound, float],
    after_s: float,
    begun: list[tuple[str, float, float]],
) -> Person:
    if question is not None:
        asked = call.microphone.add(question, 0.6)
        yield lambda: call.sounding() is not None or call.now > asked + ANSWER_S
    else:
        yield lambda: call.now > GREETED_S
    if call.sounding() is None:
        call.dialogue.ask(call.now)
    yield lambda: call.sounding() is not None
    response_id = call.sounding()
    at = call.now + after_s
    yield lambda: call.now >= at - 0.02
    if response_id is None or call.sounding() != response_id:
        return
    end = call.microphone.add(over[0], at, over[1])
    begun.append((response_id, at, end))
    yield lambda: call.now > end + AFTER_S


def _sound(condition: Condition, voice_name: str, rng: np.random.Generator, index: int) -> tuple[Sound, float]:
    """What is heard over the assistant, and how loud against the person's level, dB."""
    kinds = OVER[condition.what]
    make, low, high = kinds[index % len(kinds)]
    return make(rng, condition.split), float(rng.uniform(low, high))


Kind = tuple[Callable[[np.random.Generator, Split], Sound], float, float]


def _saying(text: str) -> Callable[[np.random.Generator, Split], Sound]:
    return lambda rng, split: say(draw(split, rng), text)


def _making(make: Callable[[np.random.Generator], Sound]) -> Callable[[np.random.Generator, Split], Sound]:
    return lambda rng, split: make(rng)


OVER: dict[str, list[Kind]] = {
    "words": [(_saying(f"{word}!"), -3.0, 3.0) for word in COMMANDS],
    "backchannels": [
        *((_saying(f"{word}."), -8.0, -2.0) for word in BACKCHANNELS),
        (_making(cough), 0.0, 4.0),
    ],
    "interruptions": [(_saying(f"{text}."), -3.0, 3.0) for text in INTERRUPTIONS],
    "noises": [(_making(make), db - 3.0, db + 3.0) for make, db in NOISES.values()],
}

# -------------------------------------------------------------------------------------------------------- alone


def _alone(condition: Condition, detector: SpeechDetector, rng: np.random.Generator, index: int) -> Figures:
    replies = np.random.default_rng(int(rng.integers(1 << 32)))
    question = say(somebody(condition, rng).voice, "please tell me everything about that.")
    call = Simulation(condition, detector, rng, ALONE_S + 6.0, lambda: str(replies.choice(LONG_REPLIES)))
    call.run(_ask_again(call, None if condition.stranger else question))
    return alone_figures(call, ALONE_S)


def _ask_again(call: Simulation, question: Sound | None) -> Person:
    """The person asks once, if at all, so that their level is known; from then on the page asks."""
    if question is not None:
        asked = call.microphone.add(question, 0.6)
        yield lambda: call.sounding() is not None or call.now > asked + ANSWER_S
    until = call.now + ALONE_S
    while call.now < until:
        if call.idle:
            call.dialogue.ask(call.now)
        since = call.now
        yield lambda since=since: (call.idle and call.now > since + 1.0) or call.now > until  # type: ignore[misc]


_SCENARIOS = {"overlap": _overlap, "alone": _alone}
