"""Everything that enters a call, as one type: what `CallCore.handle` takes, and what a recording keeps.

Times are not in here: they stand beside each input. All are plain data, so that an input written to a file and read
again is the same input.
"""

from __future__ import annotations

import msgspec

from model_server.protocol import Append, Item, Limits, Reply


class Incoming(msgspec.Struct, frozen=True, array_like=True, tag_field="kind"):
    """Base of every input."""


class Packet(Incoming, frozen=True, tag="rtp"):
    """One RTP packet of the microphone: `sequence` 16 bit, `timestamp` 32 bit at 48 kHz, `payload` Opus."""

    ssrc: int
    sequence: int
    timestamp: int
    payload: bytes


class ClientEvent(Incoming, frozen=True, tag="event"):
    """One message of the channel `oai-events`, as it came."""

    body: bytes
    is_text: bool

    @property
    def data(self) -> str | bytes:
        """The message itself."""
        return self.body.decode() if self.is_text else self.body


class PictureMessage(Incoming, frozen=True, tag="camera"):
    """One message of the channel `camera`, as it came."""

    body: bytes
    is_text: bool

    @property
    def data(self) -> str | bytes:
        """The message itself."""
        return self.body.decode() if self.is_text else self.body


class ChannelOpened(Incoming, frozen=True, tag="channel"):
    """The client opened a known channel."""

    label: str


class ChannelRefused(Incoming, frozen=True, tag="no_channel"):
    """The client opened a channel this service does not have."""

    label: str


class Connected(Incoming, frozen=True, tag="connected"):
    """Media can flow; `video`: the client sends a video track."""

    video: bool


class Still(Incoming, frozen=True, tag="still"):
    """A picture of the video track, JPEG."""

    jpeg: bytes


class VoiceBrought(Incoming, frozen=True, tag="voice"):
    """The person brought a clip of a voice: PCM16 mono 16 kHz."""

    name: str
    clip: bytes


class Replied(Incoming, frozen=True, tag="reply"):
    """The model server answered."""

    reply: Reply


class HandedBack(Incoming, frozen=True, tag="busy"):
    """The engine was replying and did not take item `seq`."""

    seq: int
    item: Item | Append


class SessionChanged(Incoming, frozen=True, tag="session"):
    """The model session was lost, found again or given up; `state` as in `SessionState`, `limits` as they are now."""

    state: str
    limits: Limits


class PicturesDropped(Incoming, frozen=True, tag="dropped"):
    """The session let pictures go because the engine is slow: `total` since the call began."""

    total: int


class EndJudged(Incoming, frozen=True, tag="end_judged"):
    """A learned model's odds that the turn is over whose voice ended at sample `position`."""

    position: int
    odds: float


class RecordingStopped(Incoming, frozen=True, tag="unrecorded"):
    """Nothing of the call is written down any more."""


class Tick(Incoming, frozen=True, tag="tick"):
    """Time has passed."""


Input = (
    Packet
    | ClientEvent
    | PictureMessage
    | ChannelOpened
    | ChannelRefused
    | Connected
    | Still
    | VoiceBrought
    | Replied
    | HandedBack
    | SessionChanged
    | PicturesDropped
    | EndJudged
    | RecordingStopped
    | Tick
)


def client_event(data: str | bytes) -> ClientEvent:
    """What came over `oai-events`."""
    return ClientEvent(data.encode() if isinstance(data, str) else data, isinstance(data, str))


def picture_message(data: str | bytes) -> PictureMessage:
    """What came over `camera`."""
    return PictureMessage(data.encode() if isinstance(data, str) else data, isinstance(data, str))
