"""Segments of speech whose steps share one call: what each would have said and looked at alone."""

from __future__ import annotations

import pytest
import torch

from model_server.minicpmo.network.attention import Shared
from model_server.minicpmo.network.cache_slots import SlotPool
from model_server.minicpmo.network.speech import Speech
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.network.speech_state import SpeechState
from model_server.minicpmo.network.text_looks import looks
from tests.model_server.minicpmo.test_speech import SMALL, ids, random, speaker


@pytest.fixture(scope="module")
def slotted() -> Speech:
    made = random(SMALL)
    made.pool = made.new_pool(SMALL.audio_start + 132, one_call=True)
    return made


@pytest.fixture(scope="module")
def alone() -> Speech:
    return random(SMALL)


class Pair:
    """One segment twice: in a slot, and in memory of its own."""

    def __init__(self, slotted: Speech, alone: Speech, text: int) -> None:
        self.mine, self.its = (self._begun(speech, text) for speech in (slotted, alone))
        assert self.mine.cache.shares_calls
        assert not self.its.cache.shares_calls

    def _begun(self, speech: Speech, text: int) -> SpeechState:
        state = speech.new_state(speaker())
        state.text_length = text
        speech.prefill_text(state, ids(text + 2), 0)
        speech.begin_call(state, 60)
        return state


def step(slotted: Speech, alone: Speech, pairs: list[Pair]) -> None:
    logits = slotted.logits_of([pair.mine for pair in pairs])
    for pair, mine in zip(pairs, logits, strict=True):
        its = alone.logits(pair.its)
        torch.testing.assert_close(mine, its, atol=1e-5, rtol=1e-5)
        codes = alone.chosen(pair.its, its, argmax, may_end=False)
        slotted.take(pair.mine, codes)
        alone.take(pair.its, codes)


@torch.inference_mode()
def test_segments_that_are_out_of_step_join_and_leave(slotted: Speech, alone: Speech, calls: list[Shared]) -> None:
    pool = slotted.pool
    assert pool is not None
    pairs = list[Pair]()
    for text in (3, 12, 25, 8):
        pairs.append(Pair(slotted, alone, text))
        for _ in range(7):
            step(slotted, alone, pairs)
    assert {len(call.rows) for call in calls} == {2, 3, 4}, "a segment alone needs no shared call"
    gone = pairs.pop(1)
    step(slotted, alone, pairs)
    del gone
    assert pool.taken == 3
    pairs.append(Pair(slotted, alone, 5))
    pairs.append(Pair(slotted, alone, 20))  # In a block of its own.
    for _ in range(12):
        step(slotted, alone, pairs)
    assert (pool.taken, pool.size) == (5, 8)
    for pair in pairs:
        mine, its = (looks(SMALL, state, 2) for state in (pair.mine, pair.its))
        assert mine is not None
        assert its is not None
        torch.testing.assert_close(torch.tensor(mine.places), torch.tensor(its.places), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_slot_that_was_used_before_holds_nothing_of_that(slotted: Speech, alone: Speech) -> None:
    first = Pair(slotted, alone, 25)
    for _ in range(20):
        step(slotted, alone, [first])
    del first
    # Slots of text that were never filled are seen as zeros, whoever had the memory before.
    pairs = [Pair(slotted, alone, text) for text in (2, 3)]
    for pair in pairs:
        pair.mine.text_length = pair.its.text_length = 20
    for _ in range(30):
        step(slotted, alone, pairs)


def test_on_a_processor_slots_are_attended_to_one_by_one(alone: Speech) -> None:
    assert not alone.new_pool(100).one_call
    assert isinstance(alone.new_pool(100), SlotPool)
