"""Our own additions to what the gateway says, sent only to a client that asked for them."""

from __future__ import annotations

import msgspec

from realtime.events.base import Event


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
