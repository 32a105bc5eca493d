"""Sounds that are nobody's turn: coughs, slams, keys, music, steady noise. All synthesised, 16 kHz, active RMS 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model_server.protocol import HEARING_RATE
from tests.bench.floor.room import impulse_response
from tests.bench.floor.voices import Sound, draw, normalised, say
from tests.bench.floor.words import OTHERS, Split

NOTES = (220.0, 261.6, 293.7, 329.6, 392.0, 440.0, 523.3)


def _times(seconds: float) -> NDArray[np.float64]:
    times: NDArray[np.float64] = np.arange(round(seconds * HEARING_RATE)) / HEARING_RATE
    return times


def shaped(white: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Noise with what lies outside of `low` to `high` Hz gently taken away (12 dB an octave)."""
    spectrum = np.fft.rfft(white)
    hertz = np.fft.rfftfreq(len(white), 1 / HEARING_RATE) + 1e-9
    gain = 1 / ((1 + (low / hertz) ** 2) * (1 + (hertz / high) ** 2))
    shaped_noise: NDArray[np.float64] = np.fft.irfft(spectrum * gain, len(white))
    return shaped_noise


def cough(rng: np.random.Generator) -> Sound:
    """One to three bursts: an explosion of air, then a short voiced tail."""
    bursts = [_burst(rng) for _ in range(int(rng.integers(1, 4)))]
    gaps = [np.zeros(round(rng.uniform(0.08, 0.2) * HEARING_RATE)) for _ in bursts]
    return _finish(np.concatenate([part for pair in zip(bursts, gaps, strict=True) for part in pair]))


def _burst(rng: np.random.Generator) -> NDArray[np.float64]:
    times = _times(rng.uniform(0.15, 0.3))
    air = shaped(rng.standard_normal(len(times)), 500, 3_000) * np.exp(-times / 0.05)
    hum = sum(np.sin(2 * np.pi * k * rng.uniform(180, 260) * times) / k for k in range(1, 12))
    voiced = np.where(times > 0.06, np.exp(-(times - 0.06) / 0.05), 0.0) * hum
    result: NDArray[np.float64] = air / (np.abs(air).max() + 1e-9) + rng.uniform(0.05, 0.3) * voiced
    return result


def slam(rng: np.random.Generator) -> Sound:
    """A door: a low thump that rings for a moment."""
    times = _times(rng.uniform(0.2, 0.4))
    thump = np.sin(2 * np.pi * rng.uniform(60, 120) * times) * np.exp(-times / 0.06)
    crack = shaped(rng.standard_normal(len(times)), 100, 2_500) * np.exp(-times / 0.02)
    return _finish(thump + crack / (np.abs(crack).max() + 1e-9))


def keys(rng: np.random.Generator) -> Sound:
    """Two seconds of typing."""
    out = np.zeros(2 * HEARING_RATE)
    at = 0.0
    while (at := at + rng.uniform(0.08, 0.25)) < 1.95:
        click = shaped(rng.standard_normal(480), 1_500, 6_000) * np.exp(-np.arange(480) / 60)
        start = round(at * HEARING_RATE)
        out[start : start + 480] += rng.uniform(0.5, 1.0) * click
    return _finish(out)


def music(rng: np.random.Generator) -> Sound:
    """Three seconds of plucked notes over a beat."""
    times = _times(3.0)
    out = np.zeros(len(times))
    for beat in range(8):
        since = np.clip(times - beat * 0.375, 0, None)
        on = times >= beat * 0.375
        note = NOTES[int(rng.integers(len(NOTES)))]
        tone = sum(np.sin(2 * np.pi * k * note * since) / k**1.5 for k in range(1, 8))
        drum = np.sin(2 * np.pi * 70 * since) * np.exp(-since / 0.05)
        out += on * (np.exp(-since / 0.4) * tone + 1.5 * drum)
    return _finish(out)


def other_person(rng: np.random.Generator, split: Split = "unseen") -> Sound:
    """Somebody far away in the same room: more echo than voice."""
    sound = say(draw(split, rng), OTHERS[int(rng.integers(len(OTHERS)))] + ".")
    tail = impulse_response(rng, rt60=0.5, delay_ms=0.0, direct=0.15)
    size = len(sound) + len(tail)
    return _finish(np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size))


def steady(rng: np.random.Generator, samples: int) -> Sound:
    """White or falling noise, RMS 1 over all of it."""
    white = rng.standard_normal(samples)
    out = shaped(white, 20.0, 300.0) if rng.random() < 0.5 else white
    result: Sound = (out / np.sqrt(np.mean(out**2))).astype(np.float32)
    return result


def _finish(sound: NDArray[np.float64]) -> Sound:
    return normalised(sound.astype(np.float32))


NOISES: dict[str, tuple[Callable[[np.random.Generator], Sound], float]] = {
    "slam": (slam, 3.0),
    "keys": (keys, -12.0),
    "music": (music, -12.0),
    "other": (other_person, -15.0),
}
"""Each kind and its level against the person's voice, dB."""
