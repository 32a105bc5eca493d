"""Sounds for tests, made on the spot: a synthesised sentence, sung vowels, and things that are no voice."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import numpy as np
import soxr

from realtime.media.decoder import Samples

RATE = 16_000
_ESPEAK_RATE = 22_050
_SYNCHRONOUS = 2
_UTF8 = 1
_DONT_EXIT = 0x8000


@functools.cache
def sentence(text: str, voice: str = "en-us") -> Samples:
    """`text` spoken by espeak-ng, 16 kHz mono, trimmed to the voice itself."""
    wide = _synthesise(text, voice)
    spoken = soxr.resample(wide, _ESPEAK_RATE, RATE).astype(np.int16)
    loud = np.flatnonzero(np.abs(spoken.astype(np.int32)) > 300)
    return np.ascontiguousarray(spoken[loud[0] : loud[-1] + 1])


@functools.cache
def _espeak() -> ctypes.CDLL:
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = str(Path(espeakng_loader.get_data_path()).parent).encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS, 200, data, _DONT_EXIT)
    assert rate == _ESPEAK_RATE, f"espeak-ng speaks at {_ESPEAK_RATE} Hz, got {rate}"
    return library


def _synthesise(text: str, voice: str) -> Samples:
    library, pieces = _espeak(), []
    callback_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

    def keep(samples: ctypes._Pointer[ctypes.c_short], count: int, events: int | None) -> int:
        if samples and count:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = callback_type(keep)
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetVoiceByName(voice.encode())
    raw = text.encode() + b"\0"
    code = library.espeak_Synth(raw, ctypes.c_size_t(len(raw)), 0, 0, 0, _UTF8, None, None)
    assert code == 0, f"espeak-ng answers {code}"
    return np.concatenate(pieces)


def quiet(seconds: float, seed: int = 0) -> Samples:
    """A silent room: noise at -80 dB."""
    return noise(seconds, rms=3.0, seed=seed)


def noise(seconds: float, rms: float, seed: int = 0) -> Samples:
    """White noise."""
    return np.random.default_rng(seed).normal(0, rms, round(seconds * RATE)).astype(np.int16)


def tone(seconds: float, hertz: float = 1_000.0, peak: float = 8_000.0) -> Samples:
    """A sine."""
    return (peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.int16)


def clicks(seconds: float) -> Samples:
    """A click of 1 ms twice a second, as of keys."""
    out = quiet(seconds)
    for start in range(0, len(out) - 16, RATE // 2):
        out[start : start + 16] = np.random.default_rng(start).normal(0, 12_000, 16).clip(-32_000, 32_000)
    return out


def buzz(seconds: float, rate: int = RATE) -> Samples:
    """A voiced sound with a wandering pitch that comes and goes three times a second."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * time)) / rate
    wave = sum(np.sin(k * phase) / k for k in range(1, 25)) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * time))
    return (4_000 * wave).astype(np.int16)
