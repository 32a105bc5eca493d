"""A reply that was generated: how to keep what was heard of it."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

from model_server.minicpmo.memory.heard import Timeline
from model_server.minicpmo.memory.marks import SessionMark
from model_server.minicpmo.replies.generation import Reply
from model_server.minicpmo.words.rounds import RoundText
from model_server.minicpmo.words.text_units import is_wide


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays of a reply that was cut."""

    text: str = ""
    ids: tuple[int, ...] = ()
    """Its tokens; `Session.append_reply` writes them exactly so."""


@dataclass(slots=True, eq=False)
class Told:
    """One reply, from the state in which it began."""

    base: SessionMark
    reply: Reply
    opening: int
    """Positions that open it in the context."""
    timeline: Timeline
    reader: RoundText
    """Reads its tokens, from the first."""
    intact: int = 1 << 62
    """Positions of the context that are still as the reply left them."""

    @property
    def text(self) -> str:
        """As it was shown so far."""
        return "".join(found.text for found in self.reply.rounds)

    def heard(self, ms: float) -> int:
        """Characters of the shown text that are heard after `ms` of speech."""
        return self.timeline.heard(ms, len(self.text))

    def kept(self, ms: float) -> Kept:
        """The whole words that are heard after `ms` of speech; all of a reply that came to its end and was heard."""
        text = self.text
        heard = self.timeline.heard(ms, len(text))
        whole = self.reply.completed or self.timeline.finished
        if heard >= len(text) and whole and ms > 0:
            return Kept(text, tuple(self.reply.ids))
        best = Kept()
        for count, end in enumerate(self._ends(), 1):
            if end is not None and end <= heard and _between_words(text, end):
                best = Kept(text[:end], tuple(self.reply.ids[:count]))
        return best if best.text else Kept()

    def _ends(self) -> list[int | None]:
        """Where the shown text ends behind each token, None inside of a character."""
        ends: list[int | None] = []
        reader, done = copy(self.reader), 0
        for found in self.reply.rounds:
            for count in range(1, len(found.ids) + 1):
                ahead = copy(reader)
                end = done + len(ahead.add(found.ids[:count]))
                ends.append(None if ahead.waiting else end)
            reader.add(found.ids)
            done += len(found.text)
        return ends


def _between_words(text: str, place: int) -> bool:
    """Whether no word goes on there; an ideograph is a word, and the end of a reply that was cut may be inside
    of one.
    """
    before, after = text[place - 1 : place], text[place : place + 1]
    if not before or is_wide(before) or not _in_word(before):
        return True
    return bool(after) and (is_wide(after) or not _in_word(after))


def _in_word(char: str) -> bool:
    return char.isalnum() or char in "_'’"
