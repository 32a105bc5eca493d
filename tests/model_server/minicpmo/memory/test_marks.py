"""A session returns to a mark exactly, and no cache is copied unless two futures of one mark are wanted at once."""

from __future__ import annotations

from itertools import islice
from weakref import ref

import pytest

from model_server.minicpmo.errors import OrderError
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT
from tests.model_server.minicpmo.memory.talking import PICTURE, next_outputs, opened, sound

SHORT = TextSampling(max_new_tokens=6)


@pytest.mark.parametrize("seconds", [2, 29])
def test_a_short_unit_answered_and_discarded_never_happened(model: MiniCPMO, seconds: int) -> None:
    """With 29 s behind it the short unit still fits into the encoder's window, and the full one starts it anew."""
    subject, control = opened(model), opened(model)
    for session in (subject, control):
        session.prefill("user", [sound(1, seconds * 16000)])
    mark = subject.mark()
    subject.prefill("user", [UNIT, PICTURE, sound(seconds)[:6400]])
    assert subject.audio_cache.length == 50 * seconds + 20
    list(subject.generate(SHORT))
    subject.rollback(mark)
    for session in (subject, control):
        session.prefill("user", [UNIT, PICTURE, sound(seconds)])
        assert session.audio_cache.length == (50 if seconds == 29 else 150)
    assert next_outputs(subject) == next_outputs(control)


def test_a_reply_discarded_in_the_middle_leaves_no_trace(model: MiniCPMO) -> None:
    subject, control = opened(model), opened(model)
    for session in (subject, control):
        session.prefill("user", [sound(1)])
    mark = subject.mark()
    for pulled in (0, 1, 4):
        reply = subject.generate(TextSampling(max_new_tokens=30, min_new_tokens=30))
        assert len(list(islice(reply, pulled))) == pulled
        reply.close()
        subject.rollback(mark)
    assert next_outputs(subject) == next_outputs(control)


def test_marks_can_be_used_again_and_in_any_order(model: MiniCPMO) -> None:
    subject, control = opened(model), opened(model)
    early = subject.mark()
    subject.prefill("user", [sound(1)])
    late = subject.mark()
    subject.prefill("user", [sound(2)])
    after_late = [piece.text for piece in subject.generate(SHORT, speak=False)]
    for _ in range(2):
        subject.rollback(early)
        subject.prefill("user", [PICTURE, sound(3)])
        list(subject.generate(SHORT, speak=False))
        subject.rollback(late)
        subject.prefill("user", [sound(2)])
        assert [piece.text for piece in subject.generate(SHORT, speak=False)] == after_late
    subject.rollback(early)
    assert next_outputs(subject) == next_outputs(control)


def test_going_back_copies_nothing(model: MiniCPMO) -> None:
    session = opened(model)
    cache, mark = session.cache, session.mark()
    for number in range(3):
        mark = session.mark()
        session.prefill("user", [sound(number)])
        list(session.generate(SHORT, speak=False))
        session.rollback(mark)
        session.prefill("user", [sound(number)])
        assert session.cache is cache
    later = session.mark()
    session.rollback(mark)
    session.prefill("user", [sound(9)])
    assert session.cache is not cache, "what the later mark points to was overwritten"
    session.rollback(later)
    assert session.cache is cache


def test_the_ear_lives_as_long_as_marks_of_it(model: MiniCPMO) -> None:
    session = opened(model)
    session.prefill("user", [sound(1)])
    ear, mark = ref(session.audio_cache), session.mark()
    list(session.generate(SHORT, speak=False))
    assert session.audio_cache.length == 0
    session.rollback(mark)
    assert session.audio_cache is ear()
    list(session.generate(SHORT, speak=False))
    del mark
    assert ear() is None


def test_no_mark_in_the_middle_of_a_reply(model: MiniCPMO) -> None:
    session = opened(model)
    mark = session.mark()
    reply = session.generate(SHORT, speak=False)
    next(reply)
    for call in (session.mark, lambda: session.rollback(mark), lambda: session.keep_heard(mark, 1)):
        with pytest.raises(OrderError, match="a reply is being given"):
            call()
    reply.close()
    session.rollback(mark)


def test_an_adopted_session_equals_the_one_it_copied(model: MiniCPMO) -> None:
    told, subject = Session(model, seed=4), Session(model, seed=4)
    told.prefill("system", ["be brief", sound(0)])
    subject.adopt(told)
    assert subject.cache is not told.cache
    assert subject.items == 0
    with pytest.raises(OrderError, match="nothing was written"):
        subject.adopt(told)
    assert next_outputs(subject) == next_outputs(told)
