"""One call with the default engine: items in, answers out; all of its state is one `Talk`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import msgspec
import structlog

from model_server.demo.answers import answer, unasked
from model_server.demo.house import House
from model_server.demo.phrasings import written
from model_server.demo.sight import Seen
from model_server.demo.speech import Speaker, sentences
from model_server.demo.talk import Reply, Talk
from model_server.demo.understanding import Understood, understood
from model_server.demo.worker import NoAnswer
from model_server.engine import (
    Chunk,
    EngineBusy,
    EngineSession,
    Finished,
    ItemRejected,
    Kept,
    Mark,
    SpeechChunk,
    TextChunk,
    TranscriptChunk,
)
from model_server.items import check_config, check_item
from model_server.protocol import GenerateOptions, Item, PictureItem, SessionConfig, Unit, Usage, WordMark

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TalkMark(Mark):
    """The talk at one moment."""

    talk: Talk


@dataclass
class Said:
    """What was given of one reply so far."""

    reply: Reply
    marks: list[WordMark] = field(default_factory=list)
    speech_ms: int = 0
    finished: bool = False

    def heard(self, keep_ms: int) -> Reply | None:
        """The reply as far as it was heard; None where no whole word was."""
        if not self.marks:
            return self.reply if self.finished and keep_ms > 0 else None
        heard = [mark for mark in self.marks if mark.end_ms <= keep_ms]
        if not heard:
            return None
        if self.finished and len(heard) == len(self.marks):
            return self.reply
        text = self.reply.text[: heard[-1].text_end]
        return msgspec.structs.replace(self.reply, text=text, cut=True, suggestions=())


class DemoSession(EngineSession):
    """A turn-based session. It remembers at most 12 seconds of sound (400 kB) and never writes any of it down."""

    def __init__(self, house: House, name: str, config: SessionConfig, seed: int) -> None:
        self._house = house
        self._name = name
        self._config = config
        self._talk = Talk(seed, house.clock().timestamp())
        self._said: WeakKeyDictionary[Talk, Said] = WeakKeyDictionary()
        self._replying = False

    @property
    def kv_length(self) -> int:
        return self._talk.positions

    async def update(self, config: SessionConfig) -> None:
        check_config(config, self._house.capabilities)
        self._config = config

    async def streaming_prefill(self, item: Item) -> None:
        if self._replying:
            raise EngineBusy("a reply is being given: write the item after it")
        check_item(item)
        seen = await self._see(item)
        self._talk = self._talk.with_item(item, seen)
        if isinstance(item, Unit) and item.voiced:
            self._house.ear.follow(self._name, self._talk.turn.pieces)

    async def append(self, role: str, text: str, engine_tokens: bytes) -> None:
        if engine_tokens:
            self._talk = self._talk.with_reply(_reply_of(engine_tokens))
        elif role == "assistant":
            self._talk = self._talk.with_reply(Reply(text))
        elif role == "user":
            self._talk = self._talk.with_typed(text)
        else:
            self._talk = self._talk.with_history(text)

    def mark(self) -> Mark:
        return TalkMark(self._talk)

    async def rollback(self, mark: Mark) -> None:
        assert isinstance(mark, TalkMark)
        self._talk = mark.talk
        # An answer that was taken back has used up what the ear had heard: it listens again before the turn ends.
        self._house.ear.follow(self._name, self._talk.turn.pieces)

    async def streaming_generate(self, options: GenerateOptions) -> AsyncGenerator[Chunk, None]:
        if self._replying:
            raise EngineBusy("a reply is being given: ask for the next one after it")
        self._replying = True
        before, started = self._talk, time.perf_counter()
        timings: dict[str, float] = {}
        try:
            reply, transcript = await self._reply(before, options)
            timings["understood"] = _milliseconds_since(started)
            said = self._said[before] = Said(reply)
            if transcript and self._config.transcribe:
                yield TranscriptChunk(transcript)
            async with aclosing(self._speak(said)) as speaking:
                async for chunk in speaking:
                    timings.setdefault("first_chunk", _milliseconds_since(started))
                    yield chunk
            self._talk = before.with_reply(reply)
            said.finished = True
        finally:
            self._replying = False
        yield self._finished(before, said, timings)

    async def keep_heard(self, before: Mark, keep_ms: int) -> Kept:
        assert isinstance(before, TalkMark)
        said = self._said.get(before.talk)
        heard = said.heard(keep_ms) if said else None
        if heard is None:
            await self.rollback(before)
            return Kept("")
        self._talk = before.talk.with_reply(heard)
        return Kept(heard.text, msgspec.msgpack.encode(heard))

    async def aclose(self) -> None:
        self._said.clear()

    # What was given -------------------------------------------------------------------------------------------------

    async def _see(self, item: Item) -> Seen:
        """The eyes after `item`. Raises `ItemRejected`."""
        pictures: Iterable[bytes] = ()
        if isinstance(item, Unit):
            pictures = item.pictures
        elif isinstance(item, PictureItem):
            pictures = (item.jpeg,)
        seen, now = self._talk.seen, self._house.clock().timestamp()
        for picture in pictures:
            seen = seen.after(await self._house.look(picture), now)
        return seen

    async def _reply(self, talk: Talk, options: GenerateOptions) -> tuple[Reply, str]:
        """What to say, and what was understood of the person's speech."""
        if options.say is not None:
            return Reply(options.say.strip() or self._house.loaded.script.greeting), ""
        now, turn = self._house.clock(), talk.turn
        heard = None if turn.typed_last or not turn.pieces else await self._hear(turn.pieces)
        if heard is not None and (heard.meaning or not turn.typed):
            transcript = written(heard.meaning.sentence.text) if heard.meaning else ""
            return answer(self._house.loaded, self._house.matcher, talk, heard, now), transcript
        if turn.typed:
            typed = Understood(self._house.matcher.meaning(turn.typed), turn.typed)
            return answer(self._house.loaded, self._house.matcher, talk, typed, now), ""
        return unasked(self._house.loaded, talk, now), ""

    async def _hear(self, pieces: tuple[bytes, ...]) -> Understood:
        """The last sentence of the turn that is understood."""
        try:
            heard = await self._house.ear.finish(self._name, pieces, self._house.hearing_deadline_s)
        except NoAnswer as error:
            _log.warning("not_heard", reason=str(error))
            return Understood(None, "")
        return understood(heard, self._house.loaded)

    # What is said ---------------------------------------------------------------------------------------------------

    async def _speak(self, said: Said) -> AsyncGenerator[Chunk, None]:
        parts = list(sentences(said.reply.text))
        if not self._config.speech:
            for part in parts:
                yield TextChunk(part)
            return
        speaker = Speaker()
        for number, part in enumerate(parts, 1):
            for piece in await self._house.speak(speaker, part, number == len(parts)):
                if piece.text:
                    yield TextChunk(piece.text)
                said.marks.extend(piece.marks)
                said.speech_ms = speaker.milliseconds
                if piece.pcm:
                    yield SpeechChunk(piece.pcm, piece.text_span, piece.marks)

    def _finished(self, before: Talk, said: Said, timings: dict[str, float]) -> Finished:
        usage = Usage(
            input_tokens=before.turn.items,
            output_tokens=len(said.reply.text.split()),
            audio_ms=said.speech_ms,
        )
        return Finished(
            usage=usage,
            timings=timings,
            engine_tokens=msgspec.msgpack.encode(said.reply),
            suggestions=said.reply.suggestions,
        )


def _reply_of(engine_tokens: bytes) -> Reply:
    try:
        return msgspec.msgpack.decode(engine_tokens, type=Reply)
    except msgspec.MsgspecError as error:
        raise ItemRejected(f"expected the engine tokens of a reply of this engine, got {error}: send text") from error


def _milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
