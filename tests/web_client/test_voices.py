"""The person chooses who the assistant is and in which voice it speaks, one of its own or one that they bring."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.web_client.test_call import event, place_call

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_voice_is_chosen_and_remembered_for_the_next_call(caller: Page) -> None:
    await caller.locator("#settings-button").click()
    await expect(caller.locator("#voice-choice")).to_be_hidden()
    await caller.keyboard.press("Escape")
    await caller.evaluate("gateway.session.capabilities.voices = ['warm', 'very_calm']")
    await place_call(caller)
    await caller.locator("#settings-button").click()
    names = caller.locator("#choose-voice option")
    await expect(names).to_have_text(["The usual one", "warm", "very calm"])
    await caller.locator("#choose-voice").select_option("very_calm")
    assert (
        await caller.evaluate(
            "gateway.until(() => gateway.events.filter((e) => e.type === 'session.update').at(-1)?.session.voice)"
        )
        == "very_calm"
    )
    await caller.keyboard.press("Escape")
    await caller.locator("#hangup").click()
    await caller.evaluate("gateway.events.length = 0")
    await place_call(caller)
    assert await event(caller, "session.update")
    assert await caller.evaluate("gateway.until(() => gateway.events.find((e) => e.session?.voice === 'very_calm'))")


async def settings(page: Page) -> None:
    await page.locator("#settings-button").click()


async def chosen(page: Page, **session: str) -> None:
    """Wait until the page has asked for exactly these settings last."""
    await page.evaluate(
        """(wanted) => gateway.until(() => {
          const asked = gateway.events.filter((e) => e.type === "session.update" && !e.session.extensions).at(-1);
          return JSON.stringify(asked?.session) === JSON.stringify(wanted);
        }, JSON.stringify(wanted))""",
        session,
    )


async def updated(page: Page, **session: Any) -> None:
    await page.evaluate("(session) => gateway.send({ type: 'session.updated', session })", session)


def clip(name: str = "aunt.wav", size: int = 1000, kind: str = "audio/wav") -> Any:
    return {"name": name, "mimeType": kind, "buffer": b"x" * size}


async def test_a_clip_is_brought_in_a_call_and_spoken_with(caller: Page) -> None:
    await settings(caller)
    await expect(caller.locator("#clip-choice")).to_be_hidden()
    await caller.keyboard.press("Escape")
    await caller.evaluate("gateway.session.capabilities.voice_clips = true")
    await place_call(caller)
    await expect(caller.locator("#manner")).to_have_text("Voice: the usual one")
    await expect(caller.get_by_label("Voice of the assistant").locator("option")).to_have_text(["The usual one"])
    await settings(caller)
    async with caller.expect_file_chooser() as opened:
        await caller.get_by_role("button", name="Bring a voice").press("Enter")
    await (await opened.value).set_files(clip())
    await expect(caller.locator("#choose-voice")).to_have_value(":own")
    await expect(caller.locator("#clip-word")).to_have_text(
        "From its next answer on the assistant speaks as in aunt.wav."
    )
    assert await caller.evaluate("gateway.clips") == [
        {"Authorization": "Call s3cret", "name": "aunt.wav", "size": 1000}
    ]
    await chosen(caller, voice="voice_1")
    await updated(caller, voice="voice_1")
    await expect(caller.locator("#manner")).to_have_text("Voice: your clip")
    await caller.locator("#choose-voice").select_option("")
    await chosen(caller, voice="")
    await caller.locator("#choose-voice").select_option(":own")
    await chosen(caller, voice="voice_1")
    assert await caller.evaluate("gateway.clips.length") == 1, "it was there already"


async def test_a_clip_chosen_before_a_call_is_brought_when_it_begins_and_again_to_the_next(caller: Page) -> None:
    await caller.evaluate("gateway.session.capabilities.voice_clips = true")
    await place_call(caller)
    await caller.locator("#hangup").click()
    await settings(caller)
    await caller.locator("#voice-file").set_input_files(clip())
    await expect(caller.locator("#clip-word")).to_have_text("The next call begins with aunt.wav.")
    assert await caller.evaluate("gateway.clips") == []
    await caller.keyboard.press("Escape")
    for calls in (1, 2):
        await place_call(caller)
        await chosen(caller, voice="voice_1")
        assert await caller.evaluate("gateway.clips.length") == calls
        await caller.locator("#hangup").click()
        await caller.evaluate("gateway.events.length = 0")
    assert await caller.evaluate("localStorage.getItem('voice')") is None


REFUSALS: list[tuple[dict[str, Any], str]] = [
    (
        {"status": 422, "error": {"code": "invalid_voice", "message": "a clip has 1 to 30 s, got 0.2 s: record more"}},
        "This clip cannot be used: a clip has 1 to 30 s, got 0.2 s: record more.",
    ),
    (
        {
            "status": 422,
            "error": {"code": "invalid_voice", "message": "expected sound, got a file that begins with 47 49"},
        },
        "This clip cannot be used: expected sound.",
    ),
    ({"status": 413, "error": {"code": "clip_too_large", "message": "bytes"}}, "larger than 5 MB"),
    ({"status": 409, "error": {"code": "too_many_voices", "message": "4"}}, "as many clips as it may have"),
    ({"status": 502}, "The clip did not get through. Try again."),
]


async def test_a_clip_that_is_not_taken_is_said_where_it_was_brought(caller: Page) -> None:
    await caller.evaluate("gateway.session.capabilities.voice_clips = true")
    await place_call(caller)
    await settings(caller)
    for answer, says in REFUSALS:
        await caller.evaluate("(answer) => { gateway.clipAnswer = answer; }", answer)
        await caller.locator("#voice-file").set_input_files(clip())
        await expect(caller.locator("#clip-word[data-problem]")).to_contain_text(says)
        await expect(caller.locator("#choose-voice")).to_have_value("")
    await expect(caller.locator("#clip-word")).to_have_role("status")
    await chosen(caller, voice="")
    await caller.locator("#voice-file").set_input_files(clip("memo.m4a", kind="audio/mp4"))
    await expect(caller.locator("#clip-word[data-problem]")).to_contain_text("memo.m4a is no WAV")
    assert await caller.evaluate("gateway.clips.length") == len(REFUSALS), "what is no clip is not sent"


async def test_what_is_no_clip_is_known_before_it_is_sent(blank: Page) -> None:
    looked = """async (files) => {
      const { clipProblem } = await import("/manner.js");
      return files.map(([name, size]) => clipProblem({ name, size }));
    }"""
    most = 5 * 1024 * 1024
    good = [["a.WAV", 10], ["a.b.flac", 10], ["a.mp3", most], ["a.ogg", 1], ["a.opus", 1], ["recording", 10]]
    assert await blank.evaluate(looked, good) == [""] * len(good)
    words = await blank.evaluate(looked, [["a.m4a", 10], ["a.mp3", most + 1], ["a.wav", 0]])
    assert [word.split(".")[1] for word in words] == [
        "m4a is no WAV, FLAC, MP3 or OGG file",
        "mp3 is larger than 5 MB",
        "wav is empty",
    ]


async def test_persona_and_language_are_chosen_and_remembered(caller: Page) -> None:
    personas = [{"id": "desk", "name": "Museum desk", "instructions": "You sit at a desk."}]
    await caller.route("**/v1/config", lambda route: route.fulfill(json={"personas": personas}))
    await caller.reload()
    await caller.evaluate("gateway.session.capabilities.languages = ['en', 'zh']")
    await place_call(caller)
    await settings(caller)
    await expect(caller.get_by_label("Language of the assistant").locator("option")).to_have_text(
        ["The usual one", "English", "Chinese"]
    )
    await caller.get_by_label("Who the assistant is").select_option("Museum desk")
    await chosen(caller, instructions="You sit at a desk.")
    await updated(caller, instructions="You sit at a desk.")
    await expect(caller.locator("#manner")).to_have_text("Museum desk")
    await caller.get_by_label("Language of the assistant").select_option("Chinese")
    await chosen(caller, language="zh")
    await caller.keyboard.press("Escape")
    await caller.locator("#hangup").click()
    await expect(caller.locator("#manner")).to_be_hidden()
    await caller.evaluate("gateway.events.length = 0")
    await place_call(caller)
    await chosen(caller, instructions="You sit at a desk.", language="zh")
    await settings(caller)
    await caller.get_by_label("Who the assistant is").select_option("")
    await chosen(caller, instructions="")
