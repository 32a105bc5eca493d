"""Replies closed at any piece, failing in the middle, side by side: the conversation stays well formed."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, cycle, islice, repeat

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.language import Language
from model_server.minicpmo.network.layers import KVCache, finished
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.replies.generation import ROUND
from model_server.minicpmo.replies.segment import Piece, Voice
from model_server.minicpmo.session import Session

OPENING = "<|im_start|>assistant\n<|spk_bos|><|spk|><|spk_eos|><|tts_bos|>"
USER = r"<\|im_start\|>user\n[^<]*<\|im_end\|>\n"
REPLY = re.escape(OPENING) + r"[^<]*<\|tts_eos\|><\|im_end\|>\n"
ENDS = ("<|tts_eos|><|im_end|>", "<|im_end|>", "<|endoftext|>", "")


class Noted(torch.nn.Module):
    """The language model, and all ids that each context was written of."""

    def __init__(self, inner: Language) -> None:
        super().__init__()
        self.inner, self.config, self.written = inner, inner.config, dict[int, list[int]]()
        self._next: list[int] = []

    def new_cache(self) -> KVCache:
        return self.inner.new_cache()

    def logits(self, hidden: Tensor) -> Tensor:
        return self.inner.logits(hidden)

    def embed(self, ids: list[int]) -> Tensor:
        self._next = ids
        return self.inner.embed(ids)

    def forward(self, x: Tensor, cache: KVCache) -> Tensor:
        return finished(self.by_groups(x, [len(x)], [cache], 1))

    def by_groups(
        self, x: Tensor, counts: list[int], caches: list[KVCache], layers: int
    ) -> Generator[None, None, Tensor]:
        (cache,) = caches
        kept = self.written.setdefault(id(cache), [])[: cache.length]
        hidden = yield from self.inner.by_groups(x, counts, caches, layers)
        self.written[id(cache)] = kept + self._next
        return hidden


@dataclass
class Talk:
    """A session whose context can be read."""

    model: MiniCPMO
    session: Session = field(init=False)

    def __post_init__(self) -> None:
        self.noted = Noted(self.model.language)
        self.session = Session(replace(self.model, language=self.noted), seed=0)  # type: ignore[arg-type]
        self.session.prefill("system", ["be brief"])

    @property
    def context(self) -> str:
        ids = self.noted.written[id(self.session.cache)]
        assert len(ids) == self.session.length
        return self.model.tokenizer.decode(ids)

    def reply(self, text: str, speak: bool, most: int = 1000) -> Iterator[Piece]:
        """A reply that is forced; a text without an end is cut by the limit."""
        ids = self.model.tokenizer.encode(text)
        script = chain(ids, repeat(self.model.tokenizer.specials.im_end))
        options = TextSampling(max_new_tokens=max(1, min(most, len(ids))))
        return self.session.generate(
            options, speak=speak, choose=lambda logits: next(script), voice=Voice(Hasty(self.model))
        )


class Hasty:
    """Speaks the likeliest, and ends the speech at every thirteenth frame."""

    def __init__(self, model: MiniCPMO) -> None:
        self._eos, self._ends = model.config.speech.eos_code, cycle([*[False] * 12, True])

    def __call__(self, probabilities: Tensor) -> Tensor:
        codes = argmax(probabilities[:, : self._eos])
        if next(self._ends):
            codes[0] = self._eos
        return codes


def closed_after(pieces: Iterator[Piece], number: int) -> None:
    list(islice(pieces, number))
    pieces.close()  # type: ignore[attr-defined]


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turns=st.lists(
        st.tuples(
            st.sampled_from(["", "no!", "it is one and you are not three of them"]),
            st.sampled_from(ENDS),
            st.integers(0, 12),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_whenever_a_reply_is_closed_the_conversation_is_well_formed(
    model: MiniCPMO, turns: list[tuple[str, str, int, bool]]
) -> None:
    talk = Talk(model)
    for text, end, pieces, speak in turns:
        talk.session.prefill("user", ["so"])
        closed_after(talk.reply(text + end, speak), pieces)
    talk.session.prefill("user", ["so"])
    assert re.fullmatch(rf"({USER}|{REPLY})+<\|im_start\|>user\n(so)+", talk.context), talk.context
    replies = re.findall(re.escape(OPENING) + r"([^<]*)<", talk.context)
    assert all(any(text.startswith(kept) for text, *_ in turns) for kept in replies)


def test_a_message_written_before_the_first_pull_stands_before_the_reply(model: MiniCPMO) -> None:
    talk = Talk(model)
    talk.session.prefill("user", ["so"])
    closed_after(talk.reply("it is one", speak=False), 1)  # Its last token is still to be written, once.
    pieces = talk.reply("and two<|tts_eos|>", speak=False)
    talk.session.prefill("user", ["go on"])
    assert "".join(piece.text for piece in pieces) == "and two"
    talk.session.prefill("user", ["so"])
    cut = re.search(re.escape(OPENING) + "([^<]*)<", talk.context)
    assert cut is not None
    assert "it is one".startswith(cut[1])
    assert talk.context.endswith(
        f"{OPENING}{cut[1]}<|tts_eos|><|im_end|>\n<|im_start|>user\ngo on<|im_end|>\n"
        f"{OPENING}and two<|tts_eos|><|im_end|>\n<|im_start|>user\nso"
    )


@pytest.mark.parametrize("stray", ["<|audio_start|>", "</image>", "<|spk|>"])
def test_a_stray_token_at_the_end_of_a_cut_reply_does_not_matter(model: MiniCPMO, stray: str) -> None:
    second = np.zeros(16000, np.float32)
    assert len(model.tokenizer.encode(f"it is{stray}")) == ROUND
    talk = Talk(model)
    talk.session.prefill("user", ["so"])
    list(talk.reply(f"it is{stray}", speak=False))
    assert talk.session._owed == model.tokenizer.encode(stray)
    done = talk.session.prefill("user", [second])
    ((start, end),) = done.clip_bounds
    assert {model.tokenizer.decode([token]) for token in done.ids[start:end]} == {"<unk>"}
    assert not torch.equal(done.embeddings[start], talk.noted.inner.embed(done.ids[start : start + 1])[0])
    list(talk.reply(f"it is{stray}", speak=False))
    list(talk.reply("two<|tts_eos|>", speak=False))
    opening = talk.session.reply.opening
    assert opening is not None
    assert talk.session.reply.speaker is not None
    assert torch.equal(talk.session.reply.speaker, opening[-3])  # In front of `<|spk_eos|>` and `<|tts_bos|>`.


def test_two_sessions_side_by_side_do_not_hear_each_other(model: MiniCPMO) -> None:
    def talks() -> list[Iterator[Piece]]:
        sessions = [Session(model, seed=seed) for seed in (1, 2)]
        for session, said in zip(sessions, ("so", "why not"), strict=True):
            session.prefill("user", [said, np.zeros(16000, np.float32)])
        options = TextSampling(max_new_tokens=24)
        return [session.generate(options, voice=Voice(Hasty(model))) for session in sessions]

    apart = [list(pieces) for pieces in talks()]
    mixed: list[list[Piece]] = [[], []]
    running = list(zip(mixed, talks(), strict=True))
    while running:
        for heard, pieces in list(running):
            if (piece := next(pieces, None)) is None:
                running.remove((heard, pieces))
            else:
                heard.append(piece)
    for alone, beside in zip(apart, mixed, strict=True):
        assert [piece.text for piece in alone] == [piece.text for piece in beside]
        assert all(torch.equal(a.samples, b.samples) for a, b in zip(alone, beside, strict=True))
        assert sum(len(piece.samples) for piece in alone) > 0


def test_speech_that_fails_leaves_a_conversation_that_goes_on(model: MiniCPMO) -> None:
    def failing(probabilities: Tensor) -> Tensor:
        raise RuntimeError("out of memory")

    talk = Talk(model)
    talk.session.prefill("user", ["so"])
    script = iter(model.tokenizer.encode("it is one and two and three and four and five and six"))
    with pytest.raises(RuntimeError, match="out of memory"):
        list(talk.session.generate(choose=lambda logits: next(script), voice=Voice(failing)))
    talk.session.prefill("user", ["so"])
    assert re.fullmatch(rf"({USER}|{REPLY})+<\|im_start\|>user\nso", talk.context)
    assert "".join(piece.text for piece in talk.reply("yes<|tts_eos|>", speak=True)) == "yes"


def test_a_seed_outside_its_range_is_refused(model: MiniCPMO) -> None:
    with pytest.raises(InputError, match="seed: expected 0 to"):
        Session(model, seed=-1)
    with pytest.raises(InputError, match="seed: expected 0 to"):
        Session(model, seed=2**70)
