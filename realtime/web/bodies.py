"""Bodies of requests, read within a time and a size: not a byte more is taken."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from realtime.web.refusals import BodyRejected

BODY_TIMEOUT_S = 10.0


async def read_body(request: Request, most: int, code: str, name: str) -> bytes:
    """At most `most` bytes. Raises `BodyRejected` with `code` where there are more; `name` is what it should be."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await _read(request, BodyRejected(413, code, f"{name} has at most {most} bytes"), most)
    except TimeoutError:
        raise BodyRejected(408, "request_timeout", f"{name} did not arrive within {BODY_TIMEOUT_S:g} s") from None
    except ClientDisconnect:
        raise BodyRejected(400, "client_gone", f"the client went away before {name} had arrived") from None
    if not body:
        raise BodyRejected(400, "empty_body", f"expected {name} in the body, got nothing")
    return body


async def _read(request: Request, too_large: BodyRejected, most: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_large
    return bytes(body)
