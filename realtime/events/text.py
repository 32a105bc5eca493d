"""Events as JSON text, and what cannot be taken."""

from __future__ import annotations

import secrets

import msgspec

from realtime.events.client import ClientEvent
from realtime.events.server import ErrorDetail, ErrorEvent, ServerEvent

MAX_EVENT_BYTES = 256 * 1024
"""What the SDP answer allows (`a=max-message-size`); larger pictures go over the channel `camera`."""


class EventError(ValueError):
    """A client event that cannot be taken. `code` is the error event's code; nothing changed."""

    def __init__(self, code: str, message: str, *, param: str | None = None, event_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.event_id = event_id

    def event(self) -> ErrorEvent:
        """The `error` event that tells the client."""
        detail = ErrorDetail(
            type="invalid_request_error", code=self.code, message=str(self), param=self.param, event_id=self.event_id
        )
        return ErrorEvent(error=detail)


class _Head(msgspec.Struct):
    type: str
    event_id: str = ""


_head = msgspec.json.Decoder(_Head)
_client_events: msgspec.json.Decoder[ClientEvent] = msgspec.json.Decoder(ClientEvent)
_encoder = msgspec.json.Encoder()
CLIENT_EVENT_TYPES = frozenset(str(member.__struct_config__.tag) for member in ClientEvent.__args__)


def decode_client_event(data: str | bytes) -> ClientEvent:
    """What a client said. Raises `EventError`: `event_too_large`, `invalid_json`, `unknown_event`, `invalid_event`."""
    if isinstance(data, bytes):
        raise EventError("invalid_event", "expected a text message holding one JSON object, got a binary message")
    if len(data) > MAX_EVENT_BYTES:
        raise EventError("event_too_large", f"an event is at most {MAX_EVENT_BYTES} bytes, this one has {len(data)}")
    try:
        head = _head.decode(data)
    except msgspec.ValidationError as error:
        raise EventError("invalid_event", f"expected a JSON object with a string `type`: {error}") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise EventError("invalid_json", f"not JSON: {error}") from error
    event_id = head.event_id or None
    if head.type not in CLIENT_EVENT_TYPES:
        raise EventError("unknown_event", f"unknown event type {head.type[:80]!r}", param="type", event_id=event_id)
    try:
        return _client_events.decode(data)
    except msgspec.ValidationError as error:
        raise EventError("invalid_event", f"{head.type}: {error}", event_id=event_id) from error


def encode_event(event: ServerEvent) -> str:
    """One event as one text message; an `event_id` is added where there is none."""
    if not event.event_id:
        event.event_id = f"event_{secrets.token_hex(8)}"
    return _encoder.encode(event).decode()
