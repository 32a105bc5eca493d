"""Pictures, sound and video from files, and sound into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.inputs.mel import SAMPLE_RATE, check_clip
from model_server.minicpmo.words.prompts import UNIT, Clip, Item

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

SPEECH_RATE = 24_000
"""Of what the model speaks, Hz."""

LEAST_VOICE_S, MOST_VOICE_S = 1.0, 30.0
"""Length of a clip whose voice is imitated."""

MOST_SOUND_S = 600.0
"""Longest clip; it takes 25 positions of the context for each second."""

MOST_VIDEO_S = 64
"""Seconds taken of a video; each takes 94 positions of the context."""


def read_picture(file: Path) -> Image.Image:
    """A picture, RGB. Raises `InputError` for a file that is none."""
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise InputError(f"{file}: expected a picture: {_reason(error)}") from error


def read_sound(file: Path) -> Clip:
    """A clip, mixed to mono, 16 kHz. Raises `InputError` for a file that is none, is too short or too long."""
    import soundfile
    import soxr

    try:
        found = file.is_file()
    except OSError:  # A name that no file can have.
        found = False
    if not found:
        raise InputError(f"{file}: expected a sound file, found none")
    try:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True, frames=int(MOST_SOUND_S + 1) * 192_000)
    except (soundfile.SoundFileError, OSError) as error:
        raise InputError(f"{file}: expected sound: {_reason(error)}") from error
    if not 0 < len(samples) <= MOST_SOUND_S * rate:
        raise InputError(f"{file}: expected up to {MOST_SOUND_S:g} s of sound, got {len(samples) / rate:.1f} s")
    mono = np.asarray(soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE, quality="HQ"), np.float32)
    try:
        check_clip(mono)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    return mono


def read_voice(file: Path) -> Clip:
    """A clip of the voice to speak with. Raises `InputError` unless it has 1 to 30 s."""
    clip = read_sound(file)
    seconds = len(clip) / SAMPLE_RATE
    if not LEAST_VOICE_S <= seconds <= MOST_VOICE_S:
        raise InputError(f"{file}: expected a voice of {LEAST_VOICE_S:g} to {MOST_VOICE_S:g} s, got {seconds:.1f} s")
    return clip


def default_voice(folder: Path, sees: bool) -> Clip | None:
    """The voice that comes with a checkpoint: the one for video where the model `sees`, else the general one."""
    clips = folder / "assets" / "ref_audios"
    names = ["video_default.wav", "default.wav"] if sees else ["default.wav", "video_default.wav"]
    files = [clips / name for name in names] + sorted(clips.glob("*.wav"))
    found = next((file for file in files if file.is_file()), None)
    return None if found is None else read_voice(found)


def read_video(file: Path) -> list[Item]:
    """A unit for each second: its last frame and its sound, where the file has any; at most `MOST_VIDEO_S` of them.

    Raises `InputError` for a file without pictures.
    """
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(file)) as video:
            frames = _last_frames(video)
        with av.open(str(file)) as video:
            sound = _soundtrack(video) if video.streams.audio else None
    except (FFmpegError, OSError) as error:
        raise InputError(f"{file}: expected a video: {_reason(error)}") from error
    if not frames:
        raise InputError(f"{file}: expected a video, found no picture in it")
    units: list[Item] = []
    for second, frame in enumerate(frames):
        units += [UNIT, frame]
        if sound is not None:
            units.append(_second(sound, second))
    return units


def _last_frames(video: InputContainer) -> list[Image.Image]:
    """The last frame of each second; a second without one shows the one before."""
    shown: list[Image.Image] = []
    last = None
    for frame in video.decode(video=0) if video.streams.video else ():
        second = int(frame.time or 0.0)
        while last is not None and len(shown) < min(second, MOST_VIDEO_S):
            shown.append(_picture(last))
        if second >= MOST_VIDEO_S:
            return shown
        last = frame
    return shown if last is None else [*shown, _picture(last)]


def _picture(frame: VideoFrame) -> Image.Image:
    return frame.to_image()  # type: ignore[no-any-return, no-untyped-call]


def _soundtrack(video: InputContainer) -> npt.NDArray[np.float32]:
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    parts, length = [], 0
    for frame in video.decode(audio=0):
        for part in resampler.resample(frame):
            parts.append(part.to_ndarray()[0])
            length += len(parts[-1])
        if length >= MOST_VIDEO_S * SAMPLE_RATE:
            break
    return np.concatenate([*parts, np.zeros(0, np.float32)]).astype(np.float32)


def _second(sound: npt.NDArray[np.float32], number: int) -> Clip:
    """One second of a soundtrack, silence where it is over."""
    part = sound[number * SAMPLE_RATE : (number + 1) * SAMPLE_RATE]
    return np.pad(part, (0, SAMPLE_RATE - len(part)))


def write_sound(file: Path, samples: npt.NDArray[np.float32]) -> None:
    """Samples [n], 24 kHz, as 16-bit WAV. Raises `InputError` if the file cannot be written."""
    import soundfile

    try:
        soundfile.write(file, np.clip(samples, -1.0, 1.0), SPEECH_RATE, subtype="PCM_16", format="WAV")
    except (soundfile.SoundFileError, OSError, UnicodeError) as error:
        raise InputError(f"{file}: cannot be written: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """In one line."""
    return " ".join(str(error).split()) or type(error).__name__
