"""What a recorded call consists of: a header, then each input with its time and what left the call because of it.

Speech and units that leave are kept as digests: enough to see that they are the same bytes, and nothing to listen to.
What comes in is kept whole, because it is needed to play the call again.
"""

from __future__ import annotations

import hashlib

import msgspec

from model_server.protocol import Capabilities, Limits
from realtime.call.inputs import Input
from realtime.floor.rules import FloorRules

FORMAT = 1


class Record(msgspec.Struct, frozen=True, array_like=True, tag_field="kind"):
    """Base of every record."""


class Header(Record, frozen=True, tag="call"):
    """How the call began; `started` and all times are seconds of the call's clock. `machine` made the samples.

    `detector`: `silero` or `webrtc`. `machine`: kind of processor, which may round another way than the next one.
    """

    format: int
    version: str
    machine: str
    call_id: str
    seed: int
    started: float
    detector: str
    rules: FloorRules
    greet: bool
    capabilities: Capabilities
    limits: Limits


class In(Record, frozen=True, tag="in"):
    """Something entered the call at `now`; what left because of it follows."""

    now: float
    what: Input


class EventOut(Record, frozen=True, tag="event"):
    """An event to the client."""

    text: str


class AudioOut(Record, frozen=True, tag="audio"):
    """20 ms of speech on the channel `audio`, header and all."""

    size: int
    digest: bytes


class TrackOut(Record, frozen=True, tag="track"):
    """20 ms of speech for the return track."""

    number: int
    position: int
    digest: bytes


class FlushOut(Record, frozen=True, tag="flush"):
    """The return track forgets the responses up to `number`."""

    number: int


class Asked(Record, frozen=True, tag="asked"):
    """A request to the session, or a question; `digest` of its arguments, and the `answer` it got at once.

    An answer that is text is the error it raised.
    """

    what: str
    digest: bytes
    answer: int | str | None


class StillOut(Record, frozen=True, tag="still"):
    """A picture of the video track is wanted."""


class EndOut(Record, frozen=True, tag="end"):
    """The call wants to end."""

    reason: str


class Decided(Record, frozen=True, tag="floor"):
    """The floor changed hands, and why."""

    old: str
    new: str
    reason: str


class Raised(Record, frozen=True, tag="raised"):
    """An error of ours left the call."""

    error: str


class Over(Record, frozen=True, tag="over"):
    """The log is complete: recording ended at `now`, because the call did or for the `reason` given."""

    now: float
    reason: str


Output = EventOut | AudioOut | TrackOut | FlushOut | Asked | StillOut | EndOut | Decided | Raised
AnyRecord = Header | In | Output | Over

NO_DIGEST = b""


def digest(data: bytes) -> bytes:
    """Eight bytes that stand for `data`."""
    return hashlib.blake2b(data, digest_size=8).digest()
