"""The requests of one open session, one at a time: each is answered, changes all it says, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from model_server.engine import ConfigRejected, EngineBusy, EngineSession, ItemRejected, Kept, Mark, MarkGone
from model_server.house import House
from model_server.items import check_append, check_config, check_item, check_options
from model_server.ledger import Ledger, RequestRefused, Step
from model_server.outbox import Line
from model_server.protocol import (
    Append,
    Busy,
    Cancel,
    Cancelled,
    Error,
    Evicted,
    Generate,
    Played,
    Prefill,
    Prefilled,
    Rollback,
    RolledBack,
    Update,
    Updated,
)
from model_server.voice import Voice

SessionRequest = Update | Prefill | Append | Rollback | Generate | Cancel


class Conversation:
    """An engine session, its ledger and its voice. `on_failure` hears of an engine that broke while it spoke."""

    def __init__(
        self, house: House, session: EngineSession, line: Line, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._house = house
        self._session = session
        self._line = line
        self._ledger = Ledger(house.limits.marks)
        self._alone = asyncio.Lock()
        self._voice = Voice(house, session, self._ledger, line, self._engine_turn, on_failure)
        self._evicted = 0

    @property
    def last_seq(self) -> int:
        """The last item written."""
        return self._ledger.last_seq

    def played(self, credit: Played) -> None:
        """Overtakes everything: it only says how much more may be generated."""
        self._voice.played(credit.response_id, credit.ms)

    async def handle(self, request: SessionRequest) -> None:
        """Do and answer one request; an engine that breaks raises whatever it raised."""
        try:
            await self._do(request)
        except RequestRefused as refused:
            self._refuse(request, refused.code, str(refused))
        except ItemRejected as rejected:
            self._refuse(request, "invalid_item", str(rejected))
        except ConfigRejected as rejected:
            self._refuse(request, "invalid_config", str(rejected))
        except MarkGone as gone:
            self._refuse(request, "unknown_response" if isinstance(request, Cancel) else "mark_gone", str(gone))

    async def cut_lost_response(self, heard: Played | None) -> Cancelled | None:
        """End the response that ran when the socket was lost, where the person stopped hearing it."""
        running = self._voice.running
        if running is None:
            return None
        told = heard is not None and heard.response_id == running.response_id
        keep_ms = heard.ms if told and heard is not None else running.played_ms
        return await self._cut(Cancel(response_id=running.response_id, keep_ms=keep_ms))

    def tell_evicted(self, *, again: bool = False) -> None:
        """Say `evicted` when the context has let go of more items, or `again` after a lost socket."""
        evicted = self._session.evicted_items
        if evicted > self._evicted or (again and evicted):
            self._evicted = max(evicted, self._evicted)
            self._line.send(Evicted(up_to_seq=self._evicted))

    async def aclose(self) -> None:
        """Free the voice and the engine session."""
        try:
            await self._voice.aclose()
        finally:
            await self._session.aclose()

    async def _do(self, request: SessionRequest) -> None:
        match request:
            case Update():
                await self._update(request)
            case Prefill():
                await self._prefill(request)
            case Append():
                await self._append(request)
            case Rollback():
                await self._rollback(request)
            case Generate():
                await self._generate(request)
            case Cancel():
                self._line.send(await self._cut(request))

    # Writing --------------------------------------------------------------------------------------------------------

    async def _update(self, request: Update) -> None:
        check_config(request.config, self._house.engine.capabilities)
        async with self._engine_turn():
            await self._session.update(request.config)
        self._line.send(Updated(applied=request.config))

    async def _prefill(self, request: Prefill) -> None:
        if self._is_busy(request.seq):
            return
        check_item(request.item, self._house.limits.max_picture_bytes)
        await self._write(request.seq, lambda: self._session.streaming_prefill(request.item))

    async def _append(self, request: Append) -> None:
        if self._is_busy(request.seq):
            return
        check_append(request)
        role, text, tokens = request.role, request.text, request.engine_tokens
        await self._write(request.seq, lambda: self._session.append(role, text, tokens))

    def _is_busy(self, seq: int) -> bool:
        busy = self._house.turn_based and self._voice.running is not None and seq > self.last_seq
        if busy:
            self._line.send(Busy(seq=seq))
        else:
            self._ledger.check_next(seq)
        return busy

    async def _write(self, seq: int, write: Callable[[], Awaitable[None]]) -> None:
        async with self._engine_turn():
            before = self._session.mark()
            began = self._house.clock()
            try:
                await write()
            except EngineBusy:
                self._line.send(Busy(seq=seq))
                return
        ms = (self._house.clock() - began) * 1000
        self._house.metrics.prefill_ms.observe(ms)
        self._ledger.wrote_item(before)
        spare = self._house.engine.spare
        self._line.send(Prefilled(seq=seq, kv_length=self._session.kv_length, ms=round(ms, 3), spare=spare))
        self.tell_evicted()

    # Speaking and undoing -------------------------------------------------------------------------------------------

    async def _generate(self, request: Generate) -> None:
        self._check_silent("it must end, or be cancelled, before the next begins")
        self._ledger.check_new_response(request.response_id, request.after_seq)
        check_options(request.options)
        async with self._engine_turn():
            before = self._session.mark()
        running = self._voice.begin(request.response_id, request.after_seq, before)
        await self._voice.generate(running, self._session.streaming_generate(request.options))

    async def _rollback(self, request: Rollback) -> None:
        self._check_silent("cancel it before a rollback")
        mark = self._ledger.way_back(request.to_seq)
        await self._return_to(mark)
        self._ledger.undone_to(request.to_seq)
        self._line.send(RolledBack(last_seq=request.to_seq, kv_length=self._session.kv_length))

    async def _cut(self, request: Cancel) -> Cancelled:
        response = self._ledger.response(request.response_id)
        running = self._voice.running
        if running is not None and running.response_id != request.response_id:
            self._check_silent("cancel it before an earlier one")
        mark = self._way_back(request, response)
        await self._voice.stop()
        response = self._ledger.response(request.response_id)
        given_ms = running.produced_ms if running is not None else request.keep_ms
        if request.discard:
            kept = Kept("")
            await self._return_to(mark)
        else:
            kept = await self._keep(response, min(request.keep_ms, given_ms))
        self._ledger.cut(response, kept=bool(kept.text))
        if request.rollback_to_seq is not None:
            self._ledger.undone_to(request.rollback_to_seq)
        self._house.metrics.cancels.labels("discard" if request.discard else "keep").inc()
        return Cancelled(
            response_id=request.response_id,
            kept_text=kept.text,
            kv_length=self._session.kv_length,
            last_seq=self.last_seq,
            engine_tokens=kept.engine_tokens,
        )

    def _way_back(self, request: Cancel, response: Step) -> Mark | None:
        to_seq = request.rollback_to_seq
        if to_seq is None or (request.discard and to_seq == response.after_seq):
            return response.before
        if not request.discard:
            raise RequestRefused("out_of_order", "rollback_to_seq goes with discard: what was heard stays, or nothing")
        if to_seq > response.after_seq:
            raise RequestRefused(
                "out_of_order", f"the response followed item {response.after_seq}, cannot return to {to_seq}"
            )
        return self._ledger.way_back(to_seq)

    async def _keep(self, response: Step, keep_ms: int) -> Kept:
        async with self._engine_turn():
            return await self._session.keep_heard(response.before, keep_ms)

    async def _return_to(self, mark: Mark | None) -> None:
        if mark is not None:
            async with self._engine_turn():
                await self._session.rollback(mark)

    def _check_silent(self, advice: str) -> None:
        running = self._voice.running
        if running is not None:
            raise RequestRefused("response_in_progress", f"response {running.response_id} is being generated: {advice}")

    def _refuse(self, request: SessionRequest, code: str, message: str) -> None:
        self._house.metrics.errors.labels(code).inc()
        seq = request.seq if isinstance(request, Prefill | Append) else None
        response_id = request.response_id if isinstance(request, Generate | Cancel) else None
        self._line.send(Error(code=code, message=message, seq=seq, response_id=response_id))

    def _engine_turn(self) -> AbstractAsyncContextManager[object]:
        return self._alone if self._house.turn_based else nullcontext()
