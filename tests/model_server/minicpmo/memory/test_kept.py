"""What stays of a reply that was cut: its five ends, golden; and that it can be written again just so."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.memory.heard import Timeline
from model_server.minicpmo.memory.marks import SessionMark
from model_server.minicpmo.memory.told import Kept
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling, greedy
from model_server.minicpmo.replies.segment import Voice
from model_server.minicpmo.session import Session
from tests.model_server.minicpmo.memory.talking import layers, sound
from tests.model_server.minicpmo.test_interrupted import OPENING, Hasty, Talk

BEFORE = "<|im_start|>user\nbe brief<|im_end|>\n<|im_start|>user\nso"
CUT = "<|tts_eos|><|im_end|>\n<|im_start|>user\n"
NEXT = "why not"
LONG = "it is one and you are not three of them"


class Counted(Timeline):
    """One character is heard in a millisecond."""

    def heard(self, ms: float, characters: int) -> int:
        return min(int(ms), characters)


def replied(model: MiniCPMO, text: str, pieces: int | None) -> tuple[Talk, Session, SessionMark]:
    talk = Talk(model)
    talk.session.prefill("user", ["so"])
    mark = talk.session.mark()
    ids = iter([*model.tokenizer.encode(text), *[model.tokenizer.specials.im_end] * 3])
    reply = talk.session.generate(choose=lambda _: next(ids), voice=Voice(Hasty(model), timeline=Counted()))
    list(islice(reply, pieces))
    reply.close()
    return talk, talk.session, mark


def context(talk: Talk) -> str:
    ids = talk.noted.written[id(talk.session.cache)][: talk.session.length]
    return talk.model.tokenizer.decode(ids)


ENDS = {
    "cut while generating": (LONG + "<|tts_eos|>", 3, 5, "it is"),
    "generated to the end and then cut": (LONG + "<|tts_eos|>", None, 21, "it is one and you are"),
    "cut inside a word": (LONG + "<|tts_eos|>", None, 8, "it is"),
    "cut at the last word before its end": (
        LONG + "<|tts_eos|>",
        None,
        len(LONG) - 1,
        "it is one and you are not three of",
    ),
    "cut between two ideographs": ("it is 好好 so<|tts_eos|>", None, 7, "it is 好"),
    "cut inside of a character": ("it is好好 so<|tts_eos|>", 2, 99, "it is好"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_cut_reply_ends_behind_a_whole_word_and_is_closed_once(model: MiniCPMO, name: str) -> None:
    text, pieces, characters, stays = ENDS[name]
    talk, session, mark = replied(model, text, pieces)
    kept = session.keep_heard(mark, characters)
    assert kept.text.rstrip() == stays
    assert model.tokenizer.decode(list(kept.ids)) == kept.text
    session.prefill("user", [NEXT])
    assert context(talk) == f"{BEFORE}<|im_end|>\n{OPENING}{kept.text}{CUT}{NEXT}"


def test_a_reply_heard_to_its_end_stays_whole(model: MiniCPMO) -> None:
    talk, session, mark = replied(model, LONG + "<|tts_eos|>", None)
    ids = session.reply.ids
    assert session.keep_heard(mark, 10_000) == Kept(LONG, tuple(ids))
    session.prefill("user", [NEXT])
    assert context(talk) == f"{BEFORE}<|im_end|>\n{OPENING}{LONG}{CUT}{NEXT}"


@pytest.mark.parametrize("pieces", [0, 1, 5, None])
def test_with_nothing_heard_the_turn_stays_open(model: MiniCPMO, pieces: int | None) -> None:
    talk, session, mark = replied(model, LONG + "<|tts_eos|>", pieces)
    for ms in (0, 1):  # One character is no word.
        assert session.keep_heard(mark, ms) == Kept()
    session.prefill("user", [NEXT])
    assert context(talk) == f"{BEFORE}{NEXT}"


def test_a_reply_can_be_cut_again_elsewhere_and_long_after(model: MiniCPMO) -> None:
    """From what the context still holds, and from the tokens where it was written over."""
    talk, session, mark = replied(model, LONG + "<|tts_eos|>", None)
    lengths: dict[int, int] = {}
    for characters in (30, 5, 0, 9, 999, 5, 30):
        kept = session.keep_heard(mark, characters)
        assert len(kept.text) <= characters
        assert lengths.setdefault(characters, session.length) == session.length
        written = context(talk) + model.tokenizer.decode(session._owed)
        assert written.removesuffix("<|tts_eos|>") == BEFORE + (f"<|im_end|>\n{OPENING}{kept.text}" if kept.ids else "")
        if characters != 9:
            continue
        session.prefill("user", [NEXT])
        list(session.generate(TextSampling(max_new_tokens=3), choose=greedy, speak=False))


@pytest.mark.parametrize("characters", [9, 30, 999])
def test_what_stays_is_written_again_exactly(model: MiniCPMO, characters: int) -> None:
    _, session, mark = replied(model, LONG + "<|tts_eos|>", None)
    kept = session.keep_heard(mark, characters)
    again = Session(model, seed=0)
    again.prefill("system", ["be brief"])
    again.prefill("user", ["so"])
    again.append_reply(kept.ids)
    assert (again.length, again.turns, again._owed) == (session.length, session.turns, session._owed)
    for mine, its in zip(layers(session), layers(again), strict=True):
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(mine, its, strict=True))
    for each in (session, again):
        each.prefill("user", [sound(5)])
        list(each.generate(TextSampling(max_new_tokens=12), choose=greedy, speak=False))
    assert session.reply.ids == again.reply.ids


def test_a_cut_reply_does_not_depend_on_how_far_it_was_generated(model: MiniCPMO) -> None:
    ends = []
    for pieces in (6, 9, None):
        _, session, mark = replied(model, LONG + "<|tts_eos|>", pieces)
        kept = session.keep_heard(mark, 9)
        session.prefill("user", [NEXT])
        ends.append((kept, [piece.text for piece in session.generate(TextSampling(max_new_tokens=30), speak=False)]))
    assert ends[0] == ends[1] == ends[2]


def test_a_reply_of_text_alone_is_read_at_once(model: MiniCPMO) -> None:
    session = Session(model)
    session.prefill("user", ["so"])
    mark = session.mark()
    ids = iter(model.tokenizer.encode(LONG + "<|tts_eos|>"))
    list(session.generate(choose=lambda _: next(ids), speak=False))
    assert session.keep_heard(mark, 1).text == LONG
    assert session.keep_heard(mark, 0) == Kept()


@pytest.mark.parametrize("ids", [[], [-1], [10**6]])
def test_a_reply_of_no_tokens_is_refused(model: MiniCPMO, ids: list[int]) -> None:
    session = Session(model)
    session.prefill("user", ["so"])
    with pytest.raises(InputError, match="reply: expected ids of 0 to"):
        session.append_reply(ids)
    assert session.items == 1
