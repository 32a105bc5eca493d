"""What stands where in a session's context, in pieces that can go one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import accumulate

from model_server.minicpmo.memory.silent_pictures import SilentPicture
from model_server.minicpmo.words.tokens import Specials


class Kind(Enum):
    """What a part is, and so when it may go."""

    HEAD = "the system prompt"
    CLOSE = "the end of the message before"
    OPEN = "the header of a user message"
    PICTURE = "a picture"
    CONTENT = "sound or text of a user message"
    WHOLE = "a message that goes whole: a reply, a tool's result"


@dataclass(frozen=True, slots=True)
class Part:
    """A run of `length` positions. A round is a user message and all that follows up to the next one."""

    kind: Kind
    length: int
    round: int
    item: int = -1
    """Number of the session's item that it came with, from 0; -1 for what came with none."""
    second: float = 0.0
    """When it was written, in seconds of sound that the session was given."""


Parts = tuple[Part, ...]


def total(parts: Parts) -> int:
    """Positions of all parts."""
    return sum(part.length for part in parts)


def starts(parts: Parts) -> list[int]:
    """The position at which each part begins."""
    return list(accumulate((part.length for part in parts), initial=0))[:-1]


def with_reply(parts: Parts, length: int, second: float) -> Parts:
    """The parts of a context of `length` positions: what the last one does not explain is a reply."""
    missing = length - total(parts)
    return (*parts, Part(Kind.WHOLE, missing, last_round(parts), second=second)) if missing > 0 else parts


def last_round(parts: Parts) -> int:
    return parts[-1].round if parts else 0


def user_parts(ids: list[int], owed: int, specials: Specials, header: int, like: Part, before: Parts) -> Parts:
    """Parts of a piece of a user message, `ids` of which the first `owed` belong to the reply before.

    `header` is the length of a message's header, `like` gives item and second. A piece that opens a message behind
    anything but another user message begins a round.
    """
    close = _close(ids, owed, specials, like, before)
    if close is None:
        return _content(ids[owed:], specials, replace(like, round=last_round(before)))
    like = replace(like, round=last_round(before) + 1)
    opened = replace(like, kind=Kind.OPEN, length=header, item=-1)
    return (*_some(close), opened, *_content(ids[close.length + header :], specials, like))


def whole_parts(ids: list[int], owed: int, specials: Specials, like: Part, before: Parts) -> Parts:
    """Parts of a message that goes whole, the one before it closed first."""
    close = _close(ids, owed, specials, like, before)
    if close is None:  # The published turns give later messages no header.
        return (replace(like, round=last_round(before)),)
    return (*_some(close), replace(like, length=len(ids) - close.length, round=last_round(before)))


def only_last_stays(parts: Parts) -> Parts:
    """The last message never goes; one before it that never went, but the system prompt, now may."""
    older = (replace(part, kind=Kind.WHOLE) if part.kind is Kind.HEAD and part.item >= 0 else part for part in parts)
    return (*list(older)[:-1], replace(parts[-1], kind=Kind.HEAD))


def _close(ids: list[int], owed: int, specials: Specials, like: Part, before: Parts) -> Part | None:
    """What stands in front of the header of a message, None if it has none; its first `owed` ids may be any."""
    place = next((at for at, token in enumerate(ids) if at >= owed and token == specials.im_start), None)
    return None if place is None else Part(Kind.CLOSE, place, last_round(before), second=like.second)


def _some(part: Part) -> Parts:
    return (part,) if part.length else ()


def with_silent(parts: Parts, silent: Sequence[SilentPicture]) -> Parts:
    """Parts of a piece that begins with these pictures: each goes with its `<unit>`, and keeps its own item."""
    first = next((at for at, part in enumerate(parts) if part.kind in (Kind.CONTENT, Kind.PICTURE)), len(parts))
    own: list[Part] = []
    for at, picture in zip(range(first, len(parts), 2), silent, strict=False):
        length = parts[at].length + parts[at + 1].length
        own.append(replace(parts[at + 1], length=length, item=picture.item, second=picture.second))
    return (*parts[:first], *own, *parts[first + 2 * len(own) :])


def _content(ids: list[int], specials: Specials, like: Part) -> Parts:
    """Pictures with their slices, and what stands between them."""
    parts: list[Part] = []
    at = 0
    while at < len(ids):
        end = _picture_end(ids, at, specials)
        kind = Kind.CONTENT if end is None else Kind.PICTURE
        at, length = (at + 1, 1) if end is None else (end, end - at)
        if parts and kind is Kind.CONTENT and parts[-1].kind is kind:
            length += parts.pop().length
        parts.append(replace(like, kind=kind, length=length))
    return tuple(parts)


def _picture_end(ids: list[int], at: int, specials: Specials) -> int | None:
    """Where a picture that begins at `at` ends; rows of slices stand one token, a line's end, apart."""
    if ids[at] != specials.image_start:
        return None
    end = ids.index(specials.image_end, at) + 1
    while end < len(ids):
        row = end + (ids[end] != specials.slice_start)
        if row >= len(ids) or ids[row] != specials.slice_start:
            break
        end = ids.index(specials.slice_end, row) + 1
    return end


def behind(parts: Parts, kept: list[bool]) -> Parts:
    """The parts that are kept."""
    return tuple(part for part, stays in zip(parts, kept, strict=True) if stays)
