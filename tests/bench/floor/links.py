"""The three ways between a page and the gateway in virtual time: microphone, events, speech."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.bench.floor.conditions import Condition

JITTER_S = 0.002
FAST_RETRANSMIT_S = 0.06
"""Beyond the round trip: three later messages must arrive before a lost one is sent again."""

EVENT_STALL_S = (0.1, 0.2)
"""A lost event waits for a timer."""

STALL_EVERY_S, STALL_S = (1.0, 6.0), (0.1, 0.4)
"""Where a line stalls: how long it flows, and how long it stands still."""


@dataclass(slots=True)
class Links:
    """When what is sent now arrives; None: never. Ordered ways stay ordered."""

    condition: Condition
    rng: np.random.Generator
    _packet_at: float = 0.0
    _up_at: float = 0.0
    _down_at: float = 0.0
    _stalls_from: float = 0.0
    _stalls_until: float = 0.0

    def packet(self, now: float) -> float | None:
        """An RTP packet of the microphone."""
        self._packet_at = max(self._packet_at, self._flows(now) + self._way() + self.rng.gamma(1.0, JITTER_S))
        return None if self._lost() else self._packet_at

    def speech(self, now: float) -> float:
        """A message of the channel `audio`: unordered, repaired."""
        again = 2 * self._way() + FAST_RETRANSMIT_S if self._lost() else 0.0
        return self._flows(now) + self._way() + again

    def up(self, now: float) -> float:
        """An event of the page."""
        self._up_at = max(self._up_at, self._flows(now) + self._way() + self._stall())
        return self._up_at

    def down(self, now: float) -> float:
        """An event of the gateway."""
        self._down_at = max(self._down_at, self._flows(now) + self._way() + self._stall())
        return self._down_at

    def _flows(self, now: float) -> float:
        """When the line carries what is sent now."""
        if not self.condition.stalls:
            return now
        if now >= self._stalls_until:
            self._stalls_from = now + float(self.rng.uniform(*STALL_EVERY_S))
            self._stalls_until = self._stalls_from + float(self.rng.uniform(*STALL_S))
        return self._stalls_until if now >= self._stalls_from else now

    def _way(self) -> float:
        return self.condition.rtt_ms / 2000

    def _lost(self) -> bool:
        return self.condition.loss > 0 and self.rng.random() < self.condition.loss

    def _stall(self) -> float:
        return float(self.rng.uniform(*EVENT_STALL_S)) if self._lost() else 0.0
