"""Logs: one form for all, and no secret or content in them whatever is logged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from realtime.service import logs


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root, level, handlers = logging.getLogger(), logging.getLogger().level, list(logging.getLogger().handlers)
    yield
    root.setLevel(level)
    root.handlers = handlers
    structlog.reset_defaults()


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_machines_read_one_object_per_line_whoever_logs() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    structlog.get_logger("a").info("call_made", call_id="call_1")
    logging.getLogger("somebody").error("it %s", "broke")
    ours, theirs = _lines(stream)
    assert (ours["event"], ours["call_id"], ours["level"]) == ("call_made", "call_1", "info")
    assert (theirs["event"], theirs["level"]) == ("it broke", "error")
    assert set(ours) == {"event", "call_id", "level", "timestamp"}


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "key", ["secret", "call_secret", "token", "resume_token", "authorization", "sdp", "text", "transcript", "pcm"]
)
def test_secrets_and_content_never_come_out(key: str, form: str) -> None:
    stream = io.StringIO()
    logs.configure("info", form, stream)  # type: ignore[arg-type]
    structlog.get_logger("a").warning("something", **{key: "hush-hush", "other": "seen"})
    assert "hush-hush" not in stream.getvalue()
    assert "seen" in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_comes_without_local_variables(form: str) -> None:
    stream = io.StringIO()
    logs.configure("info", form, stream)  # type: ignore[arg-type]
    hidden = "hush" + "-hush"
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("a").exception("failed")
    assert "ValueError: broken" in stream.getvalue()
    assert hidden not in stream.getvalue()


def test_below_the_level_nothing_comes_out_and_libraries_only_warn() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    structlog.get_logger("a").debug("detail")
    logging.getLogger("aioice.ice").info("chatter")
    logging.getLogger("httpx").info("chatter")
    assert stream.getvalue() == ""
    logs.configure("debug", "json", stream)
    logging.getLogger("aioice.ice").info("chatter")
    assert [line["event"] for line in _lines(stream)] == ["chatter"]
