"""The bounds of what was heard hold whatever the voice does: none is certain to be near, all are certain to be true."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.minicpmo.config import SpeechConfig
from model_server.minicpmo.memory.heard import FRAME_SAMPLES, SAMPLES_PER_MS, Spoken, Timeline, duration, reach
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.network.speech_sampling import Chooser, argmax
from model_server.minicpmo.network.speech_state import visible_text
from model_server.minicpmo.replies.segment import Piece, Voice
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.spoken_text import PlainText
from tests.model_server.minicpmo.test_interrupted import Hasty

FRAME_MS = FRAME_SAMPLES / SAMPLES_PER_MS
CONFIG = SpeechConfig()
WORDS = st.sampled_from(["a", "word", "well,", "so", "extraordinarily", "好", "12", "end."])
TOKEN = 3
"""Characters of a speech token in these tests."""


def token_ends(text: str) -> list[int]:
    return [*range(TOKEN, len(text), TOKEN), len(text)] if text else []


@st.composite
def timelines(draw: st.DrawFn) -> tuple[Timeline, int]:
    """A reply spoken in up to three segments, of which the last may go on, and its text's length."""
    words = draw(st.lists(WORDS, min_size=1, max_size=60))
    preparer = PlainText()
    said = preparer.add(" ".join(words)) + preparer.finish()
    cuts = sorted(draw(st.lists(st.integers(0, len(said)), max_size=2, unique=True)))
    timeline = Timeline()
    timeline.begin(preparer.places)
    for number, (begins, end) in enumerate(zip([0, *cuts], [*cuts, len(said)], strict=True)):
        context, head = (50, 5) if number else (0, 0)

        def visible(frame: int, context: int = context, head: int = head) -> int:
            return visible_text(CONFIG, context + frame, CONFIG.reserved_text) - 2 - head

        # A segment is told of more text than it comes to say.
        frames = draw(st.integers(1, 400))
        timeline.spoke(number, Spoken(begins, said[begins:], token_ends, visible, max(frames // 2, 1)))
        timeline.spoke(number, Spoken(begins, said[begins : max(end, begins + 9)], token_ends, visible, frames))
    timeline.finished = draw(st.booleans())
    return timeline, sum(map(len, words)) + len(words) - 1


@settings(max_examples=80, deadline=None, derandomize=True)
@given(case=timelines(), shares=st.lists(st.floats(0, 1.2), min_size=2, max_size=8))
def test_the_bounds_hold(case: tuple[Timeline, int], shares: list[float]) -> None:
    timeline, characters = case
    assert timeline.heard(0, characters) == 0
    assert timeline.heard(-1, characters) == 0
    moments = sorted(share * timeline.ms for share in shares)
    heard = [timeline.heard(ms, characters) for ms in moments]
    assert heard == sorted(heard), "less is heard later than earlier"
    assert all(0 <= count <= characters for count in heard)
    for ms, count in zip(moments, heard, strict=True):
        if timeline.finished and ms >= timeline.ms:
            assert count == characters
        else:
            assert count <= seen_by(timeline, ms)


def seen_by(timeline: Timeline, ms: float) -> int:
    """The reply's text up to the last unit of which every token was visible to a frame that is over."""
    ends = accumulate(segment.frames * FRAME_MS for segment in timeline.segments)
    said = 0
    for segment, end in zip(timeline.segments, ends, strict=True):
        frames = int(min(segment.frames, max(0.0, (ms - end) / FRAME_MS + segment.frames + 1e-6)))
        tokens = min(segment.visible(frames - 1), len(segment.token_ends(segment.text))) if frames else 0
        said = max(said, segment.begins + (segment.token_ends(segment.text)[tokens - 1] if tokens else 0))
    return max((text for text, spoken in timeline.places if spoken <= said), default=0)


def test_time_is_shared_out_by_how_long_words_take() -> None:
    preparer = PlainText()
    text = "one two three four. five six seven eight."
    said = preparer.add(text) + preparer.finish()
    timeline = Timeline()
    timeline.begin(preparer.places)
    timeline.spoke(0, Spoken(0, said, token_ends, lambda frame: 300, 100))
    timeline.finished = True
    assert text[: timeline.heard(48 * FRAME_MS, len(text))].strip() == "one two three four."
    assert text[: timeline.heard(46 * FRAME_MS, len(text))].strip() == "one two three"
    timeline.finished = False  # It may go on: then a reader's usual pace is expected.
    assert text[: timeline.heard(48 * FRAME_MS, len(text))].strip() == "one two three"
    assert reach(text, 48 * 0.32) == len("one two three fo")


def test_an_ideograph_takes_longer_than_a_letter() -> None:
    assert duration("好") > 3 * duration("a")
    assert duration("so.") > duration("so,") > duration("so ")


def spoken(model: MiniCPMO, text: str, choose: Chooser = argmax) -> tuple[Session, Voice, list[Piece]]:
    session = Session(model, seed=1)
    session.prefill("user", ["so"])
    ids = iter(model.tokenizer.encode(text + "<|tts_eos|>"))
    voice = Voice(choose)
    return session, voice, list(session.generate(TextSampling(), choose=lambda _: next(ids), voice=voice))


@pytest.mark.parametrize("text", ["it is one and you are not three of them", "12 are **not** 好, so: it is 7 of them"])
def test_a_real_reply_is_heard_in_order_and_to_its_end(model: MiniCPMO, text: str) -> None:
    session, voice, pieces = spoken(model, text)
    ms = sum(len(piece.samples) for piece in pieces) / SAMPLES_PER_MS
    assert voice.timeline.finished
    assert voice.timeline.ms == pytest.approx(ms)
    heard = [session.heard(at) for at in range(0, int(ms), 20)]
    assert heard == sorted(heard)
    assert heard[0] == 0
    assert session.heard(ms) == len(text)
    assert len(set(heard)) > 3
    tokens = model.speech_tokenizer.ends(voice.timeline.segments[0].text)
    second = session.heard(45 * FRAME_MS)
    assert voice.timeline._shown(tokens[min(10, len(tokens)) - 1]) >= second, "text that no frame may have seen"


def test_later_segments_go_on_where_the_one_before_them_ended(model: MiniCPMO) -> None:
    """Each segment is short of breath: it ends after a dozen frames and leaves text to the next one."""
    text = "it is one and you are not three of them " * 3
    session, voice, _ = spoken(model, text.strip(), Hasty(model))
    begins = [segment.begins for segment in voice.timeline.segments]
    assert len(begins) > 2
    assert begins == sorted(set(begins))
    heard = [session.heard(at) for at in range(0, int(voice.timeline.ms), 20)]
    assert heard == sorted(heard)
    assert session.heard(voice.timeline.ms) == len(text.strip())
