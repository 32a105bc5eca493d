"""What callers say, and what is found in what they hear. Sounds at the microphone are PCM16 mono 48 kHz."""

from __future__ import annotations

import functools
import io

import av
import numpy as np
import numpy.typing as npt
import soxr
from av.container import InputContainer

from tests.bench.sound import room_noise
from tests.caller import MIC_RATE, Pcm
from tests.realtime.voices import RATE, sentence

Sound = npt.NDArray[np.float64]
"""16 kHz mono, -1 to 1."""

ROOM_S = 60.0
"""How long the room goes on after the last word."""

STEP = RATE // 50
"""Samples of 20 ms."""

LOUD = 0.02
"""Speech is louder, a room and the tail of a codec are not."""


def spoken(text: str, *, before_s: float = 0.5, after_s: float = 2.0) -> Pcm:
    """`text` between two silences, PCM16 mono 48 kHz."""
    voice = soxr.resample(sentence(text), RATE, MIC_RATE).astype(np.int16)
    return np.concatenate(
        [np.zeros(int(before_s * MIC_RATE), np.int16), voice, np.zeros(int(after_s * MIC_RATE), np.int16)]
    )


def patiently(text: str, pause_s: float, times: int = 6) -> list[Pcm | float]:
    """`text` again and again, as a person says it who is not answered: a busy machine may miss the first."""
    sound = spoken(text, before_s=0.0, after_s=0.0)
    return [part for _ in range(times) for part in (sound, pause_s)]


def in_a_room(*parts: Pcm | float) -> Pcm:
    """Sounds and pauses (seconds), one after another, and a minute more, over the noise of a quiet room."""
    sounds = [np.zeros(int(part * MIC_RATE), np.int16) if isinstance(part, float) else part for part in parts]
    heard = np.concatenate([*sounds, np.zeros(int(ROOM_S * MIC_RATE), np.int16)]).astype(np.int32)
    return np.clip(heard + np.resize(_room(), len(heard)), -32768, 32767).astype(np.int16)


@functools.cache
def _room() -> Pcm:
    return room_noise(10.0)


def of_file(data: bytes) -> Sound:
    """The first audio stream of a media file, its first channel."""
    pieces: list[Sound] = [np.zeros(0)]
    rate = RATE
    with av.open(io.BytesIO(data)) as container:
        assert isinstance(container, InputContainer)
        for frame in container.decode(audio=0):
            channels, samples = len(frame.layout.channels), frame.to_ndarray().astype(np.float64)
            pieces.append(samples[0] if frame.format.is_planar else samples.reshape(-1, channels)[:, 0])
            rate = frame.sample_rate
    return _at_hearing_rate(np.concatenate(pieces), rate)


def of_pcm(pcm: bytes, rate: int) -> Sound:
    """PCM16 mono."""
    return _at_hearing_rate(np.frombuffer(pcm, "<i2") / 32768, rate)


def _at_hearing_rate(samples: Sound, rate: int) -> Sound:
    return np.asarray(soxr.resample(samples, rate, RATE))


def as_pcm(sound: Sound) -> bytes:
    """PCM16 mono 16 kHz."""
    return (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()


def levels(sound: Sound) -> Sound:
    """Level of each whole 20 ms, 0 to 1."""
    whole = sound[: len(sound) // STEP * STEP].reshape(-1, STEP)
    return np.asarray(np.sqrt(np.mean(whole**2, axis=1)))


def loud_seconds(sound: Sound) -> float:
    """How much of it is speech."""
    return float(np.count_nonzero(levels(sound) > LOUD)) * STEP / RATE


def likeness(heard: Sound, said: Sound) -> float:
    """Greatest normalised cross-correlation of all of `said` with `heard`, over all lags: 1 is the same waveform."""
    if len(heard) < len(said):
        heard = np.pad(heard, (0, len(said) - len(heard)))
    size = 1 << (len(heard) + len(said)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)
    lags = len(heard) - len(said) + 1
    energy = np.cumsum(np.concatenate([[0.0], heard**2]))
    window = np.sqrt(np.maximum(energy[len(said) :] - energy[: -len(said)], 1e-9))
    return float(np.abs(product[:lags] / window).max() / np.sqrt(np.sum(said**2)))


def utterances(sound: Sound, pause_s: float = 0.7) -> list[Sound]:
    """The loud stretches of `sound`, apart where it is quiet for `pause_s`, with 200 ms around each."""
    margin = RATE // 5
    loud = np.flatnonzero(levels(sound) > LOUD)
    breaks = np.flatnonzero(np.diff(loud) * STEP > pause_s * RATE) + 1
    return [
        sound[max(0, part[0] * STEP - margin) : (part[-1] + 1) * STEP + margin]
        for part in np.split(loud, breaks)
        if len(part)
    ]
