"""A sound file with somebody's voice, as the engine takes it: PCM16 LE mono 16 kHz, 1 to 30 s."""

from __future__ import annotations

from io import BytesIO

import av
import numpy as np
from av.error import FFmpegError

from model_server.protocol import HEARING_RATE, MAX_VOICE_CLIP_SAMPLES, MIN_VOICE_CLIP_SAMPLES

MAX_FILE_BYTES = 5 * 1024 * 1024
LEAST_LEVEL = 0.001 * 32_768
"""Root mean square of a clip that has a voice in it: -60 dB."""

_LONGEST_S = MAX_VOICE_CLIP_SAMPLES / HEARING_RATE
_FORMATS = "WAV, FLAC, MP3 or OGG"


class VoiceClipError(ValueError):
    """A file that is no clip of a voice; the message says what was expected and what came."""


def voice_clip(data: bytes) -> bytes:
    """The clip in a WAV, FLAC, MP3 or OGG file. Blocks for up to a second. Raises `VoiceClipError`."""
    if len(data) > MAX_FILE_BYTES:
        raise VoiceClipError(f"a clip has at most {MAX_FILE_BYTES} bytes, got {len(data)}: shorten it")
    try:
        pcm = _decoded(data, _format(data))
    except (FFmpegError, ValueError, OSError) as error:
        if isinstance(error, VoiceClipError):
            raise
        raise VoiceClipError(f"expected sound as {_FORMATS}, got a file that cannot be decoded") from error
    samples = len(pcm) // 2
    if samples < MIN_VOICE_CLIP_SAMPLES:
        raise VoiceClipError(f"a clip has 1 to {_LONGEST_S:g} s, got {samples / HEARING_RATE:.1f} s: record more")
    level = float(np.sqrt(np.mean(np.square(np.frombuffer(pcm, np.int16).astype(np.float32)))))
    if level < LEAST_LEVEL:
        raise VoiceClipError("a clip has a voice in it, got next to silence: record it again, and louder")
    return pcm


def _format(data: bytes) -> str:
    """FFmpeg's name of the container, by its first bytes: nothing else is handed to a decoder."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] == b"fLaC":
        return "flac"
    if data[:4] == b"OggS":
        return "ogg"
    if data[:3] == b"ID3" or (data[:1] == b"\xff" and len(data) > 1 and data[1] & 0xE0 == 0xE0):
        return "mp3"
    raise VoiceClipError(f"expected sound as {_FORMATS}, got a file that begins with {data[:4].hex(' ') or 'nothing'}")


def _decoded(data: bytes, container: str) -> bytes:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=HEARING_RATE)
    pcm = bytearray()
    with av.open(BytesIO(data), mode="r", format=container) as file:
        if not file.streams.audio:
            raise VoiceClipError(f"expected sound as {_FORMATS}, got a file without any")
        for frame in file.decode(audio=0):
            _add(pcm, resampler.resample(frame))
        _add(pcm, resampler.resample(None))
    return bytes(pcm)


def _add(pcm: bytearray, frames: list[av.AudioFrame]) -> None:
    for frame in frames:
        pcm += frame.to_ndarray().tobytes()
    if len(pcm) > 2 * MAX_VOICE_CLIP_SAMPLES:
        raise VoiceClipError(f"a clip has 1 to {_LONGEST_S:g} s, got a longer one: cut it")
