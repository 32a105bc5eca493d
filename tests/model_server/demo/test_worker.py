from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence

import pytest

from model_server.demo.ear import Ear
from model_server.demo.grammar import build
from model_server.demo.voice import Voice
from model_server.demo.voice_messages import Manner
from model_server.demo.worker import MOST_WAITING, NoAnswer
from model_server.engine import EngineFailed
from tests.model_server.demo.samples import assistant, turn

PATIENCE_S = 30.0
GRAMMAR = build(["stop"], {})
READY = """
import sys
from model_server.demo.pipe import Ready, frame
sys.stdout.buffer.write(frame(Ready())); sys.stdout.buffer.flush()
"""


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


DEAF = python(READY + "sys.stdin.buffer.read()")
DYING = python(READY + "sys.stdin.buffer.read(5)")
GARBAGE = python(
    "import sys; sys.stdout.buffer.write(b'\\1\\0\\0\\0x' * 9); sys.stdout.buffer.flush(); sys.stdin.read()"
)
HUGE = python("import sys; sys.stdout.buffer.write(b'\\xff' * 9); sys.stdout.buffer.flush(); sys.stdin.read()")
GONE = python("")


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    ear = Ear(assistant().grammar, hung_s=PATIENCE_S)
    await ear.start()
    yield ear
    await ear.aclose()


def alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


async def heard(ear: Ear, text: str) -> list[str]:
    pieces = [unit.audio for unit in turn(text)]
    return [sentence.text for sentence in await ear.finish("call", pieces, PATIENCE_S)]


async def test_hears_a_turn_at_once_or_as_it_grows(ear: Ear) -> None:
    pieces = [unit.audio for unit in turn("what can you do")]
    at_once = await ear.finish("one", pieces, PATIENCE_S)
    for count in range(1, len(pieces)):
        ear.follow("two", pieces[:count])
    assert await ear.finish("two", pieces, PATIENCE_S) == at_once
    assert [sentence.text for sentence in at_once] == ["what can you do"]


async def test_a_worker_is_idle_when_it_owes_nothing() -> None:
    ear = Ear(GRAMMAR, DEAF, hung_s=PATIENCE_S)
    assert not ear.worker.idle
    await ear.start()
    assert ear.worker.idle
    waiting = asyncio.create_task(ear.finish("call", [bytes(320)], PATIENCE_S))
    await asyncio.sleep(0)
    assert not ear.worker.idle
    await ear.aclose()
    with pytest.raises(NoAnswer, match="the ear ended"):
        await waiting
    assert not ear.worker.idle


async def test_a_killed_ear_is_replaced(ear: Ear) -> None:
    first = ear.worker.process_id
    assert first is not None
    waiting = asyncio.create_task(heard(ear, "who are you"))
    await asyncio.sleep(0)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(NoAnswer, match="the ear ended"):
        await waiting
    await ear.start()
    assert await heard(ear, "what can you do") == ["what can you do"]
    assert ear.worker.process_id != first


async def test_an_ear_that_is_closed_leaves_no_process() -> None:
    ear = Ear(GRAMMAR)
    await ear.start()
    process_id = ear.worker.process_id
    assert process_id is not None
    await ear.aclose()
    await ear.aclose()
    assert not alive(process_id)


async def test_an_ear_can_be_closed_while_it_starts() -> None:
    ear = Ear(GRAMMAR)
    starting = asyncio.create_task(ear.start())
    await asyncio.sleep(0)
    await ear.aclose()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert ear.worker.process_id is None


async def test_an_answer_has_a_deadline() -> None:
    ear = Ear(GRAMMAR, DEAF)
    await ear.start()
    with pytest.raises(NoAnswer, match="no answer within 10 ms"):
        await ear.finish("call", [b"\0\0"], 0.01)
    await ear.aclose()


async def test_an_ear_that_hangs_is_replaced() -> None:
    ear = Ear(GRAMMAR, DEAF, hung_s=0.01)
    await ear.start()
    first = ear.worker.process_id
    with pytest.raises(NoAnswer, match="the ear ended"):
        await ear.finish("call", [b"\0\0"], PATIENCE_S)
    await ear.start()
    assert ear.worker.process_id not in (None, first)
    await ear.aclose()


async def test_an_ear_that_dies_owes_nothing() -> None:
    ear = Ear(GRAMMAR, DYING)
    await ear.start()
    with pytest.raises(NoAnswer, match=r"the ear (ended|is starting again)"):
        await ear.finish("call", [b"\0\0"], PATIENCE_S)
    await ear.aclose()


async def test_only_so_many_turns_wait() -> None:
    ear = Ear(GRAMMAR, DEAF)
    await ear.start()
    waiting = [asyncio.create_task(ear.finish("call", [b"\0\0"], PATIENCE_S)) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(NoAnswer, match=f"{MOST_WAITING} questions wait"):
        await ear.finish("call", [b"\0\0"], PATIENCE_S)
    await ear.aclose()
    assert [type(answer) for answer in await asyncio.gather(*waiting, return_exceptions=True)] == [
        NoAnswer
    ] * MOST_WAITING


@pytest.mark.parametrize("command", [GARBAGE, HUGE, GONE, python("import sys; sys.exit(3)")])
async def test_a_process_that_is_no_ear_fails_the_start(command: Sequence[str]) -> None:
    ear = Ear(GRAMMAR, command)
    with pytest.raises(EngineFailed, match="the ear did not start"):
        await ear.start()
    assert ear.worker.process_id is None
    await ear.aclose()


async def test_the_same_sentence_always_sounds_the_same() -> None:
    voice = Voice(Manner())
    await voice.start()
    first = await voice.speak("Hello there, how are you today?")
    await voice.speak("Something else is said in between.")
    again = await voice.speak("Hello there, how are you today?")
    assert (first.pcm, first.words) == (again.pcm, again.words)
    await voice.aclose()


async def test_a_voice_that_is_killed_speaks_again() -> None:
    voice = Voice(Manner())
    await voice.start()
    process_id = voice.worker.process_id
    assert process_id is not None
    os.kill(process_id, signal.SIGKILL)
    assert len((await voice.speak("I am back.")).pcm) > 10_000
    await voice.aclose()


async def test_a_voice_that_stays_dead_fails() -> None:
    voice = Voice(Manner(), DYING)
    await voice.start()
    with pytest.raises(EngineFailed, match="the voice"):
        await voice.speak("Hello.")
    await voice.aclose()


async def test_an_unknown_voice_fails_the_start() -> None:
    voice = Voice(Manner(voice="nobody"))
    with pytest.raises(EngineFailed, match="the voice did not start"):
        await voice.start()
    await voice.aclose()
