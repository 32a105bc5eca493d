from __future__ import annotations

from model_server.minicpmo.serving.deadline import Deadline


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_next_piece_is_due_when_the_speech_runs_dry() -> None:
    clock = Clock()
    deadline = Deadline(clock)
    assert deadline.due == 100.0
    clock.now = 100.3
    deadline.made(500.0)
    assert deadline.due == 100.8
    deadline.made(1_000.0)
    assert deadline.due == 101.3
    clock.now = 100.7
    deadline.heard(200)
    assert deadline.due == 101.5
    deadline.heard(150)
    assert deadline.due == 101.5


def test_what_was_heard_is_no_more_than_was_made() -> None:
    clock = Clock()
    deadline = Deadline(clock)
    deadline.made(500.0)
    deadline.heard(1_000_000)
    assert deadline.due == 100.0


def test_a_guess_lets_others_go_first() -> None:
    assert Deadline(Clock(), 0.2).due == 100.2


def test_speech_that_is_held_lasts_longer() -> None:
    clock = Clock()
    deadline = Deadline(clock)
    deadline.heard(0)
    clock.now = 101.0
    deadline.heard(0)
    assert deadline.due == 100.0  # Nothing was made: somebody waits for the first piece.
    deadline.made(1_000.0)
    clock.now = 101.4
    deadline.heard(400)
    clock.now = 105.0
    deadline.heard(400)
    assert deadline.due == 105.6
    deadline.heard(1_000)
    clock.now = 106.0
    deadline.heard(1_000)
    assert deadline.due == 105.0  # It ran dry then, and has waited since.


def test_a_reply_that_is_only_read_lets_speech_go_first() -> None:
    clock = Clock()
    read, spoken = Deadline(clock, spoken=False), Deadline(clock)
    for deadline in (read, spoken):
        deadline.written("x" * 60)
    assert (read.due, spoken.due) == (101.0, 100.0)
