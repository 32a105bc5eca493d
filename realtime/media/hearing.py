"""What comes in of one call: packets become frames, frames become speech edges and units. Sans-I/O.

The detector looks at every frame as it arrives; a unit is closed each second. One place turns the receive path's frames
into everything the call needs, so that detector, units and line check see the very same samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_server.protocol import HEARING_RATE
from realtime.held import PRE_ROLL_SAMPLES
from realtime.interruption import Sounding
from realtime.media.receive import AudioFrame, AudioPacket, AudioReceiver
from realtime.media.silent_input import SilentInput
from realtime.media.speech import EdgeKind, SpeechDetector, SpeechEdge
from realtime.media.stirring import Stirring
from realtime.media.units import CutUnit, UnitCutter
from realtime.media.voice_meter import VoiceMeter


@dataclass(frozen=True, slots=True)
class Edge:
    """The person's speech started or ended at sample `position`, which arrived at time `at` (seconds).

    `sounding`: what speech that started sounds like so far.
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


HearingEvent = Edge | UnitClosed | InputSilence | Samples | Stirred | Sounding


class Hearing:
    """Everything one call hears. `now` is seconds of the call's monotonic clock.

    `played` says the mean square of what the loudspeaker gave since it was last asked.
    """

    def __init__(
        self,
        receiver: AudioReceiver,
        detector: SpeechDetector,
        now: float,
        played: Callable[[float], float] = lambda now: 0.0,
    ) -> None:
        self.receiver = receiver
        self.cutter = UnitCutter()
        self._detector = detector
        self._silent_input = SilentInput()
        self._stirring = Stirring()
        self._meter = VoiceMeter()
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

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        return self.receiver.deadline

    def still(self, jpeg: bytes) -> None:
        """The newest picture of the camera; it goes into the unit that is open."""
        self.cutter.picture(jpeg)

    def cut_turn(self) -> CutUnit | None:
        """Close the turn here: its last, short unit, None when the turn's last unit is already out."""
        return self.cutter.cut_turn()

    def _frames(self, frames: list[AudioFrame], now: float) -> list[HearingEvent]:
        events: list[HearingEvent] = []
        for index, frame in enumerate(frames):
            behind = sum(len(later.samples) for later in frames[index + 1 :])
            events.extend(self._frame(frame, now, behind / HEARING_RATE))
        return events

    def _frame(self, frame: AudioFrame, now: float, behind_s: float) -> list[HearingEvent]:
        events: list[HearingEvent] = [Samples(frame.samples)]
        self._position = frame.position + len(frame.samples)
        silence = self._silent_input.feed(frame)
        if silence is not None:
            events.append(InputSilence(silence))
        edges = self._detector.feed(frame.samples)
        sounding = self._meter.feed(frame.samples, self._detector.speaking, self._played(now - behind_s))
        events.extend(self._edge(edge, sounding, now) for edge in edges)
        if sounding is not None:
            events.append(sounding)
        if self._stirring.feed(frame.samples, self._detector.speaking, self._detector.probability):
            events.append(Stirred())
        for unit in self.cutter.append(frame.samples):
            events.append(UnitClosed(unit, self._late_ms(unit, now)))
        return events

    def _edge(self, edge: SpeechEdge, sounding: Sounding | None, now: float) -> Edge:
        started = edge.kind is EdgeKind.STARTED
        at = now - max(0, self._position - edge.position) / HEARING_RATE
        if started:
            self.cutter.voice_from(max(0, edge.position - PRE_ROLL_SAMPLES))
        else:
            self.cutter.voice_until(edge.position)
        return Edge(started, edge.position, at, sounding if started else None)

    def _late_ms(self, unit: CutUnit, now: float) -> float:
        due = self._epoch + unit.end / HEARING_RATE
        if due > now:
            # The sender's clock runs ahead of ours, or the first packets came in a burst: that is our new zero.
            self._epoch -= due - now
            return 0.0
        return (now - due) * 1000
