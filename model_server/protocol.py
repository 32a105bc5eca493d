"""Messages of the session socket between the gateway and the model server.

One WebSocket per call at ``/v1/sessions/{session_id}``; every message is one binary frame holding one msgpack map whose
``type`` names the struct below. `decode_request` reads what a gateway says, `decode_reply` what a model server answers.
Audio to the engine is PCM16 little-endian mono at 16 kHz, speech from the engine PCM16 little-endian mono at 24 kHz.
Unknown fields are ignored, so either side may be newer by a field; a change of meaning raises `PROTOCOL_VERSION`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

PROTOCOL_VERSION = 1

HEARING_RATE = 16_000
"""Samples per second of the person's audio."""

SPEECH_RATE = 24_000
"""Samples per second of the assistant's speech."""

UNIT_SAMPLES = 16_000
"""Samples of one full unit: exactly one second."""

MIN_VOICE_CLIP_SAMPLES = 16_000
MAX_VOICE_CLIP_SAMPLES = 30 * 16_000
"""Length of a clip whose voice is imitated: 1 to 30 s."""

SHORTEST_UNIT_SAMPLES = 3_200
"""Samples of the shortest unit that may end a turn (200 ms)."""

UNIT_MULTIPLE = 640
"""A short unit is zero-padded to a multiple of this many samples (40 ms)."""

MAX_PICTURE_BYTES = 2 * 1024 * 1024
MAX_PICTURES_PER_UNIT = 8
MAX_TEXT_CHARS = 8_000
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""A message of more bytes closes the socket (1009): what its pictures do not fit into is sent as several items."""
MAX_ENGINE_TOKENS_BYTES = 1024 * 1024

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
"""A response's name: 1 to 64 of the characters `A-Z a-z 0-9 _ . : -`."""

Count = Annotated[int, msgspec.Meta(ge=0)]
"""A whole number that is not negative."""


class Message(msgspec.Struct, tag_field="type", kw_only=True, omit_defaults=True):
    """Base of every message: keyword only, tagged by `type`."""


# --------------------------------------------------------------------------------------------------------------------
# What is said about a session and an engine


class SessionConfig(Message, tag="config"):
    """Settings of one session; they belong to the session, never to the engine.

    `seed` fixes every draw of the session. `speech=False` asks for text only. `instructions` are the persona; `task` is
    one of `Capabilities.tasks`, what to do with each turn. `voice` is one of `Capabilities.voices`, the engine's own
    where empty; `voice_clip` goes before it: 1 to 30 s of a voice to speak with, PCM16 LE mono 16 kHz. `picture_detail`
    `low` looks at every picture once, `high` cuts the last of a turn and what is shown into slices. The rest is how
    text is drawn, as the engine likes where it is None: `temperature` 0.01 to 2 (0: the likeliest), `top_p` 0.0001 to
    1, `top_k` 1 to 1 000 000, `repetition_penalty` 0.5 to 2, `max_response_tokens` 1 to 4096.
    """

    instructions: str = ""
    language: str = "en"
    mode: str = "omni"
    speech: bool = True
    transcribe: bool = True
    seed: int | None = None
    task: str = ""
    voice: str = ""
    voice_clip: bytes = b""
    picture_detail: Literal["high", "low"] = "high"
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    max_response_tokens: int | None = None


class Limits(Message, tag="limits"):
    """What one session may do. `context` is in positions of the engine's own count, times in seconds or ms."""

    max_sessions: int
    context: int
    speech_ahead_ms: int = 5_000
    marks: int = 16
    idle_s: float = 300.0
    resume_s: float = 30.0
    max_picture_bytes: int = MAX_PICTURE_BYTES


class Capabilities(Message, tag="capabilities"):
    """What an engine can do; the page shows only what is there.

    `turn_taking`: `turn_based` engines answer `busy` to units while they reply, `native` ones take every unit and start
    responses themselves. `scripted` engines are no network, and `notice` says so in words for the person.
    `greeting`: what to say (with `options.say`) when a call begins, if anything. `suggestions`: three to five sentences
    worth trying. `voices`: names of voices to choose from; `voice_clips`: it speaks in the voice of a clip, too.
    """

    engine: str
    model: str
    greeting: str = ""
    turn_taking: Literal["turn_based", "native"] = "turn_based"
    scripted: bool = False
    notice: str = ""
    modes: tuple[str, ...] = ("omni",)
    languages: tuple[str, ...] = ("en",)
    tasks: tuple[str, ...] = ()
    transcription: bool = False
    pictures: bool = True
    speech: bool = True
    word_marks: bool = False
    suggestions: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()
    voice_clips: bool = False


# --------------------------------------------------------------------------------------------------------------------
# Things that can be written into a session


class Unit(Message, tag="unit"):
    """One second of the call.

    `audio`: PCM16 LE mono 16 kHz, 16 000 samples, or 3 200..16 000 in steps of 640 when `last`. `pictures`: JPEG files,
    oldest first. `voiced`: the speech detector heard the person in it. `last`: it ends the person's turn.
    """

    audio: bytes
    pictures: list[bytes] = []
    voiced: bool = True
    last: bool = False


class TextItem(Message, tag="text_item"):
    """Text of the person (typed or tapped), at most `MAX_TEXT_CHARS` characters."""

    text: str


class PictureItem(Message, tag="picture_item"):
    """A picture the person shows on purpose: one JPEG file of at most `MAX_PICTURE_BYTES`."""

    jpeg: bytes


Item = Unit | TextItem | PictureItem


# --------------------------------------------------------------------------------------------------------------------
# What the gateway says


class Played(Message, tag="played"):
    """The person has heard `ms` of the response: the credit on which the engine runs at most 5 s ahead."""

    response_id: Id
    ms: Count


class Open(Message, tag="open"):
    """First message of a socket. `resume` is the token of an earlier `opened`: the same session, if it still lives.

    `wait` asks for a place in the waiting line (`queued`, then `opened`) instead of `refused` when the server is full.
    `heard`, with `resume`: what the person has heard by now of the response that ran when the socket was lost. With
    `resume`, `config` is ignored: the session keeps its own.
    """

    protocol: int = PROTOCOL_VERSION
    config: SessionConfig = msgspec.field(default_factory=SessionConfig)
    resume: str | None = None
    wait: bool = False
    heard: Played | None = None


class Update(Message, tag="update"):
    """Replace the session's settings from the next prefill or generate on; a rollback leaves them as they are."""

    config: SessionConfig


class Prefill(Message, tag="prefill"):
    """Write one item. `seq` grows by one per item (prefill or append); after a rollback it goes on from there."""

    seq: Count
    item: Item


class Append(Message, tag="append"):
    """Write history: text under `role`, or an assistant turn as the engine's own tokens (exact replay)."""

    seq: Count
    role: Literal["user", "assistant", "tool"]
    text: str = ""
    engine_tokens: bytes = b""


class Rollback(Message, tag="rollback"):
    """Undo the items after `to_seq` (0: all of them): the session stands where it was right before item `to_seq + 1`.

    Responses given before that item stay (`cancel` undoes them). Limited to the last `Limits.marks` items; refused
    while a response is being generated (`response_in_progress`), and where item `to_seq + 1` came into the middle of a
    response of a native engine (`mark_gone`: cancel that response).
    """

    to_seq: Count


class GenerateOptions(Message, tag="options"):
    """`say` speaks this text in the session's voice instead of answering. `speculative` replies may be discarded."""

    say: str | None = None
    speculative: bool = False
    instructions: str = ""


class Generate(Message, tag="generate"):
    """Start a response to everything up to item `after_seq`, which must be the last one written."""

    response_id: Id
    after_seq: Count
    options: GenerateOptions = msgspec.field(default_factory=GenerateOptions)


class Cancel(Message, tag="cancel"):
    """End a response. Of its speech the first `keep_ms` were heard and stay; with `discard` it never happened.

    `rollback_to_seq` (with `discard`) also undoes the items after that one, as `rollback` does: a speculative reply and
    its short unit.
    Works while the response is generated and later, as long as its mark lives; items written after it are undone, too
    (`cancelled.last_seq` says where the session stands).
    """

    response_id: Id
    keep_ms: Count = 0
    discard: bool = False
    rollback_to_seq: Count | None = None


class Close(Message, tag="close"):
    """End the session at once; nothing of it is kept."""


Request = Open | Update | Prefill | Append | Rollback | Generate | Played | Cancel | Close


# --------------------------------------------------------------------------------------------------------------------
# What the model server answers


class Opened(Message, tag="opened"):
    """The session lives. `resume_token` is secret and new each time; `last_seq` is where a resumed session stands.

    A lost socket stops generation. If a response was running, `opened` of the resumed session is followed at once by
    `cancelled` for it: it was cut at `Open.heard`, else at the last `played` (and is told again, should the socket be
    lost again before the next request). A response that the gateway holds for
    running and for which no `cancelled` follows was complete or never began: what was lost of it is not sent again,
    so the gateway ends it by its own `cancel` (`unknown_response`: it never began).
    """

    session_id: str
    capabilities: Capabilities
    limits: Limits
    version: str
    resume_token: str
    resumed: bool = False
    last_seq: int = 0


class Refused(Message, tag="refused"):
    """No session.

    `code`: `server_full`, `protocol_mismatch`, `session_in_use`, `resume_unknown`, `invalid_config`, `not_ready`,
    `draining`, `engine_failed`. `retry_after` in seconds.
    """

    code: str
    message: str
    retry_after: float = 0.0


class Queued(Message, tag="queued"):
    """Place in the waiting line, 1 is next; `wait_s` is an estimate. Sent at once and whenever the place changes."""

    place: int
    wait_s: float


class Updated(Message, tag="updated"):
    """The settings now in force."""

    applied: SessionConfig


class Prefilled(Message, tag="prefilled"):
    """Item `seq` is written, all of it. `ms` is the time that took.

    `spare`: the engine has room for work that may be for nothing (`GenerateOptions.speculative`).
    """

    seq: int
    kv_length: int
    ms: float
    spare: bool = False


class Busy(Message, tag="busy"):
    """Item `seq` was not taken because a turn-based engine is replying; nothing changed. Send it again afterwards.

    Items that were on their way behind it are answered `busy`, too, or `seq_gap` once the reply has ended.
    """

    seq: int


class RolledBack(Message, tag="rolled_back"):
    """The items after `last_seq` are undone."""

    last_seq: int
    kv_length: int


class Started(Message, tag="started"):
    """A response begins. In native mode the engine names it."""

    response_id: str


class Transcript(Message, tag="transcript"):
    """What the engine understood of the person's turn that ended with item `seq` (only where it transcribes)."""

    seq: int
    text: str


class Text(Message, tag="text"):
    """The next characters of a response, before or with their speech. `start`: their offset in the response's text."""

    response_id: str
    start: int
    text: str


class WordMark(msgspec.Struct, frozen=True, array_like=True):
    """One spoken word: character span in the response's text, and its time in the response's speech (ms)."""

    text_start: int
    text_end: int
    start_ms: int
    end_ms: int


class Speech(Message, tag="speech"):
    """The next speech of a response. `position`: its first sample's place in the response (24 kHz samples).

    `pcm`: PCM16 LE mono 24 kHz, at most one second. `text_span`: the characters it speaks. `marks`: exact word times,
    where the engine knows them.
    """

    response_id: str
    position: int
    pcm: bytes
    text_span: tuple[int, int]
    marks: list[WordMark] = []


class Usage(Message, tag="usage"):
    """Counts of one response in the engine's own tokens; `audio_ms` is the speech made."""

    input_tokens: int = 0
    output_tokens: int = 0
    audio_ms: int = 0


class Done(Message, tag="done"):
    """The response is complete as generated. `reason`: `completed`, `length` or `failed`.

    `timings`: milliseconds by stage. `engine_tokens` replays it exactly through `append`. `suggestions`, when not
    empty, replace the sentences worth trying.
    """

    response_id: str
    reason: Literal["completed", "length", "failed"] = "completed"
    usage: Usage = msgspec.field(default_factory=Usage)
    timings: dict[str, float] = {}
    engine_tokens: bytes = b""
    suggestions: tuple[str, ...] = ()


class Cancelled(Message, tag="cancelled"):
    """The response is over, nothing with its id follows: the session keeps `kept_text` and stands after `last_seq`.

    `engine_tokens` replays what was kept exactly through `append`; where it is empty, `kept_text` does.
    """

    response_id: str
    kept_text: str
    kv_length: int
    last_seq: int
    engine_tokens: bytes = b""


class Evicted(Message, tag="evicted"):
    """The context no longer holds the items up to `up_to_seq`: the gateway's replay log can forget them."""

    up_to_seq: int


class Draining(Message, tag="draining"):
    """The server goes away in `deadline_s` seconds: open the session elsewhere."""

    deadline_s: float


class Error(Message, tag="error"):
    """A request that changed nothing, and why. Carries the `seq` or `response_id` that it is about.

    `code`: `invalid_message`, `not_open`, `already_open`, `invalid_item`, `stale_seq`, `seq_gap`, `mark_gone`,
    `unknown_response`, `response_in_progress`, `out_of_order`, `invalid_config`, `engine_failed`, `session_ended`.
    """

    code: str
    message: str
    seq: int | None = None
    response_id: str | None = None


Reply = (
    Opened
    | Refused
    | Queued
    | Updated
    | Prefilled
    | Busy
    | RolledBack
    | Started
    | Transcript
    | Text
    | Speech
    | Done
    | Cancelled
    | Evicted
    | Draining
    | Error
)


class ProtocolError(ValueError):
    """Bytes that are not a message of this protocol; the text names the field and what was expected."""


_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """One message as one WebSocket frame."""
    return _encoder.encode(message)


def decode_request(data: bytes) -> Request:
    """What a gateway said. Raises `ProtocolError`."""
    try:
        return _requests.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError(str(error)) from error


def decode_reply(data: bytes) -> Reply:
    """What a model server answered. Raises `ProtocolError`."""
    try:
        return _replies.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError(str(error)) from error
