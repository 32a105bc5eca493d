"""How simulated people take turns: clauses with pauses between, fillers in some of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.bench.floor.conditions import Condition
from tests.bench.floor.voices import Sound, Voice, clauses, draw, say
from tests.bench.floor.words import ENDINGS, FILLERS, MIDDLES, OPENINGS

MEDIAN_S = 0.5
SPREAD = 0.541
"""Pauses are log-normal: median 0.5 s, 90 % below 1.0 s."""

BETWEEN = 0.35
"""The part of the spread by which people differ from each other; the rest is each one's own."""

WITHIN = float(np.sqrt(SPREAD**2 - BETWEEN**2))
SHORTEST_S, LONGEST_S = 0.1, 3.0
CLAUSES = (1, 2, 3, 4)
FILLER_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Clause:
    """Something said at once, and the silence that follows it (0 for a turn's last)."""

    sound: Sound
    pause_s: float


@dataclass(frozen=True, slots=True)
class Somebody:
    """A person: a voice, and how long their pauses usually are."""

    voice: Voice
    pause_s: float
    condition: Condition

    def turn(self, rng: np.random.Generator) -> list[Clause]:
        """Their next turn."""
        count = int(rng.choice(CLAUSES))
        middles = [str(each) for each in rng.choice(MIDDLES, max(0, count - 2), replace=False)]
        parts = [str(rng.choice(OPENINGS)), *middles, str(rng.choice(ENDINGS))][-count:]
        said = clauses(self.condition.contour, parts)
        for index in range(count - 1):
            if rng.random() < FILLER_SHARE:
                said[index] = f"{said[index]} {rng.choice(FILLERS)}{said[index][-1]}"
        pauses = [self._pause(rng) for _ in range(count - 1)] + [0.0]
        return [Clause(say(self.voice, text), pause) for text, pause in zip(said, pauses, strict=True)]

    def _pause(self, rng: np.random.Generator) -> float:
        pause = self.pause_s * float(np.exp(WITHIN * rng.standard_normal()))
        return float(np.clip(pause, SHORTEST_S, LONGEST_S))


def somebody(condition: Condition, rng: np.random.Generator) -> Somebody:
    """A person."""
    voice = draw(condition.split, rng, flat=condition.contour == "flat")
    return Somebody(voice, MEDIAN_S * float(np.exp(BETWEEN * rng.standard_normal())), condition)
