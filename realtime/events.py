"""Events of the channel `oai-events`: JSON text, OpenAI's Realtime API (GA) names wherever the meaning is the same.

`decode_client_event` reads what a page says, `encode_event` writes what the gateway says. Events marked as an extension
go only to a client that asked for them by name in `session.update` (`session.extensions`).
"""

from __future__ import annotations

import secrets
from typing import Any, Literal

import msgspec

MAX_EVENT_BYTES = 256 * 1024
"""What the SDP answer allows (`a=max-message-size`); larger pictures go over the channel `camera`."""


class Event(msgspec.Struct, tag_field="type", kw_only=True, omit_defaults=True):
    """Base of every event; `event_id` names it in errors."""

    event_id: str = ""


# --------------------------------------------------------------------------------------------------------------------
# What a client says


class TurnDetection(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How the end of the person's turn is found.

    `server_vad`: after `silence_duration_ms` (0 to 10 000) without a voice; a window is a voice with `threshold` (0.1
    to 0.95), and `prefix_padding_ms` (0 to 1 000) before it belong to it. `semantic_vad`: what was said and how this
    person pauses decide; `eagerness` is `low`, `medium`, `high` or `auto`.
    """

    type: str
    threshold: float | None = None
    prefix_padding_ms: float | None = None
    silence_duration_ms: float | None = None
    eagerness: str | None = None


class AudioInput(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How the microphone is listened to."""

    turn_detection: TurnDetection | msgspec.UnsetType | None = msgspec.UNSET


class AudioSettings(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Settings of sound."""

    input: AudioInput | None = None


class SessionSettings(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Settings a client may change during the call.

    `extensions`: names of our own events the client wants. `output_modalities`: `["audio"]` or `["text"]`.
    `loopback`: a line check, the caller hears their own microphone instead of the assistant.
    `voice`: one of `GET /v1/voices`, the usual one where empty. `mode`, `task`, `picture_detail`, `temperature`,
    `top_p` and `max_output_tokens` (of one response) as in `SessionConfig`, where the engine has them.
    `turn_detection`: null for push to talk; it may also stand in `audio.input`, as in OpenAI's API.
    """

    instructions: str | None = None
    output_modalities: list[Literal["audio", "text"]] | None = None
    language: str | None = None
    extensions: list[str] | None = None
    loopback: bool | None = None
    voice: str | None = None
    mode: str | None = None
    task: str | None = None
    picture_detail: Literal["high", "low"] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    turn_detection: TurnDetection | msgspec.UnsetType | None = msgspec.UNSET
    audio: AudioSettings | None = None

    @property
    def turns(self) -> TurnDetection | msgspec.UnsetType | None:
        """The `turn_detection` that is asked for, wherever it stands."""
        nested = self.audio.input.turn_detection if self.audio and self.audio.input else msgspec.UNSET
        return self.turn_detection if nested is msgspec.UNSET else nested


class SessionUpdate(Event, tag="session.update"):
    """Change settings; answered by `session.updated`."""

    session: SessionSettings


class ContentPart(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Part of an item: `input_text` with `text`, or `input_image` with a `data:image/jpeg;base64,` `image_url`."""

    type: str
    text: str | None = None
    image_url: str | None = None
    transcript: str | None = None


class Item(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A message of the conversation."""

    type: Literal["message"] = "message"
    id: str = ""
    role: Literal["user", "assistant", "system"] = "user"
    status: Literal["completed", "incomplete", "in_progress"] | None = None
    content: list[ContentPart] = []


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

# --------------------------------------------------------------------------------------------------------------------
# What the gateway says


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


# Our own additions, sent only to a client that asked for them -------------------------------------------------------


class UnitCommitted(Event, tag="unit.committed"):
    """Extension. Unit `seq` is in the model's context."""

    seq: int
    kv_length: int
    prefill_ms: float


class WordTime(msgspec.Struct, array_like=True):
    """Character span in the response's transcript and its time in the response's speech (ms)."""

    text_start: int
    text_end: int
    start_ms: int
    end_ms: int


class TranscriptTimes(Event, tag="response.output_audio_transcript.times"):
    """Extension. When the words of the transcript are spoken, so that captions follow the loudspeaker."""

    response_id: str
    words: list[WordTime]


class Suggestions(Event, tag="session.suggestions"):
    """Extension. Three to five sentences worth trying now."""

    suggestions: list[str]


class OutputPaused(Event, tag="output_audio_buffer.paused"):
    """Extension. The assistant holds its breath: fall silent, keep what is buffered."""

    response_id: str


class OutputResumed(Event, tag="output_audio_buffer.resumed"):
    """Extension. It goes on with a soft fade, `from_ms` of the response on or where it held.

    `from_ms` is the beginning of the word in which it fell silent: that is played again. From then on `playback.ack`
    says where playing is, which is less than before; the gateway keeps what was heard.
    """

    response_id: str
    from_ms: float | None = None


class SessionDegraded(Event, tag="session.degraded"):
    """Extension. The call goes on with less: `reason` is `engine_slow`, `model_server_lost`, `engine_failed`, or
    `hands_free`: echo or noise is nearly as loud as the person, so tap-to-talk is offered, once until that is over.
    """

    reason: str
    message: str


class InputSilent(Event, tag="input.silent"):
    """Extension. The microphone is live but has delivered only zeros for `ms`; `recovered` when sound is back."""

    ms: int
    recovered: bool = False


class TurnTimings(Event, tag="turn.timings"):
    """Extension. The latency waterfall of one turn, milliseconds after the end of the person's speech."""

    response_id: str
    timings: dict[str, float]


class Ping(Event, tag="ping"):
    """Extension. Liveness; answer with `pong` and the same `nonce`."""

    nonce: int


EXTENSIONS = frozenset(
    {
        "unit.committed",
        "response.output_audio_transcript.times",
        "session.suggestions",
        "output_audio_buffer.paused",
        "output_audio_buffer.resumed",
        "session.degraded",
        "input.silent",
        "turn.timings",
        "ping",
    }
)

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
