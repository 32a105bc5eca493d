"""What HTTP clients read when something is wrong: JSON `{"error": {"type", "code", "message", "param"}}`."""

from __future__ import annotations

import math

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from realtime.web.refusals import Refusal

_CODES = {404: "not_found", 405: "method_not_allowed"}


def error_answer(status: int, code: str, message: str, *, param: str | None = None, **headers: str) -> JSONResponse:
    """An error; `headers` are spelled with underscores (`retry_after="5"`)."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"type": kind, "code": code, "message": message, "param": param}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse(body, status, headers={"Cache-Control": "no-store", **named})


async def answer_refusal(_request: Request, error: Exception) -> Response:
    """A `Refusal` as an answer."""
    assert isinstance(error, Refusal)
    headers = {} if error.retry_after is None else {"retry_after": str(math.ceil(error.retry_after))}
    return error_answer(error.status, error.code, str(error), **headers)


async def answer_http_error(_request: Request, error: Exception) -> Response:
    """Starlette's own errors (no such path, wrong method) in the same form."""
    assert isinstance(error, HTTPException)
    answer = error_answer(error.status_code, _CODES.get(error.status_code, "http_error"), error.detail)
    answer.headers.update(error.headers or {})
    return answer


async def answer_defect(_request: Request, _error: Exception) -> Response:
    """A defect of ours; the log has it, the client learns nothing of it."""
    return error_answer(500, "internal_error", "the service failed; its log says why")
