"""The player worklet: placement, concealment, flush, pause, position; rendered offline by Chromium's audio engine."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from playwright.async_api import Page

from tests.web_client.worklet import MESSAGE, SPEECH_RATE, Script, expected, speech, tone

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

HALF_SECOND = tone(SPEECH_RATE // 2)
FADED_S = 0.005 + 128 / 48_000 + 0.001
"""After so long a flushed or paused sound is gone: the fade, one quantum, the filter."""


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound**2)))


@pytest.mark.parametrize("rate", [48_000, 44_100, 24_000, 16_000])
async def test_speech_comes_out_as_it_was_at_any_rate(blank: Page, rate: int) -> None:
    pcm = tone(SPEECH_RATE // 2, 200.0)
    played = await Script().at(0, *speech(1, pcm)).render(blank, 0.6, rate)
    times = np.arange(len(played.sound)) / rate
    inside = (times > 0.005) & (times < 0.495)
    assert np.max(np.abs(played.sound - expected(pcm, times))[inside]) < 0.002
    assert played.endings == [{"number": 1, "position": len(pcm)}]


async def test_no_silence_is_added_in_front(blank: Page) -> None:
    loud = np.full(4 * MESSAGE, 16_000, np.int16)
    played = await Script().at(0, *speech(1, loud)).render(blank, 0.05)
    assert int(np.argmax(np.abs(played.sound) > 0.1)) <= 16  # 8 input samples of filter at 48 kHz


@pytest.mark.parametrize("order", ["shuffled", "reversed", "twice"])
async def test_order_and_repetition_change_nothing(blank: Page, order: str) -> None:
    messages = speech(1, HALF_SECOND)
    disorder = {
        "shuffled": random.Random(4).sample(messages, len(messages)),
        "reversed": messages[::-1],
        "twice": [message for message in messages for _ in range(2)],
    }[order]
    plain = await Script().at(0, *messages).render(blank, 0.6)
    played = await Script().at(0, *disorder).render(blank, 0.6)
    assert np.array_equal(played.sound, plain.sound)
    assert played.endings == [{"number": 1, "position": len(HALF_SECOND)}]


async def test_a_missing_message_is_concealed_counted_and_moves_nothing(blank: Page) -> None:
    messages = speech(1, HALF_SECOND)
    whole = await Script().at(0, *messages).render(blank, 0.6)
    played = await Script().at(0, *messages[:10], *messages[11:]).render(blank, 0.6)
    assert max(report["concealed"] for report in played.reports) == MESSAGE
    assert played.endings == whole.endings
    assert rms(played.between(0.203, 0.217)) > 0.5 * rms(whole.between(0.203, 0.217))
    after = slice(round(0.226 * 48_000), None)
    assert np.max(np.abs(played.sound[after] - whole.sound[after])) < 1e-6
    jumps = np.abs(np.diff(played.sound))
    assert float(np.max(jumps)) < 2 * float(np.max(np.abs(np.diff(whole.sound))))


async def test_a_message_that_comes_too_late_for_its_place_is_not_played(blank: Page) -> None:
    messages = speech(1, HALF_SECOND)
    script = Script().at(0, *messages[:10], *messages[11:]).at(0.3, messages[10])
    played = await script.render(blank, 0.6)
    assert played.end["late"] == 1
    assert played.endings == [{"number": 1, "position": len(HALF_SECOND)}]


async def test_a_first_message_that_is_overtaken_is_waited_for(blank: Page) -> None:
    messages = speech(1, HALF_SECOND)
    played = await Script().at(0, *messages[1:]).at(0.02, messages[0]).render(blank, 0.7)
    assert not np.any(played.between(0, 0.02))
    assert max(report["concealed"] for report in played.reports) == 0
    assert played.endings == [{"number": 1, "position": len(HALF_SECOND)}]


async def test_a_first_message_that_is_lost_holds_nothing_up(blank: Page) -> None:
    played = await Script().at(0, *speech(1, HALF_SECOND)[1:]).render(blank, 0.6)
    assert rms(played.between(0.05, 0.45)) > 0.3
    assert max(report["concealed"] for report in played.reports) == MESSAGE


async def test_the_lost_last_message_is_known_by_its_trailer(blank: Page) -> None:
    messages = speech(1, HALF_SECOND)[:-1]
    trailer = {"type": "speech", "number": 1, "position": len(HALF_SECOND), "last": True, "samples": ""}
    played = await Script().at(0, *messages, trailer).render(blank, 0.6)
    assert played.endings == [{"number": 1, "position": len(HALF_SECOND)}]


async def test_a_flush_is_silent_at_once_and_for_good(blank: Page) -> None:
    messages = speech(1, tone(SPEECH_RATE))
    script = Script().at(0, *messages[:25]).at(0.2, {"type": "flush", "upTo": 1}).at(0.3, *messages[25:])
    played = await script.render(blank, 0.7)
    assert rms(played.between(0.15, 0.2)) > 0.3
    assert not np.any(played.between(0.2 + FADED_S, 0.7))
    assert (played.end["flushes"], played.end["stale"], played.end["number"]) == (1, 25, 0)
    assert played.endings == []
    fade = np.abs(np.diff(played.between(0.19, 0.21)))
    assert float(np.max(fade)) < 0.05


async def test_the_response_after_a_flush_plays(blank: Page) -> None:
    script = Script().at(0, *speech(1, HALF_SECOND)).at(0.1, {"type": "flush", "upTo": 1})
    played = await script.at(0.2, *speech(2, HALF_SECOND)).render(blank, 0.8)
    assert not np.any(played.between(0.1 + FADED_S, 0.2))
    assert rms(played.between(0.21, 0.69)) > 0.3
    assert played.endings == [{"number": 2, "position": len(HALF_SECOND)}]


async def test_a_flush_spares_later_responses(blank: Page) -> None:
    script = Script().at(0, *speech(1, HALF_SECOND), *speech(2, HALF_SECOND)).at(0.1, {"type": "flush", "upTo": 1})
    played = await script.render(blank, 0.8)
    assert played.endings == [{"number": 2, "position": len(HALF_SECOND)}]


async def test_a_pause_keeps_every_sample(blank: Page) -> None:
    script = Script().at(0, *speech(1, HALF_SECOND)).at(0.2, {"type": "pause", "number": 1}).at(0.5, {"type": "resume"})
    played = await script.render(blank, 1.0)
    assert not np.any(played.between(0.2 + FADED_S, 0.5))
    held = {report["position"] for report in played.reports if 0.25 < report["time"] < 0.5}
    assert len(held) == 1
    assert rms(played.between(0.51, 0.78)) > 0.3
    assert played.endings == [{"number": 1, "position": len(HALF_SECOND)}]


async def test_a_resume_plays_again_from_the_place_it_is_told_and_rises_softly(blank: Page) -> None:
    whole = await Script().at(0, *speech(1, HALF_SECOND)).render(blank, 0.6)
    script = Script().at(0, *speech(1, HALF_SECOND)).at(0.2, {"type": "pause", "number": 1})
    script.at(0.4, {"type": "resume", "position": SPEECH_RATE // 10})
    played = await script.render(blank, 1.0)
    again, first = played.between(0.44, 0.79), whole.between(0.14, 0.49)
    inside = slice(300, -300)
    off = [float(np.max(np.abs(again[inside] - np.roll(first, shift)[inside]))) for shift in range(-300, 300)]
    assert min(off) < 0.01
    assert rms(played.between(0.4, 0.41)) < 0.4 * rms(played.between(0.44, 0.45))
    assert played.end["resumes"] == 1
    assert played.endings == [{"number": 1, "position": len(HALF_SECOND)}]


async def test_nothing_older_than_what_is_kept_is_played_again(blank: Page) -> None:
    script = Script().at(0, *speech(1, tone(2 * SPEECH_RATE))).at(1.8, {"type": "pause", "number": 1})
    played = await script.at(1.9, {"type": "resume", "position": 0}).render(blank, 4.0)
    back = min(report["position"] for report in played.reports if report["time"] > 1.9 and report["number"] == 1)
    assert 0 < back < 0.4 * SPEECH_RATE
    assert played.endings == [{"number": 1, "position": 2 * SPEECH_RATE}]


async def test_what_is_lost_in_a_hold_is_not_heard(blank: Page) -> None:
    heard = await blank.evaluate(
        """async () => {
          const { HeardClock } = await import("/heard.js");
          const clock = new HeardClock();
          for (let i = 0; i <= 10; i += 1) clock.report(i / 10, 100 * i);
          clock.hold(0.6, 0.1);
          const held = clock.at(2.0, 0.1);
          clock.resume(350);
          const back = clock.at(2.1, 0.1);
          clock.report(2.1, 350);
          clock.report(2.3, 550);
          return [held, back, clock.at(2.3, 0.1)];
        }"""
    )
    assert heard == [pytest.approx(500), 350, pytest.approx(450)]


async def test_a_paused_response_can_be_flushed(blank: Page) -> None:
    script = Script().at(0, *speech(1, HALF_SECOND)).at(0.1, {"type": "pause", "number": 1})
    script.at(0.2, {"type": "flush", "upTo": 1}).at(0.3, *speech(2, HALF_SECOND))
    played = await script.render(blank, 0.9)
    assert not np.any(played.between(0.1 + FADED_S, 0.3))
    assert played.endings == [{"number": 2, "position": len(HALF_SECOND)}]


async def test_a_dry_spell_loses_nothing(blank: Page) -> None:
    messages = speech(1, HALF_SECOND)
    played = await Script().at(0, *messages[:10]).at(0.35, *messages[10:]).render(blank, 0.8)
    assert played.end["starved"] == 1
    assert not np.any(played.between(0.28, 0.35))
    assert rms(played.between(0.36, 0.64)) > 0.3
    assert played.endings == [{"number": 1, "position": len(HALF_SECOND)}]


async def test_reports_tell_the_position_while_it_plays(blank: Page) -> None:
    played = await Script().at(0, *speech(1, HALF_SECOND)).render(blank, 0.6)
    told = [report for report in played.reports if report["number"] == 1 and report["position"] > 0]
    assert len(told) >= 10
    for report in told:
        assert abs(report["position"] - report["time"] * SPEECH_RATE) <= 2
        assert report["position"] + report["buffered"] == len(HALF_SECOND)


async def test_responses_follow_one_another(blank: Page) -> None:
    first, second = tone(4800), tone(7200, 500.0)
    played = await Script().at(0, *speech(2, second), *speech(1, first)).render(blank, 0.6)
    assert [ending["number"] for ending in played.endings] == [1, 2]


@pytest.mark.parametrize(("closed", "over_at"), [(True, 1.7), (False, 0.5)])
async def test_a_response_whose_end_was_lost_ends(blank: Page, closed: bool, over_at: float) -> None:
    script = Script().at(0, *speech(1, tone(4800), last=False))
    if closed:
        script.at(0.01, {"type": "close", "number": 1})
    else:
        script.at(0.01, *speech(2, tone(4800)))
    played = await script.render(blank, 2.0)
    ended = [report["time"] for report in played.reports for end in report["endings"] if end["number"] == 1]
    assert ended == pytest.approx([over_at], abs=0.06)


async def test_what_is_too_far_ahead_is_refused(blank: Page) -> None:
    far: dict[str, Any] = {**speech(1, tone(MESSAGE), last=False)[0], "position": 400_000}
    played = await Script().at(0, *speech(1, tone(4800), last=False), far).render(blank, 0.1)
    assert played.end["buffered"] < SPEECH_RATE


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_the_network_does_every_sample_is_played_or_concealed(blank: Page, seed: int) -> None:
    dice = random.Random(seed)
    pcm = tone(MESSAGE * 50)
    script = Script()
    lost = 0
    for index, message in enumerate(speech(1, pcm)):
        if dice.random() < 0.1 and not message["last"]:
            lost += 1
            continue
        for _ in range(1 + (dice.random() < 0.1)):
            script.at(round(max(0.0, index - 8) * 0.02 + dice.random() * 0.06, 2), message)
    played = await script.render(blank, 2.5)
    assert played.endings == [{"number": 1, "position": len(pcm)}]
    concealed, late = max(report["concealed"] for report in played.reports), played.end["late"]
    assert lost * MESSAGE <= concealed <= (lost + late) * MESSAGE
    assert np.all(np.isfinite(played.sound))
    assert float(np.max(np.abs(played.sound))) < 0.6
