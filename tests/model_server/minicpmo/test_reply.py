"""The spoken reply: each repair flips with the mode, and what only regroups is the same sound, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.network.speech_sampling import LEAST_STEPS, argmax
from model_server.minicpmo.replies.behaviour import DEFAULT, PARITY, Behaviour
from model_server.minicpmo.replies.generation import Round
from model_server.minicpmo.replies.reply import SpokenReply
from model_server.minicpmo.replies.segment import Segment, SpeechTrace, Voice
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.rounds import EmptyRound

END = "<|tts_eos|><|im_end|>"
LONG = "it was said by the self selflessly. " * 10  # Over 120 tokens of speech; its last five begin inside a word.


@dataclass
class Heard:
    """What came of a forced reply."""

    text: str
    samples: Tensor
    trace: SpeechTrace
    session: Session
    spoken: str
    """All text that the speech model was given, contexts of segments left out."""
    filled_at_start: list[int]
    """Text slots that were filled when a segment's first frame was drawn."""


class Ends:
    """Chooses the likeliest codes but the end; ends the speech at given frames, counted over the whole reply."""

    def __init__(self, model: MiniCPMO, *at: int) -> None:
        self._eos, self._at, self._frame = model.config.speech.eos_code, set(at), 0

    def __call__(self, probabilities: Tensor) -> Tensor:
        codes = argmax(probabilities[:, : self._eos])
        if self._frame in self._at:
            codes[0] = self._eos
        self._frame += 1
        return codes


class SpeaksOut:
    """Ends each segment when the speech model has seen all its text: ten tokens every 50 frames."""

    def __init__(self, model: MiniCPMO, trace: SpeechTrace) -> None:
        self._eos, self._end = model.config.speech.eos_code, model.speech_tokenizer.text_end_id
        self._trace, self._segment, self._frames = trace, 0, 0
        self._call, self._step = 0, 0
        self.filled_at_start: list[int] = []

    def __call__(self, probabilities: Tensor) -> Tensor:
        codes = argmax(probabilities[:, : self._eos])
        if self._segment != self._trace.segments:
            self._segment = self._trace.segments
            self._frames = 0 if self._segment == 1 else 50
            self.filled_at_start.append(self._trace.prefills[-1][1][-1] + 1)
        if self._call != len(self._trace.calls):
            self._call, self._step = len(self._trace.calls), 0
        ids, positions = self._trace.prefills[-1]
        seen = self._end in ids and self._frames >= 5 * (positions[ids.index(self._end)] - 2)
        if seen and self._step >= LEAST_STEPS:
            codes[0] = self._eos
        self._frames += 1
        self._step += 1
        return codes


def hear(
    model: MiniCPMO,
    behaviour: Behaviour,
    text: str,
    *,
    choose: Callable[[Tensor], Tensor] | None = None,
    most: int | None = None,
) -> Heard:
    """Force a reply of `text`; unless `choose` says otherwise each segment is spoken out."""
    session = Session(model, behaviour, seed=1)
    session.prefill("system" if behaviour.whole_messages else "user", ["be brief"])
    session.prefill("user", [np.zeros(16000, np.float32)])
    ids = model.tokenizer.encode(text)
    script = iter(ids)
    trace = SpeechTrace()
    speaks_out = SpeaksOut(model, trace)
    voice = Voice(choose or speaks_out, trace=trace)
    pieces = list(
        session.generate(TextSampling(max_new_tokens=most or len(ids)), choose=lambda logits: next(script), voice=voice)
    )
    samples = torch.cat([piece.samples for piece in pieces]) if pieces else torch.zeros(0)
    text = "".join(piece.text for piece in pieces)
    return Heard(text, samples, trace, session, given(model, trace), speaks_out.filled_at_start)


def given(model: MiniCPMO, trace: SpeechTrace) -> str:
    """The words the speech model read, in order, each segment's context once."""
    tokens = model.speech_tokenizer
    control = {tokens.start_id, tokens.speaker_id, tokens.text_end_id, tokens.pad_id, tokens.audio_start_id}
    words: list[int] = []
    skip = 0
    for ids, positions in trace.prefills:
        if positions[0] == 0 and len(ids) == 7 and words:
            skip = 5  # A further segment begins with the last five tokens, given twice.
            continue
        text = [token for token in ids if token not in control]
        words += text[skip:]
        skip = 0
    return tokens.decode(words)


@pytest.fixture(scope="module")
def long_replies(model: MiniCPMO) -> dict[Behaviour, Heard]:
    """A reply of two segments in both modes."""
    return {mode: hear(model, mode, LONG + END) for mode in (PARITY, DEFAULT)}


def test_early_pieces_join_to_the_same_sound(model: MiniCPMO) -> None:
    text = "the name is one, and you are not three" + END
    late = hear(model, PARITY, text)
    early = hear(model, replace(PARITY, emit_early=True), text)
    assert torch.equal(late.samples, early.samples)
    assert len(late.samples) == 512 * len(late.trace.frames)
    assert late.trace == early.trace


def test_a_plain_reply_sounds_the_same_in_both_modes(model: MiniCPMO) -> None:
    text = "the name is one, and you are not three, it is for the self" + END
    official, mended = hear(model, PARITY, text), hear(model, DEFAULT, text)
    assert torch.equal(official.samples, mended.samples)
    assert official.trace.frames == mended.trace.frames
    assert official.text == mended.text == text.removesuffix(END)


def test_exclamation_marks_stay(model: MiniCPMO) -> None:
    text = "hey! stop now" + END
    assert hear(model, DEFAULT, text).text == "hey! stop now"
    assert hear(model, PARITY, text).text == "hey stop now"


def test_a_round_of_nothing_but_exclamation_marks(model: MiniCPMO) -> None:
    assert model.tokenizer.decode([0]) == "!"
    session = Session(model, DEFAULT)
    session.prefill("user", ["hello"])
    script = iter([0, 0, 0, model.tokenizer.specials.im_end])
    pieces = session.generate(TextSampling(max_new_tokens=6), speak=False, choose=lambda logits: next(script))
    assert "".join(piece.text for piece in pieces) == "!!!"
    official = Session(model, PARITY)
    official.prefill("user", ["hello"])
    before = official.length
    zeros = official.generate(TextSampling(max_new_tokens=3), speak=False, choose=lambda logits: 0)
    with pytest.raises(EmptyRound):
        next(zeros)
    assert official.length == before


def test_numbers_are_words_also_in_the_first_round(model: MiniCPMO) -> None:
    text = "*42* is it" + END
    assert hear(model, DEFAULT, text).spoken == "forty two is it"
    official = hear(model, PARITY, text).spoken
    assert "*" in official
    assert "forty" not in official


def test_a_number_split_over_rounds_is_one_number(model: MiniCPMO) -> None:
    assert hear(model, DEFAULT, "there are 1998 of them" + END).spoken == "there are nineteen ninety eight of them"


def test_text_behind_the_end_of_speech_is_neither_shown_nor_spoken(model: MiniCPMO) -> None:
    text = "it is one<|tts_eos|> and two and three<|im_end|>"
    mended, official = hear(model, DEFAULT, text), hear(model, PARITY, text)
    assert mended.text == "it is one"
    assert "two" not in mended.spoken
    assert "three" in official.text


def test_segments_are_joined_without_repeating_their_seam(long_replies: dict[Behaviour, Heard]) -> None:
    official, mended = long_replies[PARITY], long_replies[DEFAULT]
    assert official.trace.segments == mended.trace.segments == 2
    assert len(official.samples) == 512 * new_frames(official.trace) + 2048  # Four frames are heard twice.
    assert len(mended.samples) == 512 * new_frames(mended.trace)


def new_frames(trace: SpeechTrace) -> int:
    """Code frames of all segments, their contexts left out."""
    total, last = 0, 0
    for frames, _, _ in trace.calls:
        total += frames - last if frames > last else frames - 50
        last = frames
    return total


def test_a_further_segment_has_read_all_the_text_it_sees(long_replies: dict[Behaviour, Heard]) -> None:
    """From frame 50 on 20 tokens are visible, 22 slots: mended, they are filled before the first call."""
    assert long_replies[DEFAULT].filled_at_start[1] >= 22
    assert long_replies[PARITY].filled_at_start[1] == 12


def test_no_hash_marks_are_spoken_where_a_word_is_cut(model: MiniCPMO, long_replies: dict[Behaviour, Heard]) -> None:
    (mark,) = model.speech_tokenizer.encode("#")

    def spoken(heard: Heard) -> bool:
        return any(mark in ids for ids, _ in heard.trace.prefills)

    assert not spoken(long_replies[DEFAULT])
    assert spoken(long_replies[PARITY])


def test_a_sentence_without_an_end_is_split_and_spoken_whole(model: MiniCPMO) -> None:
    text = ("one and two and three and four and five and six, " * 26).strip()
    words = len(text.split())
    mended, official = hear(model, DEFAULT, text + END), hear(model, PARITY, text + END)
    assert mended.trace.segments >= 2
    assert mended.spoken.count("two") == 26
    assert official.trace.segments == 1
    assert official.spoken.count("two") < 26
    assert words > 150


def cut(model: MiniCPMO, text: str, chunks: int) -> tuple[Segment, str | None]:
    """A segment that is given some chunks of text, then cut; and what is left over."""
    voice = Voice(argmax)
    speaker = torch.ones(model.config.speech.llm_size)
    reply = SpokenReply(model, voice, (found for found in list[Round]()), lambda: speaker, early=True)
    segment = Segment(model, voice, speaker)
    segment.read(text)
    for _ in range(chunks):
        segment.give_chunk()
    reply._text = text
    return segment, reply._cut(segment)


def test_a_sentence_is_not_split_where_it_was_spoken_already(model: MiniCPMO) -> None:
    """Its only comma stands where the speech model has read on long ago."""
    text = "one and two and three and four and five and six " * 12 + "so, " + "it is not for you " * 24
    segment, rest = cut(model, text, chunks=23)
    assert 230 <= segment.count < 300
    assert rest is not None
    assert segment.text + rest == text
    segment.give_rest()
    assert segment.state.text_length == segment.count


def test_text_that_comes_faster_than_it_is_cut_is_not_lost(model: MiniCPMO) -> None:
    """From below 240 tokens to over 300 at once; a sentence's end behind them is no place to cut."""
    words = "it is one and two and three and four and five and six " * 30
    for text in (words, words + "so.", words.replace(" and ", " ") * 2):
        segment, rest = cut(model, text, chunks=23)
        assert segment.count < 300
        assert rest is not None
        assert segment.text + rest == text
        assert segment.tokens(rest) > 5


def test_text_left_over_is_spoken_when_the_reply_is_over(model: MiniCPMO) -> None:
    """The mark stands in the last round but one; published, what follows it is lost."""
    text = "one two three and four of them and so on, " * 8 + "so it is. And then"
    mended = hear(model, DEFAULT, text + END)
    assert mended.spoken.rstrip().endswith("then")


def test_speech_that_ends_too_early_goes_on(model: MiniCPMO) -> None:
    text = "one two three four five six seven eight nine ten and so on and on to the end" + END
    mended = hear(model, DEFAULT, text, choose=Ends(model, 12, 200, 400))
    official = hear(model, PARITY, text, choose=Ends(model, 12, 200, 400))
    assert official.trace.segments == 1
    assert official.text != text.removesuffix(END)  # What was not spoken is not shown either.
    assert mended.trace.segments >= 2
    assert mended.text == text.removesuffix(END)
    assert mended.session.turns.finished(spoken_to_end=True) == mended.session.turns


class AtOnce:
    """Ends the speech in every call as soon as it may."""

    def __init__(self, model: MiniCPMO) -> None:
        self._eos, self._step = model.config.speech.eos_code, 0

    def __call__(self, probabilities: Tensor) -> Tensor:
        codes = argmax(probabilities[:, : self._eos])
        self._step = (self._step + 1) % (LEAST_STEPS + 1)
        if self._step == 0:
            codes[0] = self._eos
        return codes


def test_a_long_word_that_speech_gives_up_is_spoken_piece_by_piece(model: MiniCPMO) -> None:
    """From its beginning it would be given up again and again."""
    word = "qxzjvkwqxz" * 5
    assert len(model.speech_tokenizer.encode(word)) > 30
    heard = hear(model, DEFAULT, f"{word} it is" + END, choose=AtOnce(model))
    assert heard.text == f"{word} it is"
    assert 2 < heard.trace.segments < 20


def test_a_further_segment_starts_from_the_words_that_were_spoken_last(model: MiniCPMO) -> None:
    """Not from those that were given up and come next."""
    text = "one two three four five six seven eight nine ten and so on and on to the end of it"
    heard = hear(model, DEFAULT, text + END, choose=Ends(model, 30))
    tokens = model.speech_tokenizer.encode(text)
    context, first = [ids[2:] for ids, places in heard.trace.prefills if places[0] == 0][1:]
    assert first[: len(context)] == context
    assert any(tokens[at : at + len(first)] == first for at in range(len(tokens)))


def test_a_few_words_left_over_are_spoken_with_what_follows(model: MiniCPMO) -> None:
    text = "one two three four five six seven eight nine ten and so on and on to the end of it"
    for frame in (12, 60):
        heard = hear(model, DEFAULT, text + END, choose=Ends(model, frame))
        spoken = iter(heard.spoken.split())  # A word that was begun is said again as a whole.
        assert all(word in spoken for word in text.split())


def test_speech_that_runs_on_is_capped(model: MiniCPMO) -> None:
    heard = hear(model, DEFAULT, "it is one" + END, choose=Ends(model))
    tokens = len(model.speech_tokenizer.encode("it is one"))
    assert len(heard.trace.frames) <= 100 + 12 * tokens + 25


def test_speech_that_falls_silent_ends(model: MiniCPMO) -> None:
    class Silent(torch.nn.Module):
        def forward(self, mel: Tensor) -> Tensor:
            return torch.zeros(256 * mel.shape[-1])

    silent = replace(model, vocos=Silent())  # type: ignore[arg-type]
    heard = hear(silent, DEFAULT, "it is" + END, choose=Ends(model))
    assert 1.2 <= len(heard.samples) / 24000 <= 1.2 + 2 * 25 / 46.875


def test_an_empty_reply_is_silent(model: MiniCPMO) -> None:
    assert len(hear(model, DEFAULT, END).samples) == 0
    assert len(hear(model, DEFAULT, "**" + END).samples) == 0
    assert len(hear(model, PARITY, END).samples) > 0


def test_a_reply_cut_by_its_limit_keeps_its_last_token(model: MiniCPMO) -> None:
    """The last token drawn is written with the next message; published, it is lost."""
    mended, official = (hear(model, mode, "it is one and two", most=3) for mode in (DEFAULT, PARITY))
    last = mended.session.reply.ids[-1]
    header = "<|tts_eos|><|im_end|>\n<|im_start|>user\n"
    expected = model.tokenizer.encode(header)
    assert mended.session.prefill("user", ["so"]).ids[: len(expected) + 1] == [last, *expected]
    assert official.session.prefill("user", ["so"]).ids[: len(expected)] == expected


def test_min_new_tokens_counts_over_the_reply(model: MiniCPMO) -> None:
    """Three or more forbid, as published, every end for ever."""

    def drawn(behaviour: Behaviour) -> int:
        session = Session(model, behaviour)
        session.prefill("user", ["hello"])
        end = model.tokenizer.specials.im_end

        def eager(logits: Tensor) -> int:
            return end if bool(logits[end] > -torch.inf) else 5

        list(session.generate(TextSampling(min_new_tokens=4, max_new_tokens=30), speak=False, choose=eager))
        return len(session.reply.ids)

    assert drawn(DEFAULT) == 5
    assert drawn(PARITY) == 30


def test_min_new_tokens_forbids_every_end_of_a_mended_reply(model: MiniCPMO) -> None:
    session = Session(model, DEFAULT)
    session.prefill("user", ["hello"])
    ends = [*model.tokenizer.specials.terminators, model.tokenizer.specials.speech_end]
    allowed: list[bool] = []

    def choose(logits: Tensor) -> int:
        allowed.append(bool((logits[ends] > -torch.inf).any()))
        return 40

    list(session.generate(TextSampling(min_new_tokens=4, max_new_tokens=6), speak=False, choose=choose))
    assert allowed == [False, False, False, False, True, True]


def test_the_penalty_counts_over_the_reply(model: MiniCPMO) -> None:
    def penalised(behaviour: Behaviour) -> set[int]:
        """Ids that are made less likely at the seventh token."""
        session = Session(model, behaviour)
        session.prefill("user", ["hello"])
        raw: list[Tensor] = []
        differ: list[set[int]] = []
        script = iter([40, 41, 42, 43, 44, 45, 46, 47, 48])

        def choose(logits: Tensor) -> int:
            differ.append(set((logits != raw[-1]).nonzero()[:, 0].tolist()))
            return next(script)

        list(session.generate(TextSampling(max_new_tokens=9), speak=False, choose=choose, observe=raw.append))
        return differ[6]

    assert penalised(DEFAULT) == {40, 41, 42, 43, 44, 45}
    assert penalised(PARITY) == {45}
