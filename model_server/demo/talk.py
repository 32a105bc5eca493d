"""All that one call's answers depend on, as a value: a mark is a reference to it, a rollback puts it back."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import msgspec

from model_server.demo.sight import Seen
from model_server.protocol import SHORTEST_UNIT_SAMPLES, Item, PictureItem, TextItem, Unit

MOST_PIECES = 12
KEPT_PIECES = 6
"""A turn of more seconds than `MOST_PIECES` loses its oldest, down to this many."""
LEAD_IN_BYTES = 2 * SHORTEST_UNIT_SAMPLES * 2
"""So much of the second before the person was heard is heard, too (400 ms)."""
MOST_ASKED = 8
MOST_TEXT_CHARS = 2_000
"""So much of a typed turn or of an answer is remembered."""
CONTEXT = 1_000_000


class Reply(msgspec.Struct, frozen=True):
    """What an answer changes: these are the engine tokens that replay it.

    `asked`: how the question is remembered, empty where none was understood. `cut`: only `text` of it was heard.
    """

    text: str
    asked: str = ""
    cut: bool = False
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Turn:
    """What the person has given since the last reply: sound by second, typed text, pictures shown on purpose.

    `typed_last`: no speech came after the typed text.
    """

    pieces: tuple[bytes, ...] = ()
    typed: str = ""
    typed_last: bool = False
    shown: bool = False
    items: int = 0


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Talk:
    """A call so far. `seed` fixes every draw, `draws` counts replies; times are POSIX seconds of the engine's clock."""

    seed: int
    began: float
    positions: int = 0
    draws: int = 0
    turn: Turn = field(default_factory=Turn)
    lead_in: bytes = b""
    seen: Seen = field(default_factory=Seen)
    asked: tuple[str, ...] = ()
    questions: int = 0
    last_answer: str = ""
    interrupted: str | None = None

    def with_item(self, item: Item, seen: Seen) -> Talk:
        """After `item`, with the eyes as they are then."""
        match item:
            case Unit():
                return self._with_unit(item, seen)
            case TextItem():
                return self.with_typed(item.text)
            case PictureItem():
                turn = replace(self.turn, shown=True, items=self.turn.items + 1)
                return replace(self, turn=turn, seen=seen, positions=self.positions + 1)

    def with_typed(self, text: str) -> Talk:
        """After typed text; it takes the place of what was typed before it."""
        turn = replace(self.turn, typed=text[-MOST_TEXT_CHARS:], typed_last=True, items=self.turn.items + 1)
        return replace(self, turn=turn, positions=self.positions + max(1, len(text.split())))

    def with_reply(self, reply: Reply) -> Talk:
        """After an answer: the person's turn is over."""
        asked = (*self.asked, reply.asked)[-MOST_ASKED:] if reply.asked else self.asked
        text = reply.text[:MOST_TEXT_CHARS]
        repeats = bool(self.last_answer) and self.last_answer in text  # "I said: I said:" would grow for ever.
        return replace(
            self,
            positions=self.positions + max(1, len(reply.text.split())),
            draws=self.draws + 1,
            turn=Turn(),
            lead_in=b"",
            asked=asked,
            questions=self.questions + bool(reply.asked),
            last_answer=self.last_answer if repeats else text,
            interrupted=text if reply.cut else self.interrupted,
        )

    def with_history(self, text: str) -> Talk:
        """After something said elsewhere, which only takes its room."""
        return replace(self, positions=self.positions + max(1, len(text.split())))

    def draw(self) -> random.Random:
        """The chances of the next reply."""
        return random.Random(f"{self.seed}/{self.draws}")

    def _with_unit(self, unit: Unit, seen: Seen) -> Talk:
        pieces = self.turn.pieces
        if unit.voiced:
            before = (self.lead_in,) if self.lead_in else ()
            pieces = (*pieces, *before, unit.audio)
            lead_in = b""
        else:
            lead_in = unit.audio[-LEAD_IN_BYTES:]
            if pieces and pieces[-1]:
                pieces = (*pieces, b"")
        if len(pieces) > MOST_PIECES:
            pieces = pieces[-KEPT_PIECES:]
        typed_last = self.turn.typed_last and not unit.voiced
        turn = replace(self.turn, pieces=pieces, typed_last=typed_last, items=self.turn.items + 1)
        return replace(self, turn=turn, lead_in=lead_in, seen=seen, positions=self.positions + 1)
