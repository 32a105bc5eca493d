from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.memory.eviction import ContextLimits
from model_server.minicpmo.memory.silent_pictures import Thinning
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.cache_slots import SlotPool
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.network.speech_state import SpeechState
from model_server.minicpmo.replies.segment import CALL, MOST_FRAMES, Voice
from model_server.minicpmo.serving.slots import (
    MOST_SLOTS,
    SPEECH_FRAMES,
    fitting,
    furnish,
    reserved,
    session_bytes,
)
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT
from tests.model_server.minicpmo.serving.reachable import held_bytes, reached

ONE, TWO = torch.device("cuda", 0), torch.device("cuda", 1)
GIB = 2**30


def test_a_full_size_session_takes_what_its_caches_take() -> None:
    needed = session_bytes(ModelConfig(), torch.bfloat16, [ONE] * 28)
    language, hearing = 2 * 28 * 4 * 128 * 8192 * 2, 2 * 24 * 1024 * 2048 * 2
    speaking = 2 * 20 * 768 * (302 + 2112) * 2
    silent_pictures, codes = 27 * 64 * 3584 * 2, 2112 * 4 * 8
    assert needed == {ONE: language + hearing + speaking + silent_pictures + codes}
    assert 100 < fitting(needed, {ONE: 100 * GIB}) < 130


def test_over_two_cards_the_fuller_one_decides() -> None:
    needed = session_bytes(ModelConfig(), torch.bfloat16, [ONE] * 20 + [TWO] * 8)
    assert needed[ONE] == 2 * 20 * 4 * 128 * 8192 * 2
    assert fitting(needed, {ONE: 1 * GIB, TWO: 100 * GIB}) == 2


def test_there_is_always_one_and_never_too_many() -> None:
    assert fitting({ONE: GIB}, {ONE: 0}) == 1
    assert fitting({ONE: 1}, {ONE: GIB}) == MOST_SLOTS


@pytest.fixture
def furnished(model: MiniCPMO) -> Iterator[MiniCPMO]:
    furnish(model)
    yield model
    model.language.pool = model.speech.pool = None


def watched_for_ten_minutes(session: Session) -> None:
    """Nobody speaks, and as many pictures wait as ever do."""
    memory = session._memory
    session.remember_silent(session.prepare("user", [Image.new("RGB", (64, 48))]))
    (seen,) = memory.silent.waiting
    for _ in range(599):
        again = replace(seen, embeddings=seen.embeddings.clone(), second=memory.second)
        memory.second += 1.0
        memory.silent = memory.silent.add(again, memory.second)
    assert 20 < len(memory.silent.waiting) <= Thinning().most


def speech_of(*roots: object) -> list[SpeechState]:
    return [thing for thing in reached(*roots) if isinstance(thing, SpeechState)]


def test_a_session_holds_what_was_predicted(furnished: MiniCPMO) -> None:
    model, cpu = furnished, torch.device("cpu")
    predicted = session_bytes(model.config, torch.float32, [cpu] * model.config.language.num_layers)[cpu]
    head = Session(model)
    head.prefill("system", ["Be brief."])
    session = Session(model, seed=1, limits=ContextLimits())
    session.adopt(head, slotted=True)
    session.prefill("user", [UNIT, np.zeros(16_000 * 26, np.float32)])
    watched_for_ten_minutes(session)
    before = session.mark()
    ids = iter(model.tokenizer.encode("The name is one, and you are not three, and so on, " * 9))
    voice = Voice(argmax, forbid_end=lambda call: True)
    pieces = session.generate(TextSampling(max_new_tokens=90), choose=lambda _: next(ids), voice=voice)
    while not len(next(pieces).samples):
        pass
    (speech,) = speech_of(pieces)
    speech.reserve(MOST_FRAMES + CALL)
    assert speech.cache.slot is not None
    assert speech.cache.capacity == model.config.speech.audio_start + SPEECH_FRAMES
    speaking = held_bytes(session, before, pieces)
    assert abs(predicted / speaking - 1) < 0.1, (predicted, speaking)
    pieces.close()
    del pieces, speech
    assert not speech_of(session, before), "speech that is over is still held"


def test_a_slot_is_given_back_when_its_session_is_over(furnished: MiniCPMO) -> None:
    pool = furnished.language.pool
    assert pool is not None
    head = Session(furnished)
    head.prefill("system", ["Be brief."])
    assert pool.taken == 0, "what is only copied from needs no slot"
    session = Session(furnished, limits=ContextLimits())
    session.adopt(head, slotted=True)
    session.prefill("user", ["hello"])
    mark = session.mark()
    assert session.length > head.length
    assert torch.equal(session.cache.keys[0][:, : head.length], head.cache.keys[0][:, : head.length])
    assert (pool.taken, pool.size) == (1, 4)
    del session
    assert pool.taken == 1, "a mark returns to it"
    del mark
    assert pool.taken == 0
    assert pool.size == 4


class Small(SlotPool):
    """A card that has room for so many slots at once."""

    def _buffers(self, slots: int) -> list[Tensor]:
        if slots > 5:
            raise torch.OutOfMemoryError("no room")
        return super()._buffers(slots)


def test_places_for_which_there_is_no_room_are_not_promised(furnished: MiniCPMO) -> None:
    assert reserved(furnished, 40) == 40, "a processor reserves nothing"
    pool = furnished.language.pool = Small([torch.device("cpu")], 2, 4, torch.float32, 64, one_call=True)
    assert (reserved(furnished, 17), pool.size, pool.taken) == (4, 4, 0)
    assert (reserved(furnished, 6), pool.size) == (6, 6), "only what is missing is added"
    speech = furnished.speech.pool = Small([torch.device("cpu")], 2, 4, torch.float32, 64, one_call=True)
    assert (reserved(furnished, 11), pool.size, speech.size) == (5, 11, 5), "there are no calls without speech"
