from __future__ import annotations

import torch

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.loading.budget import CACHED_POSITIONS
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.layers import KVCache
from model_server.minicpmo.serving.slots import (
    HEARING_POSITIONS,
    MOST_SLOTS,
    SPEECH_FRAMES,
    fitting,
    session_bytes,
)

ONE, TWO = torch.device("cuda", 0), torch.device("cuda", 1)
GIB = 2**30


def test_a_full_size_session_takes_what_its_caches_take() -> None:
    needed = session_bytes(ModelConfig(), torch.bfloat16, [ONE] * 28)
    language, hearing = 2 * 28 * 4 * 128 * 8192 * 2, 2 * 24 * 1024 * 2048 * 2
    speaking = 2 * 20 * 768 * (302 + 2112) * 2
    silent_pictures = 27 * 64 * 3584 * 2
    assert needed == {ONE: language + hearing + speaking + silent_pictures}
    assert 100 < fitting(needed, {ONE: 100 * GIB}) < 130


def test_over_two_cards_the_fuller_one_decides() -> None:
    needed = session_bytes(ModelConfig(), torch.bfloat16, [ONE] * 20 + [TWO] * 8)
    assert needed[ONE] == 2 * 20 * 4 * 128 * 8192 * 2
    assert fitting(needed, {ONE: 1 * GIB, TWO: 100 * GIB}) == 2


def test_there_is_always_one_and_never_too_many() -> None:
    assert fitting({ONE: GIB}, {ONE: 0}) == 1
    assert fitting({ONE: 1}, {ONE: GIB}) == MOST_SLOTS


def held(cache: KVCache) -> int:
    return sum(buffer.nbytes for buffer in (*cache.keys, *cache.values))


def test_a_session_holds_what_was_predicted(model: MiniCPMO) -> None:
    language, hearing = model.language.new_cache(), model.audio.new_cache()
    language.reserve(CACHED_POSITIONS)
    hearing.reserve(HEARING_POSITIONS - 1)
    speech = model.speech.new_state(torch.zeros(model.config.speech.llm_size))
    speech.reserve(SPEECH_FRAMES - 64)
    together = held(language) + held(hearing) + speech.keys.nbytes + speech.values.nbytes
    cpu = torch.device("cpu")
    predicted = session_bytes(model.config, torch.float32, [cpu] * model.config.language.num_layers)[cpu]
    assert abs(predicted / together - 1) < 0.1
