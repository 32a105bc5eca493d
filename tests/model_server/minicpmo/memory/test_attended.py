"""Attention that walks along the text tells which word is said; attention that does not is not believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.minicpmo.config import SpeechConfig
from model_server.minicpmo.memory.attended import MOST_JUMP, Walk, trust
from model_server.minicpmo.memory.heard import FRAME_SAMPLES, SAMPLES_PER_MS, Spoken, Timeline
from model_server.minicpmo.network.speech_state import visible_text
from model_server.minicpmo.network.text_looks import Looks

CONFIG = SpeechConfig()
FRAME_MS = FRAME_SAMPLES / SAMPLES_PER_MS
CALL = 25
WORDS = [
    "a",
    "short",
    "word",
    "then",
    "an",
    "extraordinarily",
    "long",
    "one",
    "and",
    "so",
    "on",
    "to",
    "the",
    "end",
    "of",
    "it",
    "all",
]
TEXT = " ".join(WORDS)
TAKES = [9, 7, 6, 30, 5, 8, 6, 7, 6, 25, 7, 6, 8, 7, 9, 8, 9]
"""Frames that each word takes, not at all as its length would have it."""


def looking(places: list[float], certainty: float = 0.8, idle: int = 3) -> Looks:
    """One head that looks there, and some that look at the first token all the time."""
    at = np.zeros((len(places), 1 + idle), np.float32)
    at[:, 0] = places
    sure = np.full(at.shape, 0.9, np.float32)
    sure[:, 0] = certainty
    return Looks(at, sure)


def walked(calls: list[Looks]) -> list[float | None]:
    walk = Walk()
    for call in calls:
        walk.looked(call, len(call.places))
    return walk.places


def steps(jitter: float = 0.0) -> list[float]:
    """The word that each frame speaks."""
    noise = np.random.default_rng(7)
    exact = [word for word, frames in enumerate(TAKES) for _ in range(frames)]
    return [word + jitter * float(noise.standard_normal()) for word in exact]


def in_calls(places: list[float], **how: Any) -> list[Looks]:
    return [looking(places[at : at + CALL], **how) for at in range(0, len(places), CALL)]


def ends_of(text: str) -> list[int]:
    """Every word is a token."""
    return [place for place, char in enumerate(text) if char == " "] + [len(text)]


def told(attended: Sequence[float | None], finished: bool = True, frames: int = sum(TAKES)) -> Timeline:
    timeline = Timeline()
    timeline.begin([(end, end) for end in range(1, len(TEXT) + 1)])
    timeline.spoke(0, Spoken(0, TEXT, ends_of, seen, frames, attended))
    timeline.finished = finished
    return timeline


def seen(frame: int) -> int:
    """Tokens that the step of a frame sees (specification 8.4)."""
    return visible_text(CONFIG, frame, CONFIG.reserved_text) - 2


def words_off(timeline: Timeline) -> list[int]:
    """How many words the estimate is off in the middle of each frame."""
    exact, off = steps(), []
    for frame, word in enumerate(exact):
        heard = timeline.heard((frame + 0.5) * FRAME_MS, len(TEXT))
        off.append(sum(end <= heard for end in ends_of(TEXT)) - int(word))
    return off


@pytest.mark.parametrize("jitter", [0.0, 0.2])
@pytest.mark.parametrize("finished", [True, False])
def test_a_walk_along_the_text_gives_the_times_of_the_words(jitter: float, finished: bool) -> None:
    attended = walked(in_calls(steps(jitter)))
    assert sum(place is None for place in attended) < CALL / 2
    assert max(map(abs, words_off(told(attended, finished)))) <= 1
    assert max(map(abs, words_off(told([], finished)))) > 2, "the lengths of the words alone tell it as well"


def test_between_places_that_are_known_the_words_share_the_time() -> None:
    known: list[float | None] = [None] * sum(TAKES)
    known[sum(TAKES[:4]) - 1], known[sum(TAKES[:10]) - 1] = 3.5, 9.5
    off = words_off(told(known))
    assert off[sum(TAKES[:4])] == off[sum(TAKES[:10])] == 0
    assert sum(map(abs, off)) < sum(map(abs, words_off(told([]))))


FLAT = Looks(
    np.tile(np.linspace(4.0, 6.0, CALL, dtype=np.float32)[:, None], (1, 4)), np.full((CALL, 4), 0.1, np.float32)
)
STILL = looking([2.0] * CALL)
BACK = looking([20.0 - frame / 3 for frame in range(CALL)])
JUMPING = looking([0.0] * 12 + [0.0 + 2 * MOST_JUMP] * 13)
NOTHING = Looks(np.full((CALL, 4), np.nan, np.float32), np.full((CALL, 4), np.nan, np.float32))


@pytest.mark.parametrize(
    "call", [FLAT, STILL, BACK, JUMPING, NOTHING, None], ids=["flat", "still", "back", "jumping", "nan", "none"]
)
def test_what_is_not_a_walk_is_not_believed(call: Looks | None) -> None:
    walk = Walk()
    for _ in range(4):
        walk.looked(call, CALL)
    assert walk.places == [None] * 4 * CALL
    without, timeline = told([]), told(walk.places)
    assert [timeline.heard(ms, len(TEXT)) for ms in range(0, 3000, 40)] == [
        without.heard(ms, len(TEXT)) for ms in range(0, 3000, 40)
    ]


def test_one_head_of_many_is_enough_and_the_end_of_the_speech_is_no_frame() -> None:
    calls = in_calls(steps(), idle=30)
    assert (trust(calls[0].places, calls[0].certainty) > 0).tolist() == [True] + [False] * 30
    walk = Walk()
    walk.looked(looking(steps()[: CALL + 1]), CALL)
    assert len(walk.places) == CALL


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    attended=st.lists(st.none() | st.floats(-5, 400), max_size=400),
    frames=st.integers(1, 400),
    finished=st.booleans(),
    moments=st.lists(st.floats(0, 9000), min_size=2, max_size=10),
)
def test_whatever_is_attended_the_bounds_hold(
    attended: list[float | None], frames: int, finished: bool, moments: list[float]
) -> None:
    timeline = told(attended, finished, frames)
    heard = [timeline.heard(ms, len(TEXT)) for ms in sorted(moments)]
    assert heard == sorted(heard), "less is heard later than earlier"
    assert timeline.heard(0, len(TEXT)) == 0
    for ms, count in zip(sorted(moments), heard, strict=True):
        if finished and ms >= timeline.ms:
            assert count == len(TEXT)
        else:
            tokens = min(seen(max(int(min(ms / FRAME_MS + 1e-6, frames)) - 1, 0)), len(WORDS)) if ms >= FRAME_MS else 0
            assert count <= ([0, *ends_of(TEXT)][tokens])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=st.lists(st.floats(width=32), min_size=36, max_size=36), frames=st.integers(0, 6))
def test_looks_of_any_kind_give_a_place_or_none_for_every_frame(values: list[float], frames: int) -> None:
    walk = Walk()
    for both in np.array(values, np.float32).reshape(3, 2, 6, 1):
        walk.looked(Looks(both[0], both[1]), frames)
    assert len(walk.places) == 3 * frames
    assert all(place is None or np.isfinite(place) for place in walk.places)
