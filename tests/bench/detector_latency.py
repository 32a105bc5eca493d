"""Rows `detector_*`: from the arrival of a packet to its samples at the speech detector.

The network is simulated on a virtual clock; waiting there is counted on that clock, and the real time that reordering,
decoding and the detector take is added to it. The frame's own length (20 ms) is not part of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from realtime.media.hearing import Hearing
from realtime.media.opus import create_decoder
from realtime.media.receive import AudioPacket, AudioReceiver
from realtime.media.speech import create_detector
from tests.bench.measurement import Measurement, Options, Repetitions
from tests.bench.network import PACKET_S, Sent, arrivals, packets
from tests.bench.sound import FRAME, room_packets

SECONDS = 60
FRAME_SAMPLES = 320
"""Samples of one packet at the detector, 16 kHz."""

LOSS_FREE_MS = 8.0
SSRC = 7


@dataclass(frozen=True, slots=True)
class Wait:
    """A packet that arrived at `arrived` (s) waited `waited_ms` for others; with the real work that is `total_ms`."""

    arrived: float
    waited_ms: float
    total_ms: float


class Ear:
    """The receive path up to the detector, fed on a virtual clock."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self._payloads = payloads
        self._hearing = Hearing(AudioReceiver(create_decoder(), 0.0), create_detector(), 0.0)
        self._waiting: dict[int, float] = {}
        self._zero: int | None = None
        self.waits: dict[int, Wait] = {}
        """Of every packet that was in time."""

    def run(self, arriving: Sequence[tuple[float, int]]) -> None:
        """Let these packets arrive."""
        for at, index in arriving:
            while self._hearing.deadline < at:
                self._step(self._hearing.deadline, None)
            self._step(at, index)

    def _step(self, now: float, index: int | None) -> None:
        if index is not None:
            self._waiting[index] = now
        begun = time.perf_counter()
        if index is None:
            self._hearing.tick(now)
        else:
            payload = self._payloads[index % len(self._payloads)]
            self._hearing.packet(AudioPacket(SSRC, index & 0xFFFF, index * FRAME & 0xFFFF_FFFF, payload), now)
        self._note(now, 1000 * (time.perf_counter() - begun))

    def _note(self, now: float, work_ms: float) -> None:
        position = self._hearing.position
        if self._zero is None and self._waiting:
            self._zero = position - FRAME_SAMPLES * (min(self._waiting) + 1)
        for index in [i for i in self._waiting if self._end(i) <= position]:
            arrived = self._waiting.pop(index)
            waited_ms = 1000 * (now - arrived)
            self.waits[index] = Wait(arrived, waited_ms, waited_ms + work_ms)

    def _end(self, index: int) -> int:
        assert self._zero is not None
        return self._zero + FRAME_SAMPLES * (index + 1)


def waits(payloads: Sequence[bytes], sent: Sequence[Sent]) -> dict[int, Wait]:
    """By number, every packet that was in time."""
    ear = Ear(payloads)
    ear.run(arrivals(iter(sent)))
    return ear.waits


def percentile(payloads: Sequence[bytes], seconds: int, loss: float, which: float, seed: int) -> float:
    """The `which`th percentile of the latency, ms, of one simulated minute."""
    sent = list(packets(round(seconds / PACKET_S), loss=loss, rng=np.random.default_rng(seed)))
    return float(np.percentile([wait.total_ms for wait in waits(payloads, sent).values()], which))


def recovery(payloads: Sequence[bytes], seconds: int, seed: int) -> float:
    """After `seconds` at 5 % loss: ms from the last lost packet's time to the last one that waited too long.

    Packets after the loss come in order and without jitter; only waiting counts, no work.
    """
    sent = list(packets(round(seconds / PACKET_S), loss=0.05, rng=np.random.default_rng(seed)))
    last_lost = max(packet.index for packet in sent if packet.at is None)
    lossy, last = sent[: last_lost + 1], last_lost * PACKET_S
    calm = [Sent(index, index * PACKET_S) for index in range(last_lost + 1, last_lost + 251)]
    found = waits(payloads, [*lossy, *calm]).values()
    late = [
        wait.arrived + wait.waited_ms / 1000 for wait in found if wait.arrived >= last and wait.waited_ms > LOSS_FREE_MS
    ]
    return 1000 * (max(late) - last) if late else 0.0


async def measure(options: Options) -> Repetitions:
    """All four rows."""
    payloads = room_packets()
    seeds = range(1, 1 + options.times(5, 2))
    seconds = options.times(SECONDS, 15)
    return {
        "detector_no_loss": [percentile(payloads, seconds, 0.0, 95, seed) for seed in seeds],
        "detector_loss_1": [percentile(payloads, seconds, 0.01, 99, seed) for seed in seeds],
        "detector_loss_5": [percentile(payloads, seconds, 0.05, 99, seed) for seed in seeds],
        "detector_recovery": [recovery(payloads, seconds, seed) for seed in seeds],
    }


MEASUREMENT = Measurement(("detector_no_loss", "detector_loss_1", "detector_loss_5", "detector_recovery"), measure)
