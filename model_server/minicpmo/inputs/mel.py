"""Sound to log-mel, as the Whisper feature extractor makes it (specification sections 3.1 and 3.2)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.minicpmo.errors import InputError

SAMPLE_RATE = 16000
WINDOW = 400
HOP = 160
MEL_BINS = 80
MAX_SAMPLES = 30 * SAMPLE_RATE
TOO_SHORT = 2 * HOP
"""A clip of so many samples or fewer has no embedding."""

MAX_AMPLITUDE = 100.0
"""Hot sound is taken as it is; above 40 dB over full scale the numbers are no sound in [-1, 1]."""

EDGE = WINDOW // 2
UNMIRRORED = MAX_SAMPLES - EDGE
"""A clip no longer than this does not reach the mirror at the end of the extractor's 30 s window."""


def log_mel(samples: npt.NDArray[np.floating]) -> Tensor:
    """Log-mel [80, ceil(n / 160)] float32 of a mono 16 kHz clip [n], scaled by the clip's own maximum.

    The extractor pads every clip to 30 s; here only the frames that hear the clip are computed, with the same result.
    Raises `InputError`: not one row of floats, 320 samples or fewer, more than 30 s, or a sample that is no number.
    """
    check_clip(samples)
    if len(samples) > MAX_SAMPLES:
        raise InputError(f"clip of {len(samples)} samples: at most {MAX_SAMPLES} (30 s), cut it with split_clip")
    clip = torch.from_numpy(np.array(samples, dtype=np.float32))
    spectrum = torch.stft(_padded(clip), WINDOW, HOP, window=_window(), center=False, return_complex=True)
    power = mel_filters() @ spectrum.abs().square()
    levels = power.clamp(min=1e-10).log10()
    # Frames behind the clip's end count in the maximum: they still hear its last samples.
    levels = torch.maximum(levels, levels.max() - 8.0)
    return ((levels + 4.0) / 4.0)[:, : math.ceil(len(samples) / HOP)].contiguous()


def split_clip(samples: npt.NDArray[np.floating]) -> list[npt.NDArray[np.floating]]:
    """Pieces of at most 30 s; a last piece too short for an embedding is left out, as it would add none.

    Raises `InputError` as `log_mel` does, but for the length.
    """
    check_clip(samples)
    pieces = [samples[start : start + MAX_SAMPLES] for start in range(0, len(samples), MAX_SAMPLES)]
    return [piece for piece in pieces if len(piece) > TOO_SHORT]


def check_clip(samples: npt.NDArray[np.floating]) -> None:
    """Raise `InputError` for what is no mono clip with at least one embedding."""
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise InputError(
            f"clip: expected one row of float samples in [-1, 1], got {samples.dtype} of shape {samples.shape}"
            ": mix to mono, divide int16 by 32768"
        )
    if len(samples) <= TOO_SHORT:
        raise InputError(f"clip of {len(samples)} samples: expected more than {TOO_SHORT} (20 ms at 16 kHz)")
    peak = float(np.abs(samples).max())
    if not peak <= MAX_AMPLITUDE:  # A peak that is no number is not below the limit either.
        raise InputError(f"clip: expected finite samples in [-1, 1] (at most ±{MAX_AMPLITUDE:g}), got {peak}")


def frame_count(samples: int) -> int:
    """Mel frames of a clip."""
    return math.ceil(samples / HOP)


def encoded_count(frames: int) -> int:
    """Frames of the audio encoder for so many mel frames: its second convolution takes every other one."""
    return (frames + 1) // 2


def embedding_count(n_samples: int) -> int:
    """Embeddings of a clip: pairs of the encoder's frames, an odd last one left out."""
    return encoded_count(frame_count(n_samples)) // 2


def _padded(clip: Tensor) -> Tensor:
    """The clip with mirrored edges, as far as frames of the 30 s window differ from those of silence."""
    if len(clip) > UNMIRRORED:
        full = F.pad(clip, (0, MAX_SAMPLES - len(clip)))
        # One hop less than a whole mirror leaves out the last frame, as the extractor does.
        return F.pad(full[None], (EDGE, EDGE), mode="reflect")[0, : MAX_SAMPLES + WINDOW - HOP]
    frames = math.ceil((len(clip) + EDGE) / HOP)
    length = (frames - 1) * HOP + WINDOW
    mirror = clip[1 : EDGE + 1].flip(0)
    return F.pad(torch.cat((mirror, clip)), (0, max(0, length - EDGE - len(clip))))


@lru_cache(maxsize=1)
def _window() -> Tensor:
    return torch.hann_window(WINDOW, device="cpu")


@lru_cache(maxsize=1)
def mel_filters() -> Tensor:
    """Triangles [80, 201] of equal area, evenly spaced on Slaney's mel scale from 0 to 8000 Hz."""
    from librosa.filters import mel  # Costs over a second: loading a model asks for the filters beforehand.

    return torch.from_numpy(mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=MEL_BINS, dtype=np.float32))
