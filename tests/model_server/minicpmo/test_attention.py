"""Rows of several sequences in one call: what each would have found alone, whoever joins and leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import nn

from model_server.minicpmo.config import LanguageConfig
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network import attention
from model_server.minicpmo.network.attention import Shared
from model_server.minicpmo.network.cache_slots import SlotPool
from model_server.minicpmo.network.language import Language
from model_server.minicpmo.network.layers import KVCache

SMALL = LanguageConfig(64, hidden_size=32, intermediate_size=48, num_layers=3, num_heads=8, num_kv_heads=8)
CAPACITY = 300
LENGTHS = (1, 70, 200, 33, 128)


def network(group: int) -> Language:
    """One whose key-value heads serve so many query heads each."""
    torch.manual_seed(group)
    made = Language(replace(SMALL, num_kv_heads=SMALL.num_heads // group))
    for parameter in made.parameters():
        nn.init.normal_(parameter, 1.0 if parameter.dim() == 1 else 0.0, 0.3)
    made.pool = made.new_pool(CAPACITY, one_call=True)
    return made


class Pair:
    """One sequence twice: in a slot, and in memory of its own."""

    def __init__(self, language: Language, length: int) -> None:
        self.language = language
        self.slotted, self.own = language.new_cache(slotted=True), language.new_cache()
        for cache in (self.slotted, self.own):
            language(language.embed([number % 64 for number in range(length)]), cache)
        assert self.slotted.slot is not None


def same(language: Language, pairs: Sequence[Pair], counts: Sequence[int]) -> None:
    """One pass over all slots gives each the logits that it gets alone."""
    x = [torch.randn(count, language.config.hidden_size) for count in counts]
    hidden = language.together(torch.cat(x), counts, [pair.slotted for pair in pairs])
    for pair, rows, mine in zip(pairs, x, hidden.split(list(counts)), strict=True):  # type: ignore[no-untyped-call]
        alone = language.logits(language(rows, pair.own))
        torch.testing.assert_close(language.logits(mine), alone, atol=1e-5, rtol=1e-5)
        assert pair.slotted.length == pair.own.length


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
@torch.inference_mode()
def test_rows_of_mixed_lengths_find_what_they_find_alone(group: int, rows: int, calls: list[Shared]) -> None:
    language = network(group)
    pairs = [Pair(language, length) for length in LENGTHS[:rows]]
    for _ in range(3):
        same(language, pairs, [1] * rows)
    # The fifth slot lies in a block of its own.
    assert len(calls) == (0 if rows == 1 else 9 * (1 + (rows > 4)))


@pytest.mark.parametrize("group", [1, 4])
@torch.inference_mode()
def test_one_joins_and_one_leaves_in_the_middle(group: int, calls: list[Shared]) -> None:
    language = network(group)
    pool = language.pool
    assert pool is not None
    pairs = [Pair(language, length) for length in LENGTHS[:4]]
    same(language, pairs, [1, 1, 1, 1])
    where = [buffer.data_ptr() for pair in pairs for buffer in pair.slotted.keys]
    pairs.append(Pair(language, 5))
    same(language, pairs, [1, 1, 7, 1, 6])
    gone = pairs.pop(1)
    same(language, pairs, [1, 1, 1, 1])
    del gone
    assert pool.taken == 4
    pairs.append(Pair(language, 90))
    same(language, pairs, [2, 1, 1, 1, 3])
    kept = [pairs[place] for place in (0, 4, 1, 2)]  # The newest has the slot that was free.
    assert [buffer.data_ptr() for pair in kept for buffer in pair.slotted.keys] == [*where[:3], *where[3:6], *where[6:]]
    assert pool.size == 8
    assert calls


@torch.inference_mode()
def test_slots_far_apart_are_copied_together_and_others_attended_to_apart(calls: list[Shared]) -> None:
    language = network(4)
    assert language.pool is not None
    language.pool.reserve(12)
    all_pairs = [Pair(language, 20 + number) for number in range(11)]
    pairs = [all_pairs[0], all_pairs[5], all_pairs[10]]
    same(language, pairs, [1, 1, 1])
    assert [len(call.grid) for call in calls] == [3, 3, 3], "not copied together"
    loose = Pair(language, 40)
    loose.slotted = loose.own.copy()  # A slot is not needed to be in a pass.
    same(language, [pairs[0], loose, pairs[1], all_pairs[1]], [1, 2, attention.MOST_STEPS + 1, 1])
    assert [len(call.grid) for call in calls] == [3, 3, 3, 2, 2, 2]


@torch.inference_mode()
def test_what_fails_leaves_the_caches_as_they_were() -> None:
    language = network(4)
    pairs = [Pair(language, length) for length in LENGTHS[:3]]
    broken = language.layers[2]
    language.layers[2] = nn.Identity()
    with pytest.raises(TypeError):
        language.together(torch.randn(3, 32), [1, 1, 1], [pair.slotted for pair in pairs])
    language.layers[2] = broken
    same(language, pairs, [1, 1, 1])


def cache(pool: SlotPool) -> KVCache:
    return KVCache([torch.device("cpu")], 2, 4, torch.float32, pool)


def test_a_cache_that_outgrows_its_slot_takes_its_positions_along() -> None:
    pool = SlotPool([torch.device("cpu")], 2, 4, torch.float32, CAPACITY)
    grown = cache(pool)
    grown.reserve(CAPACITY)
    grown.keys[0][:] = torch.randn(2, CAPACITY, 4)
    held = grown.keys[0].clone()
    grown.length = CAPACITY
    assert (pool.taken, pool.size, grown.capacity) == (1, 4, CAPACITY)
    twin = grown.copy()
    assert pool.taken == 2
    grown.reserve(CAPACITY + 1)
    assert (pool.taken, grown.slot) == (1, None)
    assert torch.equal(grown.keys[0][:, :CAPACITY], held)
    assert torch.equal(twin.keys[0], held)


def test_slots_are_zero_where_others_look_at_them_and_taken_lowest_first(model: MiniCPMO) -> None:
    assert not model.language.new_pool(64).one_call, "a processor attends to one after the other"
    pool = model.language.new_pool(64, one_call=True)
    pool.reserve(6)
    slots = [pool.take() for _ in range(5)]
    assert [slot.index for slot in slots] == [0, 1, 2, 3, 4]
    assert not any(buffer.any() for buffer in (*slots[0].block.keys, *slots[0].block.values))
    del slots[1], slots[2]
    assert (pool.take().index, pool.size) == (1, 6)
