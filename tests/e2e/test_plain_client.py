"""Calls of clients that are no browser: plain aiortc, with and without the channel `audio`, against engine doubles."""

from __future__ import annotations

import asyncio
import json

import httpx
import numpy as np
import psutil
import pytest
import pytest_asyncio

from realtime.connection.frames import CAMERA_HEADER, MAX_SLICE_BYTES, PictureKind, PictureSlice, encode_picture_slice
from tests.caller import Caller, calling
from tests.e2e.sounds import spoken
from tests.realtime.images import jpeg_of
from tests.service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENTENCE = "how many seconds did you hear, and what did I show you"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def echo():
    async with running_service("--engine", "echo", "--no-greeting") as service:
        yield service


async def answer(caller: Caller, number: int = 1) -> str:
    """What the assistant's `number`-th response said."""
    await caller.wait(lambda: len(caller.of("response.done")) >= number, f"response {number}", timeout=30)
    done = caller.of("response.done")[number - 1]
    assert done["response"]["status"] == "completed", done
    return str(done["response"]["output"][0]["content"][0]["transcript"])


def send_picture(caller: Caller, kind: PictureKind, jpeg: bytes, number: int = 1) -> None:
    for offset in range(0, len(jpeg), MAX_SLICE_BYTES):
        piece = PictureSlice(kind, number, offset, len(jpeg), jpeg[offset : offset + MAX_SLICE_BYTES])
        caller.channels["camera"].send(encode_picture_slice(piece))


async def metric(service: Service, name: str) -> float:
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{service.url}/metrics")).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def until_free(service: Service, timeout: float = 10) -> None:
    """Until no call is left; the promise is 10 s."""
    async with asyncio.timeout(timeout):
        while await metric(service, "realtime_calls_open"):  # noqa: ASYNC110 - another process has no Event for us
            await asyncio.sleep(0.05)


async def test_typed_words_are_answered_with_text_and_speech(echo: Service):
    async with calling(echo.url) as caller:
        assert caller.of("session.created")[0]["session"]["recording"] is False
        caller.type_in("good morning")
        assert "good morning" in await answer(caller)
        await caller.wait_event("output_audio_buffer.stopped")
        positions = sorted({message.position for message in caller.speech if message.pcm})
        assert positions == list(range(0, 480 * len(positions), 480))
        assert caller.speech[-1].last


async def test_spoken_words_are_a_turn_and_are_answered(echo: Service):
    async with calling(echo.url, mic=spoken(SENTENCE)) as caller:
        said = await answer(caller)
        kinds = [event["type"] for event in caller.events]
        order = ["speech_started", "speech_stopped", "committed"]
        places = [kinds.index(f"input_audio_buffer.{kind}") for kind in order]
        assert places == sorted(places)
        assert places[-1] < kinds.index("response.created")
        assert "heard" in said
        await caller.wait_event("output_audio_buffer.stopped")
        loud = np.concatenate([np.frombuffer(message.pcm, "<i2") for message in caller.speech])
        assert np.abs(loud.astype(int)).max() > 1_000


async def test_a_client_without_the_audio_channel_gets_an_opus_track(echo: Service):
    async with calling(echo.url, mic=spoken(SENTENCE), camera=(220, 20, 20), channels=("oai-events",)) as caller:
        said = await answer(caller)
        await caller.wait(
            lambda: any(np.abs(pcm.astype(int)).max() > 1_000 for pcm in caller.track_pcm), "sound on the track"
        )
        assert "saw 0 pictures" not in said
        await caller.wait_event("output_audio_buffer.stopped")


async def test_stills_of_the_camera_channel_reach_the_engine(echo: Service):
    async with calling(echo.url, mic=spoken(SENTENCE, before_s=1.5)) as caller:
        send_picture(caller, PictureKind.STILL, jpeg_of(1024, 768))
        assert "saw 0 pictures" not in await answer(caller)


async def test_talking_over_the_assistant_stops_it(echo: Service):
    async with calling(echo.url, mic=spoken(SENTENCE)) as caller:
        # What is said over the first half second of an answer goes on with the question.
        await caller.wait(lambda: len(caller.speech) > 40, "most of a second of speech")
        caller.mic.say(spoken("please stop talking now, I have something to say", before_s=0.8))
        cleared = await caller.wait_event("output_audio_buffer.cleared")
        truncated = await caller.wait_event("conversation.item.truncated")
        assert truncated["audio_end_ms"] >= 0
        done = await caller.wait_event("response.done", lambda event: event["response"]["id"] == cleared["response_id"])
        text = done["response"]["output"][0]["content"][0]["transcript"]
        assert text.startswith(truncated["transcript"])
        await caller.wait_event("response.created", lambda event: event["number"] == 2)
        assert caller.loudspeaker.late == []


async def test_a_native_engine_carries_a_call():
    async with (
        running_service("--engine", "native", "--no-greeting") as service,
        calling(service.url, mic=spoken(SENTENCE, before_s=3.0)) as caller,
    ):
        await caller.wait_event("output_audio_buffer.started")
        await caller.wait(lambda: len(caller.of("response.created")) >= 2, "second response", timeout=30)
        created = [event["response"]["id"] for event in caller.of("response.created")]
        assert len(set(created)) == len(created)


BAD_MESSAGES = [
    ("oai-events", "{", "invalid_json"),
    ("oai-events", "[]", "invalid_event"),
    ("oai-events", '{"type": "session.frobnicate"}', "unknown_event"),
    ("oai-events", '{"type": "playback.ack", "response_id": 7}', "invalid_event"),
    ("oai-events", b"\x00\x01", "invalid_event"),
    ("oai-events", json.dumps({"type": "x", "pad": "x" * 1_000_000}), "event_too_large"),
    ("camera", "text", "invalid_picture"),
    ("camera", b"\x01", "invalid_picture"),
    ("camera", CAMERA_HEADER.pack(9, 0, 0, 0, 4) + b"abcd", "invalid_picture"),
    ("camera", CAMERA_HEADER.pack(1, 0, 0, 0, 8) + b"GIF89a??", "invalid_picture"),
    ("camera", CAMERA_HEADER.pack(1, 0, 0, 0, 4_000_000_000) + b"abcd", "invalid_picture"),
]


async def test_bad_messages_get_their_error_and_the_call_goes_on(echo: Service):
    async with calling(echo.url) as caller:
        caller.connection.sctp._remote_max_message_size = 0  # a client that ignores what the answer allows
        for number, (channel, message, code) in enumerate(BAD_MESSAGES, start=1):
            caller.channels[channel].send(message)
            await caller.wait(lambda number=number: len(caller.of("error")) >= number, f"error {code}")
            assert caller.of("error")[-1]["error"]["code"] == code
        truncated = jpeg_of(640, 480)[:-100]
        huge = jpeg_of(64, 48).replace(b"\x00\x30\x00\x40", b"\x4e\x20\x4e\x20", 1)  # its header says 20 000 x 20 000
        for number, jpeg in enumerate((truncated, huge), start=len(BAD_MESSAGES) + 1):
            send_picture(caller, PictureKind.STILL, jpeg, number)
            await caller.wait(lambda number=number: len(caller.of("error")) >= number, "error for a bad picture")
            assert caller.of("error")[-1]["error"]["code"] == "invalid_picture"
        caller.type_in("still there")
        assert "still there" in await answer(caller)


async def test_a_channel_nobody_knows_is_closed_with_an_error(echo: Service):
    async with calling(echo.url, channels=("oai-events", "audio", "telemetry")) as caller:
        await caller.wait_event("error", lambda event: event["error"]["code"] == "unknown_channel")
        await caller.wait(lambda: caller.channels["telemetry"].readyState == "closed", "closed channel")
        caller.type_in("hello")
        assert "hello" in await answer(caller)


async def test_settings_are_updated_and_wrong_ones_refused(echo: Service):
    async with calling(echo.url, extensions=("unit.committed", "no.such.event")) as caller:
        assert caller.of("session.updated")[0]["session"]["extensions"] == ["unit.committed"]
        await caller.wait_event("unit.committed")
        caller.send({"type": "session.update", "session": {"language": "xx"}})
        error = await caller.wait_event("error")
        assert error["error"]["param"] == "session.language"


async def test_a_dead_model_server_costs_a_pause_and_not_the_call():
    async with (
        running_service("--engine", "echo", "--no-greeting") as service,
        calling(service.url, extensions=("session.degraded",)) as caller,
    ):
        caller.type_in("before the accident")
        await answer(caller)
        await caller.wait_event("output_audio_buffer.stopped")
        [child] = psutil.Process(service.process.pid).children()
        child.kill()
        await caller.wait_event("session.degraded")
        caller.type_in("after the accident")
        assert "after the accident" in await answer(caller, 2)


async def test_a_vanished_peer_is_noticed_and_freed(echo: Service):
    async with calling(echo.url, extensions=("ping",), hang_up=False) as caller:
        # The cable is pulled: nothing is sent any more, not even a farewell.
        for transceiver in caller.connection.getTransceivers():
            await transceiver.receiver.transport.transport._connection.close()
        await until_free(echo)


async def test_a_page_that_closes_its_connection_is_freed(echo: Service):
    async with calling(echo.url, hang_up=False) as caller:
        await caller.connection.close()
        await until_free(echo)


async def test_a_hundred_calls_leave_nothing_behind(echo: Service):
    gateway = psutil.Process(echo.process.pid)
    [model_server] = gateway.children()

    async def one_call() -> None:
        async with calling(echo.url, channels=("oai-events", "audio")) as caller:
            caller.type_in("hi")
            await caller.wait_event("response.created")

    async def footprint() -> tuple[int, ...]:
        await until_free(echo)
        tasks = int(await metric(echo, "realtime_tasks"))
        processes = (gateway, model_server)
        return tasks, *(number for each in processes for number in (each.num_threads(), each.num_fds()))

    for _ in range(3):
        await one_call()
    before = await footprint()
    for _ in range(25):
        await asyncio.gather(*(one_call() for _ in range(4)))
    after = await footprint()
    assert all(now <= then + 2 for now, then in zip(after, before, strict=True)), (before, after)
