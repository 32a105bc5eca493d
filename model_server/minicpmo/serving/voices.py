"""The voices a session may speak with: those in the model's folder, or a clip that came with the settings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model_server.engine import ConfigRejected
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.inputs.media_files import default_voice, read_voice
from model_server.minicpmo.words.prompts import Clip
from model_server.protocol import SessionConfig

LEAST_LEVEL = 1e-3
"""Root mean square of a clip that has a voice in it, of full scale 1: -60 dB."""


@dataclass(frozen=True, slots=True)
class SpokenVoice:
    """A clip to imitate (None: the model's voice without one), and a key that is equal for equal clips."""

    key: str
    clip: Clip | None = field(compare=False, default=None)


@dataclass(frozen=True, slots=True)
class Voices:
    """The clips that came with a model, and which of them is meant where none is named."""

    named: dict[str, Clip] = field(default_factory=dict)
    seeing: Clip | None = None
    hearing: Clip | None = None

    @classmethod
    def of_folder(cls, folder: Path) -> Voices:
        """The clips of 1 to 30 s in a model's folder; others are passed over."""
        found: dict[str, Clip] = {}
        for file in sorted((folder / "assets" / "ref_audios").glob("*.wav")):
            try:
                found[file.stem] = read_voice(file)
            except InputError:
                continue
        if not found:
            return cls()
        return cls(found, default_voice(folder, sees=True), default_voice(folder, sees=False))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.named)

    def of(self, config: SessionConfig) -> SpokenVoice:
        """The voice that a session asks for. Raises `ConfigRejected` for a name that is none, and for silence."""
        if config.voice_clip:
            return SpokenVoice(hashlib.sha256(config.voice_clip).hexdigest(), _clip(config.voice_clip))
        if config.voice:
            if config.voice not in self.named:
                raise ConfigRejected(f"config.voice is one of {', '.join(self.named)}, got {config.voice[:40]!r}")
            return SpokenVoice(f"named {config.voice}", self.named[config.voice])
        clip = self.seeing if config.mode == "omni" else self.hearing
        return SpokenVoice(f"usual {config.mode == 'omni'}", clip)


def _clip(pcm: bytes) -> Clip:
    clip = np.frombuffer(pcm, np.dtype("<i2")).astype(np.float32) / np.float32(32_768)
    if float(np.sqrt(np.mean(np.square(clip)))) < LEAST_LEVEL:
        raise ConfigRejected("config.voice_clip is a voice, got next to silence: record it again, and louder")
    return clip
