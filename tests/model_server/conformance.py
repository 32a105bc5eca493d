"""What every engine must do, at the level of `EngineSession`.

A test module subclasses `EngineConformance` and sets `case`; `tests/model_server/socket_conformance.py` asks the same
engines through the session socket.
"""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, pairwise

import msgspec
import numpy as np
import pytest

from model_server.engine import (
    Chunk,
    ConfigRejected,
    Engine,
    EngineBusy,
    EngineSession,
    Finished,
    ItemRejected,
    Kept,
    Mark,
    NativeChunk,
    SpeechChunk,
    TextChunk,
    TranscriptChunk,
)
from model_server.protocol import SPEECH_RATE, GenerateOptions, Item, SessionConfig, Speech
from model_server.speaking import RunningResponse

GUARD_S = 60.0
"""A reply that takes longer hangs; none comes near."""

OUTPUTS = 50
"""How many outputs must be equal before two sessions count as equal, where an engine's case says nothing else."""

Turn = Sequence[Item]


@dataclass(frozen=True)
class EngineCase:
    """An engine under test, and what it needs to be talked with.

    `turns`: at least four, each earns one reply with speech. `opening`: what makes a native engine greet. `rejected`:
    items of valid form that this engine cannot take. `config`: with a fixed seed. `outputs`: as `OUTPUTS`. `rounding`:
    steps of 1/32768 by which a sample may differ where numbers were added in another order.
    An engine whose answers depend on the time of day is made with a clock that stands still.
    """

    create: Callable[[], Engine]
    turns: Sequence[Turn]
    opening: Turn = ()
    rejected: Sequence[Item] = ()
    config: SessionConfig = field(default_factory=lambda: SessionConfig(seed=1))
    outputs: int = OUTPUTS
    rounding: int = 0


@dataclass(frozen=True, eq=False)
class AlmostSpeech(SpeechChunk):
    """Speech that equals another when no sample differs by more than `rounding`."""

    rounding: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SpeechChunk) or len(self.pcm) != len(other.pcm):
            return False
        mine, theirs = (np.frombuffer(each.pcm, np.int16).astype(int) for each in (self, other))
        near = int(np.abs(mine - theirs).max(initial=0)) <= self.rounding
        return near and (self.text_span, self.marks) == (other.text_span, other.marks)


class Talk:
    """A session and how to get a reply out of it, whichever way its engine takes turns."""

    def __init__(self, session: EngineSession, native: bool, case: EngineCase) -> None:
        self.session = session
        self.native = native
        self.case = case
        self._output: AsyncGenerator[NativeChunk, None] | None = session.native_output() if native else None

    async def write(self, items: Turn) -> None:
        for item in items:
            await self.session.streaming_prefill(item)

    async def reply(self, options: GenerateOptions | None = None) -> list[Chunk]:
        """The whole reply to what was written."""
        _, chunks = await self.reply_until(None, options)
        return chunks

    async def turn(self, items: Turn) -> list[Chunk]:
        """Write a turn and get the whole reply."""
        await self.write(items)
        return await self.reply()

    async def reply_until(self, count: int | None, options: GenerateOptions | None = None) -> tuple[Mark, list[Chunk]]:
        """The first `count` chunks of the reply (None: all), which then is closed; and the mark before it."""
        async with asyncio.timeout(GUARD_S):
            if self.native and options is None:
                return await self._overhear(count)
            return await self._ask(count, options or GenerateOptions())

    async def _ask(self, count: int | None, options: GenerateOptions) -> tuple[Mark, list[Chunk]]:
        before = self.session.mark()
        chunks: list[Chunk] = []
        generator = self.session.streaming_generate(options)
        while count is None or len(chunks) < count:
            chunk = await anext(generator, None)
            if chunk is None:
                break
            chunks.append(self.steady(chunk))
        await generator.aclose()
        assert await anext(generator, None) is None, "a closed reply goes on"
        return before, chunks

    def steady(self, chunk: Chunk) -> Chunk:
        """The chunk without what depends on the machine's speed, speech equal up to the case's rounding."""
        if isinstance(chunk, SpeechChunk) and self.case.rounding:
            return AlmostSpeech(chunk.pcm, chunk.text_span, chunk.marks, self.case.rounding)
        return replace(chunk, timings={}) if isinstance(chunk, Finished) else chunk

    async def _overhear(self, count: int | None) -> tuple[Mark, list[Chunk]]:
        assert self._output is not None
        first = await anext(self._output)
        assert first.before is not None, "the first chunk of a native response carries the mark before it"
        chunks = [self.steady(first.chunk)]
        while (count is None or len(chunks) < count) and not isinstance(chunks[-1], Finished):
            following = await anext(self._output)
            assert following.response_id == first.response_id, "two native responses interleave"
            chunks.append(self.steady(following.chunk))
        return first.before, chunks


def text_of(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def speech_ms(chunks: Sequence[Chunk]) -> int:
    return sum(len(chunk.pcm) // 2 for chunk in chunks if isinstance(chunk, SpeechChunk)) * 1000 // SPEECH_RATE


def is_cut_at_a_word(kept: str, full: str) -> bool:
    around = full[len(kept) - 1 : len(kept) + 1]
    return kept == full[: len(kept)] and (not kept or re.fullmatch(r"\w\w", around) is None)


async def next_outputs(talk: Talk, turns: Sequence[Turn]) -> list[Chunk]:
    """At least the next `outputs` chunks that the session gives to these turns, again and again."""
    chunks: list[Chunk] = []
    for turn in cycle(turns):
        chunks += await talk.turn(turn)
        if len(chunks) >= talk.case.outputs:
            break
    return chunks


NewTalk = Callable[[], Awaitable[Talk]]


class EngineConformance:
    """The rules; `case` says for which engine."""

    case: EngineCase

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        engine = self.case.create()
        await engine.start()
        yield engine
        await engine.aclose()

    @pytest.fixture
    def native(self, engine: Engine) -> bool:
        return engine.capabilities.turn_taking == "native"

    @pytest.fixture
    async def new_talk(self, engine: Engine, native: bool) -> AsyncIterator[NewTalk]:
        sessions: list[EngineSession] = []

        async def make() -> Talk:
            sessions.append(await engine.open_session(f"session-{len(sessions)}", self.case.config))
            talk = Talk(sessions[-1], native, self.case)
            if self.case.opening:
                await talk.turn(self.case.opening)
            return talk

        yield make
        for session in sessions:
            await session.aclose()

    # What a reply is ------------------------------------------------------------------------------------------------

    async def test_reply_keeps_the_chunk_contract(self, engine: Engine, new_talk: NewTalk) -> None:
        talk = await new_talk()
        for turn in self.case.turns:
            chunks = await talk.turn(turn)
            assert isinstance(chunks[-1], Finished)
            assert not any(isinstance(chunk, Finished) for chunk in chunks[:-1])
            assert [isinstance(chunk, TranscriptChunk) for chunk in chunks].count(True) <= 1
            running = RunningResponse("r", 1, 10_000_000)
            spoken = 0
            for chunk in chunks:
                message = running.message(chunk)
                if isinstance(message, Speech):
                    assert message.text_span[0] >= spoken, "a span goes back"
                    spoken = message.text_span[1]
            assert running.produced_ms > 0
            assert text_of(chunks)[spoken:].strip() == "", "the last words are not in any speech's span"

    async def test_word_marks_name_words_in_order(self, engine: Engine, new_talk: NewTalk) -> None:
        chunks = await (await new_talk()).turn(self.case.turns[0])
        marks = [mark for chunk in chunks if isinstance(chunk, SpeechChunk) for mark in chunk.marks]
        assert bool(marks) == engine.capabilities.word_marks
        text, end_ms = text_of(chunks), speech_ms(chunks)
        for earlier, later in pairwise(marks):
            assert earlier.text_end <= later.text_start
            assert earlier.start_ms <= later.start_ms
        for mark in marks:
            word = text[mark.text_start : mark.text_end]
            assert word
            assert word == word.strip()
            assert 0 <= mark.start_ms <= mark.end_ms <= end_ms + 1

    async def test_say_speaks_the_given_text(self, new_talk: NewTalk) -> None:
        talk = await new_talk()
        chunks = await talk.reply(GenerateOptions(say="Good morning, dear visitor."))
        assert text_of(chunks) == "Good morning, dear visitor."
        assert speech_ms(chunks) > 500

    async def test_without_speech_a_reply_is_text(self, new_talk: NewTalk) -> None:
        talk = await new_talk()
        await talk.session.update(msgspec.structs.replace(self.case.config, speech=False))
        chunks = await talk.turn(self.case.turns[0])
        assert text_of(chunks)
        assert speech_ms(chunks) == 0

    async def test_the_same_talk_gets_the_same_replies(self, new_talk: NewTalk) -> None:
        one, two = await new_talk(), await new_talk()
        assert await next_outputs(one, self.case.turns) == await next_outputs(two, self.case.turns)

    # Writing --------------------------------------------------------------------------------------------------------

    async def test_rejected_items_change_nothing(self, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        for talk in (subject, control):
            await talk.turn(self.case.turns[0])
            await talk.write(self.case.turns[1][:1])
        for item in self.case.rejected:
            length = subject.session.kv_length
            with pytest.raises(ItemRejected, match=r"\w"):
                await subject.session.streaming_prefill(item)
            assert subject.session.kv_length == length
        for talk in (subject, control):
            await talk.write(self.case.turns[1][1:])
        assert await subject.reply() == await control.reply()
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)

    async def test_every_item_grows_the_context(self, new_talk: NewTalk) -> None:
        talk = await new_talk()
        for item in self.case.turns[0]:
            length = talk.session.kv_length
            await talk.session.streaming_prefill(item)
            assert talk.session.kv_length > length
        assert talk.session.evicted_items == 0

    async def test_a_reply_keeps_units_out_or_takes_them(self, native: bool, new_talk: NewTalk) -> None:
        talk = await new_talk()
        await talk.write(self.case.turns[0])
        if native:
            await talk.reply_until(1)
            await talk.session.streaming_prefill(self.case.turns[1][0])
            return
        generator = talk.session.streaming_generate(GenerateOptions())
        await anext(generator)
        length = talk.session.kv_length
        with pytest.raises(EngineBusy):
            await talk.session.streaming_prefill(self.case.turns[1][0])
        assert talk.session.kv_length == length
        await generator.aclose()

    async def test_update_takes_all_or_nothing(self, engine: Engine, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        bad = msgspec.structs.replace(self.case.config, speech=False, mode="no such mode", instructions="Be brief.")
        with pytest.raises(ConfigRejected, match="no such mode"):
            await subject.session.update(bad)
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)
        with pytest.raises(ConfigRejected):
            await engine.open_session("refused", bad)

    # Marks ----------------------------------------------------------------------------------------------------------

    async def test_rollback_is_exact(self, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        for talk in (subject, control):
            await talk.turn(self.case.turns[0])
        length, mark = subject.session.kv_length, subject.session.mark()
        await subject.turn(self.case.turns[1])
        await subject.write(self.case.turns[2])
        await subject.reply_until(2)
        await subject.session.rollback(mark)
        assert subject.session.kv_length == length
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)

    async def test_marks_can_be_used_again_and_in_any_order(self, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        for talk in (subject, control):
            await talk.turn(self.case.turns[0])
        early = subject.session.mark()
        await subject.turn(self.case.turns[1])
        late = subject.session.mark()
        after_late = await subject.turn(self.case.turns[2])
        for _ in range(2):
            await subject.session.rollback(early)
            await subject.turn(self.case.turns[3])
            await subject.session.rollback(late)
            assert await subject.turn(self.case.turns[2]) == after_late
        await subject.session.rollback(early)
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)

    async def test_rollback_inside_a_turn_is_exact(self, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        first, *rest = self.case.turns[0]
        for talk in (subject, control):
            await talk.write([first])
        mark = subject.session.mark()
        await subject.turn(self.case.turns[1])
        await subject.session.rollback(mark)
        for talk in (subject, control):
            await talk.write(rest)
        assert await subject.reply() == await control.reply()
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)

    async def test_speculative_replies_leave_no_trace(self, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        for talk in (subject, control):
            await talk.turn(self.case.turns[0])
        mark = subject.session.mark()
        for number in range(10):
            await subject.write(self.case.turns[1 + number % 3])
            await subject.reply_until(1 + number)
            await subject.session.rollback(mark)
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)

    # Cancelling -----------------------------------------------------------------------------------------------------

    async def test_cancel_at_every_chunk(self, native: bool, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        for talk in (subject, control):
            await talk.turn(self.case.turns[0])
        full = await control.turn(self.case.turns[1])
        mark = subject.session.mark()
        lengths = set()
        for count in range(1 if native else 0, len(full) + 1):
            await subject.write(self.case.turns[1])
            before, chunks = await subject.reply_until(count)
            assert chunks == full[:count]
            assert await subject.session.keep_heard(before, 0) == Kept("")
            lengths.add(subject.session.kv_length)
            await subject.session.rollback(mark)
        assert len(lengths) == 1, "the context after a cancel depends on the chunk"
        assert await subject.turn(self.case.turns[1]) == full
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)

    async def test_with_nothing_heard_the_turn_stays_open(self, native: bool, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        for talk in (subject, control):
            await talk.write(self.case.turns[0])
        if not native:
            full = await control.reply()
            for count in (0, 2, len(full) - 1, len(full)):
                before, _ = await subject.reply_until(count)
                await subject.session.keep_heard(before, 0)
            assert await subject.reply() == full
            return
        for talk, count in ((subject, 1), (control, 3)):
            before, _ = await talk.reply_until(count)
            await talk.session.keep_heard(before, 0)
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)

    async def test_what_was_heard_is_a_growing_prefix_of_whole_words(self, engine: Engine, new_talk: NewTalk) -> None:
        talk = await new_talk()
        await talk.turn(self.case.turns[0])
        await talk.write(self.case.turns[1])
        before, chunks = await talk.reply_until(None)
        full, end_ms = text_of(chunks), speech_ms(chunks)
        previous = ""
        for ms in [*range(0, end_ms, 60), end_ms, end_ms + 10_000]:
            kept = (await talk.session.keep_heard(before, ms)).text
            assert is_cut_at_a_word(kept, full), f"{ms} ms keep {kept!r}"
            assert kept.startswith(previous)
            previous = kept
        assert previous.strip() == full.strip()
        if engine.capabilities.word_marks:
            await self._check_marks_cut_exactly(talk, before, chunks)

    async def _check_marks_cut_exactly(self, talk: Talk, before: Mark, chunks: list[Chunk]) -> None:
        for mark in [mark for chunk in chunks if isinstance(chunk, SpeechChunk) for mark in chunk.marks]:
            heard = (await talk.session.keep_heard(before, mark.end_ms)).text
            missed = (await talk.session.keep_heard(before, mark.end_ms - 1)).text
            assert len(missed) < mark.text_end <= len(heard)

    async def test_a_reply_cut_short_keeps_no_more_than_was_given(self, native: bool, new_talk: NewTalk) -> None:
        talk = await new_talk()
        full = await talk.turn(self.case.turns[0])
        mark = talk.session.mark()
        await talk.write(self.case.turns[1])
        _, full = await talk.reply_until(None)
        for count in range(1, len(full) + 1):
            await talk.session.rollback(mark)
            await talk.write(self.case.turns[1])
            before, chunks = await talk.reply_until(count)
            kept = await talk.session.keep_heard(before, speech_ms(chunks))
            assert text_of(chunks).startswith(kept.text)
            assert is_cut_at_a_word(kept.text, text_of(full))

    async def test_a_cut_reply_is_replayed_exactly(self, native: bool, new_talk: NewTalk) -> None:
        if native:
            return  # Units written again make a native engine speak again: a gateway replays into turns it holds back.
        subject = await new_talk()
        await subject.write(self.case.turns[0])
        before, full = await subject.reply_until(None)
        assert isinstance(full[-1], Finished)
        for ms in (speech_ms(full) // 3, speech_ms(full) * 2 // 3, None):
            tokens, text = full[-1].engine_tokens, text_of(full)
            if ms is not None:
                kept = await subject.session.keep_heard(before, ms)
                tokens, text = kept.engine_tokens, kept.text
            else:
                await subject.session.rollback(before)
                await subject.reply()
            replayed = await new_talk()
            await replayed.write(self.case.turns[0])
            if text:  # Of which nothing was heard, that was never given.
                await replayed.session.append("assistant", text, tokens)
            assert replayed.session.kv_length == subject.session.kv_length
            mark = subject.session.mark()
            assert await next_outputs(replayed, self.case.turns[1:]) == await next_outputs(subject, self.case.turns[1:])
            await subject.session.rollback(mark)

    async def test_nothing_follows_a_cancel(self, native: bool, new_talk: NewTalk) -> None:
        talk = await new_talk()
        await talk.write(self.case.turns[0])
        before, _ = await talk.reply_until(2)
        await talk.session.keep_heard(before, 0)
        later = await talk.turn(self.case.turns[1])
        await talk.session.rollback(before)
        control = await new_talk()
        if native:
            assert isinstance(later[-1], Finished)
            return
        await control.write([*self.case.turns[0], *self.case.turns[1]])
        assert later == await control.reply()

    # Many at once ---------------------------------------------------------------------------------------------------

    async def test_eight_interleaved_sessions_do_not_touch_each_other(self, new_talk: NewTalk) -> None:
        rotations = [[*self.case.turns[k % 4 :], *self.case.turns[: k % 4]][: 4 - k // 4] for k in range(8)]
        alone = [await next_outputs(await new_talk(), turns) for turns in rotations]
        talks = [await new_talk() for _ in rotations]
        together = await asyncio.gather(
            *(next_outputs(talk, turns) for talk, turns in zip(talks, rotations, strict=True))
        )
        assert together == alone

    async def test_a_paused_reply_holds_nobody_up(self, native: bool, new_talk: NewTalk) -> None:
        paused, other, control = await new_talk(), await new_talk(), await new_talk()
        full = await control.turn(self.case.turns[0])
        await paused.write(self.case.turns[0])
        if native:
            _, begun = await paused.reply_until(1)
            assert await other.turn(self.case.turns[0]) == full
            assert begun == full[:1]
            return
        generator = paused.session.streaming_generate(GenerateOptions())
        begun = [paused.steady(await anext(generator))]
        assert await other.turn(self.case.turns[0]) == full
        rest = [paused.steady(chunk) async for chunk in generator]
        assert [*begun, *rest] == full

    async def test_closed_sessions_leave_nothing(self, engine: Engine, native: bool, new_talk: NewTalk) -> None:
        await new_talk()
        tasks, threads = len(asyncio.all_tasks()), threading.active_count()
        sessions = []
        for number in range(20):
            session = await engine.open_session(f"passing-{number}", self.case.config)
            talk = Talk(session, native, self.case)
            await talk.write(self.case.opening or self.case.turns[0])
            await talk.reply_until(2)
            await session.aclose()
            await session.aclose()
            sessions.append(weakref.ref(session))
        del session, talk
        for _ in range(5):  # The loop closes what the collector finds.
            gc.collect()
            await asyncio.sleep(0)
        assert [session() for session in sessions] == [None] * 20
        assert len(asyncio.all_tasks()) <= tasks
        assert threading.active_count() <= threads

    async def test_an_engine_closes_twice(self, new_talk: NewTalk, engine: Engine) -> None:
        await new_talk()
        await engine.aclose()
        await engine.aclose()
