"""Calls without end: the context stays under its cap and well formed, and the last minute is always there."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.memory import state
from model_server.minicpmo.memory.compaction import compact
from model_server.minicpmo.memory.eviction import ContextLimits
from model_server.minicpmo.memory.marks import MarkGone
from model_server.minicpmo.memory.parts import total
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.layers import KVCache, finished
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT
from tests.model_server.minicpmo.memory.talking import PICTURE, layers, sound
from tests.model_server.minicpmo.test_interrupted import OPENING, Noted

LIMITS = ContextLimits(most=720, high=700, low=400, reply=60, seconds=3)
SYSTEM = r"<\|im_start\|>user\nbe brief<\|im_end\|>\n"
UNIT_FORM = r"(<unit>)?(<image>(<unk>)+</image>)?(<\|audio_start\|>(<unk>)+<\|audio_end\|>)?(so)?"
USER = rf"<\|im_start\|>user\n({UNIT_FORM})+<\|im_end\|>\n"
REPLY = re.escape(OPENING) + r"[^<]*<\|tts_eos\|><\|im_end\|>\n"
OPEN = rf"<\|im_start\|>user\n({UNIT_FORM})+"


class Blank(torch.nn.Module):
    """Sees nothing, at once: of every picture the same embeddings."""

    def __init__(self, model: MiniCPMO) -> None:
        super().__init__()
        self.rows = torch.zeros(1, model.config.resampler.num_queries, model.config.language.hidden_size)

    def forward(self, pictures: Sequence[Any], *_: Any) -> Tensor:
        return self.rows.expand(len(pictures), -1, -1)

    def by_groups(self, pictures: Sequence[Any], layers: int) -> Generator[None, None, Tensor]:
        yield
        return self(pictures)  # type: ignore[no-any-return]


@dataclass
class Call:
    """A session whose context can be read, evictions included."""

    session: Session
    noted: Noted

    @property
    def context(self) -> str:
        ids = self.noted.written[id(self.session.cache)][: self.session.length]
        return self.session.model.tokenizer.decode(ids)

    def reply(self, text: str = "it is one<|tts_eos|>") -> None:
        ids = iter(self.session.model.tokenizer.encode(text))
        list(self.session.generate(TextSampling(max_new_tokens=60), choose=lambda _: next(ids), speak=False))

    def second(self, number: int) -> None:
        self.session.prefill("user", [UNIT, PICTURE, sound(number)])


@pytest.fixture
def call(model: MiniCPMO, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Call]:
    """Makes calls, with the system prompt said."""

    def new(limits: ContextLimits = LIMITS) -> Call:
        noted = Noted(model.language)

        def noting(
            cache: KVCache, runs: list[tuple[int, int]], theta: float, layers: int
        ) -> Generator[None, None, None]:
            ids = noted.written[id(cache)]
            noted.written[id(cache)] = [token for start, end in runs for token in ids[start:end]]
            yield from compact(cache, runs, theta, layers)

        monkeypatch.setattr(state, "compact", noting)
        blind: Any = replace(model, language=noted, vision=Blank(model), resampler=Blank(model))  # type: ignore[arg-type]
        session = Session(blind, seed=1, limits=limits)
        session.prefill("system", ["be brief"])
        return Call(session, noted)

    return new


def test_a_long_message_stays_well_formed_and_its_last_seconds_whole(call: Callable[..., Call]) -> None:
    talk = call()
    talk.second(0)
    talk.reply()
    for number in range(1, 19):
        talk.second(number)
        assert talk.session.length + LIMITS.reply <= LIMITS.high
        whole = rf"({UNIT_FORM})*" + "(<unit><image>(<unk>)+</image><\\|audio_start\\|>(<unk>)+<\\|audio_end\\|>)"
        recent = min(number, 3)
        assert re.fullmatch(rf"{SYSTEM}({USER}{REPLY})?<\|im_start\|>user\n{whole}{{{recent}}}", talk.context)
    assert talk.session.evicted_items > 9


def test_rounds_go_with_their_replies_and_the_next_ones_are_answered(call: Callable[..., Call]) -> None:
    talk = call()
    lengths = []
    for number in range(16):
        talk.second(number)
        talk.session.prefill("user", ["so"])
        talk.reply()
        lengths.append(talk.session.length)
        assert re.fullmatch(rf"{SYSTEM}({USER}{REPLY})*{USER}{re.escape(OPENING)}[^<]*", talk.context), talk.context
    assert max(lengths) <= LIMITS.most
    falls = sum(b < a for a, b in pairwise(lengths))
    assert 1 < falls < 8, "not in steps of hysteresis"
    assert 0 < talk.session.evicted_items < talk.session.items == 32


def test_what_is_kept_has_the_same_values(model: MiniCPMO) -> None:
    subject, control = Session(model, seed=1, limits=LIMITS), Session(model, seed=1)
    for number in range(6):
        for session in (subject, control):
            session.prefill("user", [PICTURE, sound(number)])
    assert subject.length == control.length
    with torch.inference_mode():
        evicting = subject._memory.make_room(100)
        assert evicting is not None
        finished(evicting)
    assert total(subject._memory.parts) == subject.length < control.length
    recent = 3 * (66 + 27)  # The last three seconds are whole, so they end both contexts.
    for (_, mine), (_, its) in zip(layers(subject), layers(control), strict=True):
        assert torch.equal(mine[:, -recent:], its[:, -recent:])


def test_a_mark_comes_back_without_what_was_evicted(call: Callable[..., Call]) -> None:
    talk = call()
    for number in range(4):
        talk.second(number)
        talk.reply()
    talk.second(4)
    mark, held = talk.session.mark(), talk.context
    evicted = talk.session.evicted_items
    for number in range(5, 8):
        talk.second(number)
    assert mark.kv_length < len(talk.session.model.tokenizer.encode(held)), "nothing was evicted"
    assert talk.session.evicted_items == max(evicted, talk.session.evicted_items) <= 5
    talk.session.rollback(mark)
    assert talk.session.length == mark.kv_length
    assert re.fullmatch(rf"{SYSTEM}({USER}{REPLY})*{OPEN}", talk.context), talk.context
    talk.reply()
    talk.second(9)
    assert talk.session.length <= LIMITS.high


def test_a_mark_inside_of_what_had_to_go_is_gone(call: Callable[..., Call]) -> None:
    talk = call()
    talk.second(0)
    old = talk.session.mark()
    assert talk.session.evicted_items == 0
    for number in range(12):
        talk.reply()
        talk.second(number)
    length = talk.session.length
    with pytest.raises(MarkGone, match="was evicted since"):
        talk.session.rollback(old)
    with pytest.raises(MarkGone, match="was evicted since"):
        talk.session.keep_heard(old, 100)
    assert talk.session.length == length
    assert talk.session.evicted_items > 0


def test_a_reply_is_cut_after_an_eviction(call: Callable[..., Call]) -> None:
    talk = call()
    for number in range(3):
        talk.second(number)
        talk.reply()
    talk.second(3)
    mark = talk.session.mark()
    talk.reply("it is one and you are not<|tts_eos|>")
    for number in range(4, 7):
        talk.second(number)
    kept = talk.session.keep_heard(mark, 1)
    assert kept.text == "it is one and you are not"
    talk.second(9)
    assert re.fullmatch(rf"{SYSTEM}({USER}{REPLY})*{USER}{re.escape(OPENING)}{kept.text}.*", talk.context, re.DOTALL)
    assert talk.context.count(kept.text) == 1


def test_a_new_system_prompt_stays_until_the_next_one(call: Callable[..., Call]) -> None:
    talk = call()
    for says in ("be brief", "why not", "it is one"):
        for number in range(6):
            talk.second(number)
            talk.reply()
            if number == 1:
                talk.session.write(talk.session.prepare("system", [says]), stays=True)
        system = re.escape(f"<|im_start|>system\n{says}<|im_end|>\n")
        assert re.fullmatch(rf"{SYSTEM}({USER}{REPLY})*{system}({USER}{REPLY})*{OPEN}.*", talk.context, re.DOTALL)
        assert talk.session.evicted_items > 0
    with pytest.raises(InputError, match="stays: expected a message of the role system"):
        talk.session.write(talk.session.prepare("user", ["so"]), stays=True)


def test_a_tools_result_goes_with_its_round(call: Callable[..., Call]) -> None:
    talk = call()
    for number in range(9):
        talk.second(number)
        talk.session.prefill("system", ["so"])
        talk.reply()
    assert talk.session.evicted_items > 0
    tool = re.escape("<|im_start|>system\nso<|im_end|>\n")
    assert re.fullmatch(rf"{SYSTEM}({USER}{tool}{REPLY})*{USER}{tool}{re.escape(OPENING)}.*", talk.context, re.DOTALL)


def test_what_is_larger_than_the_context_is_refused(call: Callable[..., Call]) -> None:
    talk = call()
    talk.second(0)
    before = talk.context
    with pytest.raises(InputError, match="context: expected at most 720 positions"):
        talk.session.prefill("user", [PICTURE.resize((4000, 4000))] * 2, max_slices=9)
    assert talk.context == before


def test_a_reply_ends_where_the_context_does(call: Callable[..., Call]) -> None:
    talk = call()
    talk.second(0)
    list(talk.session.generate(TextSampling(min_new_tokens=900, max_new_tokens=1000), speak=False))
    assert 320 < talk.session.length <= LIMITS.most - LIMITS.low + 150
    talk.second(1)
    assert re.fullmatch(rf"{SYSTEM}{USER}{re.escape(OPENING)}.*{OPEN}", talk.context, re.DOTALL)
