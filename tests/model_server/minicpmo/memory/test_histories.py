"""Any history of messages, replies, marks, returns and cuts: the context is what was said and heard, nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain, islice, repeat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.memory.marks import SessionMark
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.layers import KVCache
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.replies.behaviour import PARITY
from model_server.minicpmo.session import Session
from tests.model_server.minicpmo.test_interrupted import OPENING, REPLY, USER, Talk

REPLIES = ("it is one and you are not three of them<|tts_eos|>", "no!<|im_end|>", "why not")


@dataclass
class History:
    """A conversation, and of each mark what the context must be again."""

    talk: Talk
    marks: list[tuple[SessionMark, str, str]] = field(default_factory=list)
    """Each with its context, and with the reply that was last generated from there."""

    @property
    def context(self) -> str:
        ids = self.talk.noted.written[id(self.talk.session.cache)][: self.talk.session.length]
        return self.talk.model.tokenizer.decode([*ids, *self.talk.session._owed])

    def say(self) -> None:
        self.talk.session.prefill("user", ["so"])

    def mark(self) -> None:
        self.marks.append((self.talk.session.mark(), self.context, ""))

    def reply(self, text: str, pieces: int) -> None:
        session, here = self.talk.session, self.talk.session._memory.version
        self.marks = [(mark, context, text if mark.version == here else said) for mark, context, said in self.marks]
        script = chain(self.talk.model.tokenizer.encode(text), repeat(self.talk.model.tokenizer.specials.im_end))
        most = len(self.talk.model.tokenizer.encode(text))
        reply = session.generate(TextSampling(max_new_tokens=most), choose=lambda _: next(script), speak=False)
        list(islice(reply, pieces))
        reply.close()

    def back(self, number: int) -> None:
        if self.marks:
            mark, context, _ = self.marks[number % len(self.marks)]
            self.talk.session.rollback(mark)
            assert self.context == context

    def cut(self, number: int, ms: int) -> None:
        if self.marks:
            mark, context, said = self.marks[number % len(self.marks)]
            kept = self.talk.session.keep_heard(mark, ms)
            assert said.startswith(kept.text)
            assert self.context.startswith(context)
            if not kept.ids:
                assert self.context == context

    def forget(self, number: int) -> None:
        if self.marks:
            del self.marks[number % len(self.marks)]


STEPS = st.one_of(
    st.just(("say",)),
    st.just(("mark",)),
    st.tuples(st.just("reply"), st.sampled_from(REPLIES), st.integers(1, 6)),
    st.tuples(st.just("back"), st.integers(0, 9)),
    st.tuples(st.just("cut"), st.integers(0, 9), st.integers(0, 1)),
    st.tuples(st.just("forget"), st.integers(0, 9)),
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=4, max_size=14))
def test_whatever_happens_the_context_is_what_was_said(
    model: MiniCPMO, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[object, ...]]
) -> None:
    history = History(Talk(model))
    copy = KVCache.copy

    def noted(cache: KVCache) -> KVCache:
        twin = copy(cache)
        if ids := history.talk.noted.written.get(id(cache)):
            history.talk.noted.written[id(twin)] = ids[: cache.length]
        return twin

    with monkeypatch.context() as patched:
        patched.setattr(KVCache, "copy", noted)
        history.say()
        for name, *arguments in steps:
            getattr(history, str(name))(*arguments)
        history.say()
    assert re.fullmatch(rf"({USER}|{REPLY})+<\|im_start\|>user\n(so)+", history.context), history.context
    assert history.context.count(OPENING) == history.context.count("<|tts_eos|>")


def test_a_mark_belongs_to_its_session(model: MiniCPMO) -> None:
    mine, other = Session(model), Session(model)
    for session in (mine, other):
        session.prefill("user", ["so"])
    for call in (mine.rollback, lambda mark: mine.keep_heard(mark, 1)):
        with pytest.raises(InputError, match="another session's"):
            call(other.mark())


def test_the_published_behaviour_cuts_no_reply(model: MiniCPMO) -> None:
    session = Session(model, PARITY)
    session.prefill("user", ["so"])
    for call in (lambda: session.keep_heard(session.mark(), 1), lambda: session.append_reply([1])):
        with pytest.raises(InputError, match="published behaviour"):
            call()
