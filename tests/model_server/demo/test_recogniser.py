from __future__ import annotations

import numpy as np
import pytest

from model_server.demo.decoder import Words
from model_server.demo.recogniser import Recogniser
from tests.model_server.demo.samples import assistant, speech, turn

GAP = b""


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(assistant().grammar, decoders=2)


def pieces(text: str) -> list[bytes]:
    return [unit.audio for unit in turn(text)]


def grow(recogniser: Recogniser, turn: list[bytes]) -> list[Words]:
    for count in range(1, len(turn) + 1):
        for _ in recogniser.follow(turn[:count]):
            pass
    return recogniser.finish(turn)


def test_what_is_heard_depends_on_the_pieces_alone(recogniser: Recogniser) -> None:
    first, second = pieces("what can you do"), pieces("who are you")
    fresh = {text: Recogniser(assistant().grammar, 1).finish(turn) for text, turn in (("1", first), ("2", second))}
    assert [words.text for words in fresh["1"]] == ["what can you do"]
    for _ in range(2):
        assert grow(recogniser, first) == fresh["1"]
        assert recogniser.finish(second) == fresh["2"]
        assert recogniser.finish(first) == fresh["1"]


def test_turns_that_interleave_do_not_touch_each_other(recogniser: Recogniser) -> None:
    turns = [pieces(text) for text in ("what can you do", "who are you", "are you a robot")]
    alone = [recogniser.finish(turn) for turn in turns]
    under_way = [recogniser.follow(turn) for turn in turns]
    while under_way:
        under_way = [steps for steps in under_way if next(steps, steps) is None]
    assert [recogniser.finish(turn) for turn in turns] == alone


def test_a_turn_may_end_while_it_is_followed(recogniser: Recogniser) -> None:
    turn = pieces("what can you do")
    steps = recogniser.follow(turn)
    next(steps)
    heard = recogniser.finish(turn)
    assert list(steps) == []
    assert heard == recogniser.finish(turn)


def test_another_end_of_the_same_turn(recogniser: Recogniser) -> None:
    turn = pieces("who are you")
    recogniser.finish([*turn[:-1], turn[-1][:6_400]])
    assert recogniser.finish(turn) == Recogniser(assistant().grammar, 1).finish(turn)


def test_sentences_apart_are_heard_apart(recogniser: Recogniser) -> None:
    turn = [speech("what can you do"), GAP, speech("who are you")]
    assert [words.text for words in recogniser.finish(turn)] == ["what can you do", "who are you"]


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(16_000),
        np.zeros(100),
        np.ones(16_000) * 32_767,
        np.random.default_rng(1).integers(-32_768, 32_767, 48_000),
        np.eye(1, 16_000, 8_000)[0] * 30_000,
    ],
    ids=["silence", "short", "constant", "noise", "click"],
)
def test_what_is_no_speech_is_no_sentence(recogniser: Recogniser, samples: np.ndarray) -> None:
    for words in recogniser.finish([samples.astype("<i2").tobytes()]):
        assert not words.text or words.score < -70


def test_speech_without_end_is_cut_off(recogniser: Recogniser) -> None:
    without_pause = np.frombuffer(speech("what can you do", noise=0), "<i2")[8_000:-8_000]
    turn = [np.tile(without_pause, 12).astype("<i2").tobytes()]
    heard = recogniser.finish(turn)
    assert [words.text for words in heard] == [""]
