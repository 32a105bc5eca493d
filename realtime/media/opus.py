"""Opus in, 16 kHz mono out, decoded inside the event loop: about 15 us per packet, so no thread is worth its hand-over.

libopus decodes straight to 16 kHz, so there is no resampler and none of its delay, and it conceals losses itself, with
the sender's in-band forward error correction where there is any (RFC 6716 section 2.1.7). PyAV brings the library along
but reaches none of this through its codecs, so it is called through ctypes; `av_opus` beside this is the way without.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import structlog

from model_server.protocol import HEARING_RATE
from realtime.media.decoder import AudioDecoder, DecodeError, Samples

log = structlog.get_logger(__name__)

LONGEST_PACKET_SAMPLES = HEARING_RATE * 120 // 1000
"""An Opus packet holds at most 120 ms (RFC 6716 section 3.2.5)."""

CONCEAL_STEP = HEARING_RATE * 25 // 10_000
"""libopus conceals in steps of 2.5 ms."""

_CHANNELS = 1


class OpusUnavailable(RuntimeError):
    """No libopus could be loaded."""


class OpusDecoder:
    """One stream's libopus decoder. Raises `OpusUnavailable` where there is no libopus."""

    def __init__(self) -> None:
        self._library = _load_libopus()
        # The state lives in Python's memory, so that there is nothing to destroy.
        self._state = ctypes.create_string_buffer(self._library.opus_decoder_get_size(_CHANNELS))
        self._out = np.empty(LONGEST_PACKET_SAMPLES, dtype=np.int16)
        self._out_address = self._out.ctypes.data
        self.reset()

    def decode(self, payload: bytes) -> Samples:
        """The samples of one packet, 2.5 to 120 ms. Raises `DecodeError`."""
        if not payload:
            raise DecodeError("an Opus packet has at least one byte, got none")
        return self._call(payload, LONGEST_PACKET_SAMPLES, recover=False)

    def conceal(self, samples: int, following: bytes | None) -> Samples:
        """`samples` that stand in for lost ones: the copy in `following` if it carries one, else extrapolated."""
        whole = min(samples, LONGEST_PACKET_SAMPLES) // CONCEAL_STEP * CONCEAL_STEP
        out = np.zeros(samples, dtype=np.int16)
        if whole:
            out[:whole] = self._recovered(whole, following)
        return out

    def reset(self) -> None:
        """Forget the stream."""
        code = self._library.opus_decoder_init(self._state, HEARING_RATE, _CHANNELS)
        if code != 0:
            raise OpusUnavailable(f"libopus refuses a decoder of {HEARING_RATE} Hz mono: {self._reason(code)}")

    def _recovered(self, samples: int, following: bytes | None) -> Samples:
        if following:
            try:
                return self._call(following, samples, recover=True)
            except DecodeError:
                # The packet after the gap is broken, too: `decode` will say so, here it only has nothing to give.
                return self._call(None, samples, recover=False)
        return self._call(None, samples, recover=False)

    def _call(self, payload: bytes | None, samples: int, *, recover: bool) -> Samples:
        size = len(payload) if payload else 0
        count = self._library.opus_decode(self._state, payload, size, self._out_address, samples, recover)
        if count < 0:
            raise DecodeError(f"{size} bytes are no Opus packet: {self._reason(count)}")
        return self._out[:count].copy()

    def _reason(self, code: int) -> str:
        return str(self._library.opus_strerror(code).decode("ascii", "replace"))


@functools.cache
def _load_libopus() -> ctypes.PyDLL:
    """libopus as PyAV brings it, else the system's. Raises `OpusUnavailable`."""
    tried: list[str] = []
    for name in _library_names():
        try:
            # PyDLL keeps the GIL: a call takes microseconds, getting the GIL back could take milliseconds.
            return _declare(ctypes.PyDLL(name))
        except (OSError, AttributeError) as error:
            tried.append(f"{name} ({error})")
    raise OpusUnavailable(f"no libopus beside PyAV or in the system: tried {', '.join(tried) or 'nothing'}")


def _library_names() -> Iterator[str]:
    spec = importlib.util.find_spec("av")
    for package in (spec.submodule_search_locations or []) if spec else []:
        for folder in (Path(package).parent / "av.libs", Path(package) / ".dylibs"):
            yield from sorted(str(path) for path in folder.glob("*opus*"))
    system = ctypes.util.find_library("opus")
    if system:
        yield system


def _declare(library: ctypes.PyDLL) -> ctypes.PyDLL:
    library.opus_decoder_get_size.argtypes = [ctypes.c_int]
    library.opus_decoder_init.argtypes = [ctypes.c_char_p, ctypes.c_int32, ctypes.c_int]
    library.opus_decode.argtypes = [
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
    ]
    library.opus_strerror.argtypes = [ctypes.c_int]
    library.opus_strerror.restype = ctypes.c_char_p
    return library


def create_decoder() -> AudioDecoder:
    """The best Opus decoder of this machine."""
    try:
        return OpusDecoder()
    except OpusUnavailable as error:
        from realtime.media.av_opus import AvOpusDecoder

        log.warning("libopus_missing", reason=str(error), instead="PyAV's decoder, own concealment")
        return AvOpusDecoder()
