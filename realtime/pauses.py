"""How long a silence of this person must last to end their turn: it depends on how long they pause. Sans-I/O.

A person who never pauses long within a turn is answered soon, one who does is waited for. The pauses of a call are
taken as log-normal; their middle is estimated from a guess that weighs as much as a few pauses, and from every pause
after which the person went on. Times are milliseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

Eagerness = Literal["low", "medium", "high", "auto", "fixed"]
"""As in OpenAI's `semantic_vad`; `fixed` is its `server_vad`: the silence that is set, whatever the person does."""

SHORTEST_MS, LONGEST_MS = 200.0, 900.0
"""The silence that ends a turn stays between these unless it is fixed."""

USUAL_MS = 440.0
"""The middle of a usual person's pauses; the silence that is set is meant for them."""

GUESS_WEIGHT = 3.0
"""The guess weighs as much as so many pauses."""

STEEPNESS = 3.0
"""By which power patience grows with the pauses of somebody who pauses longer than usual."""

SHORT_MS = 294.0
"""Somebody whose pauses are shorter is answered sooner, in proportion."""

FACTOR: dict[Eagerness, float] = {"low": 1.5, "medium": 1.0, "auto": 1.0, "high": 0.6}
MOST_MS: dict[Eagerness, float] = {"low": LONGEST_MS, "medium": 750.0, "auto": 750.0, "high": 600.0}
"""`auto` stays below 900 ms after the true end of speech, which the detector says up to 150 ms late."""


@dataclass(slots=True)
class PauseStatistics:
    """One person's pauses within their turns."""

    count: int = 0
    _logs: float = field(default=0.0)

    def went_on(self, pause_ms: float) -> None:
        """The person was silent for so long within a turn."""
        self.count += 1
        self._logs += math.log(min(max(pause_ms, 50.0), 3_000.0))

    @property
    def middle_ms(self) -> float:
        """The median of this person's pauses, as far as it is known."""
        return math.exp((GUESS_WEIGHT * math.log(USUAL_MS) + self._logs) / (GUESS_WEIGHT + self.count))

    def silence_ms(self, usual_ms: float, eagerness: Eagerness) -> float:
        """The silence that ends a turn now, where it is `usual_ms` for a usual person."""
        if eagerness == "fixed":
            return usual_ms
        middle = self.middle_ms
        patient = usual_ms * (middle / USUAL_MS) ** STEEPNESS
        wanted = patient if middle > USUAL_MS else usual_ms * min(1.0, middle / SHORT_MS)
        # A silence that is set beyond these bounds is meant.
        lowest, highest = min(SHORTEST_MS, usual_ms), max(MOST_MS[eagerness], usual_ms)
        return min(max(FACTOR[eagerness] * wanted, lowest), highest)
