"""Datagrams are handled as they arrive: aioice's queue and the task of aiortc that waits at it are only for handshakes.

A task is woken for each datagram otherwise, a tenth of what a listening call costs. aiortc's own code handles the
datagram as before, called by whoever brings it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import RTCDtlsTransport, State

from realtime.connection.run_through import run_through

log = structlog.get_logger(__name__)

HANDSHAKE_DONE = "_RTCDtlsTransport__handshake_done"

Datagram = tuple[bytes, int]
"""What came, and the ICE component it came on."""


class Inbox(asyncio.Queue[Datagram | None]):
    """The queue of one ICE connection. None in it means that the connection is lost."""

    def __init__(self, dtls: RTCDtlsTransport) -> None:
        super().__init__()
        self._dtls = dtls
        self._now: Datagram | None = None
        self.direct = 0
        """Datagrams that needed no task."""

    def put_nowait(self, item: Datagram | None) -> None:
        """What aioice calls for each datagram."""
        if item is None or not self._is_direct:
            super().put_nowait(item)
            return
        self.direct += 1
        self._now = item
        try:
            run_through(self._dtls._recv_next())
        except ConnectionError:
            super().put_nowait(None)
        except Exception:
            # aiortc's own task would end as well: a connection whose state is unknown is no connection.
            log.exception("datagram_failed")
            super().put_nowait(None)

    async def get(self) -> Datagram | None:
        """What aiortc waits for: the datagram that is being handled, or the next one of the queue."""
        item, self._now = self._now, None
        return item if item is not None else await super().get()

    @property
    def _is_direct(self) -> bool:
        """Not during a handshake, whose timers need the task, and never before what waits already."""
        dtls = self._dtls
        return dtls._state is State.CONNECTED and bool(getattr(dtls, HANDSHAKE_DONE)) and self.empty()


def receive_directly(connection: RTCPeerConnection) -> None:
    """Do so for every transport that the connection has by now."""
    transports: set[Any] = {each.receiver.transport for each in connection.getTransceivers()}
    if connection.sctp is not None:
        transports.add(connection.sctp.transport)
    for dtls in transports:
        dtls.transport._connection._queue = Inbox(dtls)
