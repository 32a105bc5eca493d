"""The receive path measured: how long samples wait after loss, what a second of audio costs, how soon speech is seen.

Run `python -m tests.bench.receive` for the tables; each function returns plain figures for the whole bench.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np

from realtime.media.decoder import AudioDecoder, Samples
from realtime.media.opus import create_decoder
from realtime.media.receive import AudioReceiver
from realtime.media.speech import DetectorName, EdgeKind, create_detector
from realtime.media.units import UnitCutter
from tests.realtime.network import FRAME, Arriving, CountingDecoder, lose_share, play, sent
from tests.realtime.voices import buzz, quiet, sentence

RATE = 16_000
RUN = 10
"""Losses closer together than this many packets (200 ms) are one run."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Milliseconds from the arrival of a packet (or when a lost one was due) until its samples are out."""

    loss: float
    p50: float
    p95: float
    p99: float
    worst: float
    back_after: float
    """How long after the last loss of a run the figure of the loss-free path is reached again."""


def packet_waits(loss: float, seconds: int = 600, seed: int = 1) -> Wait:
    """Sample latency at a random share `loss` of lost packets, of every sample of the call, lost ones included."""
    due = {packet.number: packet.at for packet in sent(50 * seconds)}
    arrivals = lose_share(sent(50 * seconds), loss, seed)
    arrived = {arriving.number for arriving in arrivals}
    out = _came_out(arrivals)
    waits = [1000 * (out[number] - at) for number, at in due.items() if number in out]
    lost = [number for number in due if number not in arrived and number + 50 in out]
    last_of_run = [number for number, following in itertools.pairwise(lost) if following - number > RUN]
    back = [_back_after(number, due, out) for number in last_of_run]
    p50, p95, p99 = np.percentile(waits, [50, 95, 99])
    return Wait(loss, float(p50), float(p95), float(p99), max(waits), max(back, default=0.0))


def _came_out(arrivals: Sequence[Arriving]) -> dict[int, float]:
    """When the last sample of each packet's place came out."""
    out: dict[int, float] = {}
    for moment in play(AudioReceiver(CountingDecoder(), now=0.0), arrivals, until=arrivals[-1].at + 0.1):
        for frame in moment.frames:
            for number in range(frame.position // FRAME, (frame.end - 1) // FRAME + 1):
                out[number] = moment.at
    return out


def _back_after(lost: int, due: dict[int, float], out: dict[int, float]) -> float:
    """Milliseconds from the loss of `lost` until a sample comes out without waiting."""
    number = next(later for later in range(lost + 1, lost + 50) if out[later] - due[later] < 1e-6)
    return 1000 * (due[number] - due[lost])


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of CPU for one second of audio: 10 are one per cent of a core."""

    what: str
    ms_per_s: float


def opus_packets(samples: Samples, *, bit_rate: int = 32_000, options: dict[str, str] | None = None) -> list[bytes]:
    """`samples` (48 kHz mono) as Opus packets of 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.bit_rate, encoder.sample_rate = bit_rate, 48_000
    encoder.format, encoder.layout = "s16", "mono"
    encoder.options = options or {"application": "voip"}
    packets: list[bytes] = []
    for start in range(0, len(samples) - 959, 960):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, start
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def audio_costs(seconds: int = 20) -> list[Cost]:
    """What hearing costs, step by step."""
    packets = opus_packets(buzz(seconds, rate=48_000))
    arrivals = sent(len(packets), encode=packets.__getitem__)
    return [
        Cost("receive + decode to 16 kHz", _receive_cost(create_decoder(), arrivals)),
        Cost("the same at 5 % loss", _receive_cost(create_decoder(), lose_share(arrivals, 0.05, 1))),
        Cost("cut units", _unit_cost(seconds)),
        Cost("detector silero", _detector_cost("silero", seconds)),
        Cost("detector webrtc", _detector_cost("webrtc", seconds)),
    ]


def _receive_cost(decoder: AudioDecoder, arrivals: Sequence[Arriving]) -> float:
    receiver = AudioReceiver(decoder, now=0.0)
    before = time.process_time()
    for arriving in arrivals:
        receiver.receive(arriving.packet, arriving.at)
    return 1000 * (time.process_time() - before) / (receiver.position / RATE)


def _unit_cost(seconds: int) -> float:
    samples, cutter = buzz(seconds), UnitCutter()
    before = time.process_time()
    for start in range(0, len(samples), FRAME):
        cutter.append(samples[start : start + FRAME])
    return 1000 * (time.process_time() - before) / seconds


def _detector_cost(name: DetectorName, seconds: int) -> float:
    samples, detector = buzz(seconds), create_detector(name)
    before = time.process_time()
    for start in range(0, len(samples), FRAME):
        detector.feed(samples[start : start + FRAME])
    return 1000 * (time.process_time() - before) / seconds


@dataclass(frozen=True, slots=True)
class Onset:
    """Milliseconds from the first sample of a voice until the detector says so, and how far off its position is."""

    detector: str
    voice: str
    said_after: float
    position_off: float


DETECTORS: tuple[DetectorName, ...] = ("silero", "webrtc")
SENTENCES = ("what colour do you see", "stop", "no", "wait", "tell me a story")
VOICES = ("en-us", "en-us+f3", "de")


def onsets() -> list[Onset]:
    """Both detectors on synthesised sentences in a quiet room."""
    return [
        _onset(name, f"{voice}: {text}", sentence(text, voice))
        for name in DETECTORS
        for voice in VOICES
        for text in SENTENCES
    ]


def _onset(name: DetectorName, voice: str, samples: Samples) -> Onset:
    room = quiet(1.0)
    line = np.concatenate((room, samples, quiet(0.5, seed=1)))
    detector = create_detector(name)
    for start in range(0, len(line), FRAME):
        for edge in detector.feed(line[start : start + FRAME]):
            if edge.kind is EdgeKind.STARTED:
                said, off = start + FRAME - len(room), edge.position - len(room)
                return Onset(name, voice, 1000 * said / RATE, 1000 * off / RATE)
    return Onset(name, voice, float("inf"), float("inf"))


def main() -> None:
    """Print the tables."""
    print("  loss     p50     p95     p99   worst   back after the last loss    (ms, packet in -> samples out)")
    for loss in (0.0, 0.01, 0.05):
        wait = packet_waits(loss)
        figures = (wait.p50, wait.p95, wait.p99, wait.worst, wait.back_after)
        print(f"{wait.loss:6.0%} " + " ".join(f"{figure:7.1f}" for figure in figures))
    print()
    for cost in audio_costs():
        print(f"{cost.what:28} {cost.ms_per_s:6.2f} ms/s = {cost.ms_per_s / 10:5.3f} % of a core")
    print()
    for onset in onsets():
        place = f"its place {onset.position_off:+.0f} ms"
        print(f"onset {onset.detector:7} {onset.voice:34} {onset.said_after:6.0f} ms, {place}")


if __name__ == "__main__":
    main()
