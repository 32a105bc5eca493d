"""Speech and pictures for the default engine, made on the spot."""

from __future__ import annotations

import io
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import soxr
from PIL import Image

from model_server.demo.engine import DEFAULT_SCRIPT, DemoEngine
from model_server.demo.pipe import Ready, frame, read_frame
from model_server.demo.script import Loaded, load
from model_server.demo.voice import COMMAND
from model_server.demo.voice_messages import Manner, Speak, Spoken, Warm
from model_server.protocol import HEARING_RATE, UNIT_MULTIPLE, UNIT_SAMPLES, Unit

NOON = datetime(2026, 11, 22, 12, 5, tzinfo=UTC)


TEXTS = (
    "what can you do",
    "who are you",
    "are you a robot",
    "what should we do now",
    "what colour do you see",
)
"""Sentences of the default script that its voice says clearly enough for its ear."""


class StandingClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def patient_engine(script: Path | None = None, clock: StandingClock | None = None) -> DemoEngine:
    """An engine whose answers do not depend on how busy this machine is."""
    return DemoEngine(script, clock=clock or StandingClock(), hearing_deadline_s=30)


@cache
def assistant() -> Loaded:
    """The default script."""
    return load(DEFAULT_SCRIPT)


@cache
def all_spoken() -> dict[str, Spoken]:
    """Everything in `TEXTS`, by the process that speaks: it says the same in the same way each time."""
    questions = [Speak(number, text) for number, text in enumerate(TEXTS)]
    said = b"".join(map(frame, [Warm(Manner()), *questions]))
    answers = io.BytesIO(subprocess.run(COMMAND, input=said, capture_output=True, check=True).stdout)
    assert isinstance(read_frame(answers, msgspec.msgpack.Decoder(Ready)), Ready)
    spoken = msgspec.msgpack.Decoder(Spoken)
    return {text: answer for text in TEXTS if (answer := read_frame(answers, spoken)) is not None}


@cache
def speech(text: str, noise: float = 12.0) -> bytes:
    """One of `TEXTS` spoken, PCM16 16 kHz in faint noise, with half a second of quiet on either side."""
    spoken = all_spoken()[text]
    voice = np.frombuffer(spoken.pcm, np.int16).astype(np.float32)
    samples = soxr.resample(voice, spoken.rate, HEARING_RATE) * 0.3
    quiet = np.zeros(HEARING_RATE // 2, np.float32)
    whole = np.concatenate((quiet, samples, quiet))
    whole += np.random.default_rng(7).normal(size=len(whole)).astype(np.float32) * noise
    return whole.astype("<i2").tobytes()


def turn(text: str, pictures: tuple[bytes, ...] = ()) -> tuple[Unit, ...]:
    """`text` as the units of a spoken turn, the last one short; `pictures` come with the first."""
    pcm = speech(text)
    size = 2 * UNIT_SAMPLES
    units = [pcm[start : start + size] for start in range(0, len(pcm), size)]
    if len(units[-1]) < 6_400:
        units[-1] += b"\0" * (6_400 - len(units[-1]))
    units[-1] += b"\0" * (-len(units[-1]) % (2 * UNIT_MULTIPLE))
    return tuple(
        Unit(audio=audio, pictures=[] if number else list(pictures), last=number == len(units) - 1)
        for number, audio in enumerate(units)
    )


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (320, 240), box: int = 0) -> bytes:
    """A JPEG file of one colour; `box`: where a dark square stands, in pixels from the left, 0 for none."""
    image = Image.new("RGB", size, colour)
    if box:
        image.paste((10, 10, 10), (box, 60, box + 120, 200))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


RED, GREEN, BLUE = (200, 30, 30), (30, 160, 60), (30, 60, 200)
