"""aiortc sends and receives in coroutines that never wait: they can be run through at once, without a task."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any


def run_through(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end, raising what it raises. Raises `RuntimeError` when it waits for something."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("aiortc waited where it never did: this version does not fit")
