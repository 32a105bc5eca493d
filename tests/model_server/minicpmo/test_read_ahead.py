"""A reply's text is made no earlier than its speech needs it."""

from __future__ import annotations

from torch import Tensor

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.replies.generation import ROUND
from model_server.minicpmo.replies.segment import Voice
from model_server.minicpmo.session import Session

TEXT = "it was said by the self selflessly. " * 8
LONGEST_ROUND = 9
"""Speech tokens of a round of this text, at most."""


class EndsAt:
    """The likeliest codes; the speech ends at the frames that are given, counted over the whole reply."""

    def __init__(self, model: MiniCPMO, *at: int) -> None:
        self._end, self._at, self.frames = model.config.speech.eos_code, at, 0

    def __call__(self, probabilities: Tensor) -> Tensor:
        codes = argmax(probabilities[:, : self._end])
        self.frames += 1
        if self.frames in self._at:
            codes[0] = self._end
        return codes


def test_text_is_at_most_two_chunks_ahead_of_speech(model: MiniCPMO) -> None:
    session, chooses = Session(model, seed=1), EndsAt(model)
    session.prefill("user", ["so"])
    ids = model.tokenizer.encode(TEXT)
    script, tokens = iter(ids), model.speech_tokenizer
    reply = session.generate(
        TextSampling(max_new_tokens=len(ids)), choose=lambda logits: next(script), voice=Voice(chooses)
    )
    text, leads = "", list[float]()
    for piece in reply:
        text += piece.text
        leads.append(len(tokens.encode(text)) - chooses.frames / 5)
        if chooses.frames > 190:
            break
    reply.close()
    chunk = model.config.speech.text_chunk
    assert chunk <= max(leads) <= 2 * chunk + LONGEST_ROUND
    # Neither the reply nor the context holds more than the rounds that were made.
    assert len(session.reply.ids) < len(ids)
    assert len(session.reply.ids) <= ROUND * len(session.reply.rounds)
    assert text.strip() == "".join(each.text for each in session.reply.rounds).strip()


def test_what_speech_that_ends_first_leaves_over_is_spoken_next(model: MiniCPMO) -> None:
    session, chooses = Session(model, seed=1), EndsAt(model, 12)
    session.prefill("user", ["so"])
    before = session.length
    ids = model.tokenizer.encode(TEXT[:72] + "<|tts_eos|>")
    script = iter(ids)
    voice = Voice(chooses, forbid_end=lambda call: call > 0)
    reply = session.generate(TextSampling(max_new_tokens=len(ids)), choose=lambda logits: next(script), voice=voice)
    made_at_end, text = None, ""
    for piece in reply:
        text += piece.text
        if made_at_end is None and chooses.frames >= 12:
            made_at_end = len(session.reply.ids)
            assert len(model.speech_tokenizer.encode(text)) <= 2 * model.config.speech.text_chunk + LONGEST_ROUND
        if chooses.frames > 160:
            break
    reply.close()
    assert made_at_end is not None
    assert made_at_end < len(ids)
    assert voice.trace.segments == 2
    assert session.reply.ids == ids[: len(session.reply.ids)]
    assert session.length > before
