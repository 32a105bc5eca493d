"""Seconds without speech: nothing is written, pictures wait in a thinned ring, and go in before the next words."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.minicpmo.errors import InputError, OrderError
from model_server.minicpmo.memory.parts import Kind, total
from model_server.minicpmo.memory.silent_pictures import SilentPicture, SilentPictures, Thinning
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT
from tests.model_server.minicpmo.memory.talking import PICTURE, next_outputs, opened, sound
from tests.model_server.minicpmo.test_interrupted import Talk

NO_EMBEDDINGS = torch.zeros(0)
SHORT = TextSampling(max_new_tokens=3)


def ring(seconds: list[int], thinning: Thinning | None = None) -> list[int]:
    """The seconds whose pictures wait, of these that had one; time goes on to the last."""
    silent = SilentPictures(thinning or Thinning())
    for second in range(seconds[-1] + 1):
        picture = SilentPicture("", NO_EMBEDDINGS, second, second) if second in seconds else None
        silent = silent.add(picture, second + 1)
    return [int(picture.second) for picture in silent.waiting]


def test_the_newest_wait_one_a_second_older_ones_farther_apart() -> None:
    waiting = ring(list(range(1000)))
    assert waiting[-10:] == list(range(990, 1000)), "the last ten seconds, each"
    minute = [second for second in waiting if 940 < second <= 989]
    assert [second % 10 for second in minute] == [0] * 4
    older = [second for second in waiting if second <= 940]
    assert {b - a for a, b in pairwise(older)} <= {60, 40, 20}
    assert min(older) >= 400


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seconds=st.lists(st.integers(0, 900), min_size=1, max_size=400, unique=True),
    steps=st.sampled_from([((10, 1), (60, 10), (600, 60)), ((3, 1),), ((5, 2), (50, 7))]),
)
def test_a_ring_is_bounded_in_order_and_keeps_the_newest(
    seconds: list[int], steps: tuple[tuple[float, float], ...]
) -> None:
    thinning = Thinning(steps)
    waiting = ring(sorted(seconds), thinning)
    assert waiting == sorted(set(waiting))
    assert set(waiting) <= set(seconds)
    assert len(waiting) <= thinning.most
    newest = max(seconds)
    assert all(newest + 1 - second < steps[-1][0] for second in waiting)
    if steps[0][1] == 1:
        assert {second for second in seconds if newest - second < steps[0][0] - 1} <= set(waiting)


@pytest.mark.parametrize("steps", [((10, 1), (10, 2)), ((10, 5), (60, 1)), ((0, 1),), ((5, 0),)])
def test_thinning_out_of_order_is_refused(steps: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(InputError, match="thinning: expected ages and gaps"):
        Thinning(steps)


def test_pictures_go_in_before_the_next_words_in_one_pass(model: MiniCPMO) -> None:
    talk = Talk(model)
    session = talk.session
    session.prefill("user", ["so"])
    list(talk.reply("yes<|tts_eos|>", speak=False))
    before, passes = talk.context, len(talk.noted.written[id(session.cache)])
    for camera in (True, False, True):
        session.remember_silent(session.prepare("user", [PICTURE]) if camera else None)
    assert (talk.context, session.waiting, session.items) == (before, 2 * 67, 4)
    done = session.prefill("user", ["why not"])
    assert len(done.ids) == len(talk.noted.written[id(session.cache)]) - passes, "more than one pass"
    seen = r"<unit><image>(<unk>)+</image>"
    assert re.fullmatch(re.escape(before) + rf"<\|tts_eos\|>.*user\n({seen}){{2}}why not", talk.context, re.DOTALL)
    assert session.waiting == 0
    parts = session._memory.parts
    assert total(parts) == session.length
    assert [part.item for part in parts if part.kind is Kind.PICTURE] == [1, 3]


def test_pictures_go_in_before_a_reply_that_is_asked_for(model: MiniCPMO) -> None:
    talk = Talk(model)
    session = talk.session
    session.remember_silent(session.prepare("user", [PICTURE]))
    mark = session.mark()
    list(talk.reply("yes<|tts_eos|>", speak=False))
    assert re.search(r"user\n<unit><image>(<unk>)+</image><\|im_end\|>\n<\|im_start\|>assistant", talk.context)
    session.rollback(mark)
    assert session.waiting == 67
    kept = session.keep_heard(mark, 1)
    assert (kept.text, session.waiting) == ("yes", 0)


def test_marks_hold_the_ring(model: MiniCPMO) -> None:
    subject, control = opened(model), opened(model)
    still = subject.prepare("user", [PICTURE])
    for session in (subject, control):
        session.remember_silent(still)
    mark = subject.mark()
    subject.remember_silent(still)
    subject.prefill("user", [UNIT, sound(3)])
    list(subject.generate(SHORT, speak=False))
    subject.rollback(mark)
    assert next_outputs(subject) == next_outputs(control)


def test_what_fails_leaves_the_ring(model: MiniCPMO, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(model)
    session.remember_silent(session.prepare("user", [PICTURE]))
    with monkeypatch.context() as broken:
        broken.setattr(model.language.layers[-1], "forward", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.prefill("user", [sound(1)])
        with pytest.raises(ZeroDivisionError):
            next(session.generate(SHORT, speak=False))
    assert session.waiting == 67
    assert total(session._memory.parts) == session.length


@pytest.mark.parametrize("content", [[sound(1)], ["so"], [PICTURE, PICTURE], [PICTURE, sound(1)]])
def test_a_silent_second_has_one_picture_or_none(model: MiniCPMO, content: list[Any]) -> None:
    session = Session(model)
    with pytest.raises(InputError, match="silent second: expected one picture"):
        session.remember_silent(session.prepare("user", content))
    assert (session.items, session.waiting) == (0, 0)


def test_no_silence_in_the_middle_of_a_reply(model: MiniCPMO) -> None:
    session = opened(model)
    reply = session.generate(SHORT, speak=False)
    next(reply)
    with pytest.raises(OrderError, match="a reply is being given"):
        session.remember_silent(None)
    reply.close()


def test_a_sliced_picture_is_one_part(model: MiniCPMO) -> None:
    session = Session(model)
    session.prefill("user", [UNIT, PICTURE.resize((1300, 900)), sound(1)], max_slices=6)
    kinds = [(part.kind, part.length) for part in session._memory.parts]
    picture = dict(kinds)[Kind.PICTURE]
    assert kinds == [(Kind.OPEN, 3), (Kind.CONTENT, 1), (Kind.PICTURE, picture), (Kind.CONTENT, 27)]
    assert picture > 5 * 66
