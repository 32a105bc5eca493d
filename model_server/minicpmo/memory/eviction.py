"""Which parts of a context go when it is nearly full: pictures first, then the oldest rounds (design, section 6).

Within what may go, the oldest pictures go first, for they are most of the context and the least of the conversation;
then whole rounds, the oldest first; then the oldest pieces of the message that is still open. The system prompt, a
part of a reply, and the last seconds never go while anything else is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.memory.parts import Kind, Part, Parts, starts, total

PICTURES_ONLY = (Kind.PICTURE,)
PIECES = (Kind.PICTURE, Kind.CONTENT)


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """When a context is emptied, and how far, in positions.

    Raises `InputError` for limits out of order.
    """

    most: int = 8192
    """The context never holds more."""
    high: int = 8000
    """What is written must fit below this together with the reply that it reserves; else old parts go first."""
    low: int = 6000
    """Down to this."""
    reply: int = 512
    """Positions that are reserved for a reply."""
    seconds: float = 60.0
    """The last seconds stay as long as anything older is left."""

    def __post_init__(self) -> None:
        if not (self.reply > 0 and self.low > 0 and self.low + self.reply < self.high <= self.most):
            raise InputError(f"context limits: expected low + reply < high <= most, got {self}")


def keep(parts: Parts, limits: ContextLimits, tokens: int, reply: int, second: float, pinned: int) -> list[bool]:
    """Which parts stay so that `tokens` more positions and a `reply` fit; all of them where they fit anyway.

    `second` is the time now, in seconds of sound; `pinned` the length that the oldest mark in use returns to: what
    stands behind it stays if older parts suffice. Raises `InputError` if there is no room whatever goes.
    """
    kept = [True] * len(parts)
    length = total(parts)
    if length + tokens + reply <= limits.high:
        return kept
    recent = next((start for start, part in _placed(parts) if part.second > second - limits.seconds), length)
    newest = _newest(parts)
    length = _drop(parts, kept, min(recent, pinned, newest), length, limits.low - tokens)
    if length + tokens + reply > limits.high:
        length = _drop(parts, kept, newest, length, limits.high - tokens - reply)
    if length + tokens > limits.most:
        raise InputError(
            f"context: expected at most {limits.most} positions, {length} that cannot go + {tokens} would be more"
        )
    return kept


def _placed(parts: Parts) -> Iterator[tuple[int, Part]]:
    yield from zip(starts(parts), parts, strict=True)


def _newest(parts: Parts) -> int:
    """Where the newest item begins, which stays."""
    items = [(start, part) for start, part in _placed(parts) if part.item >= 0]
    return next((start for start, part in items if part.item == items[-1][1].item), 0)


def _drop(parts: Parts, kept: list[bool], end: int, length: int, goal: int) -> int:
    """Let parts that end at `end` or before go until `goal` is reached; the length then."""
    for group in _groups(parts, end):
        if length <= goal:
            break
        for index in group:
            length -= parts[index].length * kept[index]
            kept[index] = False
    return length


def _groups(parts: Parts, end: int) -> Iterator[list[int]]:
    """Indices of parts that go together, in the order in which they go."""
    old = [index for index, (start, part) in enumerate(_placed(parts)) if start + part.length <= end]
    yield from ([index] for index in old if parts[index].kind in PICTURES_ONLY)
    last = parts[-1].round if parts else 0
    for number in sorted({parts[index].round for index in old} - {last}):
        whole = [index for index, part in enumerate(parts) if part.round == number and part.kind is not Kind.HEAD]
        if whole and whole[-1] in old:
            yield whole
    current = [index for index in old if parts[index].round == last and parts[index].kind in PIECES]
    for item in dict.fromkeys(parts[index].item for index in current):
        yield [index for index in current if parts[index].item == item]
