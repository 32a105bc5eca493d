"""Row `clock_slip`: one hour of a call on a virtual clock. Do the units hold as many samples as RTP time says?"""

from __future__ import annotations

import numpy as np

from realtime.media.decoder import Samples
from realtime.media.receive import AudioFrame, AudioPacket, AudioReceiver
from realtime.media.units import UnitCutter
from tests.bench.measurement import Measurement, Options, Repetitions
from tests.bench.network import PACKET_S, arrivals, packets
from tests.bench.sound import FRAME

HOUR = 3600
LOSS = 0.01
PAUSE_EVERY, PAUSE = 4_000, 25
"""Now and then the sender is silent for half a second (DTX); its RTP time goes on."""

DRIFTS = (-200e-6, -100e-6, 0.0, 100e-6, 200e-6)
SAMPLES = 320


class Tone:
    """A decoder that costs nothing: what is decoded does not matter to time."""

    def __init__(self) -> None:
        self._frame: Samples = np.full(SAMPLES, 1000, np.int16)

    def decode(self, payload: bytes) -> Samples:
        return self._frame

    def conceal(self, samples: int, following: bytes | None) -> Samples:
        return np.full(samples, 1000, np.int16)

    def reset(self) -> None:
        return


class Line:
    """Receive path and unit cutter of one call; counts what the units hold."""

    def __init__(self) -> None:
        self._receiver = AudioReceiver(Tone(), 0.0)
        self._cutter = UnitCutter()
        self.in_units = 0

    @property
    def samples(self) -> int:
        """In closed units and in the open one."""
        return self.in_units + self._cutter.end - self._cutter.start

    def arrive(self, at: float, index: int) -> None:
        while self._receiver.deadline < at:
            self._take(self._receiver.tick(self._receiver.deadline))
        packet = AudioPacket(1, index & 0xFFFF, index * FRAME & 0xFFFF_FFFF, b"x")
        self._take(self._receiver.receive(packet, at))

    def _take(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            for unit in self._cutter.append(frame.samples):
                self.in_units += len(unit.samples)


def slip(drift: float, seconds: int, seed: int) -> int:
    """Samples in units less the sender's span, of one call."""
    line = Line()
    sent = packets(round(seconds / PACKET_S), loss=LOSS, rng=np.random.default_rng(seed), drift=drift)
    arriving = arrivals(packet for packet in sent if packet.index % PAUSE_EVERY >= PAUSE)
    first, last = arriving[0][1], max(index for _, index in arriving)
    line.arrive(*arriving[0])
    before = line.samples - SAMPLES
    for at, index in arriving[1:]:
        line.arrive(at, index)
    return line.samples - before - (last - first + 1) * SAMPLES


async def measure(options: Options) -> Repetitions:
    """One simulated hour for each drift."""
    seconds = options.times(HOUR, HOUR // 10)
    return {"clock_slip": [abs(slip(drift, seconds, seed)) for seed, drift in enumerate(DRIFTS)]}


MEASUREMENT = Measurement(("clock_slip",), measure)
