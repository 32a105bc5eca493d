"""One simulated microphone: the person, the room, steady noise and the assistant's echo, in packets of 20 ms."""

from __future__ import annotations

from typing import Protocol

import av
import numpy as np

from model_server.protocol import HEARING_RATE
from realtime.media.decoder import AudioDecoder, Samples
from realtime.media.opus import create_decoder
from tests.bench.floor.conditions import Condition
from tests.bench.floor.room import Echo
from tests.bench.floor.sounds import steady
from tests.bench.floor.voices import Sound
from tests.bench.sound import AS_BROWSERS, ROOM_DB

FRAME = HEARING_RATE // 50
NOISE_S = 10
PERSON_DB = (-30.0, -22.0)
"""Level of people's voices at their microphones, dB of full scale."""


class Codec(Protocol):
    """The microphone's codec, sender's side."""

    def encode(self, frame: Samples) -> bytes: ...


class Plain:
    """Sender's and receiver's side of no codec at all: cheap, for networks that lose nothing."""

    def encode(self, frame: Samples) -> bytes:
        return frame.tobytes()

    def decode(self, payload: bytes) -> Samples:
        return np.frombuffer(payload, np.int16)

    def conceal(self, samples: int, following: bytes | None) -> Samples:
        return np.zeros(samples, np.int16)

    def reset(self) -> None:
        pass


class Opus:
    """As browsers send it."""

    def __init__(self) -> None:
        encoder = av.CodecContext.create("libopus", "w")
        assert isinstance(encoder, av.AudioCodecContext)
        encoder.bit_rate, encoder.sample_rate = 32_000, HEARING_RATE
        encoder.format, encoder.layout = "s16", "mono"
        encoder.options = AS_BROWSERS
        self._encoder = encoder
        self._sent = 0

    def encode(self, frame: Samples) -> bytes:
        piece = av.AudioFrame.from_ndarray(frame[None], format="s16", layout="mono")
        piece.sample_rate, piece.pts = HEARING_RATE, self._sent
        self._sent += len(frame)
        return b"".join(bytes(packet) for packet in self._encoder.encode(piece))


def codec(condition: Condition) -> tuple[Codec, AudioDecoder]:
    """Both sides."""
    if condition.loss:
        return Opus(), create_decoder()
    return Plain(), Plain()


class Microphone:
    """`seconds` of one call. Sounds are put in with `add`, at any time before they are captured."""

    def __init__(self, condition: Condition, rng: np.random.Generator, seconds: float) -> None:
        self.gain = 10 ** (rng.uniform(*PERSON_DB) / 20)
        self._line = np.zeros(round(seconds * HEARING_RATE) + FRAME, np.float32)
        self._noise = steady(rng, NOISE_S * HEARING_RATE) * 10 ** (ROOM_DB / 20)
        if condition.noise_db is not None:
            self._noise += steady(rng, NOISE_S * HEARING_RATE) * self.gain * 10 ** (-condition.noise_db / 20)
        self._echo: Echo | None = None
        if condition.echo_db is not None:
            self._echo = Echo(rng, self.gain * 10 ** (-condition.echo_db / 20), FRAME)
        self._captured = 0

    def add(self, sound: Sound, at: float, level_db: float = 0.0) -> float:
        """Put a sound in at `at` s, `level_db` above the person's usual level; returns when it ends."""
        start = round(at * HEARING_RATE)
        place = self._line[start : start + len(sound)]
        place += sound[: len(place)] * self.gain * 10 ** (level_db / 20)
        return at + len(sound) / HEARING_RATE

    def capture(self, played: Sound) -> Samples:
        """The next 20 ms, while the loudspeaker gives `played`."""
        start, self._captured = self._captured, self._captured + FRAME
        wave = self._line[start : start + FRAME] + self._noise[start % len(self._noise) :][:FRAME]
        if self._echo is not None:
            wave = wave + self._echo.next(played)
        frame: Samples = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
        return frame
