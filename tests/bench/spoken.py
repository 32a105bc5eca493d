"""Speech to test ears with: sentences spoken by flite and espeak-ng, at 16 kHz, clean or in white noise."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from model_server.protocol import HEARING_RATE, UNIT_MULTIPLE, UNIT_SAMPLES

FLITE_VOICES = ("slt", "rms", "kal", "awb")
ESPEAK = "espeak"
PROGRAMS = {"flite": "flite", ESPEAK: "espeak-ng"}
_LEVEL = 0.1
_BEFORE_S, _AFTER_S = 0.4, 0.5
_ACTIVE = 0.02

Samples = NDArray[np.float32]


class MissingProgram(Exception):
    """A speech program that is not installed; the text says how to install it."""


def need_programs() -> None:
    """Raise `MissingProgram` unless every voice can speak."""
    missing = [package for package, program in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        packages = " ".join("espeak-ng" if package == ESPEAK else package for package in missing)
        raise MissingProgram(f"the voices of this bench are missing: apt-get install {packages}")


def speak(voice: str, text: str) -> Samples:
    """`text` in `voice`, 16 kHz, -1 to 1."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        if voice == ESPEAK:
            command = ["espeak-ng", "-v", "en-us", "-w", str(path), text]
        else:
            command = ["flite", "-voice", voice, "-t", text, "-o", str(path)]
        subprocess.run(command, check=True, capture_output=True)
        samples, rate = soundfile.read(path, dtype="float32")
    return np.asarray(soxr.resample(samples, rate, HEARING_RATE), np.float32)


def in_a_room(samples: Samples, noise_db: float | None, seed: str) -> Samples:
    """Speech with silence around it, at a usual level; `noise_db`: how far white noise stays below the speech."""
    chance = np.random.default_rng(zlib.crc32(seed.encode()))
    silence = [np.zeros(int(HEARING_RATE * seconds), np.float32) for seconds in (_BEFORE_S, _AFTER_S)]
    whole = np.concatenate((silence[0], samples, silence[1]))
    power = float(np.mean(samples[np.abs(samples) > _ACTIVE] ** 2))
    if noise_db is not None:
        whole = whole + chance.normal(size=len(whole)).astype(np.float32) * np.sqrt(power / 10 ** (noise_db / 10))
    return np.asarray(whole * (_LEVEL / np.sqrt(power)), np.float32)


def units(samples: Samples, seed: str) -> list[bytes]:
    """A turn as the unit cutter would give it: seconds that begin anywhere, the last one short."""
    phase = zlib.crc32(f"phase {seed}".encode()) % UNIT_SAMPLES
    first = max(UNIT_MULTIPLE, UNIT_SAMPLES - phase)
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2")
    return [pcm[:first].tobytes(), *(pcm[i : i + UNIT_SAMPLES].tobytes() for i in range(first, len(pcm), UNIT_SAMPLES))]
