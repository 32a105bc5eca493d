"""The process that listens: `python -m model_server.demo.ear_process`, spoken to over stdin and stdout.

It ends itself when its stdin closes, so it never outlives the engine. Turns that have ended come first; those under way
are followed 250 ms of sound at a time.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from model_server.demo.decoder import Words
from model_server.demo.ear_messages import Finish, Follow, Heard, Learn, Sentence, ToEar, to_ear
from model_server.demo.pipe import Ready, frame, read_frame
from model_server.demo.recogniser import Recogniser


class Desk:
    """What waits to be heard. One thread puts in, one takes out."""

    def __init__(self) -> None:
        self._finishes: deque[Finish] = deque()
        self._follows: dict[str, Follow] = {}
        self._change = threading.Condition()

    def put(self, message: ToEar) -> None:
        """`Finish` of a session replaces what was to be followed of it."""
        with self._change:
            match message:
                case Finish():
                    self._follows.pop(message.session, None)
                    self._finishes.append(message)
                case Follow():
                    self._follows[message.session] = message
                case Learn():
                    raise ValueError("the grammar is learnt once, with the first message")
            self._change.notify()

    def finish(self) -> Finish | None:
        """A turn that has ended, if one waits."""
        with self._change:
            return self._finishes.popleft() if self._finishes else None

    def follow(self) -> Follow | None:
        """A turn under way, once no ended one waits; None when one came."""
        with self._change:
            self._change.wait_for(lambda: self._finishes or self._follows)
            if self._finishes:
                return None
            return self._follows.pop(next(iter(self._follows)))


def work(desk: Desk, recogniser: Recogniser, out: BinaryIO) -> None:
    """Hear what `desk` holds, for ever."""
    while True:
        _answer(desk, recogniser, out)
        follow = desk.follow()
        if follow is None:
            continue
        steps: Iterator[None] = recogniser.follow(follow.pieces)
        for _ in steps:
            _answer(desk, recogniser, out)


def _answer(desk: Desk, recogniser: Recogniser, out: BinaryIO) -> None:
    while (finish := desk.finish()) is not None:
        heard = Heard(finish.number, [_sentence(words) for words in recogniser.finish(finish.pieces)])
        out.write(frame(heard))
        out.flush()


def _sentence(words: Words) -> Sentence:
    return Sentence(words.text, words.partial, words.score, words.clarity_db)


def _read(desk: Desk, stream: BinaryIO) -> None:
    while (message := read_frame(stream, to_ear)) is not None:
        desk.put(message)
    os._exit(0)  # The engine is gone; a decoder in the middle of a sentence has nobody to answer.


def main() -> None:
    """Learn, say so, then listen."""
    learn = read_frame(sys.stdin.buffer, to_ear)
    if not isinstance(learn, Learn):
        sys.exit("this process is started by the demo engine, which tells it what to listen for")
    recogniser = Recogniser(learn.grammar)
    sys.stdout.buffer.write(frame(Ready()))
    sys.stdout.buffer.flush()
    desk = Desk()
    threading.Thread(target=_read, args=(desk, sys.stdin.buffer), daemon=True, name="reader").start()
    work(desk, recogniser, sys.stdout.buffer)


if __name__ == "__main__":
    main()
