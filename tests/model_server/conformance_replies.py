"""What a reply of any engine is made of, and that equal talks get equal replies."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from model_server.engine import Engine, Finished, SpeechChunk, TranscriptChunk
from model_server.protocol import GenerateOptions, Speech
from model_server.speaking import RunningResponse
from tests.model_server.conformance_talk import EngineRules, NewTalk, next_outputs, speech_ms, text_of


class ReplyRules(EngineRules):
    """What a reply is."""

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
