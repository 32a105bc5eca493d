"""Structured logs on stderr, for people or for machines; secrets and what is said in a call never reach them."""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRETS = frozenset({"secret", "token", "authorization", "credential", "password", "ticket"})
CONTENT = frozenset({"sdp", "offer", "answer", "text", "transcript", "instructions", "audio", "pcm", "jpeg", "body"})
_REDACTED = "[redacted]"
_CHATTY = ("aioice", "aiortc", "httpx", "httpcore", "websockets", "uvicorn", "asyncio")


def configure(level: str, form: Literal["console", "json"], stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's logs to `stream` (stderr) in one form, from `level` on.

    Libraries are heard from `warning` on, unless the level is `debug`.
    """
    target = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(form, target)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank the values of keys that name a secret or a call's content, e.g. `token`, `call_secret`, `sdp`."""
    for key in event:
        if key in CONTENT or key.rpartition("_")[2] in SECRETS:
            event[key] = _REDACTED
    return event


def _rendering(form: Literal["console", "json"], target: TextIO) -> list[Processor]:
    if form == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # A plain traceback: the rich one prints local variables, and with them secrets.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=plain)]
