"""The browser's side of a call on a virtual clock: it plays what it is sent, falls silent when told, reports.

It behaves as web_client does: a worklet that places messages by position, a loopback connection of 90 ms behind it, an
element that is muted at once (and what was on its way through the connection is lost), a report every 120 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from model_server.protocol import SPEECH_RATE
from realtime.connection.frames import AudioMessage
from realtime.events import PlaybackAck
from tests.bench.floor.voices import Sound

STEP_S = 0.01
STEP = SPEECH_RATE // 100
HEARD_STEP = 160
"""A step of the clock; its samples in the response (24 kHz), and at the ear (16 kHz)."""

BEHIND = 9
"""Steps from the worklet to the ear."""

UNMUTE_S = 0.12
"""After a mute nothing is heard for so long: stale sound is still on its way."""

REPORT_STEPS = 12
SILENT = np.zeros(HEARD_STEP, np.float32)


@dataclass(slots=True)
class Track:
    """One response at the page. Positions are its samples at 24 kHz; `audible`: what the ear heard, by the step."""

    response_id: str
    number: int
    sound: Sound
    position: int = 0
    end: int | None = None
    messages: dict[int, int] = field(default_factory=dict)
    heard: int = 0
    final: bool = False
    audible: list[tuple[float, int]] = field(default_factory=list)

    def take(self, message: AudioMessage) -> None:
        """20 ms of it arrived."""
        self.messages[message.position] = message.position + len(message.pcm) // 2
        if message.last:
            self.end = message.position + len(message.pcm) // 2

    @property
    def ready(self) -> bool:
        """Whether there is something to play; what is missing in the middle is concealed."""
        if self.end is not None and self.position < self.end:
            return True
        return any(end > self.position for end in self.messages.values())

    def rewind(self, position: int) -> None:
        """Play again from `position` on: the page keeps what it has played for a while."""
        if position < self.position:
            self.messages[position] = max([self.position, *self.messages.values()])
            self.position = self.heard = position

    def step(self) -> Sound:
        """The next 10 ms."""
        start = self.position * 2 // 3
        self.position += STEP
        for position in [position for position, end in self.messages.items() if end <= self.position]:
            del self.messages[position]
        block = self.sound[start : start + HEARD_STEP]
        return np.pad(block, (0, HEARD_STEP - len(block))) if len(block) < HEARD_STEP else block


class Page:
    """One page. `report` carries what was played to the gateway; `step` is called every 10 ms."""

    def __init__(self, report: Callable[[PlaybackAck], None]) -> None:
        self.tracks: dict[int, Track] = {}
        self._report = report
        self._paused = False
        self._muted_at = -1.0
        self._muted = False
        self._unmute_at = 0.0
        self._flushed = 0
        self._line: deque[tuple[Track | None, int, Sound]] = deque([(None, 0, SILENT)] * BEHIND)
        self._steps = 0

    def created(self, response_id: str, number: int, sound: Sound) -> None:
        """A response begins."""
        self.tracks[number] = Track(response_id, number, sound)

    def track(self, response_id: str) -> Track | None:
        """What the page knows of a response."""
        return next((track for track in self.tracks.values() if track.response_id == response_id), None)

    def accept(self, message: AudioMessage) -> None:
        """A message of speech arrived."""
        if message.number > self._flushed:
            self.tracks[message.number].take(message)

    def pause(self, now: float) -> None:
        """Fall silent, keep what is there."""
        self._paused = True
        self._mute(now)

    def resume(self, response_id: str, from_ms: float | None, now: float) -> None:
        """Go on, from there on where it is told."""
        self._paused = False
        track = self.track(response_id)
        if track is not None and from_ms is not None and not track.final:
            track.rewind(round(from_ms * SPEECH_RATE / 1000))
        # What was on its way through the connection is lost.
        self._line = deque([(None, 0, SILENT)] * BEHIND)
        self._unmute(now)

    def flush(self, response_id: str, now: float) -> None:
        """Silence for good."""
        track = self.track(response_id)
        if track is None:
            return
        self._flushed = max(self._flushed, track.number)
        self._paused = False
        self._mute(now)
        if not track.final:
            track.final = True
            self._tell(track)

    def step(self, now: float) -> Sound:
        """The 10 ms that reach the ear until `now`."""
        self._steps += 1
        track = self._current()
        if track is None or self._paused:
            self._line.append((None, 0, SILENT))
        else:
            if not track.position:
                self._unmute(now)
            self._line.append((track, track.position + STEP, track.step()))
        return self._ear(now)

    def _ear(self, now: float) -> Sound:
        track, position, block = self._line.popleft()
        audible = not self._muted and now >= self._unmute_at
        if track is not None and not track.final and not self._paused:
            track.heard = position
            if audible:
                track.audible.append((now, position))
            if track.end is not None and position >= track.end:
                track.final = True
                self._tell(track)
        if self._steps % REPORT_STEPS == 0:
            for each in self.tracks.values():
                if each.position and not each.final:
                    self._tell(each)
        return block if audible else SILENT

    def _current(self) -> Track | None:
        for number in sorted(self.tracks):
            track = self.tracks[number]
            if number > self._flushed and not track.final and (track.end is None or track.position < track.end):
                return track if track.ready else None
        return None

    def _tell(self, track: Track) -> None:
        heard = track.heard if track.end is None else min(track.heard, track.end)
        played_ms = 1000 * heard / SPEECH_RATE
        self._report(PlaybackAck(response_id=track.response_id, played_ms=played_ms, final=track.final))

    def _mute(self, now: float) -> None:
        self._muted, self._muted_at = True, now

    def _unmute(self, now: float) -> None:
        if self._muted:
            self._muted = False
            self._unmute_at = max(now, self._muted_at + UNMUTE_S)
