"""Writes a call down while it happens. The event loop only encodes; a thread of the recording owns the file.

A disk that cannot keep up, a full one, or a log that has grown too long ends the recording, never the call: `stopped`
then says why, and the call tells the client.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from pathlib import Path
from typing import Protocol

import structlog

from realtime.call.inputs import Input
from realtime.call.outside import Outside
from realtime.replay.log_file import LogWriter, encode_record
from realtime.replay.records import AnyRecord, Header, In, Over, Raised
from realtime.replay.witness import Witness

log = structlog.get_logger(__name__)

MAX_LOG_BYTES = 512 * 1024 * 1024
"""A call of several hours."""

CHUNK_BYTES = 64 * 1024
CHUNK_S = 1.0
"""What was encoded goes to the thread when it is this much or this old."""

MAX_WAITING = 64
"""Chunks the thread may be behind: a minute of a quiet call, 4 MB at most of a busy one."""


class Core(Protocol):
    """What takes inputs: `realtime.call.core.CallCore`."""

    def handle(self, what: Input, now: float) -> None: ...


class Recording:
    """One call's log. `stopped` is empty while it goes on, and then says why it ended."""

    def __init__(self, path: Path, header: Header, *, max_bytes: int = MAX_LOG_BYTES) -> None:
        self.stopped = ""
        self._max_bytes = max_bytes
        self._chunk = bytearray()
        self._chunk_at = header.started
        self._chunks: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING)
        self._ended = False
        self._keep(header)
        self._thread = threading.Thread(target=self._write, args=(path,), name=f"log of {header.call_id}", daemon=True)
        self._thread.start()

    def around(self, outside: Outside) -> Outside:
        """The same outside, and all that goes there is kept."""
        return Witness(outside, self._keep)

    def feed(self, core: Core, what: Input, now: float) -> None:
        """Let the core take one input, and keep it."""
        self._keep(In(now, what))
        try:
            core.handle(what, now)
        except Exception as error:
            self._keep(Raised(type(error).__name__))
            raise
        finally:
            if len(self._chunk) >= CHUNK_BYTES or now - self._chunk_at >= CHUNK_S:
                self._hand_over(now)

    async def close(self, now: float) -> None:
        """The call is over: write what is left, beside the loop."""
        if not self.stopped:
            self._keep(Over(now, ""))
            self._hand_over(now)
        await asyncio.to_thread(self._finish)

    # ---------------------------------------------------------------------------------------------------------------

    def _keep(self, record: AnyRecord) -> None:
        if not self.stopped:
            encode_record(record, self._chunk)

    def _hand_over(self, now: float) -> None:
        chunk, self._chunk, self._chunk_at = bytes(self._chunk), bytearray(), now
        if self.stopped:
            return
        try:
            self._chunks.put_nowait(chunk)
        except queue.Full:
            self.stopped = "the disk is too slow"

    def _finish(self) -> None:
        self._chunks.put(None)
        self._thread.join()

    # The thread -----------------------------------------------------------------------------------------------------

    def _write(self, path: Path) -> None:
        try:
            self._write_all(LogWriter(path))
        except OSError as error:
            log.error("recording_failed", file=str(path), error=str(error))
            self.stopped = f"the file cannot be written: {error.strerror or error}"
        while not self._ended:  # Nobody must wait for room in a queue that nobody reads.
            self._next()

    def _write_all(self, writer: LogWriter) -> None:
        try:
            while (chunk := self._next()) is not None:
                writer.write(chunk)
                if writer.size > self._max_bytes:
                    self.stopped = f"the log has reached {self._max_bytes} bytes"
                    break
            if self.stopped:
                over = bytearray()
                encode_record(Over(0.0, self.stopped), over)
                writer.write(bytes(over))
        finally:
            writer.close()

    def _next(self) -> bytes | None:
        chunk = self._chunks.get()
        self._ended = chunk is None
        return chunk
