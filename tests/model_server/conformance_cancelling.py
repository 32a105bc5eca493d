"""What stays of a reply that was cut: what was heard, in whole words, and nothing else."""

from __future__ import annotations

from model_server.engine import Chunk, Engine, Finished, Kept, Mark, SpeechChunk
from tests.model_server.conformance_talk import (
    EngineRules,
    NewTalk,
    Talk,
    is_cut_at_a_word,
    next_outputs,
    speech_ms,
    text_of,
)


class CancellingRules(EngineRules):
    """Cutting a reply."""

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
