"""Any history of writing, replying, cutting and undoing, done through the socket, ends where its survivors lead.

A second session is given only what is left of the history (items as they were, replies as their tokens), as a gateway
replays its log elsewhere: both must hold the same context and answer the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.doubles.echo import EchoEngine
from model_server.protocol import (
    Append,
    Cancel,
    Cancelled,
    Done,
    Error,
    Generate,
    Item,
    Prefilled,
    Reply,
    Rollback,
    RolledBack,
    Speech,
    Started,
    TextItem,
)
from tests.model_server.samples import short_unit, unit
from tests.model_server.wire import Gateway, of_response, serve, words_of

MARKS = 4
ITEMS: tuple[Callable[[int], Item], ...] = (
    unit,
    short_unit,
    lambda number: unit(number, pictures=2, voiced=False),
    lambda number: TextItem(text=f"sentence {number}"),
)


@dataclass
class Kept:
    """A reply, or what was left of it: `item` is None."""

    item: Item | None = None
    response_id: str = ""
    text: str = ""
    tokens: bytes = b""
    cut: bool = False


@dataclass
class Caller:
    """Does steps on one session and keeps what survives."""

    gateway: Gateway
    history: list[Kept] = field(default_factory=list)
    number: int = 0

    @property
    def seq(self) -> int:
        return sum(kept.item is not None for kept in self.history)

    async def step(self, name: str, choice: int) -> None:
        self.number += 1
        await getattr(self, name)(choice)

    async def item(self, choice: int) -> None:
        item = ITEMS[choice % len(ITEMS)](self.number)
        await self.gateway.write(self.seq + 1, item)
        self.history.append(Kept(item))

    async def reply(self, choice: int) -> None:
        """A reply, heard to its end or cut while it is given."""
        response_id = f"r{self.number}"
        start = len(self.gateway.heard)
        await self.gateway.say(Generate(response_id=response_id, after_seq=self.seq))
        await self.gateway.until(Started)
        if choice % 2:
            done = await self.gateway.hear_out(response_id)
            text = words_of(self.gateway.heard[start:])
            self.history.append(Kept(None, response_id, text, done.engine_tokens))
            return
        self.history.append(Kept(None, response_id))
        for _ in range(choice % 5):
            await self.gateway.hear()
        await self._cancel(Cancel(response_id=response_id, keep_ms=choice * 10))

    async def cut(self, choice: int) -> None:
        """A cut of any reply that there ever was."""
        await self._cancel(Cancel(response_id=self._some_reply(choice), keep_ms=choice * 20))

    async def discard(self, choice: int) -> None:
        """A reply that never happened, perhaps with the items before it."""
        back = choice % 3
        to_seq = max(self.seq - back, 0) if back else None
        await self._cancel(Cancel(response_id=self._some_reply(choice), discard=True, rollback_to_seq=to_seq))

    async def rollback(self, choice: int) -> None:
        to_seq = max(self.seq - choice % (MARKS + 2), 0)
        await self.gateway.say(Rollback(to_seq=to_seq))
        answer = await self._answer(RolledBack)
        if isinstance(answer, RolledBack):
            assert answer.last_seq == to_seq
            self._undo_items_after(to_seq)

    async def _cancel(self, request: Cancel) -> None:
        await self.gateway.say(request)
        answer = await self._answer(Cancelled)
        if not isinstance(answer, Cancelled):
            return
        index = next(i for i, kept in enumerate(self.history) if kept.response_id == request.response_id)
        assert not self.history[index].cut, "a reply was cut twice"
        del self.history[index:]
        if answer.kept_text:
            self.history.append(Kept(None, request.response_id, answer.kept_text, answer.engine_tokens, cut=True))
        if request.rollback_to_seq is not None:
            self._undo_items_after(request.rollback_to_seq)
        assert answer.last_seq == self.seq

    async def _answer(self, kind: type[Cancelled] | type[RolledBack]) -> Reply:
        while True:
            message = await self.gateway.hear()
            if isinstance(message, kind | Error):
                return message

    def _some_reply(self, choice: int) -> str:
        ids = [kept.response_id for kept in self.history if kept.response_id]
        return ids[choice % len(ids)] if ids else "nobody"

    def _undo_items_after(self, seq: int) -> None:
        items = [index for index, kept in enumerate(self.history) if kept.item is not None]
        if len(items) > seq:
            del self.history[items[seq] :]


async def replay(gateway: Gateway, history: list[Kept]) -> int:
    """Write what is left into a new session."""
    seq = 0
    for kept in history:
        seq += 1
        if kept.item is not None:
            await gateway.write(seq, kept.item)
        else:
            append = Append(seq=seq, role="assistant", text=kept.text, engine_tokens=kept.tokens)
            await gateway.ask(append, Prefilled)
    return seq


async def check(steps: list[tuple[str, int]]) -> None:
    async with serve(EchoEngine(), marks=MARKS, speech_ahead_ms=500) as server:
        caller = Caller(await server.open("subject"))
        for name, choice in steps:
            await caller.step(name, choice)
        replayed = await server.open("replayed")
        seq = await replay(replayed, caller.history)
        ends = []
        for gateway, last in ((caller.gateway, caller.seq), (replayed, seq)):
            reply = of_response(await gateway.reply("last", last), "last")
            speech = b"".join(message.pcm for message in reply if isinstance(message, Speech))
            done = reply[-1]
            assert isinstance(done, Done)
            ends.append((words_of(reply), speech, done.usage))
        assert ends[0] == ends[1]


names = st.sampled_from(["item", "item", "item", "reply", "reply", "cut", "discard", "rollback"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(names, st.integers(0, 100)), max_size=25))
def test_only_what_survives_counts(steps: list[tuple[str, int]]) -> None:
    asyncio.run(check(steps))
