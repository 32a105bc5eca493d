"""How a page plays a reply: from its first piece on, in real time, and silent where the next piece is not there."""

from __future__ import annotations

from model_server.protocol import SPEECH_RATE


class Playback:
    """Of one reply. Times are seconds of any clock."""

    def __init__(self) -> None:
        self.made_s = 0.0
        """Speech that has arrived."""
        self.dry_at = 0.0
        """When the loudspeaker falls silent; 0 before the first piece."""

    def arrived(self, samples: int, now: float) -> float:
        """A piece is there; how long, in seconds, there was nothing to play before it."""
        begins = not self.made_s
        gap = 0.0 if begins else max(0.0, now - self.dry_at)
        self.dry_at = (now if begins or gap else self.dry_at) + samples / SPEECH_RATE
        self.made_s += samples / SPEECH_RATE
        return gap

    def ahead_s(self, now: float) -> float:
        """Speech that has arrived and was not played yet."""
        return max(0.0, self.dry_at - now)

    def played_ms(self, now: float) -> int:
        """Speech that the person has heard."""
        return int(max(0.0, self.made_s - self.ahead_s(now)) * 1000)
