"""Hears turns of many sessions, each as it grows, with a few decoders.

A request names a turn by all of its pieces so far. Turns that are under way are kept, so that only new pieces cost
time; a turn that is not, or no longer, is heard again from its start and gives the same words.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from model_server.demo.decoder import GrammarDecoder, Words
from model_server.demo.enhancement import Samples
from model_server.demo.grammar import Grammar
from model_server.demo.utterance import Utterance

DECODERS = 3
"""Turns that can be under way at once; each decoder takes about 50 MB."""
LEFT_S = 2.5
"""A turn that nobody asked for in so long has been left."""


@dataclass(eq=False)
class _Turn:
    utterance: Utterance
    digests: list[bytes] = field(default_factory=list)
    touched: float = 0.0
    under_way: Iterator[None] | None = None


class Recogniser:
    """Turns of PCM16 LE mono 16 kHz in, `Words` for each sentence out."""

    def __init__(self, grammar: Grammar, decoders: int = DECODERS) -> None:
        self._grammar = grammar
        self._most = decoders
        self._free: list[GrammarDecoder] = [GrammarDecoder(grammar)]
        self._turns: list[_Turn] = []

    def follow(self, pieces: Sequence[bytes]) -> Iterator[None]:
        """Hear the pieces that are new, 250 ms of sound at each step; may be left at any step.

        Nothing is heard while all decoders are with turns that still go on: the turn's end makes room for itself.
        """
        if self._under_way(pieces) is None and not self._has_room():
            return
        turn = self._turn(pieces)
        while turn.under_way is not None or len(turn.digests) < len(pieces):
            if turn.under_way is None:
                piece = pieces[len(turn.digests)]
                turn.digests.append(_digest(piece))
                turn.under_way = turn.utterance.feed(_samples(piece))
            for _ in turn.under_way:
                yield
                if turn not in self._turns:
                    return  # It ended, or gave way to others, while this was left.
            turn.under_way = None

    def finish(self, pieces: Sequence[bytes]) -> list[Words]:
        """The sentences of a turn that ends with these pieces."""
        turn = self._turn(pieces)
        for _ in self.follow(pieces):
            pass
        for _ in turn.utterance.finish():
            pass
        self._drop(turn)
        return turn.utterance.sentences

    def _under_way(self, pieces: Sequence[bytes]) -> _Turn | None:
        """The turn that these pieces go on with."""
        digests = [_digest(piece) for piece in pieces]
        return next((turn for turn in self._turns if digests[: len(turn.digests)] == turn.digests), None)

    def _turn(self, pieces: Sequence[bytes]) -> _Turn:
        """That turn, or a new one in the place of the one that waits for longest."""
        turn = self._under_way(pieces)
        if turn is None:
            turn = _Turn(Utterance(self._decoder()))
        else:
            self._turns.remove(turn)
        self._turns.append(turn)
        turn.touched = time.monotonic()
        return turn

    def _has_room(self) -> bool:
        return len(self._turns) < self._most or time.monotonic() - self._turns[0].touched > LEFT_S

    def _decoder(self) -> GrammarDecoder:
        if self._free:
            return self._free.pop()
        if len(self._turns) < self._most:
            return GrammarDecoder(self._grammar)
        self._drop(self._turns[0])
        return self._free.pop()

    def _drop(self, turn: _Turn) -> None:
        self._turns.remove(turn)
        self._free.append(turn.utterance.release())


def _digest(piece: bytes) -> bytes:
    return hashlib.blake2b(piece, digest_size=16).digest()


def _samples(piece: bytes) -> Samples:
    return np.asarray(np.frombuffer(piece, "<i2") / 32768, np.float32)
