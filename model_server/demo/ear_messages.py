"""Messages between the engine and the process that listens."""

from __future__ import annotations

import msgspec

from model_server.demo.grammar import Grammar


class Learn(msgspec.Struct, tag="learn"):
    """First message: what to listen for."""

    grammar: Grammar


class Follow(msgspec.Struct, tag="follow"):
    """A turn so far, to be heard ahead of its end when there is time. Not answered; the newest of a session counts."""

    session: str
    pieces: list[bytes]


class Finish(msgspec.Struct, tag="finish"):
    """A whole turn, to be answered by `Heard` at once."""

    number: int
    session: str
    pieces: list[bytes]


class Sentence(msgspec.Struct, frozen=True):
    """See `model_server.demo.decoder.Words`."""

    text: str
    partial: str
    score: float
    clarity_db: float


class Heard(msgspec.Struct, tag="heard"):
    """The sentences of the turn of `Finish` with this number, in their order."""

    number: int
    sentences: list[Sentence]


ToEar = Learn | Follow | Finish

to_ear: msgspec.msgpack.Decoder[ToEar] = msgspec.msgpack.Decoder(ToEar)
