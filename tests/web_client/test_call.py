"""A call from the page to a gateway double: what goes over the wire, and what the person sees and hears."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from playwright.async_api import FilePayload, Page, expect

from realtime.connection.frames import PictureKind, decode_picture_slice
from realtime.events import CLIENT_EVENT_TYPES, EXTENSIONS, decode_client_event

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TEXT = "one two three four five six seven eight nine ten eleven twelve"


async def place_call(page: Page) -> None:
    await page.locator("#call").click()
    await page.locator("body[data-state=listening]").wait_for()


async def state(page: Page, name: str) -> None:
    await page.locator(f"body[data-state={name}]").wait_for()


async def event(page: Page, kind: str, **fields: Any) -> dict[str, Any]:
    """The first event of the page that fits, now or later."""
    return dict(await page.evaluate("([kind, fields]) => gateway.event(kind, fields)", [kind, fields]))


async def acks(page: Page) -> list[dict[str, Any]]:
    return list(await page.evaluate("() => gateway.events.filter((event) => event.type === 'playback.ack')"))


async def speak(page: Page, number: int, samples: int) -> None:
    """A response of a tone, complete from the gateway's side."""
    await page.evaluate(
        "([number, samples, text]) => {"
        " gateway.respond(number, text); gateway.speak(number, samples); gateway.done(number); }",
        [number, samples, TEXT],
    )


async def test_the_call_opens_with_what_the_gateway_needs(caller: Page) -> None:
    await place_call(caller)
    update = await event(caller, "session.update")
    assert set(update["session"]["extensions"]) <= EXTENSIONS
    assert {"ping", "response.output_audio_transcript.times"} <= set(update["session"]["extensions"])
    media = await event(caller, "media.state")
    assert (media["microphone"], media["camera"]) == ("live", "live")
    assert await caller.evaluate("gateway.labels.toSorted()") == ["audio", "camera", "oai-events"]
    wishes = {"oai-events": {}, "camera": {}, "audio": {"ordered": False, "maxPacketLifeTime": 250}}
    assert await caller.evaluate("gateway.wishes") == wishes
    assert await caller.evaluate("gateway.microphone.kind") == "audio"
    (request,) = await caller.evaluate("gateway.requests")
    assert request["headers"]["Content-Type"] == "application/sdp"
    assert await caller.evaluate("__call.connectedMs") > 0


async def test_every_event_of_the_page_is_one_the_gateway_takes(caller: Page) -> None:
    await place_call(caller)
    await speak(caller, 1, 12_000)
    await event(caller, "playback.ack", final=True)
    await caller.evaluate("gateway.send({type: 'ping', nonce: 7})")
    await event(caller, "pong", nonce=7)
    await caller.locator("#sentence").fill("hello")
    await caller.keyboard.press("Enter")
    await event(caller, "response.create")
    said = await caller.evaluate("gateway.events.map((event) => JSON.stringify(event))")
    kinds = {type(decode_client_event(text)).__struct_config__.tag for text in said}
    wanted = {
        "session.update",
        "media.state",
        "playback.ack",
        "pong",
        "conversation.item.create",
        "response.create",
        "typing",
    }
    assert kinds == wanted
    assert wanted <= CLIENT_EVENT_TYPES


async def test_speech_is_played_and_reported_to_its_end(caller: Page) -> None:
    await place_call(caller)
    await speak(caller, 1, 24_000)
    await state(caller, "speaking")
    last = await event(caller, "playback.ack", final=True)
    assert last["played_ms"] == 1000
    reports = await acks(caller)
    played = [report["played_ms"] for report in reports]
    assert played == sorted(played)
    assert len(reports) >= 5
    assert [report["final"] for report in reports].count(True) == 1
    assert {report["response_id"] for report in reports} == {"resp_1"}
    await state(caller, "listening")
    assert await caller.evaluate("__call.captions") == [{"who": "assistant", "text": TEXT, "cut": False}]
    assert await caller.evaluate("__call.loopbackStream.getAudioTracks().length") == 1
    measured = await caller.evaluate("__call.loopbackMs")
    assert 10 < measured < 600


async def test_captions_wait_for_the_loudspeaker(caller: Page) -> None:
    await place_call(caller)
    await caller.evaluate("(text) => { gateway.respond(1, text); gateway.speak(1, 9600, {last: false}); }", TEXT)
    words = [[0, 3, 0, 100], [4, 7, 100, 200], [8, 13, 900, 1000]]
    times = {"type": "response.output_audio_transcript.times", "response_id": "resp_1", "words": words}
    await caller.evaluate("(event) => gateway.send(event)", times)
    await expect(caller.locator("#captions .line-assistant")).to_have_text("one two")
    await event(caller, "playback.ack", buffered_ms=0)
    assert await caller.evaluate("__call.captions[0].text") == "one two"


async def test_a_cleared_response_is_silent_reported_once_and_cut(caller: Page) -> None:
    await place_call(caller)
    await speak(caller, 1, 72_000)
    await state(caller, "speaking")
    await event(caller, "playback.ack")
    await caller.evaluate("gateway.send({type: 'output_audio_buffer.cleared', response_id: 'resp_1'})")
    last = await event(caller, "playback.ack", final=True)
    assert 0 <= last["played_ms"] < 3000
    assert await caller.evaluate("document.getElementById('speaker').muted")
    kept = {"type": "conversation.item.truncated", "item_id": "item_1", "audio_end_ms": 300, "transcript": "one two"}
    await caller.evaluate("(event) => gateway.send(event)", kept)
    await expect(caller.locator("#captions .line-assistant")).to_have_text("one two—cut off")
    await state(caller, "interrupted")
    await state(caller, "listening")
    await speak(caller, 2, 12_000)
    assert (await event(caller, "playback.ack", final=True, response_id="resp_2"))["played_ms"] == 500
    assert not await caller.evaluate("document.getElementById('speaker').muted")
    finals = [report["response_id"] for report in await acks(caller) if report["final"]]
    assert finals == ["resp_1", "resp_2"]


@pytest.mark.parametrize("how", ["stop", "escape", "orb"])
async def test_the_person_stops_the_assistant(caller: Page, how: str) -> None:
    await place_call(caller)
    await speak(caller, 1, 72_000)
    await state(caller, "speaking")
    if how == "escape":
        await caller.keyboard.press("Escape")
    else:
        await caller.locator(f"#{how}").click()
    await event(caller, "output_audio_buffer.clear")
    await event(caller, "playback.ack", final=True, response_id="resp_1")
    await state(caller, "interrupted")
    assert await caller.evaluate("document.getElementById('speaker').muted")


async def test_a_typed_sentence_interrupts_and_asks(caller: Page) -> None:
    await place_call(caller)
    await speak(caller, 1, 72_000)
    await state(caller, "speaking")
    await caller.locator("#sentence").fill("what is that")
    await caller.locator("#send").click()
    await event(caller, "response.create")
    kinds = [kind for kind in await caller.evaluate("gateway.events.map((e) => e.type)") if kind != "media.state"]
    order = ["output_audio_buffer.clear", "conversation.item.create", "response.create"]
    assert [kind for kind in kinds if kind in order] == order
    item = (await event(caller, "conversation.item.create"))["item"]
    assert item["content"] == [{"type": "input_text", "text": "what is that"}]
    await state(caller, "thinking")
    assert (await caller.evaluate("__call.captions.at(-1)"))["text"] == "what is that"


async def test_a_tapped_suggestion_is_said_even_from_rest(caller: Page) -> None:
    await caller.locator("#suggestions button", has_text="What time is it?").click()
    item = (await event(caller, "conversation.item.create"))["item"]
    assert item["content"][0]["text"] == "What time is it?"
    await caller.locator("#suggestions button", has_text="Say this").click()
    await caller.evaluate(
        "gateway.until(() => gateway.events.filter((e) => e.type === 'response.create').length === 2)"
    )


async def test_a_pause_holds_the_words_and_resumes(caller: Page) -> None:
    await place_call(caller)
    await speak(caller, 1, 24_000)
    await state(caller, "speaking")
    await caller.evaluate("gateway.send({type: 'output_audio_buffer.paused', response_id: 'resp_1'})")
    await state(caller, "listening")
    await caller.evaluate("gateway.send({type: 'output_audio_buffer.resumed', response_id: 'resp_1'})")
    await state(caller, "speaking")
    assert (await event(caller, "playback.ack", final=True))["played_ms"] == 1000


async def test_a_hold_says_the_word_again_in_which_it_fell_silent(caller: Page) -> None:
    await place_call(caller)
    await speak(caller, 1, 72_000)
    await caller.evaluate("gateway.until(() => __call.player.playedMs > 2500)")
    await caller.evaluate("gateway.send({type: 'output_audio_buffer.paused', response_id: 'resp_1'})")
    await state(caller, "listening")
    await caller.evaluate("gateway.send({type: 'output_audio_buffer.resumed', response_id: 'resp_1', from_ms: 300})")
    await state(caller, "speaking")
    assert (await event(caller, "playback.ack", final=True))["played_ms"] == 3000
    played = [ack["played_ms"] for ack in await acks(caller)]
    assert any(later < before for before, later in itertools.pairwise(played))


async def test_where_it_is_too_loud_the_person_taps_to_talk(caller: Page) -> None:
    await place_call(caller)
    await caller.evaluate("gateway.send({type: 'session.degraded', reason: 'hands_free', message: 'It is loud here.'})")
    notice = caller.locator("#notices .notice", has_text="It is loud here.")
    await notice.locator("button", has_text="Tap to talk").click()
    await expect(caller.locator("#mute-label")).to_have_text("Talk")
    await expect(caller.locator("#state-word")).to_have_text("Tap to talk")
    await expect(notice).to_have_count(0)
    await speak(caller, 1, 48_000)
    await state(caller, "speaking")
    await caller.locator("#mute").click()
    await event(caller, "output_audio_buffer.clear")
    await expect(caller.locator("#mute-label")).to_have_text("Done")
    await caller.locator("#mute").click()
    await expect(caller.locator("#mute-label")).to_have_text("Talk")
    await event(caller, "input_audio_buffer.commit")
    await event(caller, "response.create")


async def test_turns_are_taken_by_tapping_where_that_is_chosen(caller: Page) -> None:
    await caller.locator("#settings-button").click()
    await caller.locator("#choose-turns").select_option("tap")
    await caller.keyboard.press("Escape")
    await place_call(caller)
    await expect(caller.locator("#mute-label")).to_have_text("Talk")
    assert await asked_turns(caller) == [None]
    await caller.locator("#settings-button").click()
    await expect(caller.locator("#choose-turns")).to_have_value("tap")
    await caller.locator("#choose-turns").select_option("talk")
    await expect(caller.locator("#mute-label")).to_have_text("Mute")
    assert await asked_turns(caller) == [None, {"type": "semantic_vad"}]


async def asked_turns(caller: Page) -> list[object]:
    said = await caller.evaluate("gateway.events.filter((event) => 'turn_detection' in (event.session ?? {}))")
    return [update["session"]["turn_detection"] for update in said]


async def test_speech_that_overtakes_its_announcement_is_reported(caller: Page) -> None:
    await place_call(caller)
    await caller.evaluate("gateway.speak(1, 12000)")
    await caller.evaluate("gateway.until(() => __call.player.playedMs > 100)")
    await caller.evaluate("gateway.respond(1, 'hi')")
    assert (await event(caller, "playback.ack", final=True))["played_ms"] == 500


async def test_a_reply_cancelled_before_it_sounds_leaves_nothing(caller: Page) -> None:
    await place_call(caller)
    await caller.evaluate(
        "gateway.send({type: 'response.created', response: {id: 'r', status: 'in_progress'}, number: 1})"
    )
    await state(caller, "thinking")
    delta = {"type": "response.output_audio_transcript.delta", "response_id": "r", "item_id": "i", "delta": "Never"}
    await caller.evaluate("(event) => gateway.send(event)", delta)
    await caller.evaluate("gateway.send({type: 'response.done', response: {id: 'r', status: 'cancelled', output: []}})")
    await state(caller, "listening")
    assert await caller.evaluate("__call.captions") == []


async def test_stills_of_the_camera_arrive_as_small_jpeg_files(caller: Page) -> None:
    await place_call(caller)
    slices = await caller.evaluate(
        "gateway.until(() => gateway.pictures.length && gateway.pictures.map((p) => [...p]))"
    )
    first = decode_picture_slice(bytes(slices[0]))
    assert first.kind == PictureKind.STILL
    assert first.total <= 80_000
    assert first.data[:3] == b"\xff\xd8\xff"


async def test_a_shown_picture_arrives_whole(caller: Page) -> None:
    await caller.locator("#camera").click()
    await place_call(caller)
    png = await caller.evaluate(
        "async () => { const canvas = Object.assign(document.createElement('canvas'), {width: 900, height: 600});"
        " canvas.getContext('2d').fillRect(0, 0, 900, 600);"
        " const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));"
        " return [...new Uint8Array(await blob.arrayBuffer())]; }"
    )
    file: FilePayload = {"name": "red.png", "mimeType": "image/png", "buffer": bytes(png)}
    await caller.locator("#picture-file").set_input_files(file)
    await expect(caller.locator("#captions .line-picture")).to_have_text("You showed a picture")
    slices = await caller.evaluate("gateway.pictures.map((p) => [...p])")
    pieces = [decode_picture_slice(bytes(data)) for data in slices]
    assert {piece.kind for piece in pieces} == {PictureKind.SHOWN}
    whole = b"".join(piece.data for piece in pieces)
    assert len(whole) == pieces[0].total
    assert whole[:2] == b"\xff\xd8"


async def test_what_is_no_picture_is_said_in_words(caller: Page) -> None:
    await place_call(caller)
    file: FilePayload = {"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"}
    await caller.locator("#picture-file").set_input_files(file)
    await expect(caller.locator("#notices")).to_contain_text("This picture could not be shown")


async def test_mute_is_told_and_silences_the_warning_about_silence(caller: Page) -> None:
    await place_call(caller)
    await caller.evaluate("gateway.send({type: 'input.silent', ms: 3000})")
    await expect(caller.locator("#notices")).to_contain_text("Your microphone delivers only silence")
    await caller.locator("#mute").click()
    await event(caller, "media.state", microphone="muted")
    await expect(caller.locator("#notices")).to_be_empty()
    await expect(caller.locator("#state-word")).to_have_text("You are muted")
    await caller.locator("#mute").click()
    await expect(caller.locator("#state-word")).to_have_text("Listening")


async def test_the_camera_goes_off_and_on(caller: Page) -> None:
    await place_call(caller)
    await caller.locator("#camera").click()
    await event(caller, "media.state", camera="off")
    await expect(caller.locator("#self-view")).to_be_hidden()
    await caller.locator("#camera").click()
    await expect(caller.locator("#self-view")).to_be_visible()


async def test_hanging_up_frees_everything(caller: Page) -> None:
    await place_call(caller)
    await caller.locator("#hangup").click()
    await state(caller, "idle")
    request = await caller.evaluate("gateway.until(() => gateway.requests.find((r) => r.method === 'DELETE'))")
    assert request["path"] == "/v1/realtime/calls/call_1"
    assert request["headers"] == {"Authorization": "Call s3cret"}
    assert await caller.evaluate("document.getElementById('speaker').srcObject") is None
    assert await caller.evaluate("document.getElementById('camera-view').srcObject") is None
    await place_call(caller)


async def test_the_gateway_hangs_up(caller: Page) -> None:
    await place_call(caller)
    await caller.evaluate("gateway.hangUp()")
    await expect(caller.locator("#state-word")).to_have_text("The call has ended")
    await expect(caller.locator("#call")).to_have_text("Call again")
    await place_call(caller)


async def test_a_gateway_that_falls_silent_is_noticed(caller: Page) -> None:
    await place_call(caller)
    await caller.evaluate("gateway.send({type: 'ping', nonce: 1})")
    await event(caller, "pong")
    await caller.evaluate(
        "() => { const now = performance.now.bind(performance); performance.now = () => now() + 5100; }"
    )
    await expect(caller.locator("#state-word")).to_have_text("The connection was lost")
    await caller.evaluate("gateway.until(() => gateway.requests.find((r) => r.method === 'DELETE'))")


TRACK = (
    "() => { const context = new AudioContext(); const destination = context.createMediaStreamDestination();"
    " new OscillatorNode(context).connect(destination); gateway.track = destination.stream.getAudioTracks()[0]; }"
)


async def test_speech_as_a_track_on_request(caller: Page) -> None:
    await caller.goto(caller.url + "?audio=track")
    await caller.evaluate(TRACK)
    await place_call(caller)
    assert await caller.evaluate("gateway.labels.toSorted()") == ["camera", "oai-events"]
    assert await caller.evaluate("document.getElementById('speaker').srcObject.getAudioTracks().length") == 1
    await caller.evaluate("gateway.respond(1, 'one two three')")
    await state(caller, "speaking")
    await caller.evaluate("gateway.send({type: 'output_audio_buffer.stopped', response_id: 'resp_1'})")
    await state(caller, "listening")
    assert await caller.evaluate("__call.captions") == [{"who": "assistant", "text": "one two three", "cut": False}]
    assert await acks(caller) == []


async def test_without_a_loopback_connection_the_speech_comes_as_a_track(caller: Page) -> None:
    await caller.evaluate(TRACK)
    broken = "() => { AudioContext.prototype.createMediaStreamDestination = () => { throw new Error('none'); }; }"
    await caller.evaluate(broken)
    await place_call(caller)
    assert await caller.evaluate("__call.speech") == "track"
    assert await caller.evaluate("document.getElementById('speaker').srcObject.getAudioTracks().length") == 1


async def test_the_keyboard_stays_on_the_call_button_through_a_call(caller: Page) -> None:
    await caller.locator("#call").press("Enter")
    await state(caller, "listening")
    assert await caller.evaluate("document.activeElement.id") == "hangup"
    await caller.keyboard.press("Enter")
    await state(caller, "idle")
    assert await caller.evaluate("document.activeElement.id") == "call"


async def test_what_the_gateway_says_in_no_known_form_changes_nothing(caller: Page) -> None:
    await place_call(caller)
    await caller.evaluate("['no json', '[]', 'null', '{}'].forEach((t) => gateway.channels['oai-events'].send(t))")
    await caller.evaluate("gateway.channels.audio.send(new ArrayBuffer(5))")
    await caller.evaluate("gateway.send({type: 'ping', nonce: 3})")
    await event(caller, "pong", nonce=3)
    assert await caller.evaluate("__call.state") == "listening"


async def test_a_call_that_is_recorded_says_so_until_it_is_not(caller: Page) -> None:
    sign = caller.locator("#recording")
    await expect(sign).to_be_hidden()
    await caller.evaluate("gateway.session.recording = true")
    await place_call(caller)
    await expect(sign).to_be_visible()
    await caller.evaluate("gateway.send({type: 'session.updated', session: {...gateway.session, recording: false}})")
    await expect(sign).to_be_hidden()
