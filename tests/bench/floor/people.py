"""How simulated people take turns: clauses with pauses between, fillers in some of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tests.bench.floor import words
from tests.bench.floor.conditions import Condition
from tests.bench.floor.voices import Sound, Voice, clauses, draw, say

MEDIAN_S = 0.5
SPREAD = 0.541
"""Pauses are log-normal: median 0.5 s, 90 % below 1.0 s."""

BETWEEN = 0.35
"""The part of the spread by which people differ from each other; the rest is each one's own."""

WITHIN = float(np.sqrt(SPREAD**2 - BETWEEN**2))
GOLDEN = float((np.sqrt(5) - 1) / 2)
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

    def turns(self, rng: np.random.Generator, count: int) -> list[list[Clause]]:
        """So many turns: every number of clauses about as often, every length of pause as often as it should be."""
        lengths = rng.permutation(np.resize(rng.permutation(CLAUSES), count))
        pauses = iter(self.pauses(rng, int(lengths.sum()) - count))
        return [self._turn(rng, [*itertools.islice(pauses, int(length) - 1)]) for length in lengths]

    def pauses(self, rng: np.random.Generator, count: int) -> list[float]:
        """So many of their pauses, in any order, each from its own part of the distribution."""
        parts = (rng.permutation(count) + rng.uniform(size=count)) / max(count, 1)
        return [self._pause(part) for part in parts]

    def _pause(self, part: float) -> float:
        pause = self.pause_s * float(np.exp(WITHIN * NormalDist().inv_cdf(part)))
        return float(np.clip(pause, SHORTEST_S, LONGEST_S))

    def _turn(self, rng: np.random.Generator, pauses: list[float]) -> list[Clause]:
        """A turn with these pauses inside."""
        count = len(pauses) + 1
        texts = words.CLAUSES[self.condition.split]
        middles = [str(each) for each in rng.choice(texts.middles, max(0, count - 2), replace=False)]
        parts = [str(rng.choice(texts.openings)), *middles, str(rng.choice(texts.endings))][-count:]
        said = clauses(self.condition.contour, parts)
        for index in range(count - 1):
            if rng.random() < FILLER_SHARE:
                said[index] = f"{said[index]} {rng.choice(words.FILLERS)}{said[index][-1]}"
        return [Clause(say(self.voice, text), pause) for text, pause in zip(said, [*pauses, 0.0], strict=True)]


def somebody(condition: Condition, rng: np.random.Generator, quantile: float | None = None) -> Somebody:
    """Anybody, or a person who pauses longer than this share of all people."""
    voice = draw(condition.split, rng, flat=condition.contour == "flat")
    patience = float(rng.standard_normal()) if quantile is None else NormalDist().inv_cdf(quantile)
    return Somebody(voice, MEDIAN_S * float(np.exp(BETWEEN * patience)), condition)


def quantile(seed: int, index: int) -> float:
    """Of person `index`: however few people there are, they are spread evenly (Kronecker's golden sequence)."""
    first = float(np.random.default_rng(seed).uniform())
    return min(max((first + index * GOLDEN) % 1.0, 1e-3), 1 - 1e-3)
