"""One WebSocket of the session protocol: frames in, requests to the host, answers out, while its peer lives."""

from __future__ import annotations

import asyncio

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from model_server.host import SessionHost
from model_server.outbox import Closing, Outbox
from model_server.protocol import MAX_MESSAGE_BYTES, ProtocolError, Request, decode_request, encode

STRIKES = 3
"""Undecodable messages in a row that close the socket."""

SEND_TIMEOUT_S = 10.0
"""A peer that takes nothing for so long is gone."""


async def serve_socket(websocket: WebSocket, session_id: str, host: SessionHost) -> None:
    """Carry an accepted socket until either side ends it."""
    outbox = Outbox()
    number = host.connect(session_id, outbox)
    reading = asyncio.create_task(_read(websocket, number, outbox, host), name=f"socket {number} in")
    writing = asyncio.create_task(_write(websocket, outbox), name=f"socket {number} out")
    try:
        done, _ = await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        host.disconnect(number)
        for task in (reading, writing):
            task.cancel()
        await asyncio.gather(reading, writing, return_exceptions=True)


async def _read(websocket: WebSocket, number: int, outbox: Outbox, host: SessionHost) -> None:
    strikes = 0
    while not outbox.closed:
        await outbox.room()
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        try:
            request = _decode(message.get("bytes"), message.get("text"))
        except ProtocolError as error:
            strikes += 1
            host.refuse(number, "invalid_message", str(error))
            if strikes == STRIKES:
                outbox.close(1008, f"{STRIKES} invalid messages in a row")
            continue
        strikes = 0
        await host.received(number, request)
    await asyncio.Event().wait()  # The writer has the last word, and ends this task.


def _decode(data: bytes | None, text: str | None) -> Request:
    if data is None:
        got = f"a text frame of {len(text or '')} characters"
        raise ProtocolError(f"expected a binary frame that holds one msgpack map, got {got}")
    if len(data) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"a message has at most {MAX_MESSAGE_BYTES} bytes, got {len(data)}: send smaller ones")
    return decode_request(data)


async def _write(websocket: WebSocket, outbox: Outbox) -> None:
    """Send until the outbox closes or the peer does not listen any more."""
    try:
        while True:
            message = await outbox.take()
            async with asyncio.timeout(SEND_TIMEOUT_S):
                if isinstance(message, Closing):
                    if websocket.application_state is WebSocketState.CONNECTED:
                        await websocket.close(message.code, message.reason)
                    return
                await websocket.send_bytes(encode(message))
    except (WebSocketDisconnect, TimeoutError, RuntimeError):
        return
