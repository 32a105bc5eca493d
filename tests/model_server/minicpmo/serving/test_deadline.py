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
