"""The person's audio from RTP packets to one gapless line of samples. Sans-I/O: packets and time are arguments.

Every sample of the call has one position (16 kHz, from 0), and `AudioReceiver` gives each exactly once, in order:

* The sender's RTP time is the media clock: a packet's samples stand where its timestamp says, so loss, jitter and a
  drifting clock neither stretch nor shorten the call.
* A missing packet is waited for as `reorder` allows; then up to 100 ms are concealed, the rest is silence.
* When nothing arrives for 200 ms (mute, DTX, an interruption), the server's clock goes on with silence, 100 ms behind
  the present, so that the packet which ends it finds its place free. Nothing that was given out is changed: samples
  that come for a place already taken are dropped.
* Where RTP time makes no sense (another SSRC, a clock that jumped or stood still), the server's clock says where to go
  on.

Times are seconds of one monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from model_server.protocol import HEARING_RATE
from realtime.media.decoder import AudioDecoder, DecodeError, Samples
from realtime.media.media_clock import Anchor, MediaClock, Pace
from realtime.media.reorder import Arrival, Ordered, ReorderBuffer

QUIET_S = 0.2
"""After so long without a packet the server's clock fills."""

LAG_SAMPLES = HEARING_RATE // 10
"""How far the fill stays behind the present: room for the length and the jitter of the packet that ends it."""

FILL_STEP = HEARING_RATE // 50
"""The clock fills in whole steps of 20 ms."""

MAX_CONCEALED = HEARING_RATE // 10
"""Of one gap, so much is concealed (100 ms)."""

MAX_FILL = 5 * HEARING_RATE
"""No single gap is filled with more; the clock is set anew instead."""

MAX_AHEAD = 3 * HEARING_RATE
"""The call may run ahead of the server's clock by so much; what a sender wants beyond that is not believed."""

MAX_OVERLAP = HEARING_RATE // 4
"""Samples that come too late for a shorter time than this are just dropped."""

CATCH_UP_S = 0.1
"""A stream that is late by more gets this long to show that it catches up, else its clock stood still."""

STALL_S = 0.06
"""A tick that is itself late by this much says that we stood still: packets may wait in the socket."""

RETIRED_S = 0.5
"""Stragglers of an SSRC that was replaced are ignored for this long."""


class FrameKind(Enum):
    """Where samples come from."""

    RECEIVED = "received"
    CONCEALED = "concealed"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One RTP packet of audio: `sequence` is 16 bit, `timestamp` 32 bit at 48 kHz."""

    ssrc: int
    sequence: int
    timestamp: int
    payload: bytes


@dataclass(frozen=True, slots=True, eq=False)
class AudioFrame:
    """The samples from `position` on (16 kHz mono)."""

    position: int
    samples: Samples
    kind: FrameKind

    @property
    def end(self) -> int:
        """The position after its last sample."""
        return self.position + len(self.samples)


@dataclass(slots=True)
class ReceiveStats:
    """What the network did to one call so far. Packets, except `*_ms`.

    `late` came after their place was filled, `reordered` waited for another one, `reorder_wait_ms` is how long they all
    waited. `reanchored` counts how often the server's clock had to say where the stream goes on.
    """

    received: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    decode_errors: int = 0
    reordered: int = 0
    reorder_wait_ms: float = 0.0
    concealed_ms: float = 0.0
    silence_ms: float = 0.0
    dropped_ms: float = 0.0
    reanchored: int = 0


class AudioReceiver:
    """One call's microphone. Call `receive` for every packet, and `tick` at `deadline` when none came."""

    def __init__(self, decoder: AudioDecoder, now: float) -> None:
        self.stats = ReceiveStats()
        self.position = 0
        """Samples given out so far: the position of the next one."""
        self._decoder = decoder
        self._order: ReorderBuffer[AudioPacket] = ReorderBuffer()
        self._ssrc: int | None = None
        self._retired: tuple[int, float] | None = None
        self._anchor = Anchor(now, 0)
        self._media: MediaClock | None = None
        self._behind: tuple[float, int] | None = None
        self._lossy = False
        self._concealed_run = 0
        self._frame_samples = FILL_STEP
        self._patient_until = now
        self._pace = Pace(now)

    @property
    def deadline(self) -> float:
        """When to call `tick` next."""
        fill = max(self._quiet_until(), self._anchor.time_at(self.position + FILL_STEP + LAG_SAMPLES))
        waiting = self._order.deadline
        return fill if waiting is None else min(fill, waiting)

    @property
    def waiting(self) -> int:
        """Packets that are held behind a gap now."""
        return len(self._order)

    def receive(self, packet: AudioPacket, now: float) -> list[AudioFrame]:
        """A packet arrived; returns what can be given out, which may be nothing."""
        self.stats.received += 1
        frames: list[AudioFrame] = []
        if packet.ssrc != self._ssrc:
            if self._is_retired(packet.ssrc, now):
                self.stats.late += 1
                return []
            frames = self._change_source(packet.ssrc, now)
        match self._order.add(packet.sequence, packet, now):
            case Arrival.DUPLICATE:
                self.stats.duplicate += 1
            case Arrival.LATE:
                self.stats.late += 1
            case Arrival.TAKEN:
                frames += self._accept(self._order.take(now), now)
        return frames

    def tick(self, now: float) -> list[AudioFrame]:
        """Time passed; returns what need not wait longer and what the server's clock fills."""
        stalled = now - self.deadline >= STALL_S and now - self._patient_until > QUIET_S
        frames = self._accept(self._order.take(now), now)
        if stalled:
            self._patient_until = now + CATCH_UP_S
        if now >= self._quiet_until():
            frames += self._fill_by_clock(now)
        return frames

    # ------------------------------------------------------------------------------------------------ packets

    def _accept(self, ready: list[Ordered[AudioPacket]], now: float) -> list[AudioFrame]:
        frames: list[AudioFrame] = []
        for ordered in ready:
            self.stats.lost += ordered.lost
            self._lossy = self._lossy or ordered.lost > 0
            if ordered.waited > 0:
                self.stats.reordered += 1
                self.stats.reorder_wait_ms += 1000 * ordered.waited
            if ordered.item.payload:
                frames += self._play(ordered.item, now)
        return frames

    def _play(self, packet: AudioPacket, now: float) -> list[AudioFrame]:
        """One packet in its turn: what is missing before it, then its own samples."""
        if self._pace.ahead(self.position, now) > MAX_AHEAD:
            self.stats.late += 1
            return []
        position = self._place(packet.timestamp, now)
        frames = self._bridge(position - self.position, packet.payload)
        try:
            samples = self._decoder.decode(packet.payload)
        except DecodeError:
            self.stats.decode_errors += 1
            self._lossy = True
            frames += self._bridge(position + self._frame_samples - self.position, None)
            self._set_anchor(now, position + self._frame_samples)
            return frames
        self._frame_samples = len(samples)
        self._set_anchor(now, position + len(samples))
        frames += self._emit_received(samples, self.position - position)
        self._pace.follow(self.position, now)
        return frames

    def _emit_received(self, samples: Samples, taken: int) -> list[AudioFrame]:
        """Give out `samples` but the first `taken`, whose place is filled already."""
        if taken:
            self.stats.dropped_ms += _ms(min(taken, len(samples)))
        if taken >= len(samples):
            self.stats.late += 1
            return []
        self._lossy = False
        self._concealed_run = 0
        return [self._emit(samples[taken:], FrameKind.RECEIVED)]

    # ------------------------------------------------------------------------------------------------ places

    def _place(self, timestamp: int, now: float) -> int:
        """The position of the sample at RTP time `timestamp`; the media clock is set anew where that makes no sense."""
        wall = self._anchor.position_at(now)
        if self._media is not None:
            position = self._media.position(timestamp)
            if self._is_plausible(position, now):
                self._media.follow(timestamp)
                return position
            self.stats.reanchored += 1
        position = min(max(self.position, wall - self._frame_samples), self.position + MAX_FILL)
        self._media = MediaClock(timestamp, position)
        self._behind = None
        return position

    def _is_plausible(self, position: int, now: float) -> bool:
        assert self._media is not None
        if position <= self._media.latest or position > self.position + MAX_FILL:
            return False
        if self._pace.ahead(position, now) > MAX_AHEAD:
            return False
        if self.position - position <= MAX_OVERLAP:
            self._behind = None
            return True
        return self._catches_up(position, now)

    def _catches_up(self, position: int, now: float) -> bool:
        """Whether a stream that is far behind what was filled comes faster than real time, or may still do so."""
        if self._behind is None:
            self._behind = (now, position)
        since, first = self._behind
        if now - since < CATCH_UP_S:
            return True
        self._behind = (now, position)
        return position - first >= 1.5 * (now - since) * HEARING_RATE

    def _change_source(self, ssrc: int, now: float) -> list[AudioFrame]:
        """Another stream takes over: what waits of the old one goes out, then the server's clock places the new one."""
        frames = self._accept(self._order.flush(now), now)
        if self._ssrc is not None:
            self._retired = (self._ssrc, now)
            self._decoder.reset()
        self._ssrc = ssrc
        self._order = ReorderBuffer()
        self._media = self._behind = None
        self._lossy = False
        return frames

    def _is_retired(self, ssrc: int, now: float) -> bool:
        return self._retired is not None and self._retired[0] == ssrc and now - self._retired[1] < RETIRED_S

    def _set_anchor(self, now: float, position: int) -> None:
        """The stream stands at `position` now, unless it is so far behind that it says nothing about the present."""
        if self._behind is None:
            self._anchor = Anchor(now, position)

    # ------------------------------------------------------------------------------------------------ gaps

    def _quiet_until(self) -> float:
        return max(self._anchor.time + QUIET_S, self._patient_until)

    def _bridge(self, gap: int, following: bytes | None) -> list[AudioFrame]:
        """Fill `gap` samples: concealed where packets were lost, up to the limit, silence for the rest."""
        frames: list[AudioFrame] = []
        concealed = min(gap, MAX_CONCEALED - self._concealed_run) if self._lossy else 0
        if concealed > 0:
            self._concealed_run += concealed
            self.stats.concealed_ms += _ms(concealed)
            beside = following if concealed == gap else None
            frames.append(self._emit(self._decoder.conceal(concealed, beside), FrameKind.CONCEALED))
            gap -= concealed
        return frames + self._silence(gap)

    def _fill_by_clock(self, now: float) -> list[AudioFrame]:
        missing = self._anchor.position_at(now) - LAG_SAMPLES - self.position
        if missing < FILL_STEP:
            return []
        self._concealed_run = MAX_CONCEALED
        if missing > MAX_FILL:
            missing = MAX_FILL
            self._anchor = Anchor(now, self.position + MAX_FILL + LAG_SAMPLES)
        return self._silence(missing // FILL_STEP * FILL_STEP)

    def _silence(self, samples: int) -> list[AudioFrame]:
        if samples <= 0:
            return []
        self.stats.silence_ms += _ms(samples)
        return [self._emit(np.zeros(samples, dtype=np.int16), FrameKind.SILENCE)]

    def _emit(self, samples: Samples, kind: FrameKind) -> AudioFrame:
        frame = AudioFrame(self.position, samples, kind)
        self.position = frame.end
        return frame


def _ms(samples: int) -> float:
    return 1000 * samples / HEARING_RATE
