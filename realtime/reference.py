"""What the loudspeaker plays, as the echo knows it: the power of each 10 ms of what was sent, found by what was heard.

Sans-I/O. Positions are milliseconds of the response.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from model_server.protocol import SPEECH_RATE
from realtime.frames import AudioMessage

STEP_MS = 10
STEP = SPEECH_RATE * STEP_MS // 1000
KEPT_RESPONSES = 2


class Reference:
    """The powers (mean squares, full scale 1) of the latest responses."""

    def __init__(self) -> None:
        self._powers: OrderedDict[int, dict[int, float]] = OrderedDict()
        self._number = 0
        self._reached_ms = 0.0

    def sent(self, message: AudioMessage) -> None:
        """20 ms of speech go to the page."""
        if not message.pcm:
            return
        powers = self._powers.setdefault(message.number, {})
        while len(self._powers) > KEPT_RESPONSES:
            self._powers.popitem(last=False)
        samples = np.frombuffer(message.pcm, "<i2").astype(np.float32) / 32768
        for start in range(0, len(samples), STEP):
            part = samples[start : start + STEP]
            powers[(message.position + start) // STEP] = float(part @ part) / len(part)

    def power(self, number: int | None, heard_ms: float) -> float:
        """The mean power of what left the loudspeaker since the last call, where `heard_ms` of `number` have by now."""
        if number is None or number not in self._powers:
            return 0.0
        if number != self._number:
            self._number, self._reached_ms = number, 0.0
        first, last = int(self._reached_ms // STEP_MS), int(heard_ms // STEP_MS)
        if heard_ms <= self._reached_ms or last <= first:
            return 0.0
        self._reached_ms = heard_ms
        powers = self._powers[number]
        # After a longer absence only what just sounded matters.
        steps = range(max(first, last - 4), last)
        return sum(powers.get(step, 0.0) for step in steps) / len(steps)
