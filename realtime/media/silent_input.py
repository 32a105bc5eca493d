"""Tells when a live microphone delivers nothing but zeros: the browser says it is live, the person hears no answer.

iOS does this after Siri, a phone call, or when another application took the microphone.
"""

from __future__ import annotations

from model_server.protocol import HEARING_RATE
from realtime.media.receive import AudioFrame, FrameKind

SILENT_AFTER = 3 * HEARING_RATE
"""Samples of zeros that make an input silent (3 s)."""

ZERO = 2
"""Opus gives back digital silence as samples of at most 1; a real room is never below this."""


class SilentInput:
    """Follows the received frames of one call. Filled and concealed ones say nothing about the microphone."""

    def __init__(self) -> None:
        self.silent = False
        self._zeros = 0

    def feed(self, frame: AudioFrame) -> bool | None:
        """True when the input falls silent, False when it sounds again, None while nothing changes."""
        if frame.kind is not FrameKind.RECEIVED:
            return None
        loud = bool(frame.samples.max(initial=0) > ZERO or frame.samples.min(initial=0) < -ZERO)
        self._zeros = 0 if loud else self._zeros + len(frame.samples)
        silent = self._zeros >= SILENT_AFTER
        if silent == self.silent:
            return None
        self.silent = silent
        return silent
