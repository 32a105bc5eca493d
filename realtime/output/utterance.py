"""The speech of one response on its way to the loudspeaker: what waits, what is due, what was played. Sans-I/O.

Positions and lengths are samples at 24 kHz, times seconds of one monotonic clock.
"""

from __future__ import annotations

import numpy as np

from model_server.protocol import SPEECH_RATE
from realtime.connection.frames import AUDIO_MESSAGE_SAMPLES, AudioMessage
from realtime.output.heard import AckedPosition, TrackPosition

TRAILERS = 3
TRAILER_S = 0.04

MAX_BUFFERED_SAMPLES = 6 * SPEECH_RATE
"""Unsent speech: an engine runs 5 s ahead of what was heard and sends at most 1 s at a time."""


KEPT_SAMPLES = 3 * SPEECH_RATE // 2
"""What was sent on a track is kept for so long: a word is said again from its beginning, at most 1 s back, and what a
receiver holds is unheard besides."""

FADE_SAMPLES = SPEECH_RATE // 50
"""A word that is said again fades in within 20 ms; a page does so itself."""


class PlayoutError(ValueError):
    """Speech that breaks the session protocol; nothing of it was taken."""


class PlayoutOverflow(PlayoutError):
    """More speech than an engine that honours `played` can have sent."""


class Utterance:
    """One response's speech, cut into messages of 20 ms."""

    def __init__(self, response_id: str, number: int, position: AckedPosition | TrackPosition, now: float) -> None:
        self.response_id = response_id
        self.position = position
        self.finished = False
        """No more speech will come."""
        self.final = False
        """The page will play no more of it."""
        self.touched_at = now
        """When something was last sent, or the page last reported."""
        self._number = number
        self._pcm = bytearray()
        self._sent = bytearray()
        """The latest of what was sent, for clients that keep nothing themselves."""
        self._most_sent = 0
        self._trailers = TRAILERS
        self._trailer_at = now
        self._frozen: float | None = None

    @property
    def received(self) -> int:
        """Samples the engine has given."""
        return self.position.end + len(self._pcm) // 2

    @property
    def all_sent(self) -> bool:
        """Every sample is sent."""
        return self.finished and not self._pcm

    @property
    def complete(self) -> bool:
        """Every sample is sent and what repairs the last of them, too."""
        return self.all_sent and not (self._trailers and self.received)

    @property
    def is_silent(self) -> bool:
        """It ended without any speech."""
        return self.finished and self.received == 0

    @property
    def is_past(self) -> bool:
        """It was cleared or has ended: only the page's last word may still change what was heard."""
        return self._frozen is not None

    def heard(self, now: float, delay: float) -> float:
        """Samples that have left the loudspeaker, which is `delay` samples behind the position."""
        return self._frozen if self._frozen is not None else max(self.position.most, self.position.at(now) - delay)

    def freeze(self, heard: float) -> None:
        """It is over: this much was heard."""
        self._frozen = heard
        self._pcm.clear()

    def add(self, position: int, pcm: bytes) -> None:
        """The next speech. Raises `PlayoutError`, `PlayoutOverflow`."""
        if self.finished:
            raise PlayoutError(f"response {self.response_id} is finished: no speech may follow")
        if len(pcm) % 2:
            raise PlayoutError(f"speech is PCM16: expected an even number of bytes, got {len(pcm)}")
        if position != self.received:
            raise PlayoutError(f"the next sample of {self.response_id} is {self.received}, got {position}")
        buffered = self.received - self._most_sent + len(pcm) // 2
        if buffered > MAX_BUFFERED_SAMPLES:
            raise PlayoutOverflow(
                f"at most {MAX_BUFFERED_SAMPLES} samples may wait to be spoken, these make {buffered}: honour `played`"
            )
        self._pcm += pcm

    def rewind(self, position: float, now: float, delay: float) -> None:
        """Say again what follows `position`, if that was played before; what was heard stays heard."""
        if position >= self.position.at(now):
            return
        heard = self.heard(now, delay)
        if not isinstance(self.position, AckedPosition):
            position = self._take_back(round(position))
        self.position.rewind(position, heard, now)

    def finish(self, now: float) -> None:
        """What is buffered is all there is."""
        self.finished, self._trailer_at = True, now

    def due(self, now: float, lead: float, dry: float) -> list[AudioMessage]:
        """Messages to send now: at most `lead` samples ahead of the position; short ones at the end, or below `dry`."""
        messages: list[AudioMessage] = []
        while (at := self._message_at(now, lead, dry)) is not None and at <= now:
            messages.append(self._message(now))
        while self.all_sent and not self.complete and self._trailer_at <= now:
            messages.append(self._trailer(now))
        if messages:
            self.touched_at = now
        return messages

    def next_due(self, now: float, lead: float, dry: float) -> float | None:
        """When `due` has something to send without further calls; None if that takes more speech or a report."""
        if self.all_sent:
            return None if self.complete else self._trailer_at
        return self._message_at(now, lead, dry)

    def take_report(self, position: float, now: float) -> bool:
        """The page has played up to `position`. False when that is impossible or not asked for; nothing changes."""
        if not isinstance(self.position, AckedPosition) or self.final:
            return False
        # A page that conceals or rounds may be a message ahead of the last sample; more cannot be.
        end = self.position.end
        if not position <= end + AUDIO_MESSAGE_SAMPLES or not self.position.ack(max(0.0, min(position, end)), now):
            return False
        self.touched_at = now
        if self.is_past:
            self._frozen = max(self.position.most, self.position.acked)
        return True

    def _message_at(self, now: float, lead: float, dry: float) -> float | None:
        ready = len(self._pcm) // 2
        if not ready:
            return None
        if ready >= AUDIO_MESSAGE_SAMPLES or self.finished:
            wanted = self.position.end + min(ready, AUDIO_MESSAGE_SAMPLES) - lead
        else:
            wanted = self.position.end - dry
        return now if self.position.at(now) >= wanted else self.position.when(wanted)

    def _take_back(self, position: int) -> int:
        """What was sent from `position` on waits again; returns where that begins."""
        again = min(max(0, self.position.end - position), len(self._sent) // 2)
        if again:
            self._pcm[:0] = faded_in(bytes(self._sent[-2 * again :]))
            del self._sent[-2 * again :]
        return self.position.end - again

    def _message(self, now: float) -> AudioMessage:
        start = self.position.end
        pcm = bytes(self._pcm[: 2 * AUDIO_MESSAGE_SAMPLES])
        del self._pcm[: 2 * AUDIO_MESSAGE_SAMPLES]
        self.position.extend(start + len(pcm) // 2, now)
        self._most_sent = max(self._most_sent, self.position.end)
        if not isinstance(self.position, AckedPosition):
            self._sent += pcm
            del self._sent[: -2 * KEPT_SAMPLES]
        self._trailer_at = now + TRAILER_S
        return AudioMessage(self._number, start, pcm, last=self.all_sent)

    def _trailer(self, now: float) -> AudioMessage:
        """An empty last message: what follows the last samples lets fast retransmit repair them."""
        self._trailers -= 1
        self._trailer_at = now + TRAILER_S
        return AudioMessage(self._number, self.position.end, b"", last=True)


def faded_in(pcm: bytes) -> bytes:
    """PCM16 that begins in silence and is as loud as ever `FADE_SAMPLES` later."""
    sound = np.frombuffer(pcm, "<i2").copy()
    start = sound[:FADE_SAMPLES]
    start[:] = start * (np.arange(len(start)) / FADE_SAMPLES)
    return sound.tobytes()
