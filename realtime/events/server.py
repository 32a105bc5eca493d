"""What the gateway says."""

from __future__ import annotations

from typing import Any

import msgspec

from realtime.events.base import Event
from realtime.events.extensions import (
    InputSilent,
    OutputPaused,
    OutputResumed,
    Ping,
    SessionDegraded,
    Suggestions,
    TranscriptTimes,
    TurnTimings,
    UnitCommitted,
)
from realtime.events.items import ContentPart, Item


class SessionCreated(Event, tag="session.created"):
    """Always first. `session`: id, model, the engine's `capabilities`, limits and the settings in force."""

    session: dict[str, Any]


class SessionUpdated(Event, tag="session.updated"):
    """Answer to `session.update`, within 100 ms."""

    session: dict[str, Any]


class ErrorDetail(msgspec.Struct, kw_only=True):
    """`type`: `invalid_request_error` or `server_error`. `event_id`: of the client's event it is about."""

    type: str
    code: str
    message: str
    param: str | None = None
    event_id: str | None = None


class ErrorEvent(Event, tag="error"):
    """Something the client sent changed nothing, or the call cannot go on as it was."""

    error: ErrorDetail


class SpeechStarted(Event, tag="input_audio_buffer.speech_started"):
    """The person began to speak, `audio_start_ms` into the call's audio."""

    audio_start_ms: int
    item_id: str


class SpeechStopped(Event, tag="input_audio_buffer.speech_stopped"):
    """The person stopped speaking."""

    audio_end_ms: int
    item_id: str


class Committed(Event, tag="input_audio_buffer.committed"):
    """The person's turn is complete and becomes a conversation item."""

    item_id: str
    previous_item_id: str | None = None


class InputCleared(Event, tag="input_audio_buffer.cleared"):
    """Answer to `input_audio_buffer.clear`."""


class ItemAdded(Event, tag="conversation.item.added"):
    """An item entered the conversation."""

    item: Item
    previous_item_id: str | None = None


class ItemDone(Event, tag="conversation.item.done"):
    """An item is complete."""

    item: Item
    previous_item_id: str | None = None


class ItemDeleted(Event, tag="conversation.item.deleted"):
    """The item never was. The person went on: their turn, and the reply to its first part, are taken back.

    `input_audio_buffer.speech_started` with the turn's `item_id` follows: it is open again, and comes back as one item.
    """

    item_id: str


class TranscriptionCompleted(Event, tag="conversation.item.input_audio_transcription.completed"):
    """What the engine understood of the person, where it transcribes."""

    item_id: str
    transcript: str
    content_index: int = 0


class ItemTruncated(Event, tag="conversation.item.truncated"):
    """The assistant was cut off: of this item the person heard `audio_end_ms`, and `transcript` is what stays."""

    item_id: str
    audio_end_ms: int
    transcript: str
    content_index: int = 0


class Response(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A response as events show it. `status`: `in_progress`, `completed`, `cancelled`, `failed`, `incomplete`."""

    id: str
    status: str
    object: str = "realtime.response"
    output: list[Item] = []
    status_details: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None


class ResponseCreated(Event, tag="response.created"):
    """A response begins. `number` is its number on the channel `audio`."""

    response: Response
    number: int = 0


class OutputItemAdded(Event, tag="response.output_item.added"):
    response_id: str
    item: Item
    output_index: int = 0


class ContentPartAdded(Event, tag="response.content_part.added"):
    response_id: str
    item_id: str
    part: ContentPart
    output_index: int = 0
    content_index: int = 0


class TranscriptDelta(Event, tag="response.output_audio_transcript.delta"):
    """The next characters of what the assistant says. `response.output_text.delta` when speech is off."""

    response_id: str
    item_id: str
    delta: str
    output_index: int = 0
    content_index: int = 0


class TranscriptDone(Event, tag="response.output_audio_transcript.done"):
    response_id: str
    item_id: str
    transcript: str
    output_index: int = 0
    content_index: int = 0


class TextDelta(Event, tag="response.output_text.delta"):
    response_id: str
    item_id: str
    delta: str
    output_index: int = 0
    content_index: int = 0


class TextDone(Event, tag="response.output_text.done"):
    response_id: str
    item_id: str
    text: str
    output_index: int = 0
    content_index: int = 0


class AudioDone(Event, tag="response.output_audio.done"):
    response_id: str
    item_id: str
    output_index: int = 0
    content_index: int = 0


class ContentPartDone(Event, tag="response.content_part.done"):
    response_id: str
    item_id: str
    part: ContentPart
    output_index: int = 0
    content_index: int = 0


class OutputItemDone(Event, tag="response.output_item.done"):
    response_id: str
    item: Item
    output_index: int = 0


class ResponseDone(Event, tag="response.done"):
    """Always the last event of a response."""

    response: Response


class OutputStarted(Event, tag="output_audio_buffer.started"):
    """Speech of this response goes out."""

    response_id: str


class OutputStopped(Event, tag="output_audio_buffer.stopped"):
    """All of it has left the loudspeaker."""

    response_id: str


class OutputCleared(Event, tag="output_audio_buffer.cleared"):
    """It was cut; the page mutes and flushes at once and answers with a final `playback.ack`."""

    response_id: str


ServerEvent = (
    SessionCreated
    | SessionUpdated
    | ErrorEvent
    | SpeechStarted
    | SpeechStopped
    | Committed
    | InputCleared
    | ItemAdded
    | ItemDone
    | TranscriptionCompleted
    | ItemTruncated
    | ItemDeleted
    | ResponseCreated
    | OutputItemAdded
    | ContentPartAdded
    | TranscriptDelta
    | TranscriptDone
    | TextDelta
    | TextDone
    | AudioDone
    | ContentPartDone
    | OutputItemDone
    | ResponseDone
    | OutputStarted
    | OutputStopped
    | OutputCleared
    | UnitCommitted
    | TranscriptTimes
    | Suggestions
    | OutputPaused
    | OutputResumed
    | SessionDegraded
    | InputSilent
    | TurnTimings
    | Ping
)
