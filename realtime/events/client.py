"""What a client says."""

from __future__ import annotations

from typing import Literal

import msgspec

from realtime.events.base import Event
from realtime.events.items import Item
from realtime.events.settings import SessionSettings


class SessionUpdate(Event, tag="session.update"):
    """Change settings; answered by `session.updated`."""

    session: SessionSettings


class ConversationItemCreate(Event, tag="conversation.item.create"):
    """Add what the person typed or shows. It is answered only after `response.create`."""

    item: Item


class ConversationItemTruncate(Event, tag="conversation.item.truncate"):
    """The client heard only `audio_end_ms` of this item."""

    item_id: str
    audio_end_ms: int
    content_index: int = 0


class ResponseOptions(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Options of one response."""

    instructions: str | None = None


class ResponseCreate(Event, tag="response.create"):
    """Answer now."""

    response: ResponseOptions | None = None


class ResponseCancel(Event, tag="response.cancel"):
    """Stop generating; what was sent may still play out. A cancel of nothing is no error."""

    response_id: str | None = None


class OutputAudioBufferClear(Event, tag="output_audio_buffer.clear"):
    """Stop speaking at once."""


class PlaybackAck(Event, tag="playback.ack"):
    """How much of a response has left the loudspeaker: at least every 200 ms while it plays, and once with `final`.

    `played_ms` is already less the page's output latency. `buffered_ms` is what still waits in the page.
    """

    response_id: str
    played_ms: float
    buffered_ms: float = 0.0
    concealed_ms: float = 0.0
    final: bool = False


class Pong(Event, tag="pong"):
    """Answer to `ping`, with its `nonce`."""

    nonce: int = 0


class InputCommit(Event, tag="input_audio_buffer.commit"):
    """Push to talk (`turn_detection: null`): the person's turn is over. It is answered after `response.create`."""


class InputClear(Event, tag="input_audio_buffer.clear"):
    """Push to talk: the newest second that was heard, and what waits for a reply to end, never was.

    Whole seconds before that are with the model already.
    """


class Typing(Event, tag="typing"):
    """The person is writing: they are there, and nobody asks whether they are. At most once a second."""


class MediaState(Event, tag="media.state"):
    """What the browser granted: read by operators and by the floor, never required."""

    microphone: Literal["live", "muted", "none"] = "live"
    camera: Literal["live", "off"] = "off"
    echo_cancellation: bool | None = None
    noise_suppression: bool | None = None
    auto_gain_control: bool | None = None


ClientEvent = (
    SessionUpdate
    | ConversationItemCreate
    | ConversationItemTruncate
    | ResponseCreate
    | ResponseCancel
    | OutputAudioBufferClear
    | PlaybackAck
    | Pong
    | InputCommit
    | InputClear
    | Typing
    | MediaState
)
