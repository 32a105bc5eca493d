"""A still picture out of one encoded key frame."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from av.error import FFmpegError

from realtime.media.key_frames import KeyFrame
from realtime.media.pictures import MAX_PIXELS

JPEG_QUALITY = 4
"""Quantiser of the JPEG encoder, 2 (best) to 31: about 60 kB at 1 024x768."""

_DECODERS = {"VP8": "vp8", "H264": "h264"}


class StillError(ValueError):
    """A key frame that cannot be decoded."""


def key_frame_to_jpeg(frame: KeyFrame, max_side: int = 1024) -> bytes:
    """The JPEG of a key frame, scaled down to `max_side` pixels. Takes 5 to 50 ms: call it in a thread.

    Raises `StillError`.
    """
    try:
        picture = _decode(frame)
        width, height = _fit(picture.width, picture.height, max_side)
        scaled = picture.reformat(width=width, height=height, format="yuvj420p")
        return _encode_jpeg(scaled)
    except (FFmpegError, ValueError) as error:
        raise StillError(f"{len(frame.data)} bytes are no {frame.codec} key frame: {error}") from error


def _decode(frame: KeyFrame) -> Any:
    if frame.codec not in _DECODERS:
        raise StillError(f"key frames of {', '.join(_DECODERS)} can be decoded, got {frame.codec}")
    decoder: Any = av.CodecContext.create(_DECODERS[frame.codec], "r")
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    # The empty packet drains the decoder: no second frame will follow to push this one out.
    pictures = [*decoder.decode(av.Packet(frame.data)), *decoder.decode(None)]
    if not pictures:
        raise StillError(f"{len(frame.data)} bytes of {frame.codec} hold no picture")
    return pictures[-1]


def _fit(width: int, height: int, max_side: int) -> tuple[int, int]:
    """At most `max_side`, and both sides even, as chroma at half resolution wants."""
    scale = min(1.0, max_side / max(width, height))
    return max(2, int(width * scale / 2) * 2), max(2, int(height * scale / 2) * 2)


def _encode_jpeg(picture: Any) -> bytes:
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height = picture.width, picture.height
    encoder.pix_fmt = "yuvj420p"
    encoder.time_base = Fraction(1, 1)
    encoder.thread_count = 1
    encoder.qmin = encoder.qmax = JPEG_QUALITY
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])
