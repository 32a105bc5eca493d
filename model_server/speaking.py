"""One response while it is generated: how far it is ahead of the ear, and its chunks as messages of the protocol."""

from __future__ import annotations

from model_server.engine import Chunk, EngineFailed, Finished, SpeechChunk, TextChunk, TranscriptChunk
from model_server.protocol import SPEECH_RATE, Done, Reply, Speech, Text, Transcript, Usage

MAX_CHUNK_SAMPLES = SPEECH_RATE
"""An engine gives at most one second of speech at once."""


class RunningResponse:
    """Counts what was produced of a response and what was heard of it."""

    def __init__(
        self, response_id: str, after_seq: int, speech_ahead_ms: int, engine_ahead_ms: int | None = None
    ) -> None:
        """At most `speech_ahead_ms` ahead of the ear; once it says what it hears, `engine_ahead_ms` if that is less."""
        self.response_id = response_id
        self.after_seq = after_seq
        self.stopped = False
        self.played_ms = 0
        self._speech_ahead_ms = speech_ahead_ms
        self._engine_ahead_ms = min(speech_ahead_ms, engine_ahead_ms or speech_ahead_ms)
        self._characters = 0
        self._samples = 0

    @property
    def produced_ms(self) -> int:
        """Milliseconds of speech made so far."""
        return self._samples * 1000 // SPEECH_RATE

    @property
    def ahead_ms(self) -> int:
        """Milliseconds of speech that were made and not heard yet."""
        return self.produced_ms - self.played_ms

    @property
    def has_credit(self) -> bool:
        """Whether the next chunk may be asked for."""
        return self.ahead_ms < (self._engine_ahead_ms if self.played_ms else self._speech_ahead_ms)

    def heard(self, ms: int) -> None:
        """The person has heard `ms`; more than was made counts as all of it, less than before changes nothing."""
        self.played_ms = max(self.played_ms, min(ms, self.produced_ms))

    def message(self, chunk: Chunk) -> Reply:
        """The chunk as the gateway gets it. Raises `EngineFailed` for a chunk that breaks the engine contract."""
        match chunk:
            case TextChunk():
                return self._text(chunk)
            case SpeechChunk():
                return self._speech(chunk)
            case TranscriptChunk():
                return Transcript(seq=self.after_seq, text=chunk.text)
            case Finished():
                return self._done(chunk)

    def _text(self, chunk: TextChunk) -> Text:
        start = self._characters
        self._characters += len(chunk.text)
        return Text(response_id=self.response_id, start=start, text=chunk.text)

    def _speech(self, chunk: SpeechChunk) -> Speech:
        samples, odd = divmod(len(chunk.pcm), 2)
        start, end = chunk.text_span
        if odd or not 0 < samples <= MAX_CHUNK_SAMPLES or not 0 <= start <= end <= self._characters:
            raise EngineFailed(
                f"a speech chunk has 1 to {MAX_CHUNK_SAMPLES} samples and a span within the text given so far, "
                f"got {len(chunk.pcm)} bytes for the span {start}..{end} of {self._characters} characters"
            )
        position = self._samples
        self._samples += samples
        return Speech(
            response_id=self.response_id,
            position=position,
            pcm=chunk.pcm,
            text_span=chunk.text_span,
            marks=list(chunk.marks),
        )

    def _done(self, chunk: Finished) -> Done:
        usage = Usage(
            input_tokens=chunk.usage.input_tokens,
            output_tokens=chunk.usage.output_tokens,
            audio_ms=self.produced_ms,
        )
        return Done(
            response_id=self.response_id,
            reason=chunk.reason,
            usage=usage,
            timings=chunk.timings,
            engine_tokens=chunk.engine_tokens,
            suggestions=chunk.suggestions,
        )
