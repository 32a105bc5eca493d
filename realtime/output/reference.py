"""What the loudspeaker plays, as the echo knows it: the bands of each 20 ms that was sent, found by what was heard.

Sans-I/O. Positions are milliseconds of the response.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np

from model_server.protocol import SPEECH_RATE
from realtime.connection.frames import AUDIO_MESSAGE_SAMPLES, AudioMessage
from realtime.media.bands import BANDS, Bands, bands

STEP_MS = 1000 * AUDIO_MESSAGE_SAMPLES // SPEECH_RATE
KEPT_RESPONSES = 2
MOST_WAITING = 50
"""Messages: a second of speech."""

_BYTES = 2 * AUDIO_MESSAGE_SAMPLES
LONGEST_MS = 40.0
"""After a longer absence only what just sounded matters."""


class Reference:
    """The bands of the latest responses."""

    def __init__(self) -> None:
        self._bands: OrderedDict[int, dict[int, Bands]] = OrderedDict()
        self._waiting: list[tuple[dict[int, Bands], int, bytes]] = []
        """What was sent and not asked for yet: its bands are computed all at once, which costs little more than one."""
        self._number = 0
        self._reached_ms = 0.0

    def sent(self, message: AudioMessage) -> None:
        """20 ms of speech go to the page."""
        if not message.pcm:
            return
        steps = self._bands.setdefault(message.number, {})
        while len(self._bands) > KEPT_RESPONSES:
            self._bands.popitem(last=False)
        pcm = message.pcm[:_BYTES].ljust(_BYTES, b"\0")
        self._waiting.append((steps, message.position // AUDIO_MESSAGE_SAMPLES, pcm))
        if len(self._waiting) == MOST_WAITING:
            self._compute()

    def played(self, number: int | None, heard_ms: float) -> Bands | None:
        """What left the loudspeaker since the last call, where `heard_ms` of `number` have by now; None: nothing.

        The mean over 20 ms, of which the loudspeaker may have been silent for a part.
        """
        if number is None or number not in self._bands:
            return None
        if number != self._number:
            self._number, self._reached_ms = number, 0.0
        elif heard_ms < self._reached_ms - STEP_MS:
            # A word is said again.
            self._reached_ms = max(0.0, heard_ms - STEP_MS)
        if heard_ms <= self._reached_ms:
            return None
        start = max(self._reached_ms, heard_ms - LONGEST_MS) / STEP_MS
        end, self._reached_ms = heard_ms / STEP_MS, heard_ms
        total, steps = np.zeros(BANDS), self._bands[number]
        for step in range(int(start), math.ceil(end)):
            if step not in steps:
                self._compute()
            if step in steps:
                total += (min(end, step + 1) - max(start, step)) * steps[step]
        return total

    def _compute(self) -> None:
        if not self._waiting:
            return
        sound = np.frombuffer(b"".join(pcm for _, _, pcm in self._waiting), "<i2").reshape(-1, AUDIO_MESSAGE_SAMPLES)
        for (steps, step, _), found in zip(self._waiting, bands(sound), strict=True):
            steps[step] = found
        self._waiting.clear()
