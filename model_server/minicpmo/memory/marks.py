"""Marks: everything a later step of a session depends on, without a copy of any cache.

A cache only grows and is cut, so a mark of it is the cache and a length. Two things could pull the ground from under
a mark, and neither does silently:

* Writing where a later mark still points to, after a return to an earlier one: the session then goes on in a copy and
  leaves the cache to those marks. A server that forgets the marks it has gone behind never pays for this.
* Eviction moves what stays. A mark's length is then counted anew, and a return to it gives the context of then without
  what was evicted since, just as a replay from a log would that was told of the eviction. Eviction takes what
  stands before the oldest mark first. If that is not enough, a mark inside a round that went whole is gone:
  returning to it raises `MarkGone`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakSet

from torch import Tensor

from model_server.minicpmo.errors import InputError, ModelError
from model_server.minicpmo.memory.parts import Kind, Parts, behind, starts
from model_server.minicpmo.memory.silent_pictures import SilentPictures
from model_server.minicpmo.network.layers import KVCache
from model_server.minicpmo.words.turns import Turns

if TYPE_CHECKING:
    from model_server.minicpmo.memory.told import Told

_versions = count()


def new_version() -> int:
    """A number for a state that was not there before."""
    return next(_versions)


class MarkGone(ModelError):
    """What the mark returned to was evicted. The session stays as it was."""


@dataclass(frozen=True, slots=True)
class Place:
    """A cache up to a length."""

    cache: KVCache
    length: int

    @classmethod
    def now(cls, cache: KVCache) -> Place:
        return cls(cache, cache.length)

    def restored(self) -> KVCache:
        """The cache, cut to that length or grown back to it."""
        self.cache.length = self.length
        return self.cache


@dataclass(slots=True, eq=False, weakref_slot=True)
class SessionMark:
    """A state of a session. Speech has none between two replies, and the penalty on repetition begins with each."""

    context: Place
    ear: Place
    """The audio encoder's cache: a reply begins a new one, the old one lives as long as marks of it."""
    turns: Turns
    owed: tuple[int, ...]
    parts: Parts
    silent: SilentPictures
    items: int
    second: float
    draws: Tensor
    """State of the random generator."""
    version: int
    """Equal states have equal numbers."""
    pinned: bool = True
    """A server may return here."""
    told: Told | None = None
    """The last reply that was generated from here."""
    gone: bool = False

    @property
    def kv_length(self) -> int:
        """Positions of the context at the mark, without what was evicted since."""
        return self.context.length

    def check(self) -> None:
        """Raise `MarkGone` if there is no way back."""
        if self.gone:
            raise MarkGone("mark: what it returns to was evicted since: open the session anew and replay its log")

    def evicted(self, parts: Parts, kept: list[bool]) -> None:
        """Follow an eviction from a context of these parts, which the mark's own are the beginning of."""
        ends = [start + part.length for start, part in zip(starts(parts), parts, strict=True)]
        lost = [part for part, stays, end in zip(parts, kept, ends, strict=True) if not stays and end > self.kv_length]
        inside = {part.round for part in lost} & {part.round for part in self.parts}
        whole = _rounds(parts) - _rounds(behind(parts, kept))
        if inside & whole:
            self.gone = True
            return
        own = behind(self.parts, kept[: len(self.parts)])
        self.context = Place(self.context.cache, sum(part.length for part in own))
        self.parts = own


def _rounds(parts: Parts) -> set[int]:
    return {part.round for part in parts if part.kind is not Kind.HEAD}


class Marks:
    """Those that somebody still holds."""

    def __init__(self) -> None:
        self._marks: WeakSet[SessionMark] = WeakSet()

    def add(self, mark: SessionMark) -> None:
        self._marks.add(mark)

    def check(self, mark: SessionMark) -> None:
        """Raise `MarkGone` if there is no way back to it, `InputError` if it is another session's."""
        if mark not in self._marks:
            raise InputError("mark: expected one of this session, got another session's")
        mark.check()

    def __iter__(self) -> Iterator[SessionMark]:
        return iter([mark for mark in self._marks if not mark.gone])

    def beyond(self, cache: KVCache) -> bool:
        """Whether a pinned mark points to what the next write into `cache` would overwrite."""
        places = [place for mark in self if mark.pinned for place in (mark.context, mark.ear)]
        return any(place.cache is cache and place.length > cache.length for place in places)
