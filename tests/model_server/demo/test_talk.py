"""Whole talks with the default engine: typed and spoken questions, what it remembers, what it says when it is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
import pytest_asyncio

from model_server.demo.engine import DemoEngine
from model_server.engine import (
    ConfigRejected,
    EngineBusy,
    EngineSession,
    Finished,
    ItemRejected,
    SpeechChunk,
    TextChunk,
    TranscriptChunk,
)
from model_server.protocol import GenerateOptions, PictureItem, SessionConfig, TextItem, Unit
from tests.model_server.demo.samples import BLUE, GREEN, RED, StandingClock, assistant, patient_engine, picture, turn

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTHING = GenerateOptions()
TEXT_ONLY = SessionConfig(seed=3, speech=False)


class Person:
    """Talks with one session."""

    def __init__(self, session: EngineSession) -> None:
        self.session = session
        self.understood = ""
        self.suggestions: tuple[str, ...] = ()

    async def type(self, text: str) -> str:
        await self.session.streaming_prefill(TextItem(text=text))
        return await self.listen()

    async def say(self, text: str) -> str:
        for unit in turn(text):
            await self.session.streaming_prefill(unit)
        return await self.listen()

    async def show(self, *colours: tuple[int, int, int], box: int = 0) -> None:
        pictures = [picture(colour, box=box) for colour in colours]
        await self.session.streaming_prefill(Unit(audio=bytes(32_000), pictures=pictures, voiced=False))

    async def listen(self, options: GenerateOptions = NOTHING) -> str:
        text = ""
        self.understood = ""
        async for chunk in self.session.streaming_generate(options):
            match chunk:
                case TextChunk():
                    text += chunk.text
                case TranscriptChunk():
                    self.understood = chunk.text
                case Finished():
                    self.suggestions = chunk.suggestions
        return text

    async def interrupt(self, text: str, keep_ms: int) -> str:
        """Ask, hear `keep_ms` of the answer, and cut it off."""
        await self.session.streaming_prefill(TextItem(text=text))
        before = self.session.mark()
        speech_ms = 0
        answer = self.session.streaming_generate(NOTHING)
        async for chunk in answer:
            if isinstance(chunk, SpeechChunk):
                speech_ms += len(chunk.pcm) // 48
            if speech_ms > keep_ms:
                break
        await answer.aclose()
        return (await self.session.keep_heard(before, keep_ms)).text


@pytest.fixture(scope="module")
def clock() -> StandingClock:
    return StandingClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(clock: StandingClock) -> AsyncIterator[DemoEngine]:
    engine = patient_engine(clock=clock)
    await engine.start()
    yield engine
    await engine.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def person(engine: DemoEngine) -> Person:
    return Person(await engine.open_session("call", TEXT_ONLY))


def answers_of(intent: str) -> set[str]:
    return {answer for each in assistant().script.intents if each.name == intent for answer in each.answers}


async def test_time_and_date(person: Person) -> None:
    assert "12:05 PM" in await person.type("what time is it")
    assert "Sunday, November 22, 2026" in await person.type("what day is it today?")


async def test_speech_and_text_reach_the_same_answer(person: Person) -> None:
    assert await person.say("who are you") == await person.type("who are you")


async def test_speech_is_transcribed_as_a_sentence(person: Person) -> None:
    await person.say("what can you do")
    assert person.understood == "What can you do?"
    await person.type("what can you do")
    assert person.understood == ""


async def test_what_is_seen(person: Person) -> None:
    assert "camera" in await person.type("what colour do you see")
    await person.show(BLUE)
    await person.show(GREEN, RED)
    assert "red" in await person.type("what colour do you see")
    assert "3 pictures" in await person.type("how many pictures have you seen")


async def test_what_moved_and_since_when(person: Person, clock: StandingClock) -> None:
    await person.show(GREEN, box=20)
    clock.now += timedelta(seconds=5)
    await person.show(GREEN, box=20)
    assert "nothing has moved for 5 seconds" in await person.type("did something move")
    await person.show(GREEN, box=170)
    clock.now += timedelta(seconds=4)
    assert "something has been moving for 4 seconds" in await person.type("did something move")
    await person.show(GREEN, box=170)
    assert "something moved 4 seconds ago" in await person.type("did something move")


async def test_a_picture_that_is_shown_is_answered(person: Person) -> None:
    await person.session.streaming_prefill(PictureItem(jpeg=picture(RED)))
    assert "red" in await person.listen()


async def test_it_remembers_the_call(person: Person, clock: StandingClock) -> None:
    assert "first" in await person.type("what did i ask before")
    clock.now += timedelta(seconds=65)
    assert "1 minute and 5 seconds" in await person.type("how long have we talked")
    assert "How long have we talked?" in await person.type("what did i ask before")
    assert "3 questions" in await person.type("how many questions did i ask")
    joke = await person.type("tell me a joke")
    again = await person.type("say that again")
    assert again == f"I said: {joke}"
    assert await person.type("say that again") == again


async def test_it_counts(person: Person) -> None:
    assert await person.type("count to 5") == "One, two, three, four, five."
    assert (await person.type("count down from three")).startswith("Three, two, one, zero")


async def test_it_repeats(person: Person) -> None:
    assert await person.type("repeat after me: the moon is made of cheese") == "The moon is made of cheese."


async def test_it_knows_what_was_heard_before_it_was_interrupted(engine: DemoEngine) -> None:
    person = Person(await engine.open_session("call", SessionConfig(seed=3)))
    assert "not interrupted" in await person.type("what did you say before i interrupted you")
    heard = await person.interrupt("tell me a story", 3_000)
    story = next(answer for answer in answers_of("story") if answer.startswith(heard))
    assert 10 < len(heard) < 100
    assert story[len(heard)] in " ,.;"
    assert heard in await person.type("what did you say before i interrupted you")


async def test_a_short_interruption_leaves_the_question_open(engine: DemoEngine) -> None:
    person = Person(await engine.open_session("call", SessionConfig(seed=3)))
    assert await person.interrupt("tell me a joke", 0) == ""
    assert await person.listen() in answers_of("joke")


async def test_what_is_not_understood_names_two_sentences(person: Person) -> None:
    answer = await person.type("my bicycle has a flat tyre")
    assert "did not catch that" in answer
    assert answer.count('"') == 4
    assert not person.understood
    assert 3 <= len(person.suggestions) <= 5


async def test_noise_is_not_understood(person: Person) -> None:
    await person.session.streaming_prefill(Unit(audio=b"\x10\x00\xf0\xff" * 8_000, last=True))
    assert "did not catch that" in await person.listen()


async def test_silence_is_greeted_and_then_nudged(person: Person) -> None:
    assert await person.listen() == assistant().script.greeting
    await person.session.streaming_prefill(Unit(audio=bytes(32_000), voiced=False, last=True))
    assert await person.listen() in assistant().script.nothing_said


async def test_it_says_what_it_is_told_to(person: Person) -> None:
    assert await person.listen(GenerateOptions(say=" One moment, please. ")) == "One moment, please."


async def test_the_next_suggestions_can_be_asked(person: Person) -> None:
    seen = set()
    for question in ("tell me a joke", "what time is it", "gibberish", "tell me a story"):
        await person.type(question)
        assert 3 <= len(person.suggestions) <= 5
        seen.add(person.suggestions)
        for sentence in person.suggestions:
            assert "did not catch" not in await Person(person.session).type(sentence)
    assert len(seen) == 4


async def test_speech_after_typed_text_counts(person: Person) -> None:
    await person.session.streaming_prefill(TextItem(text="tell me a joke"))
    assert "Ada" in await person.say("who are you")


async def test_typed_text_survives_speech_that_is_not_understood(person: Person) -> None:
    await person.session.streaming_prefill(TextItem(text="what is your name"))
    await person.session.streaming_prefill(Unit(audio=b"\x10\x00\xf0\xff" * 8_000))
    assert "Ada" in await person.listen()


async def test_an_ear_that_is_late_is_no_answer_lost(clock: StandingClock) -> None:
    engine = DemoEngine(clock=clock, hearing_deadline_s=0)
    await engine.start()
    person = Person(await engine.open_session("call", TEXT_ONLY))
    assert "did not catch that" in await person.say("what can you do")
    await engine.aclose()


async def test_history_is_taken_up(person: Person) -> None:
    length = person.session.kv_length
    await person.session.append("user", "what is your name", b"")
    await person.session.append("assistant", "My name is Ada.", b"")
    await person.session.append("tool", "It rains.", b"")
    assert person.session.kv_length > length
    assert "My name is Ada." in await person.type("say that again")
    with pytest.raises(ItemRejected, match="engine tokens"):
        await person.session.append("assistant", "Hello.", b"garbage")


async def test_bad_items_change_nothing(person: Person) -> None:
    length = person.session.kv_length
    for item in (Unit(audio=bytes(7)), PictureItem(jpeg=b"\xff\xd8\xff no"), TextItem(text=" ")):
        with pytest.raises(ItemRejected):
            await person.session.streaming_prefill(item)
    with pytest.raises(ConfigRejected, match="language"):
        await person.session.update(SessionConfig(language="tlh"))
    assert person.session.kv_length == length
    assert await person.listen() == assistant().script.greeting


async def test_one_answer_at_a_time(person: Person) -> None:
    answer = person.session.streaming_generate(NOTHING)
    await anext(answer)
    with pytest.raises(EngineBusy):
        await anext(person.session.streaming_generate(NOTHING))
    await answer.aclose()


async def test_seeds_decide_the_choice(engine: DemoEngine) -> None:
    jokes = set()
    for seed in range(12):
        config = msgspec.structs.replace(TEXT_ONLY, seed=seed)
        jokes |= {await Person(await engine.open_session("call", config)).type("tell me a joke") for _ in range(2)}
    assert jokes == answers_of("joke")
