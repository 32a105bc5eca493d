"""What the receive path needs of a decoder of the person's audio."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
"""Mono audio at 16 kHz, shape [samples]."""


class DecodeError(ValueError):
    """A payload that is no audio of this codec; the decoder goes on with the next one."""


class AudioDecoder(Protocol):
    """Turns the payloads of one RTP stream into samples, in order, without a delay of its own beyond the codec's."""

    def decode(self, payload: bytes) -> Samples:
        """The samples of one packet. Raises `DecodeError`."""
        ...

    def conceal(self, samples: int, following: bytes | None) -> Samples:
        """Exactly `samples` that stand in for lost ones; `following` is the payload right after them, if it is here."""
        ...

    def reset(self) -> None:
        """Forget the stream: another one follows."""
        ...
