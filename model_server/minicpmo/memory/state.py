"""The state of one conversation, apart from how it is written: caches, turns, parts, marks."""

from __future__ import annotations

from collections.abc import Generator

import torch

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.memory.compaction import compact
from model_server.minicpmo.memory.eviction import ContextLimits, keep
from model_server.minicpmo.memory.marks import Marks, Place, SessionMark, new_version
from model_server.minicpmo.memory.parts import Kind, Part, Parts, behind, last_round, starts, total, with_reply
from model_server.minicpmo.memory.silent_pictures import SilentPictures, Thinning
from model_server.minicpmo.memory.told import Told
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.layers import LAYERS_AT_ONCE
from model_server.minicpmo.words.turns import Turns


class Memory:
    """All that a later step depends on. A context without limits is not emptied: it ends."""

    def __init__(
        self, model: MiniCPMO, turns: Turns, draws: torch.Generator, limits: ContextLimits | None, thinning: Thinning
    ) -> None:
        self._model, self.limits = model, limits
        self.cache, self.ear = model.language.new_cache(), model.audio.new_cache()
        self.turns = turns
        self.owed: tuple[int, ...] = ()
        """Tokens of the last reply that the context does not hold yet."""
        self.parts: Parts = ()
        self.silent = SilentPictures(thinning)
        self.items = 0
        self.second = 0.0
        """Sound and silence that was taken so far, in seconds."""
        self.draws = draws
        self.marks = Marks()
        self._version = new_version()

    @property
    def most(self) -> int:
        """Positions the context can hold."""
        most = self._model.config.language.max_positions
        return min(most, self.limits.most) if self.limits else most

    def reply_ends(self, opening: int) -> int:
        """Positions of the context at which a reply with such an opening has to end.

        None is so long that it and the next piece of a message would not fit after an eviction.
        """
        if self.limits is None:
            return self.most
        return min(self.most, self.cache.length + opening + self.limits.most - self.limits.low)

    @property
    def evicted_items(self) -> int:
        """How many of the oldest items are gone for good: no mark returns to them either."""
        held = [part.item for part in self.parts if part.item >= 0 and part.kind is not Kind.HEAD]
        held += [picture.item for picture in self.silent.waiting]
        return min([*held, *(mark.items for mark in self.marks if mark.pinned), self.items])

    def changed(self) -> None:
        """The state is none that a mark was taken of."""
        self._version = new_version()

    def book(self) -> None:
        """Account for what a reply has written."""
        self.parts = with_reply(self.parts, self.cache.length, self.second)

    # Marks ----------------------------------------------------------------------------------------------------------

    def mark(self, *, pinned: bool = True) -> SessionMark:
        """The present state. One that is not pinned is no reason to keep what it returns to."""
        self.book()
        # A reply begins with a new ear: what goes back to its beginning needs no other, and must not keep the old one.
        ear = self.ear if pinned else self._model.audio.new_cache()
        mark = SessionMark(
            Place.now(self.cache), Place.now(ear), self.turns, self.owed, self.parts, self.silent,
            self.items, self.second, self.draws.get_state(), self._version, pinned,
        )  # fmt: skip
        self.marks.add(mark)
        return mark

    def stand(self, mark: SessionMark) -> None:
        """Return to a mark. Raises `MarkGone`."""
        self.marks.check(mark)
        self.cache, self.ear = mark.context.restored(), mark.ear.restored()
        self.turns, self.owed, self.parts, self.silent = mark.turns, mark.owed, mark.parts, mark.silent
        self.items, self.second, self._version = mark.items, mark.second, mark.version
        self.draws.set_state(mark.draws)

    def began(self, told: Told, asked_at: int) -> None:
        """A reply began in the state of version `asked_at`."""
        for mark in self.marks:
            # Nobody returns to its own beginning, which would keep the two of them and the cache alive.
            if mark.version == asked_at and mark is not told.base:
                mark.told = told

    @property
    def last_round(self) -> int:
        """Number of the round that is under way."""
        return last_round(self.parts)

    @property
    def version(self) -> int:
        """Number of the present state."""
        return self._version

    def before_writing(self) -> None:
        """Make sure that no mark loses what stands behind the present length."""
        if self.marks.beyond(self.cache):
            self.cache = self.cache.copy()
        if self.marks.beyond(self.ear):
            self.ear = self.ear.copy()
        for told in [mark.told for mark in self.marks if mark.told is not None]:
            if told.base.context.cache is self.cache:
                told.intact = min(told.intact, self.cache.length)

    # Room -----------------------------------------------------------------------------------------------------------

    def make_room(self, tokens: int, reply: int | None = None) -> Generator[None, None, None] | None:
        """See to it that `tokens` more positions fit, and a reply of so many behind them (as many as are reserved).

        What has to be carried out for that, with halts; None where they fit as it is. Raises `InputError` if they do
        not; without limits nothing is ever evicted.
        """
        if self.limits is not None:
            self.book()
            reserved = self.limits.reply if reply is None else reply
            pinned = min((mark.kv_length for mark in self.marks if mark.pinned), default=self.cache.length)
            kept = keep(self.parts, self.limits, tokens, reserved, self.second, pinned)
            if not all(kept):
                return self._evict(kept, tokens)
        self.check_room(tokens)
        return None

    def check_room(self, tokens: int) -> None:
        """Raises `InputError` if `tokens` more positions do not fit as it is."""
        if self.cache.length + tokens > self.most:
            raise InputError(
                f"context: expected at most {self.most} positions, {self.cache.length} + {tokens} would be more"
            )

    def _evict(self, kept: list[bool], tokens: int) -> Generator[None, None, None]:
        self.before_writing()
        for mark in self.marks:
            if mark.context.cache is self.cache:
                mark.evicted(self.parts, kept)
                if mark.told is not None:
                    mark.told.intact = 0
        places = zip(starts(self.parts), self.parts, kept, strict=True)
        runs = [(start, start + part.length) for start, part, stays in places if stays]
        self.parts = behind(self.parts, kept)
        yield from compact(self.cache, runs, self._model.config.language.rope_theta, LAYERS_AT_ONCE)
        self.check_room(tokens)

    def adopt(self, other: Memory, *, slotted: bool) -> None:
        """Become a copy of another conversation, all of which becomes the head that is never evicted.

        A `slotted` one has its context in a slot of the network's pool, if there is one.
        """
        other.book()
        cache = self._model.language.new_cache(slotted=slotted)
        cache.take(other.cache)
        self.cache, self.ear = cache, other.ear.copy()
        self.turns, self.owed, self.second = other.turns, other.owed, other.second
        self.parts = (Part(Kind.HEAD, total(other.parts), 0),) if other.parts else ()
        self.changed()
