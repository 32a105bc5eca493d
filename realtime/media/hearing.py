"""What comes in of one call: packets become frames, frames become speech edges and units. Sans-I/O.

The detector looks at every frame as it arrives; a unit is closed each second. One place turns the receive path's frames
into everything the call needs, so that detector, units and line check see the very same samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_server.protocol import HEARING_RATE
from realtime.dialogue.held import PRE_ROLL_SAMPLES
from realtime.floor.interruption import Sign, Sounding
from realtime.media.arrivals import Arrivals
from realtime.media.bands import Bands
from realtime.media.ending import ending
from realtime.media.levels import Levels
from realtime.media.receive import AudioFrame, AudioPacket, AudioReceiver, FrameKind
from realtime.media.silent_input import SilentInput
from realtime.media.speech import EdgeKind, SpeechDetector, SpeechEdge
from realtime.media.stirring import Stirring
from realtime.media.units import CutUnit, UnitCutter
from realtime.media.voice_meter import VoiceMeter

KEPT_FRAMES = 400

HYSTERESIS = 0.15
"""A voice ends below the probability with which it begins, by so much,"""

LOWEST_STOP = 0.05
"""and surely below this."""


@dataclass(frozen=True, slots=True)
class Edge:
    """The person's speech started or ended at sample `position`, which arrived at time `at` (seconds).

    `sounding`: what speech that started sounds like so far. Of speech that ended, `at` is more precise than the
    detector's position.
    """

    started: bool
    position: int
    at: float
    sounding: Sounding | None = None


@dataclass(frozen=True, slots=True)
class UnitClosed:
    """A full second is complete, `late_ms` after its last sample was due by the call's clock."""

    unit: CutUnit
    late_ms: float


@dataclass(frozen=True, slots=True)
class InputSilence:
    """A live microphone has delivered only zeros for a while, or is back (`silent` false)."""

    silent: bool


@dataclass(frozen=True, slots=True)
class Samples:
    """The frame itself, for the line check. PCM16 mono 16 kHz."""

    pcm: npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Stirred:
    """The person may be beginning to speak; an `Edge` follows soon, or does not."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Once a second: the level of the assistant's echo while it sounds (None: none was found), and of the room, dB."""

    echo_db: float | None
    room_db: float


HearingEvent = Edge | UnitClosed | InputSilence | Samples | Stirred | Sign | Sounding | Surroundings


class Hearing:
    """Everything one call hears. `now` is seconds of the call's monotonic clock.

    `played` says what the loudspeaker gave since it was last asked, by bands; None for silence.
    """

    def __init__(
        self,
        receiver: AudioReceiver,
        detector: SpeechDetector,
        now: float,
        played: Callable[[float], Bands | None] = lambda now: None,
    ) -> None:
        self.receiver = receiver
        self.cutter = UnitCutter()
        self._detector = detector
        self._silent_input = SilentInput()
        self._padding = PRE_ROLL_SAMPLES
        self._levels = Levels()
        self.heard: deque[npt.NDArray[np.int16]] = deque(maxlen=KEPT_FRAMES)
        """The newest frames, 8 s where each is 20 ms."""
        self._stirring = Stirring()
        self._meter = VoiceMeter()
        self._arrivals = Arrivals()
        self._played = played
        self._position = 0
        self._epoch = now

    @property
    def position(self) -> int:
        """Samples of the call so far."""
        return self._position

    def packet(self, packet: AudioPacket, now: float) -> list[HearingEvent]:
        """One RTP packet of the microphone arrived."""
        return self._frames(self.receiver.receive(packet, now), now)

    def tick(self, now: float) -> list[HearingEvent]:
        """Time has passed: gaps are filled so that units keep coming."""
        return self._frames(self.receiver.tick(now), now)

    def listen_for(self, threshold: float, padding_ms: float) -> None:
        """From now on a window is a voice with this probability, and so much before its onset belongs to it."""
        self._detector.set_thresholds(threshold, max(LOWEST_STOP, threshold - HYSTERESIS))
        self._padding = round(padding_ms * HEARING_RATE / 1000)

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        return self.receiver.deadline

    def still(self, jpeg: bytes) -> None:
        """The newest picture of the camera; it goes into the unit that is open."""
        self.cutter.picture(jpeg)

    def _frames(self, frames: list[AudioFrame], now: float) -> list[HearingEvent]:
        events: list[HearingEvent] = []
        for index, frame in enumerate(frames):
            behind = sum(len(later.samples) for later in frames[index + 1 :])
            events.extend(self._frame(frame, now, behind / HEARING_RATE))
        return events

    def _frame(self, frame: AudioFrame, now: float, behind_s: float) -> list[HearingEvent]:
        events: list[HearingEvent] = [Samples(frame.samples)]
        self._position = frame.position + len(frame.samples)
        self.heard.append(frame.samples)
        silence = self._silent_input.feed(frame)
        if silence is not None:
            events.append(InputSilence(silence))
        edges = self._detector.feed(frame.samples)
        levels_db = self._levels.feed(frame.samples)
        received = frame.kind is FrameKind.RECEIVED
        late_s = self._arrivals.late_s(self._position / HEARING_RATE, now) if received else 0.0
        sounding = self._meter.feed(
            frame.samples,
            self._detector.speaking,
            self._played(now - max(late_s, behind_s)),
            shaken=self._arrivals.shaken(now),
        )
        events.extend(self._edge(edge, sounding, now) for edge in edges)
        if sounding is not None:
            events.append(sounding)
        else:
            sign = self._meter.sign(self._detector.probability)
            events.extend([sign] if sign is not None else [])
        if self._stirring.feed(levels_db, self._detector.speaking, self._detector.probability):
            events.append(Stirred())
        for unit in self.cutter.append(frame.samples):
            events.append(UnitClosed(unit, self._late_ms(unit, now)))
            events.append(Surroundings(self._meter.echo_db, self._meter.room_db))
        return events

    def _edge(self, edge: SpeechEdge, sounding: Sounding | None, now: float) -> Edge:
        if edge.kind is EdgeKind.STARTED:
            self.cutter.voice_from(max(0, edge.position - self._padding))
            return Edge(True, edge.position, self._arrived(edge.position, now), sounding)
        self.cutter.voice_until(edge.position)
        end = ending(self._levels, edge.position, self._detector.sure_until)
        return Edge(False, edge.position, self._arrived(end, now))

    def _arrived(self, position: float, now: float) -> float:
        return now - max(0.0, self._position - position) / HEARING_RATE

    def _late_ms(self, unit: CutUnit, now: float) -> float:
        due = self._epoch + unit.end / HEARING_RATE
        if due > now:
            # The sender's clock runs ahead of ours, or the first packets came in a burst: that is our new zero.
            self._epoch -= due - now
            return 0.0
        return (now - due) * 1000
