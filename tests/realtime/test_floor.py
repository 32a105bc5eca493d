"""The turn taker: tables of events and effects, and what no sequence of events may bring about."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.floor import (
    Adopt,
    Cancel,
    Clear,
    Effect,
    EndTurn,
    FirstSound,
    Floor,
    FloorEvent,
    FloorRules,
    FloorState,
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
    StartReply,
    Stirred,
    StopRequested,
    Tick,
    Voice,
)
from realtime.interruption import Sounding

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
    (2.1, stopped(2.0)),
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
    assert play(floor, [(2.6, started(2.55))]) == [Cancel(RESP1, 0), Release(), OpenTurn(ITEM2, 40_800)]
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


@pytest.mark.parametrize("name", ["silence_ms", "interrupt_ms", "final_ack_ms", "thinking_ms", "stirring_ms"])
@pytest.mark.parametrize("value", [-1, float("nan"), 1e9])
def test_nonsense_rules_are_refused_by_name(name: str, value: float):
    with pytest.raises(ValueError, match=name):
        FloorRules(**{name: value})


def test_an_unknown_eagerness_is_refused_by_name():
    with pytest.raises(ValueError, match="eagerness is one of low, medium, high, auto, fixed, got 'hasty'"):
        FloorRules(eagerness="hasty")  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------- adapting to the person


def test_a_person_who_pauses_long_is_waited_for():
    floor = make_floor(eagerness="auto")
    play(floor, [(1, started(1)), (2.1, stopped(2))])
    assert floor.deadline == pytest.approx(2.5)
    for second in range(3, 12, 2):  # Pauses of a second each: the reply is taken back, or cut.
        play(floor, [(second, Tick()), (second, started(second)), (second + 1, stopped(second + 1))])
    assert floor.deadline == pytest.approx(12.75)


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

USUAL_DB, SOFT_DB, FAR_DB = -26.0, -33.0, -40.0


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
    assert play(floor, [*over(word), (3.22, stopped(3.2))]) == [Pause(RESP1), OpenTurn(ITEM2, 48_000), Clear(RESP1)]
    play(floor, [(3.3, Heard(RESP1, 400))])
    assert play(floor, [(3.8, Tick())])[-1] == StartReply(RESP2, 2)


def test_a_soft_sound_holds_and_goes_on_however_short():
    floor = known_voice()
    effects = play(floor, [*over(Sounding(SOFT_DB, -8)), (3.25, Tick()), (3.6, stopped(3.5))])
    assert effects == [Pause(RESP1), Resume(RESP1)]


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
    assert play(floor, [(3.65, Tick())]) == [Clear(RESP1), OpenTurn(ITEM2, 48_000)]


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


EVENTS = st.sampled_from(
    [
        "loud",
        "soft",
        "far",
        "stir",
        "start",
        "stop",
        "ask",
        "say",
        "native",
        "sound",
        "over",
        "heard",
        "tap",
        "tick",
        "stale_heard",
        "stale_over",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(EVENTS, st.floats(0, 1.5)), max_size=80), st.booleans())
def test_no_sequence_of_events_breaks_the_floor(script: list[tuple[str, float]], native: bool):
    floor = make_floor(native=native)
    now, alive, over, open_items = 0.0, set[str](), set[str](), set[str]()
    natives = itertools.count()
    for kind, wait in script:
        now += wait
        current = floor.response_id or "none"
        event: FloorEvent = {
            "loud": Voice(Sounding(-20, -8)),
            "soft": Voice(Sounding(-25, -8)),
            "far": Voice(Sounding(-40, -8)),
            "stir": Stirred(),
            "start": started(now),
            "stop": stopped(now),
            "ask": ReplyRequested(),
            "say": ReplyRequested("hello"),
            "native": ReplyStarted(f"n{next(natives)}"),
            "sound": FirstSound(current),
            "over": ReplyOver(current),
            "heard": Heard(current, 100),
            "tap": StopRequested("tap"),
            "tick": Tick(),
            "stale_heard": Heard("resp_0", 5),
            "stale_over": ReplyOver("resp_0"),
        }[kind]
        if isinstance(event, ReplyStarted) and not native:
            continue
        if isinstance(event, ReplyOver) and floor.state != FloorState.YIELDING:
            alive.discard(event.response_id)
        for effect in floor.handle(event, now):
            match effect:
                case StartReply(response_id) | Adopt(response_id):
                    assert not alive
                    alive.add(response_id)
                case Cancel(response_id):
                    alive.discard(response_id)
                    assert response_id not in over
                    over.add(response_id)
                case Pause(response_id) | Resume(response_id) | Clear(response_id):
                    assert response_id in alive
                case OpenTurn(item_id):
                    open_items.add(item_id)
                case EndTurn(item_id):
                    open_items.remove(item_id)
                case Release():
                    pass
        assert alive == ({floor.response_id} if floor.response_id else set())
        waits = {FloorState.THINKING, FloorState.HOLDING, FloorState.YIELDING}
        assert (floor.deadline is not None) == (
            floor.state in waits or (floor.state == FloorState.PERSON and not floor.person_speaks)
        )
    # Left alone, every floor comes to rest and listens again.
    floor.handle(SpeechStopped(0, now), now)
    for _ in range(8):
        if floor.response_id and floor.state == FloorState.SPEAKING:
            floor.handle(ReplyOver(floor.response_id), now)
        if floor.deadline is not None:
            now = max(now, floor.deadline)
            floor.handle(Tick(), now)
    assert floor.state == FloorState.IDLE
    assert floor.deadline is None
