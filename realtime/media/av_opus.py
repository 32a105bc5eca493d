"""Opus through PyAV's codec, for machines where libopus itself cannot be reached (`realtime.media.opus` says why).

It decodes to 48 kHz, so a low-pass of 1 ms delay takes every third sample, and losses are concealed by us.
"""

from __future__ import annotations

from typing import Any, cast

import av
import numpy as np
from av.error import FFmpegError

from model_server.protocol import HEARING_RATE
from realtime.media.conceal import WaveformConcealer
from realtime.media.decoder import DecodeError, Samples

_CODEC_RATE = 48_000
_STEP = _CODEC_RATE // HEARING_RATE
_TAPS = 97
"""Odd, so that the delay is whole: 48 samples at 48 kHz, 1 ms."""

_UNITY = 1 << 15


class AvOpusDecoder:
    """One stream's decoder. The same payloads give the same samples, however they are timed."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the stream."""
        codec: Any = av.CodecContext.create("libopus", "r")
        codec.sample_rate = _CODEC_RATE
        codec.format = "s16"
        codec.layout = "mono"
        self._codec = codec
        self._decimate = Decimator()
        self._concealer = WaveformConcealer()

    def decode(self, payload: bytes) -> Samples:
        """The samples of one packet. Raises `DecodeError`."""
        if not payload:
            raise DecodeError("an Opus packet has at least one byte, got none")
        try:
            frames = self._codec.decode(av.Packet(payload))
        except FFmpegError as error:
            raise DecodeError(f"{len(payload)} bytes are no Opus packet: {error}") from error
        if not frames:
            raise DecodeError(f"{len(payload)} bytes hold no Opus frame")
        wide = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
        return self._concealer.heard(self._decimate(cast(Samples, wide)))

    def conceal(self, samples: int, following: bytes | None) -> Samples:
        """The next `samples`, guessed from what was heard; `following` is of no use here."""
        return self._concealer.conceal(samples)


class Decimator:
    """48 kHz to 16 kHz: windowed-sinc low-pass at 7.2 kHz, every third sample. Any chunk size gives the same output."""

    def __init__(self) -> None:
        self._pending = np.zeros(_TAPS - 1)

    def __call__(self, wide: Samples) -> Samples:
        """As many samples as `wide` and what waited from before are good for."""
        signal = np.concatenate((self._pending, wide.astype(np.float64)))
        windows = np.lib.stride_tricks.sliding_window_view(signal, _TAPS)[::_STEP] if len(signal) >= _TAPS else None
        if windows is None:
            self._pending = signal
            return np.empty(0, dtype=np.int16)
        self._pending = signal[len(windows) * _STEP :]
        narrow: Samples = np.clip(np.rint(windows @ _LOW_PASS / _UNITY), -32768, 32767).astype(np.int16)
        return narrow


def _design_low_pass() -> np.ndarray:
    places = np.arange(_TAPS) - (_TAPS - 1) / 2
    cutoff = 2 * 7_200 / _CODEC_RATE
    taps = cutoff * np.sinc(cutoff * places) * np.blackman(_TAPS)
    # Whole numbers: every sum is exact, so that the order in which a chunk is summed up cannot be heard.
    return np.asarray(np.rint(taps / taps.sum() * _UNITY))


_LOW_PASS = _design_low_pass()
