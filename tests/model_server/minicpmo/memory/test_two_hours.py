"""Two hours of a call on a network of one small layer, at the published sizes of the context."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from model_server.minicpmo.config import LanguageConfig
from model_server.minicpmo.inputs.message import Message
from model_server.minicpmo.memory.eviction import ContextLimits
from model_server.minicpmo.memory.silent_pictures import Thinning
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.language import Language
from model_server.minicpmo.network.layers import KVCache
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT
from tests.model_server.minicpmo.memory.talking import PICTURE, sound

HOURS = 2 * 3600
LIMITS = ContextLimits()
SMALL = LanguageConfig(1119, 8, 8, num_layers=1, num_heads=1, num_kv_heads=1)


class Senses(torch.nn.Module):
    """Of every picture and second other embeddings, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = torch.Generator().manual_seed(0)
        self.seen = 0

    def forward(self, pictures: Any, *_: Any) -> Tensor:
        self.seen += 1
        return torch.randn(1, 64, SMALL.hidden_size, generator=self.draws)

    def by_groups(self, pictures: Any, layers: int) -> Generator[None, None, Tensor]:
        yield
        return self(pictures)  # type: ignore[no-any-return]

    def stream(self, mel: Tensor, cache: KVCache) -> Tensor:
        return torch.randn(25, SMALL.hidden_size, generator=self.draws)

    def stream_by_groups(self, mel: Tensor, cache: KVCache, layers: int) -> Generator[None, None, Tensor]:
        yield
        return self.stream(mel, cache)

    def new_cache(self) -> KVCache:
        return KVCache([], 1, 1, torch.float32)


@pytest.fixture
def small(model: MiniCPMO) -> MiniCPMO:
    language, generator = Language(SMALL), torch.Generator().manual_seed(1)
    for parameter in language.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    senses: Any = Senses()
    config = replace(model.config, language=SMALL)
    return replace(model, config=config, language=language, vision=senses, resampler=senses, audio=senses)


def answer(session: Session) -> None:
    ids = chain(session.model.tokenizer.encode("yes<|tts_eos|>"))
    list(session.generate(TextSampling(), choose=lambda _: next(ids), speak=False))


def rows(session: Session, start: int = 0) -> list[bytes]:
    """The values of each position. A first layer's depend on its embedding alone, so that no two seconds share one."""
    return [row.numpy().tobytes() for row in session.cache.values[0][0, start : session.length]]


def test_two_hours_stay_under_the_cap_with_the_last_minute_whole(small: MiniCPMO) -> None:
    """With words in 4 of 36 seconds, and for two and a half minutes, with the camera, without a pause."""
    session = Session(small, limits=LIMITS)
    session.prefill("system", ["be brief"])
    head = rows(session)
    video, still = session.prepare("user", [UNIT, PICTURE, sound(1)]), session.prepare("user", [PICTURE])
    voice = session.prepare("user", [sound(1)])
    minute: deque[tuple[int, list[bytes]]] = deque()
    longest = 0
    for second in range(HOURS):
        if second % 36 < 4 or 3000 <= second < 3150:
            unit = video if 3000 <= second < 3150 else voice
            length = len(session.write(unit).ids)
            minute.append((second, rows(session, session.length - min(length, 92))))
        else:
            session.remember_silent(still if second % 31 == 0 else None)
        if second % 36 == 4 and not 3000 < second < 3150:
            answer(session)
        longest = max(longest, session.length)
        while minute and minute[0][0] <= second - 60:
            minute.popleft()
        if second % 600 == 599 or second in (3070, 3110, 3149):
            held = rows(session)
            assert held[: len(head)] == head
            assert set(held).issuperset(row for _, recent in minute for row in recent)
    assert LIMITS.low < longest <= LIMITS.most
    assert session.items == HOURS
    assert HOURS - 2400 < session.evicted_items < HOURS - 60


def test_two_silent_hours_leave_the_conversation_whole(small: MiniCPMO) -> None:
    session = Session(small, limits=LIMITS, thinning=Thinning())
    session.prefill("system", ["be brief"])
    unit: Message = session.prepare("user", [UNIT, PICTURE, sound(1)])
    for _ in range(30):
        session.write(unit)
        answer(session)
    before = rows(session)
    still = session.prepare("user", [PICTURE])
    for second in range(HOURS):
        session.remember_silent(still if second % 3 else None)
    assert rows(session) == before
    assert session.waiting <= Thinning().most * 67
    session.write(unit)
    assert rows(session)[: len(before)] == before
    assert session.length <= len(before) + Thinning().most * 67 + 110
    assert session.waiting == 0
    assert session.evicted_items == 0
