"""What the callers of the benchmarks send: a quiet room as Opus packets that are encoded once and sent often."""

from __future__ import annotations

import numpy as np

from realtime.media.decoder import Samples
from tests.bench.receive import opus_packets

MIC_RATE = 48_000
FRAME = MIC_RATE // 50
"""RTP ticks, and samples at the microphone, of one packet (20 ms)."""

ROOM_DB = -60.0
"""Level of a quiet room at a laptop's microphone, dB of full scale."""

AS_BROWSERS = {"application": "voip", "fec": "1", "packet_loss": "5"}


def room_noise(seconds: float, *, level_db: float = ROOM_DB, seed: int = 1) -> Samples:
    """Noise that falls by 6 dB an octave above 200 Hz, 48 kHz: what a microphone hears when nobody speaks."""
    white = np.random.default_rng(seed).standard_normal(round(seconds * MIC_RATE))
    spectrum = np.fft.rfft(white)
    frequency = np.fft.rfftfreq(len(white), 1 / MIC_RATE)
    coloured = np.fft.irfft(spectrum / np.maximum(1.0, frequency / 200.0), len(white))
    wanted = 32768 * 10 ** (level_db / 20)
    room: Samples = (coloured * wanted / np.sqrt(np.mean(coloured**2))).astype(np.int16)
    return room


def room_packets(seconds: float = 10) -> list[bytes]:
    """The room in 20 ms packets of about 32 kbit/s with forward error correction, as browsers send them."""
    return opus_packets(room_noise(seconds), options=AS_BROWSERS)
