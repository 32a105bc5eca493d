"""When a silence ends the person's turn: it depends on what they said and on how they speak. Sans-I/O.

The odds that a turn is over grow with how long the person has spoken in it, against how long their turns usually are,
and with how often their turns end after so many stretches; they fall for somebody who pauses long. A turn that is
probably over is answered soon, one that is not is waited for. What is usual is learned within the call, from a guess
that weighs as much as a few of them. The guesses and weights below were fitted to the tuning people of the floor bench.
Times are milliseconds.
"""

from __future__ import annotations

import math
from typing import Literal

from realtime.floor.habit import Habit, Stretches

Eagerness = Literal["low", "medium", "high", "auto", "fixed"]
"""As in OpenAI's `semantic_vad`; `fixed` is its `server_vad`: the silence that is set, whatever the person does."""

SHORTEST_MS, LONGEST_MS = 200.0, 900.0
"""The silence that ends a turn stays between these unless it is fixed."""

PATIENCE = 1.65
"""A turn that is not likely to be over is waited for so many times as long as one that is."""

USUAL_PAUSE_MS, PAUSE_WEIGHT = 480.0, 10.0
"""The middle of a stranger's pauses; it weighs as much as so many pauses."""

USUAL_TURN_MS, TURN_WEIGHT = 2_810.0, 5.0
"""How long a stranger usually speaks in a turn; it weighs as much as so many turns."""

LENGTH_POWER = 5.0
"""By which power the odds grow with the length of the turn."""

STRETCH_POWER = 0.7
"""By which power they grow with the odds that this person's turns end after so many stretches."""

MOST_BY_LENGTH = 9.0
"""The length alone makes nobody surer than this (logarithm of odds): what a learned model hears may outweigh it."""

PAUSE_POWER = 3.7
"""By which power the odds fall with the pauses of somebody who pauses longer than usual."""

SOON_POWER = 0.6
"""By which power the silence shortens for somebody who pauses shorter than usual."""

MOST_LOG_ODDS = 30.0

BAR: dict[Eagerness, float] = {"low": 10.0, "medium": 1.0, "auto": 1.0, "high": 0.1}
"""The odds must pass it to count as even."""

PACE: dict[Eagerness, float] = {"low": 1.15, "medium": 1.0, "auto": 1.0, "high": 0.75}
"""Every silence is longer or shorter by so much."""


class EndOfTurn:
    """How one person pauses and how long they speak; when the turn they are in is over."""

    def __init__(self) -> None:
        self.spoken_ms = 0.0
        """How long the person has spoken in this turn, pauses left out,"""
        self.stretches = 0
        """and how often they have fallen silent."""
        self._pauses = Habit(USUAL_PAUSE_MS, PAUSE_WEIGHT, (50.0, 3_000.0))
        self._turns = Habit(USUAL_TURN_MS, TURN_WEIGHT, (300.0, 60_000.0))
        self._stretches = Stretches()

    def spoke(self, lasted_ms: float) -> None:
        """The person spoke for so long and fell silent."""
        self.spoken_ms += max(0.0, lasted_ms)
        self.stretches += 1

    def went_on(self, pause_ms: float) -> None:
        """That silence was a pause of so long: the turn goes on."""
        self._stretches.went_on(self.stretches)
        self._pauses.learn(pause_ms)

    def began_anew(self) -> None:
        """What the person said before was a whole turn; now they begin another."""
        if self.spoken_ms > 0:
            self._turns.learn(self.spoken_ms)
            self._stretches.ended(self.stretches)
        self.spoken_ms, self.stretches = 0.0, 0

    def odds(self, judged: float = 1.0) -> float:
        """How much likelier it is that the turn is over than that it goes on, whatever the silence.

        `judged`: a learned model's odds.
        """
        by_length = _within(self._length, MOST_BY_LENGTH)
        log_odds = by_length - PAUSE_POWER * max(0.0, self._patience) + math.log(judged)
        return math.exp(_within(log_odds, MOST_LOG_ODDS))

    def silence_ms(self, usual_ms: float, eagerness: Eagerness, judged: float = 1.0) -> float:
        """The silence that ends this turn, where it is `usual_ms` for a usual person's turn that is likely over."""
        if eagerness == "fixed":
            return usual_ms
        over = self.odds(judged)
        unlikely = 1 / (1 + over / BAR[eagerness])
        soon = usual_ms * math.exp(SOON_POWER * min(0.0, self._patience))
        wanted = PACE[eagerness] * (soon + (PATIENCE * usual_ms - soon) * unlikely)
        # A silence that is set beyond these bounds is meant.
        lowest, highest = min(SHORTEST_MS, usual_ms), max(LONGEST_MS, usual_ms)
        return min(max(wanted, lowest), highest)

    @property
    def _length(self) -> float:
        """Logarithm of the odds that so much was everything."""
        spoken = math.log(max(self.spoken_ms, 1.0) / self._turns.middle)
        return LENGTH_POWER * spoken + STRETCH_POWER * self._stretches.log_odds(self.stretches)

    @property
    def _patience(self) -> float:
        """Logarithm of this person's pauses against a stranger's."""
        return math.log(self._pauses.middle / USUAL_PAUSE_MS)


def _within(value: float, bound: float) -> float:
    return min(max(value, -bound), bound)
