"""The turn taker: tables of events and effects, and what no sequence of events may bring about."""

from __future__ import annotations

import itertools

import pytest

from realtime.floor.events import (
    Adopt,
    Cancel,
    Clear,
    Effect,
    EndTurn,
    FirstSound,
    FloorEvent,
    Heard,
    OpenTurn,
    Pause,
    Release,
    ReplyOver,
    ReplyRequested,
    ReplyStarted,
    Resume,
    SpeechStarted,
    SpeechStopped,
    Spotted,
    StartReply,
    Stirred,
    StopRequested,
    TakeBack,
    Tick,
    Voice,
)
from realtime.floor.floor import Floor
from realtime.floor.interruption import Sign, Sounding
from realtime.floor.rules import FloorRules, FloorState

ITEM1, ITEM2, RESP1, RESP2 = "item_1", "item_2", "resp_1", "resp_2"


def make_floor(**rules: object) -> Floor:
    counters: dict[str, itertools.count[int]] = {}
    return Floor(
        FloorRules(**{"eagerness": "fixed", **rules}),  # type: ignore[arg-type]
        lambda prefix: f"{prefix}_{next(counters.setdefault(prefix, itertools.count(1)))}",
    )


def started(at: float) -> SpeechStarted:
    return SpeechStarted(position=int(at * 16_000), at=at)


def stopped(at: float) -> SpeechStopped:
    return SpeechStopped(position=int(at * 16_000), at=at)


def play(floor: Floor, script: list[tuple[float, FloorEvent]]) -> list[Effect]:
    return [effect for now, event in script for effect in floor.handle(event, now)]


TO_SPEAKING: list[tuple[float, FloorEvent]] = [
    (1.0, started(1.0)),
    (1.8, stopped(1.7)),
    (2.5, Tick()),
    (2.6, FirstSound(RESP1)),
]


def test_a_turn_is_answered_after_the_silence():
    floor = make_floor()
    assert play(floor, [(1.1, started(1.0))]) == [OpenTurn(ITEM1, 16_000)]
    assert play(floor, [(2.1, stopped(2.0))]) == []
    assert floor.deadline == pytest.approx(2.5)
    assert play(floor, [(2.49, Tick())]) == []
    assert play(floor, [(2.5, Tick())]) == [EndTurn(ITEM1, 32_000), StartReply(RESP1, 1)]
    assert floor.state == FloorState.THINKING
    assert play(floor, [(2.6, FirstSound(RESP1)), (4.0, ReplyOver(RESP1))]) == [Release()]
    assert floor.state == FloorState.IDLE
    assert floor.deadline is None


def test_a_pause_inside_a_turn_does_not_end_it():
    floor = make_floor()
    effects = play(floor, [(1, started(1)), (2, stopped(2)), (2.3, started(2.3)), (2.6, Tick()), (3, stopped(3))])
    assert effects == [OpenTurn(ITEM1, 16_000)]
    assert play(floor, [(3.5, Tick())]) == [EndTurn(ITEM1, 48_000), StartReply(RESP1, 1)]


def test_going_on_before_the_first_sound_takes_the_reply_back():
    floor = make_floor()
    play(floor, TO_SPEAKING[:-1])
    assert play(floor, [(2.6, started(2.55))]) == [TakeBack(RESP1, ITEM1, 16_000), Release()]
    assert play(floor, [(2.7, FirstSound(RESP1))]) == []
    assert floor.state == FloorState.PERSON


def test_a_short_sound_over_the_assistant_only_holds():
    floor = make_floor()
    play(floor, TO_SPEAKING)
    assert play(floor, [(3.1, started(3.0))]) == [Pause(RESP1)]
    assert floor.deadline == pytest.approx(3.25)
    assert play(floor, [(3.2, stopped(3.15))]) == [Resume(RESP1)]
    assert floor.state == FloorState.SPEAKING
    assert floor.deadline is None


def test_speaking_over_the_assistant_yields_in_order():
    floor = make_floor()
    play(floor, TO_SPEAKING)
    assert play(floor, [(3.1, started(3.0)), (3.25, Tick())]) == [Pause(RESP1), Clear(RESP1), OpenTurn(ITEM2, 48_000)]
    assert floor.state == FloorState.YIELDING
    assert play(floor, [(3.3, Heard(RESP1, 420.0))]) == [Cancel(RESP1, 420.0), Release()]
    assert floor.state == FloorState.PERSON
    assert play(floor, [(3.9, stopped(3.8)), (4.3, Tick())])[-1] == StartReply(RESP2, 2)


def test_a_yield_waits_only_so_long_for_the_page():
    floor = make_floor()
    play(floor, [*TO_SPEAKING, (3.1, started(3.0)), (3.25, Tick())])
    assert floor.deadline == pytest.approx(3.5)
    assert play(floor, [(3.5, Tick())]) == [Cancel(RESP1, None), Release()]
    assert play(floor, [(3.6, Heard(RESP1, 500))]) == []


def test_falling_silent_while_yielding_still_gets_an_answer():
    floor = make_floor()
    play(floor, [*TO_SPEAKING, (3.1, started(3.0)), (3.25, Tick()), (3.3, stopped(3.28)), (3.35, Heard(RESP1, 400))])
    assert floor.deadline == pytest.approx(3.78)
    assert play(floor, [(3.78, Tick())])[-1] == StartReply(RESP2, 2)


def test_a_tap_stops_the_assistant_and_typed_text_is_answered_after_the_yield():
    floor = make_floor()
    play(floor, TO_SPEAKING)
    assert play(floor, [(3.0, StopRequested("tap"))]) == [Clear(RESP1)]
    assert play(floor, [(3.01, ReplyRequested())]) == []
    assert play(floor, [(3.1, Heard(RESP1, 300))]) == [Cancel(RESP1, 300), Release(), StartReply(RESP2, 2)]


def test_typed_text_does_not_wait_for_the_silence():
    floor = make_floor()
    play(floor, [(1, started(1)), (2, stopped(2))])
    assert play(floor, [(2.1, ReplyRequested())]) == [EndTurn(ITEM1, 32_000), StartReply(RESP1, 1)]


def test_what_is_said_at_the_start_is_spoken():
    assert play(make_floor(), [(0, ReplyRequested("Hello"))]) == [StartReply(RESP1, 1, "Hello")]


def test_a_greeting_comes_too_late_for_a_person_who_speaks():
    floor = make_floor()
    effects = play(floor, [(0.1, started(0.1)), (0.3, ReplyRequested("Hello")), (1, stopped(1)), (1.5, Tick())])
    assert effects[-1] == StartReply(RESP1, 1)


def test_an_engine_without_a_sound_is_given_up():
    floor = make_floor(thinking_ms=5_000)
    play(floor, TO_SPEAKING[:-1])
    assert play(floor, [(7.5, Tick())]) == [Cancel(RESP1, 0), Release()]
    assert floor.state == FloorState.IDLE


def test_the_reply_ends_while_the_person_makes_a_sound():
    floor = make_floor()
    play(floor, [*TO_SPEAKING, (3.1, started(3.0))])
    assert play(floor, [(3.2, ReplyOver(RESP1))]) == [Release(), OpenTurn(ITEM2, 48_000)]
    assert floor.state == FloorState.PERSON


def test_native_turns_are_told_but_not_cut_and_replies_adopted():
    floor = make_floor(native=True)
    assert play(floor, [(1, started(1)), (2, stopped(2)), (2.5, Tick())]) == [
        OpenTurn(ITEM1, 16_000),
        EndTurn(ITEM1, 32_000),
    ]
    assert play(floor, [(3, ReplyStarted("n1")), (3.1, FirstSound("n1"))]) == [Adopt("n1", 1)]
    assert play(floor, [(3.5, started(3.4)), (3.7, Tick())]) == [Pause("n1"), Clear("n1"), OpenTurn(ITEM2, 54_400)]
    assert play(floor, [(3.8, Heard("n1", 200))]) == [Cancel("n1", 200), Release()]


def test_a_native_reply_over_a_speaking_person_is_held_at_its_first_sound():
    floor = make_floor(native=True)
    play(floor, [(1, started(1)), (1.5, ReplyStarted("n1"))])
    assert play(floor, [(1.6, FirstSound("n1"))]) == [Pause("n1")]
    assert play(floor, [(1.7, stopped(1.65))]) == [EndTurn(ITEM1, 26_400), Resume("n1")]


def test_a_second_native_reply_never_happened():
    floor = make_floor(native=True)
    play(floor, [(1, ReplyStarted("n1"))])
    assert play(floor, [(2, ReplyStarted("n2"))]) == [Cancel("n2", 0)]
    assert floor.response_id == "n1"


@pytest.mark.parametrize(
    "name", ["silence_ms", "interrupt_ms", "final_ack_ms", "thinking_ms", "stirring_ms", "idle_prompt_ms"]
)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e9])
def test_nonsense_rules_are_refused_by_name(name: str, value: float):
    with pytest.raises(ValueError, match=name):
        FloorRules(**{name: value})


def test_an_unknown_eagerness_is_refused_by_name():
    with pytest.raises(ValueError, match="eagerness is one of low, medium, high, auto, fixed, got 'hasty'"):
        FloorRules(eagerness="hasty")  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------- adapting to the person


def test_a_person_who_pauses_long_is_waited_for():
    floor = make_floor(eagerness="auto")
    play(floor, [(1, started(1)), (4.6, stopped(4.5))])
    soon = floor.deadline
    for at in range(5, 25):  # Pauses of 0.8 s: the reply is taken back.
        play(floor, [(at + 0.25, Tick()), (at + 0.3, started(at + 0.3)), (at + 0.6, stopped(at + 0.5))])
    play(floor, [(40, Tick())])
    reply = floor.response_id or ""
    play(floor, [(40, FirstSound(reply)), (41, ReplyOver(reply)), (42, started(42)), (45.6, stopped(45.5))])
    assert soon is not None
    assert floor.deadline is not None
    assert soon - 4.5 + 0.05 < floor.deadline - 45.5 <= 0.9


def test_a_long_turn_is_answered_sooner_than_one_that_has_only_begun():
    floor = make_floor(eagerness="auto")
    play(floor, [(1, started(1)), (2.1, stopped(2))])
    assert floor.deadline == pytest.approx(2.82, abs=0.01)
    play(floor, [(2.5, started(2.5)), (7.1, stopped(7))])
    assert floor.deadline is not None
    assert floor.deadline < 7.65


def test_a_pause_that_was_taken_leaves_the_turn_as_long_as_it_was():
    floor = make_floor(eagerness="auto")
    play(floor, [(1, started(1)), (5.1, stopped(5)), (5.9, Tick()), (6, started(5.95)), (6.4, stopped(6.3))])
    assert floor.deadline is not None
    assert floor.deadline < 6.95


def test_after_a_reply_a_new_turn_begins():
    floor = make_floor(eagerness="auto")
    play(floor, [(1, started(1)), (5.1, stopped(5)), (5.9, Tick()), (5.9, FirstSound(RESP1)), (7, ReplyOver(RESP1))])
    play(floor, [(8, started(8)), (8.6, stopped(8.5))])
    assert floor.deadline == pytest.approx(9.32, abs=0.01)


def test_a_person_who_goes_on_over_the_reply_was_pausing():
    floor = make_floor(eagerness="auto")
    play(floor, [*TO_SPEAKING, (2.8, started(2.7)), (2.95, Tick()), (3.0, Heard(RESP1, 100)), (4.1, stopped(4))])
    assert floor.deadline is not None
    assert floor.deadline > 4.5


def test_a_stirring_puts_the_end_of_a_turn_off_but_not_for_ever():
    floor = make_floor()
    play(floor, [(1, started(1)), (2.1, stopped(2)), (2.3, Stirred())])
    assert floor.deadline == pytest.approx(2.5)
    play(floor, [(2.48, Stirred())])
    assert floor.deadline == pytest.approx(2.56)
    play(floor, [(2.4 + 0.02 * step, Stirred()) for step in range(20)])
    assert floor.deadline == pytest.approx(2.74)
    assert play(floor, [(2.74, Tick())]) == [EndTurn(ITEM1, 32_000), StartReply(RESP1, 1)]
    assert play(floor, [(2.8, Stirred())]) == []


# -------------------------------------------------------------------------------------------- what a sound means

USUAL_DB, SOFT_DB, FAR_DB = -26.0, -34.9, -40.0


def known_voice() -> Floor:
    """The assistant speaks with somebody whose level is known."""
    floor = make_floor()
    (first, *rest) = TO_SPEAKING
    play(floor, [first, (1.5, Voice(Sounding(USUAL_DB, -8))), *rest])
    return floor


def over(sound: Sounding) -> list[tuple[float, FloorEvent]]:
    """A sound over the assistant that goes on."""
    return [(3.1, SpeechStarted(48_000, 3.0, sound)), (3.2, Voice(sound))]


def test_a_loud_word_yields_even_when_it_is_over_early():
    floor = known_voice()
    word = Sounding(USUAL_DB, -8)
    assert play(floor, [*over(word), (3.22, stopped(3.2))]) == [Pause(RESP1), Clear(RESP1), OpenTurn(ITEM2, 48_000)]
    play(floor, [(3.3, Heard(RESP1, 400))])
    assert play(floor, [(3.8, Tick())])[-1] == StartReply(RESP2, 2)


def test_a_soft_sound_holds_and_goes_on_however_short():
    floor = known_voice()
    effects = play(floor, [*over(Sounding(SOFT_DB, -8)), (3.25, Tick()), (3.6, stopped(3.5))])
    assert effects == [Pause(RESP1), Resume(RESP1)]


MAYBE_ECHO = Sounding(-30.0, -8.0, maybe_echo=True)
FADED = Sounding(-30.0, -8.0, maybe_echo=True, gap_ms=100.0)
FIRST_SOUND_AT = TO_SPEAKING[-1][0]


def with_somebody_unknown() -> Floor:
    """The assistant speaks; nothing is known of the person's level."""
    floor = make_floor()
    play(floor, TO_SPEAKING)
    return floor


def heard_like(sound: Sounding) -> list[tuple[float, FloorEvent]]:
    """A voice 150 ms after the assistant's, which holds 100 ms later."""
    at = FIRST_SOUND_AT + 0.15
    return [(at + 0.1, SpeechStarted(int(at * 16_000), at, sound)), (at + 0.25, Tick())]


def test_what_dies_out_as_the_assistant_falls_silent_was_its_echo():
    floor = with_somebody_unknown()
    over_at = FIRST_SOUND_AT + 0.5
    effects = play(floor, [*heard_like(MAYBE_ECHO), (over_at, Voice(FADED)), (over_at + 0.2, stopped(over_at))])
    assert effects == [Pause(RESP1), Resume(RESP1)]
    assert floor.usual_db is None


def test_after_an_echo_nothing_that_may_be_one_holds_until_it_had_time_to_be_learned():
    floor = with_somebody_unknown()
    over_at = FIRST_SOUND_AT + 0.5
    play(floor, [*heard_like(MAYBE_ECHO), (over_at + 0.2, stopped(over_at))])
    again = over_at + 0.5
    assert play(floor, [(again, SpeechStarted(int(again * 16_000), again, MAYBE_ECHO))]) == []
    assert play(floor, [(again + 1.3, Voice(MAYBE_ECHO))]) == [Pause(RESP1)]


def test_an_echo_that_faded_is_waited_for_until_the_detector_says_so():
    floor = with_somebody_unknown()
    later = FIRST_SOUND_AT + 0.7
    effects = play(floor, [*heard_like(MAYBE_ECHO), (later - 0.1, Voice(FADED)), (later, Tick())])
    assert effects == [Pause(RESP1)]
    assert floor.deadline == pytest.approx(later + 0.1)


def test_who_goes_on_though_the_assistant_is_silent_is_a_person():
    floor = with_somebody_unknown()
    effects = play(floor, [*heard_like(MAYBE_ECHO), (FIRST_SOUND_AT + 0.66, Tick())])
    assert effects == [Pause(RESP1), Clear(RESP1)]
    assert floor.state == FloorState.YIELDING


def test_a_voice_with_gaps_is_a_person_in_the_end():
    floor = with_somebody_unknown()
    long = FIRST_SOUND_AT + 1.5
    effects = play(floor, [*heard_like(MAYBE_ECHO), (long - 0.1, Voice(FADED)), (long, Tick())])
    assert effects[1] == Clear(RESP1)


def test_where_no_echo_can_be_nobody_waits_for_it_to_die_out():
    floor = with_somebody_unknown()
    effects = play(floor, heard_like(Sounding(-30.0, -8.0)))
    assert effects[1] == Clear(RESP1)


def test_a_soft_sound_that_does_not_end_is_the_person():
    floor = known_voice()
    play(floor, [*over(Sounding(SOFT_DB, -8)), (3.25, Tick()), (4.3, Voice(Sounding(SOFT_DB, -8)))])
    assert floor.state == FloorState.HOLDING
    assert play(floor, [(4.3, Tick())]) == [Clear(RESP1), OpenTurn(ITEM2, 48_000)]


def test_a_cough_is_bright_and_stops_nobody():
    floor = known_voice()
    effects = play(floor, [*over(Sounding(USUAL_DB, -1)), (3.25, Tick()), (3.6, stopped(3.5))])
    assert effects == [Pause(RESP1), Resume(RESP1)]


def test_somebody_far_away_is_not_held_for_until_the_person_joins():
    floor = known_voice()
    assert play(floor, over(Sounding(FAR_DB, -8))) == []
    assert floor.ignores_voice
    assert play(floor, [(3.5, Voice(Sounding(USUAL_DB, -8)))]) == [Pause(RESP1)]
    assert floor.voice_position == 54_400
    assert play(floor, [(3.65, Tick())]) == [Clear(RESP1), OpenTurn(ITEM2, 54_400)]


LIKELY_VOICE = Sign(USUAL_DB - 8, 0.5, hiss=False)


@pytest.mark.parametrize(
    ("sign", "holds"),
    [
        (LIKELY_VOICE, True),
        (Sign(USUAL_DB - 10, 0.5, hiss=False), False),
        (Sign(USUAL_DB - 5, 0.1, hiss=False), True),
        (Sign(USUAL_DB - 7, 0.1, hiss=False), False),
        (Sign(USUAL_DB - 17, 0.0, hiss=True), True),
        (Sign(USUAL_DB - 19, 0.0, hiss=True), False),
    ],
)
def test_a_first_sign_near_the_persons_level_holds_before_the_detector_is_sure(sign: Sign, holds: bool):
    assert play(known_voice(), [(3.0, sign)]) == ([Pause(RESP1)] if holds else [])


def test_nobody_is_held_for_whose_level_nobody_knows():
    floor = make_floor()
    play(floor, TO_SPEAKING)
    assert play(floor, [(3.0, LIKELY_VOICE)]) == []


def test_a_first_sign_of_which_nothing_comes_holds_150_ms():
    floor = known_voice()
    assert play(floor, [(3.0, LIKELY_VOICE)]) == [Pause(RESP1)]
    assert floor.deadline == pytest.approx(3.15)
    assert play(floor, [(3.15, Tick())]) == [Resume(RESP1)]
    assert floor.state == FloorState.SPEAKING


def test_further_signs_hold_on_for_450_ms_at_most():
    floor = known_voice()
    play(floor, [(3.0 + 0.02 * step, LIKELY_VOICE) for step in range(22)])
    assert floor.deadline == pytest.approx(3.45)


def test_a_voice_that_follows_its_sign_is_weighed_like_any_other():
    floor = known_voice()
    play(floor, [(3.0, LIKELY_VOICE), (3.08, SpeechStarted(48_000, 3.0, Sounding(USUAL_DB, -8)))])
    assert floor.deadline == pytest.approx(3.25)
    assert play(floor, [(3.25, Tick())]) == [Clear(RESP1), OpenTurn(ITEM2, 48_000)]


def test_after_three_holds_for_nothing_in_a_minute_only_the_detector_counts():
    floor = known_voice()
    for at in (3.0, 13.0, 23.0):
        assert play(floor, [(at, LIKELY_VOICE), (at + 0.2, Tick())]) == [Pause(RESP1), Resume(RESP1)]
    assert play(floor, [(33.0, LIKELY_VOICE)]) == []
    assert play(floor, [(64.0, LIKELY_VOICE)]) == [Pause(RESP1)]


def test_a_stop_word_that_is_spotted_yields_however_soft():
    floor = known_voice()
    play(floor, over(Sounding(SOFT_DB, -8)))
    assert play(floor, [(3.22, Spotted(True))]) == [Clear(RESP1), OpenTurn(ITEM2, 48_000)]


def test_a_loud_word_that_is_known_to_want_nothing_goes_by():
    floor = known_voice()
    effects = play(floor, [*over(Sounding(USUAL_DB, -8)), (3.2, Spotted(False)), (3.22, stopped(3.2))])
    assert effects == [Pause(RESP1), Resume(RESP1)]
    assert play(floor, [(9.0, Spotted(True))]) == []


def test_somebody_far_away_opens_no_turn_when_the_assistant_falls_silent():
    floor = known_voice()
    far = over(Sounding(FAR_DB, -8))
    assert play(floor, [*far, (3.5, StopRequested("tap")), (3.6, Heard(RESP1, 900))]) == [
        Clear(RESP1),
        Cancel(RESP1, 900),
        Release(),
    ]
    assert floor.state == FloorState.IDLE
    assert play(floor, [(3.7, Voice(Sounding(USUAL_DB, -8)))]) == [OpenTurn(ITEM2, 48_000)]


def test_a_voice_that_turns_out_to_be_far_away_lets_the_assistant_go_on():
    floor = known_voice()
    effects = play(floor, [*over(Sounding(SOFT_DB, -8)), (3.24, Voice(Sounding(FAR_DB, -8))), (3.25, Tick())])
    assert effects == [Pause(RESP1), Resume(RESP1)]
