"""What the simulated people say, and how: espeak-ng and flite voices, at 16 kHz, trimmed to the voice itself.

The unseen voices are those that count; nothing is ever tuned with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from model_server.demo.espeak import Espeak
from model_server.demo.voice_messages import Manner, Speak, Spoken
from model_server.protocol import HEARING_RATE
from tests.bench import spoken
from tests.bench.floor.words import Split

Sound = NDArray[np.float32]
"""Mono, 16 kHz; 1.0 is the RMS level of the person's voice, wherever that is put later."""

Contour = Literal["normal", "flat", "final"]
"""`normal`: a clause that goes on sounds so. `flat`: no melody at all. `final`: every clause falls as if it were the
last."""

ESPEAK: dict[Split, tuple[str, ...]] = {
    "tuning": ("en-us+m1", "en-us+f1", "en+m3", "en-gb-x-rp+f5"),
    "unseen": ("en-us+f4", "en-gb-scotland+m2", "en-029+m4", "en+f2", "en-us+m7"),
}
FLITE: dict[Split, tuple[str, ...]] = {"tuning": ("slt", "rms"), "unseen": ("awb", "kal")}

_PROCESSES = get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])
_FRAME = HEARING_RATE // 100
_TRIM_DB = 35.0
_ACTIVE_DB = 25.0


@dataclass(frozen=True, slots=True)
class Voice:
    """One person's voice; pace, pitch and melody as espeak-ng takes them (a flite voice has its own)."""

    name: str
    words_per_minute: int = 165
    pitch: int = 50
    melody: int = 50

    @property
    def is_flite(self) -> bool:
        """Whether flite speaks it."""
        return any(self.name in names for names in FLITE.values())


def draw(split: Split, rng: np.random.Generator, *, flat: bool = False) -> Voice:
    """Somebody; flite's voices cannot be flattened and are left out where that is asked for."""
    names = ESPEAK[split] if flat else ESPEAK[split] + FLITE[split]
    name = names[int(rng.integers(len(names)))]
    return Voice(name, int(rng.integers(140, 200)), int(rng.integers(30, 70)), 0 if flat else int(rng.integers(40, 70)))


@lru_cache(maxsize=4096)
def say(voice: Voice, text: str) -> Sound:
    """`text` in `voice`; the array is shared, do not write into it."""
    if voice.is_flite:
        sound = spoken.speak(voice.name, text)
    else:
        said = voiced(voice, text)
        samples = np.frombuffer(said.pcm, np.int16).astype(np.float32) / 32768
        sound = np.asarray(soxr.resample(samples, said.rate, HEARING_RATE), np.float32)
    return normalised(sound)


def voiced(voice: Voice, text: str) -> Spoken:
    """`text` as espeak-ng gives it, with the times of its words; the same samples whatever was said before.

    espeak-ng's flutter goes on from one sentence to the next, so each is spoken by a process that never spoke.
    """
    manner = Manner(voice.name, voice.words_per_minute, voice.pitch, voice.melody)
    receiver, sender = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_speak, args=(sender, manner, text))
    process.start()
    sender.close()
    said = receiver.recv()
    process.join()
    assert isinstance(said, Spoken)
    return said


def _speak(answer: Connection, manner: Manner, text: str) -> None:
    answer.send(Espeak(manner).speak(Speak(1, text)))


def normalised(sound: Sound) -> Sound:
    """`sound` without silence around it, its active part at RMS 1."""
    levels = frame_db(sound)
    loud = np.flatnonzero(levels > levels.max() - _TRIM_DB)
    trimmed = sound[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME]
    result: Sound = (trimmed / active_rms(trimmed)).astype(np.float32)
    return result


def active_rms(sound: Sound) -> float:
    """Level of the frames that are not pauses within the sound."""
    levels = frame_db(sound)
    active = levels[levels > levels.max() - _ACTIVE_DB]
    return float(np.sqrt(np.mean(10 ** (active / 10))))


def frame_db(sound: Sound) -> NDArray[np.float64]:
    """Level of each 10 ms."""
    whole = len(sound) // _FRAME * _FRAME
    frames = sound[:whole].astype(np.float64).reshape(-1, _FRAME)
    levels: NDArray[np.float64] = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    return levels


def clauses(contour: Contour, parts: list[str]) -> list[str]:
    """The parts of a sentence with the mark that gives each its contour."""
    between = "." if contour == "final" else ","
    return [f"{part}{between}" for part in parts[:-1]] + [f"{parts[-1]}."]
